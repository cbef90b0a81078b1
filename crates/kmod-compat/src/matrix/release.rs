use crate::meta::meta_url;
use crate::{
    DeclaredRelease, Incompatibility, IncompatibilityCause, KernelRelease, KernelSeries, Meta, TarballSha256,
    Verdict, ZfsVersion,
};

/// A row of the matrix: a release of OpenZFS and the kernels that it supports.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub struct MatrixRow {
    version: ZfsVersion,
    linux_min: KernelSeries,
    linux_max: KernelSeries,
    sha256: Option<TarballSha256>,
    #[serde(deserialize_with = "super::parse::link")]
    source: String,
}

impl MatrixRow {
    pub const fn version(&self) -> ZfsVersion {
        self.version
    }

    pub const fn linux_min(&self) -> KernelSeries {
        self.linux_min
    }

    pub const fn linux_max(&self) -> KernelSeries {
        self.linux_max
    }

    /// Digest of the release's tarball; most rows have none.
    pub const fn sha256(&self) -> Option<&TarballSha256> {
        self.sha256.as_ref()
    }

    /// The link to where upstream declares the range.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Checks that the `META` of a tarball agrees with the row.
    pub fn check_meta(&self, meta: &Meta) -> Result<(), MetaConflict> {
        let differences: Vec<String> = [
            ("Version", meta.version().to_string(), self.version.to_string()),
            ("Linux-Minimum", meta.linux_min().to_string(), self.linux_min.to_string()),
            ("Linux-Maximum", meta.linux_max().to_string(), self.linux_max.to_string()),
        ]
        .into_iter()
        .filter(|(_, found, expected)| found != expected)
        .map(|(key, found, expected)| format!("`{key}` is {found}, the matrix says {expected}"))
        .collect();
        if differences.is_empty() {
            Ok(())
        } else {
            Err(MetaConflict {
                zfs: self.version,
                differences: differences.join("; "),
                proof: self.source.clone(),
            })
        }
    }

    pub(crate) fn of_declared(declared: &DeclaredRelease) -> Self {
        Self {
            version: declared.version,
            linux_min: declared.linux_min,
            linux_max: declared.linux_max,
            sha256: Some(declared.sha256.clone()),
            source: meta_url(declared.version),
        }
    }

    /// By the range alone. Series are compared, so that 7.1.4 is within a maximum of 7.1.
    pub(super) fn verdict(&self, kernel: &KernelRelease) -> Verdict {
        let (zfs, series, source) = (self.version, kernel.series(), &self.source);
        // OpenZFS enforces the maximum itself since 2.3.0 only.
        if series > self.linux_max {
            let (kernel, max, source) = (kernel.clone(), self.linux_max, source.clone());
            let cause = IncompatibilityCause::KernelTooNew { max, source };
            return Verdict::Incompatible(Incompatibility { zfs, kernel, cause });
        }
        if series < self.linux_min {
            let (kernel, min, source) = (kernel.clone(), self.linux_min, source.clone());
            let cause = IncompatibilityCause::KernelTooOld { min, source };
            return Verdict::Incompatible(Incompatibility { zfs, kernel, cause });
        }
        Verdict::Compatible
    }
}

/// The `META` in a tarball contradicts the release's row.
///
/// That has happened to a release of upstream's own:
/// [openzfs/zfs#18526](https://github.com/openzfs/zfs/issues/18526).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
#[error("the META found for OpenZFS {zfs} contradicts the compatibility matrix: {differences}")]
#[diagnostic(help(
    "compare with {proof}: if that agrees with the matrix, the tarball is not what upstream tagged, \
     else correct the row"
))]
pub struct MetaConflict {
    zfs: ZfsVersion,
    differences: String,
    proof: String,
}
