//! `list-rpms`: what is in an image.

use clap::Args;
use indicatif::HumanBytes;
use miette::{IntoDiagnostic as _, Result};
use serde::Serialize;

use super::Outcome;
use crate::io::image_rpms::{ImageRpms, ListedRpm};
use crate::io::store::ImageStore;
use crate::model::image::ImageRef;
use crate::model::packages::{LayerKind, Package, PackageGroup};
use crate::output::{self, Format, Show};

/// RpmList the RPMs of an image
///
/// Reads them straight from the directory or the registry; no container is started. The sizes are those of the RPM
/// files. As JSON, each comes with its digest, licence, and what it provides and requires.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  zfs-kmods list-rpms oci:./images
  zfs-kmods list-rpms --format json docker://ghcr.io/OWNER/zfs-kmods:zfs-2.4.3_kernel-6.17.8-300.fc43.x86_64")]
pub struct ListRpmsArgs {
    /// Image: oci:DIR[:TAG|@DIGEST] or docker://host/name[:TAG|@DIGEST]; DIR alone means its only image
    image: ImageRef,
}

/// Gather, show.
pub async fn run(args: ListRpmsArgs, format: Format) -> Result<Outcome> {
    let images = ImageStore::open(&args.image.store).await?;
    let contents = ImageRpms::open(&images, &args.image).await?;
    let rpms = contents.list().await?.into_iter().map(RpmRow::from).collect();
    output::show(format, &RpmList { image: contents.image().to_string(), rpms }).into_diagnostic()?;
    Ok(Outcome::Done)
}

#[derive(Serialize)]
struct RpmList {
    /// By digest.
    image: String,
    rpms: Vec<RpmRow>,
}

#[derive(Serialize)]
struct RpmRow {
    path: String,
    group: PackageGroup,
    part: LayerKind,
    /// As `rpm -q` prints it.
    nevra: String,
    evr: String,
    #[serde(flatten)]
    package: Package,
}

impl From<ListedRpm> for RpmRow {
    fn from(ListedRpm { path, group, package }: ListedRpm) -> Self {
        Self { path, group, part: package.part(), nevra: package.nevra(), evr: package.evr(), package }
    }
}

impl Show for RpmList {
    fn table(&self) -> String {
        let rows = self.rpms.iter().map(|row| {
            [
                row.package.name.clone(),
                row.evr.clone(),
                row.package.file_arch().to_owned(),
                HumanBytes(row.package.size).to_string(),
                row.group.to_string(),
            ]
        });
        output::columns(["NAME", "EVR", "ARCH", "SIZE", "GROUP"], rows)
    }
}
