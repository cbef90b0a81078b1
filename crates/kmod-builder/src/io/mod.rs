//! All access to the outside world, one external system per file; only [`cmd`] starts processes.

pub mod blocking;
pub mod boot_test;
pub mod cleanup;
pub mod cmd;
pub mod compat_files;
pub mod compose;
pub mod config;
pub mod decompress;
pub mod download;
pub mod environment;
pub mod evidence;
pub mod failure;
pub mod github;
pub mod image_build;
pub mod image_diff;
pub mod image_rpms;
pub mod inputs;
pub mod inspect;
pub mod layer;
pub mod layout;
pub mod podman;
pub mod progress;
pub mod promote;
pub mod publish;
pub mod published_images;
pub mod reconcile;
pub mod records;
pub mod registry;
pub mod resolve;
pub mod rpm;
pub mod statements;
pub mod store;
pub mod tarball;
pub mod workspace;

pub use kmod_query::atomic_file;
