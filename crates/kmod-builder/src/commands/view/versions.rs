use clap::ValueEnum;
use kmod_compat::{FedoraVersion, KernelRelease, KernelSeries, ZfsVersion};
use kmod_query::coreos::SkippedEntries;
use serde::Serialize;

use crate::io::resolve::ResolvedSource;
use crate::model::DocumentSchema;
use crate::model::inputs::SourceImageRef;
use crate::output::{self, Show};

#[derive(Serialize)]
pub struct Versions {
    schema: DocumentSchema,
    pub source: String,
    coreos: Option<String>,
    kernel: KernelRelease,
    kernel_major_minor: KernelSeries,
    kernel_source: String,
    fedora: Option<FedoraVersion>,
    zfs: ZfsVersion,
    source_image: SourceImageRef,
    /// Entries of the stream's release index that cannot be used.
    skipped: Vec<SkippedEntries>,
}

/// A value that `--field` prints.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum VersionsField {
    Kernel,
    KernelMajorMinor,
    Fedora,
    Zfs,
    Coreos,
}

impl Versions {
    pub fn new(resolved: ResolvedSource, zfs: ZfsVersion) -> Self {
        Self {
            schema: DocumentSchema::new("versions", 2),
            coreos: resolved.image.version.clone(),
            kernel_major_minor: resolved.kernel.series(),
            fedora: resolved.kernel.fedora().or(resolved.fedora),
            source: resolved.source,
            kernel: resolved.kernel,
            kernel_source: resolved.kernel_source,
            source_image: resolved.image,
            skipped: resolved.skipped,
            zfs,
        }
    }

    pub fn field(&self, field: VersionsField) -> Option<String> {
        match field {
            VersionsField::Kernel => Some(self.kernel.to_string()),
            VersionsField::KernelMajorMinor => Some(self.kernel_major_minor.to_string()),
            VersionsField::Fedora => self.fedora.map(|fedora| fedora.to_string()),
            VersionsField::Zfs => Some(self.zfs.to_string()),
            VersionsField::Coreos => self.coreos.clone(),
        }
    }
}

impl Show for Versions {
    fn table(&self) -> String {
        let unknown = || "not named".to_owned();
        let rows = [
            ["source", &self.source],
            ["version", &self.coreos.clone().unwrap_or_else(unknown)],
            ["image", &self.source_image.image.to_string()],
            ["kernel", &format!("{} (from {})", self.kernel, self.kernel_source)],
            ["Fedora", &self.fedora.map_or_else(unknown, |fedora| fedora.to_string())],
            ["OpenZFS", &self.zfs.to_string()],
        ];
        output::columns(["WHAT", "VALUE"], rows.map(|row| row.map(str::to_owned)))
    }
}
