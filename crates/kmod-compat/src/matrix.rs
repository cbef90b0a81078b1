//! The compatibility matrix, `compat/zfs.toml`: which release of OpenZFS supports which kernels.

mod error;
mod exclusion;
mod parse;
mod release;
mod rules;
mod table;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

pub use error::MatrixError;
pub use exclusion::Exclusion;
pub use release::{MetaConflict, Release};

use crate::{Held, KernelRelease, Meta, Verdict, ZfsLine, ZfsVersion, serde_as_text};

/// Which release of OpenZFS may be built for which kernel, and what to do when that is not known.
///
/// Every release has one row, every row a range that is not empty, every exclusion a row.
#[derive(Clone, Debug)]
pub struct CompatMatrix {
    policy: Policy,
    releases: BTreeMap<ZfsVersion, Release>,
    exclusions: Vec<Exclusion>,
}

impl CompatMatrix {
    /// Reads a matrix. `name` is what diagnostics call the text, usually its path.
    pub fn parse(name: &str, text: &str) -> Result<Self, MatrixError> {
        parse::parse(name, text)
    }

    /// The matrix that the program was built with, `compat/zfs.toml` of its source.
    pub fn embedded() -> Result<Self, MatrixError> {
        Self::parse("compat/zfs.toml", include_str!("../../../compat/zfs.toml"))
    }

    /// What the matrix says about things that it has no row for.
    pub const fn policy(&self) -> Policy {
        self.policy
    }

    /// The row of a release.
    pub fn release(&self, zfs: ZfsVersion) -> Option<&Release> {
        self.releases.get(&zfs)
    }

    /// Every row, the oldest release first.
    pub fn releases(&self) -> impl DoubleEndedIterator<Item = &Release> {
        self.releases.values()
    }

    /// Every pair that is known not to work.
    pub fn exclusions(&self) -> impl Iterator<Item = &Exclusion> {
        self.exclusions.iter()
    }

    /// Whether the release may be built for the kernel.
    ///
    /// A release without a row is held whatever the policy; where that is
    /// [`UnlistedReleasePolicy::UseMeta`], read its `META` and ask [`Self::verdict_with_meta`].
    pub fn verdict(&self, zfs: ZfsVersion, kernel: &KernelRelease) -> Verdict {
        // An exclusion comes first: it says more than the bound that the kernel may violate as well.
        if let Some(exclusion) = self.exclusions.iter().find(|exclusion| exclusion.covers(zfs, kernel)) {
            return Verdict::Held(exclusion.held(kernel));
        }
        match self.release(zfs) {
            Some(release) => release.verdict(kernel),
            None => Verdict::Held(Held::UnlistedReleasePolicy { zfs, kernel: kernel.clone() }),
        }
    }

    /// The same for the release that a `META` describes. It must agree with the release's row; without a
    /// row it decides alone if the policy says so.
    pub fn verdict_with_meta(&self, meta: &Meta, kernel: &KernelRelease) -> Result<Verdict, MetaConflict> {
        match (self.release(meta.version()), self.policy.unknown_release) {
            (Some(release), _) => {
                release.check_meta(meta)?;
                Ok(self.verdict(release.version(), kernel))
            }
            (None, UnlistedReleasePolicy::UseMeta) => Ok(Release::of_meta(meta).verdict(kernel)),
            (None, UnlistedReleasePolicy::Hold) => Ok(self.verdict(meta.version(), kernel)),
        }
    }
}

/// What holds for everything that has no row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The line of releases to follow. The move to another is a person's decision.
    pub line: ZfsLine,
    /// What to do with a release that has no row.
    pub unknown_release: UnlistedReleasePolicy,
}

/// What to do with a release that has no row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnlistedReleasePolicy {
    /// Wait until somebody has added one: `hold`.
    Hold,
    /// Believe the `META` in its tarball: `use-meta`.
    UseMeta,
}

impl UnlistedReleasePolicy {
    const ALL: [Self; 2] = [Self::Hold, Self::UseMeta];
}

impl fmt::Display for UnlistedReleasePolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Hold => "hold",
            Self::UseMeta => "use-meta",
        })
    }
}

/// The text is no policy for releases without a row.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a policy for releases without a row (expected `hold` or `use-meta`)")]
pub struct ParseUnknownReleaseError(String);

impl FromStr for UnlistedReleasePolicy {
    type Err = ParseUnknownReleaseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|policy| policy.to_string() == text);
        found.ok_or_else(|| ParseUnknownReleaseError(text.to_owned()))
    }
}

serde_as_text!(UnlistedReleasePolicy);
