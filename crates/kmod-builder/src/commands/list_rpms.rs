use clap::Args;
use miette::Result;

use super::view::list_rpms::RpmList;
use super::{CommandContext, CommandOutcome};
use crate::io::image_rpms::ImageRpms;
use crate::io::store::ImageStore;
use crate::model::image::ImageRef;

/// List the RPMs of an image
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

pub async fn run(args: ListRpmsArgs, context: &CommandContext) -> Result<CommandOutcome> {
    let images = ImageStore::open(&args.image.store).await?;
    let contents = ImageRpms::open(&images, &args.image).await?;
    let rpms = contents.list().await?;
    context.output.show(&RpmList::new(contents.image(), rpms))?;
    Ok(CommandOutcome::Done)
}
