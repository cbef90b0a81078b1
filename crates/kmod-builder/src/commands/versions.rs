//! `versions`: what upstream has right now.

use clap::{Args, ValueEnum};
use futures_util::future::join;
use kmod_compat::{FedoraVersion, KernelRelease, ZfsVersion};
use miette::{IntoDiagnostic as _, Result};
use serde::Serialize;

use super::Outcome;
use super::gather::{self, Found};
use super::place::PlaceArgs;
use super::upstream::{self, UpstreamArgs};
use crate::model::inputs::BaseImage;
use crate::output::{self, Format, Show};

/// Show the kernel of a stream or image, and the newest OpenZFS of the line that is followed
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  zfs-kmods versions\n  zfs-kmods versions --base quay.io/fedora/fedora-kinoite:43\n  kernel=$(zfs-kmods versions --field kernel)"
)]
pub struct VersionsArgs {
    #[command(flatten)]
    place: PlaceArgs,

    /// Print this value only, for use in a shell
    #[arg(long, value_enum)]
    field: Option<Field>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Field {
    Kernel,
    KernelMajorMinor,
    Fedora,
    Zfs,
    Coreos,
}

#[derive(Serialize)]
struct Versions {
    place: String,
    coreos: Option<String>,
    kernel: KernelRelease,
    kernel_major_minor: kmod_compat::KernelSeries,
    kernel_source: String,
    fedora: Option<FedoraVersion>,
    zfs: ZfsVersion,
    base: BaseImage,
}

impl Versions {
    fn new(found: Found, zfs: ZfsVersion) -> Self {
        Self {
            coreos: found.base.version.clone(),
            kernel_major_minor: found.kernel.series(),
            fedora: found.kernel.fedora().or(found.fedora),
            place: found.place,
            kernel: found.kernel,
            kernel_source: found.kernel_source,
            base: found.base,
            zfs,
        }
    }

    fn field(&self, field: Field) -> Option<String> {
        match field {
            Field::Kernel => Some(self.kernel.to_string()),
            Field::KernelMajorMinor => Some(self.kernel_major_minor.to_string()),
            Field::Fedora => self.fedora.map(|fedora| fedora.to_string()),
            Field::Zfs => Some(self.zfs.to_string()),
            Field::Coreos => self.coreos.clone(),
        }
    }
}

impl Show for Versions {
    fn table(&self) -> String {
        let unknown = || "not named".to_owned();
        let rows = [
            ["place", &self.place],
            ["version", &self.coreos.clone().unwrap_or_else(unknown)],
            ["image", &self.base.image.to_string()],
            ["kernel", &format!("{} (from {})", self.kernel, self.kernel_source)],
            ["Fedora", &self.fedora.map_or_else(unknown, |fedora| fedora.to_string())],
            ["OpenZFS", &self.zfs.to_string()],
        ];
        output::columns(["WHAT", "VALUE"], rows.map(|row| row.map(str::to_owned)))
    }
}

/// Gather, show.
pub async fn run(args: VersionsArgs, upstream: &UpstreamArgs, format: Format) -> Result<Outcome> {
    let upstream = upstream.connect()?;
    let matrix = gather::matrix(None)?;
    // Both are asked at the same time, but a shell that wants the kernel does not wait for GitHub.
    let (found, zfs) = match args.field {
        Some(Field::Zfs) => {
            let zfs = gather::openzfs(&upstream, &matrix, None).await?;
            output::text(&format!("{}\n", zfs.version)).into_diagnostic()?;
            return Ok(Outcome::Done);
        }
        _ => join(args.place.find(&upstream), gather::openzfs(&upstream, &matrix, None)).await,
    };
    upstream::report_usage(&upstream);
    let versions = Versions::new(found?, zfs?.version);
    match args.field {
        None => output::show(format, &versions).into_diagnostic()?,
        Some(field) => {
            let value = versions.field(field).ok_or_else(|| {
                miette::miette!(
                    help = "leave --field out to see what is known",
                    "{} does not say which release it is",
                    versions.place
                )
            })?;
            output::text(&format!("{value}\n")).into_diagnostic()?;
        }
    }
    Ok(Outcome::Done)
}
