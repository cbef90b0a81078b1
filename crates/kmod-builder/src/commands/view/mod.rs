//! What the commands show.

pub mod attestations;
pub mod boot_test;
pub mod cleanup;
pub mod extract_rpms;
pub mod image_diff;
pub mod list_rpms;
pub mod promote;
pub mod publish;
pub mod verify;
