//! The outside world: one neighbour a file; nothing else connects, and only [`cmd`] starts processes.

pub mod attach;
pub mod blocking;
pub mod cmd;
pub mod composing;
pub mod contents;
pub mod documents;
pub mod download;
pub mod evidence;
pub mod ghcr;
pub mod github_attestations;
pub mod guest;
pub mod inspecting;
pub mod layer;
pub mod layout;
pub mod podman;
pub mod progress;
pub mod promote;
pub mod publish;
pub mod qemu;
pub mod registry;
pub mod retention;
pub mod rpm;
pub mod signer;
pub mod store;
pub mod tarball;
pub mod workspace;
