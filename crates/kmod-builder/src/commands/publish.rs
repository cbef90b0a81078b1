use std::path::{Path, PathBuf};

use clap::Args;
use miette::{IntoDiagnostic as _, Result};

use super::args::signing::SigningArgs;
use super::view;
use super::view::publish::PublishReport;
use super::{CommandContext, CommandOutcome, UsageError};
use crate::io::evidence::builder::EvidenceBuilder;
use crate::io::evidence::signer::SignerSources;
use crate::io::evidence::{self, signer};
use crate::io::image_diff::{self, Depth};
use crate::io::layout::Layout;
use crate::io::progress::{self, ProgressOutput, ProgressSection};
use crate::io::publish::{self, local};
use crate::io::registry::{self, Access, RegistryWriter};
use crate::io::store::ImageStore;
use crate::io::{inputs, inspect, kernel_rpm};
use crate::model::config::PublisherConfig;
use crate::model::evidence::verify::StoredEvidence;
use crate::model::evidence::{StatementSubject, artifact, simple_signing};
use crate::model::image::{DigestRef, ImageLocation, ImageRef, Tag};
use crate::model::publish::{Publication, TagConflictPolicy};
use crate::model::tags::Channel;
use crate::model::verify::{self, VerificationReport};
use crate::model::{DocumentSchema, Target};

/// Publish an image of a local store in a registry, with provenance, SBOM and signatures
///
/// Uploads blobs, manifest and evidence, reads everything back, and sets the tag of a candidate last:
/// candidate-zfs-VERSION_kernel-RELEASE. `boot-test` and `promote` make it an image for users. Existing content is not
/// uploaded again: run it again after an interruption.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  COSIGN_PASSWORD=… zfs-kmods publish --from oci:images --to docker://ghcr.io/OWNER/zfs-kmods --key cosign.key
  zfs-kmods publish --from oci:images:TAG --to docker://127.0.0.1:5000/zfs-kmods --no-sign")]
pub struct PublishArgs {
    /// Image to publish; DIR alone means its only image
    #[arg(long, value_name = "oci:DIR[:TAG]", default_value = "oci:./images")]
    from: ImageRef,

    /// Repository to publish it in [default: that of the configuration]
    #[arg(long, value_name = "docker://HOST/NAME")]
    to: Option<ImageLocation>,

    /// Inputs that the image was built from [default: TAG.inputs.json in the directory, where `build` wrote them]
    #[arg(long, value_name = "FILE")]
    inputs: Option<PathBuf>,

    #[command(flatten)]
    options: PublishOptions,
}

/// Options of `publish` and of `build --publish`.
#[derive(Clone, Debug, Args)]
pub struct PublishOptions {
    /// Every image is published as a candidate
    #[arg(long, hide = true)]
    candidate: bool,

    /// Publish for a branch, under the tag candidate-beta-BRANCH-zfs-VERSION_kernel-RELEASE; the streams, stable, testing
    /// and next, share the candidates without beta-
    #[arg(long, value_name = "CHANNEL", default_value = "stable")]
    channel: Channel,

    /// Move the tag if it points to another image
    #[arg(long)]
    replace: bool,

    /// Also upload keyless signatures to GitHub's attestations (GITHUB_TOKEN with attestations: write)
    #[arg(long)]
    github_attestations: bool,

    #[command(flatten)]
    signing: SigningArgs,
}

impl PublishOptions {
    /// Fails unless there is a signer or `--no-sign` is given.
    pub async fn check_signer(&self) -> Result<()> {
        self.signing.signer().await?;
        Ok(())
    }

    /// `None` with `--no-sign`.
    pub fn signer_sources(&self) -> Option<SignerSources> {
        (!self.signing.no_sign).then(|| self.signing.sources())
    }

    /// Fails for a channel that belongs to no source.
    pub fn check_channel(&self, config: &PublisherConfig) -> Result<(), UsageError> {
        config.check_channel(&self.channel).map_err(|unknown| UsageError::of(&unknown))
    }

    /// Only a promotion gives tags that users follow.
    fn tag(&self, target: &Target) -> Result<Tag> {
        self.channel.candidate_tag(target).into_diagnostic()
    }
}

pub async fn run(args: PublishArgs, context: &CommandContext) -> Result<CommandOutcome> {
    args.options.check_channel(&context.config)?;
    let Some(to) = args.to.as_ref().or(context.config.repository.as_ref()) else {
        let help = "give --to <docker://HOST/NAME>, or `repository` in zfs-kmods.toml";
        return Err(UsageError::new("no repository to publish in is named", help).into());
    };
    let downloads = context.upstream.cache()?.join("downloads");
    match publish(&args.from, args.inputs, to, &downloads, &args.options).await? {
        Ok(report) => context.output.show(&report).map(|()| CommandOutcome::Done),
        Err(report) => context.output.show(&*report).map(|()| CommandOutcome::Refused),
    }
}

/// The kernel-devel package of the image is published, too, if it is in `downloads`. The inner error is the report of an
/// image that violates the contract.
pub async fn publish(
    from: &ImageRef,
    inputs: Option<PathBuf>,
    to: &ImageLocation,
    downloads: &Path,
    options: &PublishOptions,
) -> Result<Result<PublishReport, Box<VerificationReport>>> {
    let (ImageLocation::Layout(directory), ImageLocation::Registry(repository)) = (&from.store, to) else {
        return Err(miette::miette!(
            help = "publish --from oci:DIR --to docker://HOST/NAME",
            "images are published from a directory into a registry"
        ));
    };
    let signer = options.signing.signer().await?;
    let inspection = inspect::inspect(&ImageStore::open(&from.store).await?, from).await?;
    let verified = match verify::verify(&inspection, None).verified() {
        Ok(verified) => verified,
        Err(report) => return Ok(Err(report)),
    };
    let tag = options.tag(verified.target())?;
    let inputs = inputs.unwrap_or_else(|| inputs::file(directory, verified.target()));
    let inputs = local::inputs(&inputs, &inspection)?;
    let image = local::image(&Layout::open(directory)?, &inspection.image.digest)?;

    let section = ProgressSection::begin(ProgressOutput::detect(), format!("Publishing {}", inputs.target()));
    let registries = registry::connect();
    let registry = RegistryWriter::open(&registries, repository, Access::Push).await?;
    let (remote, referrers) =
        publish::remote_state(&registry, image.digest(), &tag, &simple_signing::tag(image.digest())).await?;
    let conflict_policy =
        if options.replace { TagConflictPolicy::Replace } else { TagConflictPolicy::Refuse };
    // Checked before signing, because entries of the transparency log are permanent.
    if let Err(conflict) = conflict_policy.may_tag(&tag, remote.tag.as_ref(), image.digest()) {
        if let Some(digest) = remote.tag {
            show_difference(DigestRef { store: to.clone(), digest }, &inspection.image).await;
        }
        return Err(conflict.into());
    }
    let size = image.manifest().bytes.len() as u64;
    let subject = StatementSubject::image(repository.to_string(), image.digest().clone(), size);
    let attached_inputs = artifact::inputs(&inputs, &subject);
    let inputs_ref = DigestRef { store: to.clone(), digest: attached_inputs.digest().clone() };
    let mut keyless_bundles = Vec::new();
    let publication = if signer.signs() {
        let payload = simple_signing::payload(&subject.name, image.digest());
        let signature = remote.signature.as_ref();
        let stored = StoredEvidence {
            bundles: evidence::bundles(&registry, &referrers).await,
            simple_signatures: evidence::simple_signatures(&registry, signature, Some(&payload)).await,
        };
        let (inspection, inputs, sources) = (&inspection, &inputs, &options.signing.sources());
        let subject = subject.clone();
        let builder = EvidenceBuilder { subject, inspection, inputs, signer: &signer, sources };
        let (evidence, bundles) = builder.build(&stored).await?;
        keyless_bundles = bundles;
        Publication::new(image, evidence, tag, conflict_policy)?
    } else {
        section.line(signer::UNSIGNED);
        Publication::without_evidence(image, tag, conflict_policy)
    };
    let mut publication = publication.with(attached_inputs)?;
    if let Some(kept) = kernel_rpm::kept(&inputs, downloads, &subject).into_diagnostic()? {
        publication = publication.with(kept)?;
    }
    let progress = section.uploads();
    let published =
        publish::publish(&registry, &publication, &remote, &progress, |step| section.line(&step.to_string()))
            .await?;
    if options.github_attestations {
        let github = options.signing.sources().github_attestations().await?;
        for bundle in &keyless_bundles {
            let id = github.upload(bundle).await?;
            section.line(&format!("uploaded attestation {id} to GitHub"));
        }
    }
    drop(section);
    Ok(Ok(PublishReport {
        schema: DocumentSchema::new("publish-report", 2),
        image: published.pinned().clone(),
        tag: published.tag().clone(),
        inputs: inputs_ref,
        steps: published.steps(),
        signed: signer.signs(),
        requests: registries.stats().requests,
    }))
}

async fn show_difference(tagged: DigestRef, ours: &DigestRef) {
    let text = match image_diff::compare(&tagged, ours, Depth::Packages).await {
        Ok(comparison) => {
            let table = view::image_diff::table(&comparison);
            format!("differences from the image with the tag, which is first:\n\n{table}")
        }
        Err(error) => format!("cannot compare with the image that has the tag: {error}"),
    };
    progress::print_notice(&text);
}
