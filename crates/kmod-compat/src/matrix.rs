//! The compatibility matrix, `compat/zfs.toml`: which release of OpenZFS supports which kernels.

mod error;
mod exclusion;
mod parse;
mod release;
mod rules;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

pub use error::MatrixError;
pub use exclusion::{Exclusion, Severity};
pub use release::{MatrixRow, MetaConflict};

use crate::{
    Incompatibility, IncompatibilityCause, KernelRelease, Meta, Verdict, ZfsLine, ZfsVersion, serde_as_text,
};

/// Every release has one row, every row a range that is not empty, every exclusion a row.
#[derive(Clone, Debug)]
pub struct CompatMatrix {
    policy: MatrixPolicy,
    releases: BTreeMap<ZfsVersion, MatrixRow>,
    exclusions: Vec<Exclusion>,
}

impl CompatMatrix {
    /// `name` is what diagnostics call the text, usually its path.
    pub fn parse(name: &str, text: &str) -> Result<Self, MatrixError> {
        parse::parse(name, text)
    }

    /// `compat/zfs.toml` as of the build of the program.
    pub fn embedded() -> Result<Self, MatrixError> {
        Self::parse("compat/zfs.toml", include_str!("../../../compat/zfs.toml"))
    }

    pub const fn policy(&self) -> MatrixPolicy {
        self.policy
    }

    pub fn release(&self, zfs: ZfsVersion) -> Option<&MatrixRow> {
        self.releases.get(&zfs)
    }

    /// The oldest release first.
    pub fn releases(&self) -> impl DoubleEndedIterator<Item = &MatrixRow> {
        self.releases.values()
    }

    pub fn exclusions(&self) -> impl Iterator<Item = &Exclusion> {
        self.exclusions.iter()
    }

    /// Whether the release may be built for the kernel.
    ///
    /// A release without a row is unverified whatever the policy; where that is
    /// [`UnlistedReleasePolicy::UseMeta`], read its `META` and ask [`Self::verdict_with_meta`].
    pub fn verdict(&self, zfs: ZfsVersion, kernel: &KernelRelease) -> Verdict {
        // First, because an exclusion says more than a bound that the kernel may violate too.
        if let Some(exclusion) = self.exclusions.iter().find(|exclusion| exclusion.covers(zfs, kernel)) {
            return Verdict::Incompatible(exclusion.incompatibility(zfs, kernel));
        }
        match self.release(zfs) {
            Some(release) => release.verdict(kernel),
            None => Verdict::Incompatible(Incompatibility {
                zfs,
                kernel: kernel.clone(),
                cause: IncompatibilityCause::UnverifiedRelease,
            }),
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
            (None, UnlistedReleasePolicy::UseMeta) => Ok(MatrixRow::of_meta(meta).verdict(kernel)),
            (None, UnlistedReleasePolicy::Hold) => Ok(self.verdict(meta.version(), kernel)),
        }
    }
}

/// The policy for what has no row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub struct MatrixPolicy {
    /// The line of releases to follow. Only an edit of the file changes it.
    pub line: ZfsLine,
    pub unknown_release: UnlistedReleasePolicy,
}

/// What to do with a release that has no row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnlistedReleasePolicy {
    /// `hold`: wait until a row is added.
    Hold,
    /// `use-meta`: use the range in the tarball's `META`.
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

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a policy for releases without a row (expected `hold` or `use-meta`)")]
pub struct ParseUnlistedReleasePolicyError(String);

impl FromStr for UnlistedReleasePolicy {
    type Err = ParseUnlistedReleasePolicyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|policy| policy.to_string() == text);
        found.ok_or_else(|| ParseUnlistedReleasePolicyError(text.to_owned()))
    }
}

serde_as_text!(UnlistedReleasePolicy);
