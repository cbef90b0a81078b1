use serde::{Serialize, Serializer};

use crate::model::image::Tag;
use crate::model::{Digest, Target};

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
pub enum PromotionRejection {
    #[error("`{tag}` is immutable and points to {there}, not to {ours}")]
    #[diagnostic(help(
        "if this image is a rebuild of that one, move the tag with `--replace`; `zfs-kmods reproduce IMAGE --with IMAGE` \
         shows how they differ"
    ))]
    Taken { tag: Tag, there: Digest, ours: Digest },
    #[error("`{tag}` is in the audit for {there}, not for {ours}")]
    #[diagnostic(help("audit tags are never moved: give another one with `--audit-tag`"))]
    AuditTaken { tag: Tag, there: Digest, ours: Digest },
    #[error("`{tag}` has {there}, and would go back to {ours}")]
    #[diagnostic(help(
        "hosts that follow the channel would be downgraded; `--allow-downgrade` permits that"
    ))]
    Backwards { tag: Tag, there: Box<Target>, ours: Box<Target> },
    #[error("`{tag}` has {there}, and {ours} is of another architecture or variant of the kernel")]
    #[diagnostic(help(
        "a channel has one architecture and kernel variant: promote others in another repository, or give \
         `--allow-downgrade`"
    ))]
    OtherBuild { tag: Tag, there: Box<Target>, ours: Box<Target> },
    #[error("`{tag}` points to {there}, whose target is not known: {reason}")]
    #[diagnostic(help(
        "`zfs-kmods verify` shows what is wrong with it; `--allow-downgrade` moves the tag anyway"
    ))]
    Unreadable { tag: Tag, there: Digest, reason: String },
    #[error("the tag `{tag}` was not read")]
    #[diagnostic(help("this is a bug in zfs-kmods: please report it"))]
    NotAsked { tag: Tag },
}

impl Serialize for PromotionRejection {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
