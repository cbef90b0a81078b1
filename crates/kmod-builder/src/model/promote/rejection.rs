use serde::{Serialize, Serializer};

use crate::model::image::Tag;
use crate::model::{Digest, Target};

/// Why an image may not be promoted though it is proven. One is enough, and nothing is done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
pub enum PromotionRejection {
    /// The image's own tag is another image's.
    #[error("`{tag}` is immutable and points to {there}, not to {ours}")]
    #[diagnostic(help(
        "if this image is a rebuild of that one and shall take its place, say `--replace`; to see how they differ, \
         `zfs-kmods verify` both"
    ))]
    Taken {
        /// The tag.
        tag: Tag,
        /// Where it points.
        there: Digest,
        /// Where it should.
        ours: Digest,
    },
    /// The audit's tag is another image's.
    #[error("`{tag}` is in the audit for {there}, not for {ours}")]
    #[diagnostic(help("what was promoted when is never rewritten: give another one with `--audit-tag`"))]
    AuditTaken {
        /// The tag.
        tag: Tag,
        /// Where it points.
        there: Digest,
        /// Where it should.
        ours: Digest,
    },
    /// The channel would go back.
    #[error("`{tag}` has {there}, and would go back to {ours}")]
    #[diagnostic(help(
        "hosts that follow the channel would be downgraded; if they shall be, say `--allow-downgrade`"
    ))]
    Backwards {
        /// The tag.
        tag: Tag,
        /// What the channel has.
        there: Box<Target>,
        /// What it would have.
        ours: Box<Target>,
    },
    /// The channel would change its architecture, or go from a kernel to its debugging variant.
    #[error("`{tag}` has {there}, and {ours} is of another architecture or variant of the kernel")]
    #[diagnostic(help(
        "a channel is for one kind of hosts: promote other ones in a repository of their own, or say \
         `--allow-downgrade`"
    ))]
    OtherBuild {
        /// The tag.
        tag: Tag,
        /// What the channel has.
        there: Box<Target>,
        /// What it would have.
        ours: Box<Target>,
    },
    /// It is not known whether the channel would go back.
    #[error("`{tag}` points to {there}, and what that is for is not known: {reason}")]
    #[diagnostic(help(
        "`zfs-kmods verify` says what is wrong with it; `--allow-downgrade` moves the tag all the same"
    ))]
    Unreadable {
        /// The tag.
        tag: Tag,
        /// Where it points.
        there: Digest,
        /// Why it is not known.
        reason: String,
    },
    /// Nobody asked where the tag points.
    #[error("where `{tag}` points is not known")]
    #[diagnostic(help("this is a fault of zfs-kmods: please report it"))]
    NotAsked {
        /// The tag.
        tag: Tag,
    },
}

impl Serialize for PromotionRejection {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
