use crate::meta::meta_url;
use crate::{Held, KernelRelease, KernelSeries, Meta, TarballSha256, Verdict, ZfsVersion};

/// A row of the matrix: a release of OpenZFS and the kernels that it supports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    pub(super) version: ZfsVersion,
    pub(super) linux_min: KernelSeries,
    pub(super) linux_max: KernelSeries,
    pub(super) sha256: Option<TarballSha256>,
    pub(super) source: String,
}

impl Release {
    /// The version of OpenZFS.
    pub const fn version(&self) -> ZfsVersion {
        self.version
    }

    /// The oldest kernel series that it supports.
    pub const fn linux_min(&self) -> KernelSeries {
        self.linux_min
    }

    /// The newest kernel series that it supports.
    pub const fn linux_max(&self) -> KernelSeries {
        self.linux_max
    }

    /// What its tarball must hash to, where somebody has looked.
    pub const fn sha256(&self) -> Option<&TarballSha256> {
        self.sha256.as_ref()
    }

    /// The link to where upstream declares the range.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether the `META` of a tarball says what the row says.
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

    /// The row as `META` would have it, for a release that has none.
    pub(super) fn of_meta(meta: &Meta) -> Self {
        Self {
            version: meta.version(),
            linux_min: meta.linux_min(),
            linux_max: meta.linux_max(),
            sha256: None,
            source: meta_url(meta.version()),
        }
    }

    /// By the range alone. Series are compared, so that 7.1.4 is within a maximum of 7.1.
    pub(super) fn verdict(&self, kernel: &KernelRelease) -> Verdict {
        let (zfs, series, source) = (self.version, kernel.series(), &self.source);
        // OpenZFS enforces the maximum itself since 2.3.0 only, so this is the one place that does for
        // every line.
        if series > self.linux_max {
            let (kernel, max, source) = (kernel.clone(), self.linux_max, source.clone());
            return Verdict::Held(Held::KernelTooNew { zfs, kernel, max, source });
        }
        if series < self.linux_min {
            let (kernel, min, source) = (kernel.clone(), self.linux_min, source.clone());
            return Verdict::Held(Held::KernelTooOld { zfs, kernel, min, source });
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
