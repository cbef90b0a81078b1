use clap::Args;
use miette::Result;

use super::args::image_build::ImageBuildArgs;
use super::args::trust::TrustArgs;
use super::view::reproduce::ReproduceReport;
use super::{CommandContext, CommandOutcome};
use crate::io::image_build::{self, ImageBuildOptions};
use crate::io::image_diff::{self, Depth};
use crate::io::inputs;
use crate::io::podman::Reuse;
use crate::io::progress;
use crate::io::store::ImageStore;
use crate::model::image::{DigestRef, ImageRef};

/// Build an image again from its own inputs, and compare the two bit for bit
///
/// The inputs stand beside the image: in a registry as an artifact that refers to it, in a directory as the file
/// TAG.inputs.json. They must have the digest that is on the image's label, which proves that they are those that the
/// image's maker named, and says nothing of who that was; with --public-key or --identity-repo they are read from the
/// provenance that was signed. That the image was made of them is then seen by building it.
///
/// Everything is built anew, with no layer that podman has kept, in a directory that is removed; no store is
/// written to. Where the images differ, the layers, the packages, and the files and header tags in them are named.
/// The distribution's own packages are not pinned: a compiler that has been updated since is a difference, too.
#[derive(Debug, Args)]
#[command(after_help = "Exit status: 0 if both are the same, 3 if not, 1 if the comparison failed.

Examples:
  zfs-kmods reproduce oci:./images
  zfs-kmods reproduce docker://ghcr.io/OWNER/zfs-kmods@sha256:DIGEST --identity-repo OWNER/zfs-kmods
  zfs-kmods reproduce oci:./images --no-compiler-cache --jobs 1 --work-directory /var/tmp
  zfs-kmods reproduce docker://ghcr.io/OWNER/zfs-kmods:TAG --with oci:./images")]
pub struct ReproduceArgs {
    /// Image: oci:DIR[:TAG|@DIGEST] or docker://host/name[:TAG|@DIGEST]; DIR alone means its only image
    image: ImageRef,

    /// Build nothing, but compare with this image
    #[arg(
        long,
        value_name = "IMAGE",
        conflicts_with_all = ["keep_containers", "no_compiler_cache", "jobs", "work_directory", "trust_inputs", "isolation", "public_key", "identity_repo"]
    )]
    with: Option<ImageRef>,

    #[command(flatten)]
    building: ImageBuildArgs,

    #[command(flatten)]
    trust: TrustArgs,
}

pub async fn run(args: ReproduceArgs, context: &CommandContext) -> Result<CommandOutcome> {
    let report = match &args.with {
        Some(with) => {
            let (first, second) = (find(&args.image).await?, find(with).await?);
            let comparison = image_diff::compare(&first, &second, Depth::Files).await?;
            ReproduceReport::new(first, Some(second), comparison)
        }
        None => reproduce(&args, context).await?,
    };
    context.output.show(&report)?;
    Ok(if report.comparison.identical { CommandOutcome::Done } else { CommandOutcome::Refused })
}

async fn reproduce(args: &ReproduceArgs, context: &CommandContext) -> Result<ReproduceReport> {
    let CommandContext { upstream, config, .. } = context;
    let trust = args.trust.policy_for(&args.image.store, config).await?;
    let origin = inputs::origin(&args.image, trust.is_some(), args.building.trust_inputs)?;
    let images = ImageStore::open(&args.image.store).await?;
    let (image, inputs) = inputs::of(&images, &args.image, trust.as_ref()).await?;
    let (tool, ours) = (&inputs.tool, env!("CARGO_PKG_VERSION"));
    if tool != ours {
        progress::print_notice(&format!(
            "the image was composed by zfs-kmods {tool}, and this is {ours}: a difference may come from the program"
        ));
    }
    let options = ImageBuildOptions {
        repository: image_build::repository(Some(&args.image.store)).await?,
        ..args.building.options(Reuse::Nothing, upstream, upstream.inputs_policy(config)?, origin)?
    };
    let composed = image_build::build(&inputs, &options).await?;
    let comparison = image_diff::compare(&image, &composed.built.pinned(), Depth::Files).await?;
    Ok(ReproduceReport::new(image, None, comparison))
}

async fn find(name: &ImageRef) -> Result<DigestRef> {
    let stored = ImageStore::open(&name.store).await?.find(name).await?;
    Ok(DigestRef { store: name.store.clone(), digest: stored.digest })
}
