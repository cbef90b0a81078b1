//! The tag grammar, for writing and for classifying.
//!
//! | channel | image | audit | moving | candidate |
//! |---|---|---|---|---|
//! | `stable`, `testing`, `next` | `zfs-X_kernel-Y` | `stable-RUN-COMMIT` | `stable`, `zfs-2.4_stable`, `fedora-44_stable` | `candidate-zfs-X_kernel-Y` |
//! | of an image: `kinoite` | `zfs-X_kernel-Y` | `kinoite-RUN-COMMIT` | `kinoite`, `zfs-2.4_kinoite`, `fedora-44_kinoite` | `candidate-zfs-X_kernel-Y` |
//! | of a branch | `beta-BRANCH-zfs-X_kernel-Y` | `beta-BRANCH-RUN-COMMIT` | `beta-BRANCH` | `candidate-beta-BRANCH-zfs-X_kernel-Y` |
//!
//! A branch never gets a tag that hosts follow. Its name in tags has no `-`, so that no tag is ambiguous.

mod branch;
mod channel;
mod channel_name;
mod class;
mod line_channel;

pub use branch::{Branch, ParseBranchError};
pub use channel::{Channel, ParseChannelError, withdrawn_tag};
pub use channel_name::{ChannelName, ParseChannelNameError};
pub use class::TagClass;
pub use line_channel::LineChannel;
