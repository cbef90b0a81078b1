//! The compatibility matrix, `compat/zfs.toml`: which release of OpenZFS supports which kernels.

mod edit;
mod exclusion;
mod faulty_recipe;
mod parse;
mod release;
mod rows;
mod rules;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

pub use edit::AddRowError;
pub use exclusion::{Exclusion, Severity};
pub use faulty_recipe::FaultyRecipe;
pub(crate) use parse::link;
pub use release::{MatrixRow, MetaConflict};
pub use rows::MatrixRows;

use crate::toml_document::TomlDocumentError;
use crate::{
    DeclaredRelease, Disagreement, Incompatibility, IncompatibilityCause, KernelRelease, Meta, Verdict,
    ZfsLine, ZfsVersion,
};

/// Lists every invalid row and every broken rule.
pub type MatrixError = TomlDocumentError;

/// Every release has one row, every row a range that is not empty, every exclusion a row.
#[derive(Clone, Debug)]
pub struct CompatMatrix {
    policy: MatrixPolicy,
    releases: BTreeMap<ZfsVersion, MatrixRow>,
    exclusions: Vec<Exclusion>,
    faulty_recipes: Vec<FaultyRecipe>,
    disagreements: BTreeMap<ZfsVersion, Disagreement>,
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

    /// The row of the recipe with this digest, `sha256:…`.
    pub fn faulty_recipe(&self, template: &str) -> Option<&FaultyRecipe> {
        self.faulty_recipes.iter().find(|recipe| recipe.template() == template)
    }

    /// Whether the policy lets a release without a row be used if upstream's statements about it agree.
    pub fn wants_declaration(&self, zfs: ZfsVersion) -> bool {
        self.policy.unknown_release == UnlistedReleasePolicy::Declared && self.release(zfs).is_none()
    }

    /// Adds the row of a declared release, in memory only. A row of the file and another policy have precedence.
    pub fn declare(&mut self, declared: Result<DeclaredRelease, Disagreement>) {
        match declared {
            Ok(declared) if self.wants_declaration(declared.version) => {
                self.releases.insert(declared.version, declared.row());
            }
            Err(disagreement) if self.wants_declaration(disagreement.version) => {
                self.disagreements.insert(disagreement.version, disagreement);
            }
            _ => {}
        }
    }

    /// The rows win over those of the matrix for the same release, and for the same release and kernel.
    pub fn merge(&mut self, rows: &MatrixRows) {
        self.releases.extend(rows.releases().map(|row| (row.version(), row.clone())));
        let is_replaced = |known: &Exclusion| {
            rows.exclusions().any(|own| (own.zfs(), own.kernel()) == (known.zfs(), known.kernel()))
        };
        self.exclusions.retain(|known| !is_replaced(known));
        self.exclusions.extend(rows.exclusions().cloned());
    }

    /// Replaces the line of the policy.
    pub const fn follow(&mut self, line: ZfsLine) {
        self.policy.line = line;
    }

    /// Whether the release may be built for the kernel. A release without a row is unverified: [`Self::declare`] it
    /// first if [`Self::wants_declaration`].
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
                cause: IncompatibilityCause::UnverifiedRelease {
                    reasons: self.disagreements.get(&zfs).map(|disagreement| disagreement.reasons.clone()),
                },
            }),
        }
    }

    /// The same for the release with this `META`, which must agree with the release's row.
    pub fn verdict_with_meta(&self, meta: &Meta, kernel: &KernelRelease) -> Result<Verdict, MetaConflict> {
        if let Some(release) = self.release(meta.version()) {
            release.check_meta(meta)?;
        }
        Ok(self.verdict(meta.version(), kernel))
    }

    /// Which of the released versions have no row. Lines that are older than all rows are left out.
    pub fn missing(&self, released: &[ZfsVersion]) -> MissingRows {
        let mut lines: BTreeSet<ZfsLine> = self.releases.keys().map(|version| version.line()).collect();
        lines.insert(self.policy.line);
        let newest = lines.last().copied();
        let without_row = released.iter().copied().filter(|version| self.release(*version).is_none());
        let (mut versions, mut new_lines) = (BTreeSet::new(), BTreeMap::new());
        for version in without_row {
            if lines.contains(&version.line()) {
                versions.insert(version);
            } else if newest.is_some_and(|newest| version.line() > newest) {
                let newest = new_lines.entry(version.line()).or_insert(version);
                *newest = version.max(*newest);
            }
        }
        MissingRows { versions: versions.into_iter().collect(), new_lines }
    }
}

/// Releases without a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingRows {
    /// Of lines that have rows, the oldest first.
    pub versions: Vec<ZfsVersion>,
    /// Lines that are newer than all rows, each with its newest release.
    pub new_lines: BTreeMap<ZfsLine, ZfsVersion>,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UnlistedReleasePolicy {
    /// Use it if upstream's statements about it agree, see [`ReleaseStatements`](crate::ReleaseStatements).
    Declared,
    /// Build nothing until a row is added.
    Hold,
    /// Use the newest release that has a row.
    Never,
}
