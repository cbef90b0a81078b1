use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::Args;
use miette::Result;

use super::view::extract_rpms::ExtractReport;
use super::{CommandContext, CommandOutcome};
use crate::io::image_rpms::ImageRpms;
use crate::io::store::ImageStore;
use crate::model::image::ImageRef;
use crate::model::packages::PackageGroup;

/// Write the RPMs of an image into a directory
///
/// Reads them straight from the directory or the registry; no container is started. Only the layers that are needed
/// are fetched, and every byte is verified before any file gets its name. The main packages lie in the directory itself,
/// the others in devel, debug, other and src below it. Files that are there already and the same stay as they are.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  zfs-kmods extract-rpms oci:./images
  zfs-kmods extract-rpms --only main --to /tmp/zfs oci:./images:zfs-2.4.3_kernel-6.17.8-300.fc43.x86_64
  zfs-kmods extract-rpms --only devel,src docker://ghcr.io/OWNER/zfs-kmods:zfs-2.4.3_kernel-6.17.8-300.fc43.x86_64")]
pub struct ExtractRpmsArgs {
    /// Image: oci:DIR[:TAG|@DIGEST] or docker://host/name[:TAG|@DIGEST]; DIR alone means its only image
    image: ImageRef,

    /// Directory to write into; made if it is not there
    #[arg(long, value_name = "DIR", default_value = "./rpms")]
    to: PathBuf,

    /// Groups of packages, joined by commas [default: all]
    #[arg(long, value_name = "GROUPS", value_enum, value_delimiter = ',')]
    only: Vec<PackageGroup>,

    /// Replace files that have the same names and other contents
    #[arg(long)]
    replace: bool,
}

pub async fn run(args: ExtractRpmsArgs, context: &CommandContext) -> Result<CommandOutcome> {
    let groups: BTreeSet<_> =
        if args.only.is_empty() { PackageGroup::ALL.into() } else { args.only.into_iter().collect() };
    let images = ImageStore::open(&args.image.store).await?;
    let contents = ImageRpms::open(&images, &args.image).await?;
    let rpms = contents.extract(&groups, &args.to, args.replace).await?;
    if rpms.is_empty() {
        tracing::warn!(image = %args.image, "the image has no packages of these groups");
    }
    context.output.show(&ExtractReport::new(contents.image(), rpms))?;
    Ok(CommandOutcome::Done)
}
