use serde::{Serialize, Serializer};

use crate::model::image::Tag;
use crate::model::{Digest, Target};

/// Why a proven image may not be promoted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
pub enum PromotionRejection {
    /// The image's own tag is another image's.
    #[error("`{tag}` is immutable and points to {there}, not to {ours}")]
    #[diagnostic(help(
        "if this image is a rebuild of that one, move the tag with `--replace`; `zfs-kmods reproduce IMAGE --with IMAGE` \
         shows how they differ"
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
    #[diagnostic(help("audit tags are never moved: give another one with `--audit-tag`"))]
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
        "hosts that follow the channel would be downgraded; `--allow-downgrade` permits that"
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
        "a channel has one architecture and kernel variant: promote others in another repository, or give \
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
    #[error("`{tag}` points to {there}, whose target is not known: {reason}")]
    #[diagnostic(help(
        "`zfs-kmods verify` shows what is wrong with it; `--allow-downgrade` moves the tag anyway"
    ))]
    Unreadable {
        /// The tag.
        tag: Tag,
        /// Where it points.
        there: Digest,
        /// Why it is not known.
        reason: String,
    },
    /// A bug.
    #[error("the tag `{tag}` was not read")]
    #[diagnostic(help("this is a bug in zfs-kmods: please report it"))]
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
