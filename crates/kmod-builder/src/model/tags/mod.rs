//! The grammar of tags: who may look for an image under which name. Whoever writes a tag and whoever classifies one
//! share these words.
//!
//! | channel | image | audit | moving | candidate |
//! |---|---|---|---|---|
//! | `stable`, `testing`, `next` | `zfs-X_kernel-Y` | `stable-RUN-COMMIT` | `stable`, `zfs-2.4_stable`, `fedora-44_stable` | `candidate-zfs-X_kernel-Y` |
//! | of a branch | `beta-BRANCH-zfs-X_kernel-Y` | `beta-BRANCH-RUN-COMMIT` | `beta-BRANCH` | `candidate-beta-BRANCH-zfs-X_kernel-Y` |
//!
//! A branch never gets a tag that users look for. Its name as it stands in tags has no `-`, so that every tag can be
//! read in one way only.

mod branch;
mod channel;
mod class;

pub use branch::{Branch, ParseBranchError};
pub use channel::{Channel, ParseChannelError};
pub use class::TagClass;
