//! `publish`: a verified image into a registry, with its evidence, the tag last.

use std::path::PathBuf;

use clap::Args;
use jiff::Timestamp;
use miette::{Context as _, IntoDiagnostic as _, Result};
use serde::Serialize;

use super::Outcome;
use super::args::signing::SigningArgs;
use super::view;
use crate::io::evidence::signer::{self, Signer, SignerKind};
use crate::io::image_diff::{self, Depth};
use crate::io::layout::Layout;
use crate::io::progress::{self, ProgressOutput, ProgressSection};
use crate::io::publish;
use crate::io::registry::{Access, CredentialSources, Registries, RetryPolicy};
use crate::io::store::ImageStore;
use crate::io::{evidence, inputs, inspect};
use crate::model::Target;
use crate::model::evidence::verify::{EvidenceStatus, ImageFacts, StoredEvidence, evidence_status};
use crate::model::evidence::{
    EvidenceKind, Statement, StatementSubject, artifact, provenance, sbom, simple_signing,
};
use crate::model::image::{DigestRef, ImageLocation, ImageRef, Tag, TagOrDigest};
use crate::model::inputs::BuildInputs;
use crate::model::manifest::{Blob, ManifestWithBlobs, RawManifest};
use crate::model::oci::{self, Manifest};
use crate::model::publish::{Evidence, Publication, TagConflictPolicy};
use crate::model::tags::Channel;
use crate::model::verify::{self, Inspection, VerificationReport};
use crate::output::{self, Format, Show};

/// Publish an image of a local store in a registry, with provenance, SBOM and signatures
///
/// First the blobs, then the manifest by its digest, then the evidence; then everything is read back, and only then the
/// image gets its tag. What is there already is not sent again: run it again after whatever stopped it.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  COSIGN_PASSWORD=… zfs-kmods publish --from oci:images --to docker://ghcr.io/OWNER/zfs-kmods --key cosign.key
  zfs-kmods publish --from oci:images:TAG --to docker://127.0.0.1:5000/zfs-kmods --candidate --no-sign")]
pub struct PublishArgs {
    /// Image to publish; DIR alone means its only image
    #[arg(long, value_name = "oci:DIR[:TAG]", default_value = "oci:./images")]
    from: ImageRef,

    /// Repository to publish it in
    #[arg(long, value_name = "docker://HOST/NAME")]
    to: ImageLocation,

    /// Inputs that the image was built from [default: TAG.inputs.json in the directory, where `build` wrote them]
    #[arg(long, value_name = "FILE")]
    inputs: Option<PathBuf>,

    #[command(flatten)]
    options: PublishOptions,
}

/// How to publish; the same for `build --publish`.
#[derive(Clone, Debug, Args)]
pub struct PublishOptions {
    /// Publish as a candidate, under the tag candidate-zfs-VERSION_kernel-RELEASE
    #[arg(long)]
    candidate: bool,

    /// Publish for a branch, under the tag beta-BRANCH-zfs-…, as a candidate candidate-beta-BRANCH-zfs-…; the streams,
    /// stable, testing and next, share the users' tags
    #[arg(long, value_name = "CHANNEL", default_value = "stable")]
    channel: Channel,

    /// Move the tag if it points to another image
    #[arg(long)]
    replace: bool,

    /// Upload what the workflow signed to GitHub's attestations, too (GITHUB_TOKEN with attestations: write)
    #[arg(long)]
    github_attestations: bool,

    #[command(flatten)]
    signing: SigningArgs,
}

impl PublishOptions {
    /// Fails, with what to do, where nothing could be signed.
    pub async fn signing_is_possible(&self) -> Result<()> {
        self.signing.signer().await.map(drop)
    }

    /// Neither candidates nor branches ever get a tag that users look for.
    fn tag(&self, target: &Target) -> Result<Tag> {
        let tag =
            if self.candidate { self.channel.candidate_tag(target) } else { self.channel.image_tag(target) };
        tag.into_diagnostic()
    }
}

/// What came of it.
#[derive(Serialize)]
pub struct PublishReport {
    image: String,
    tag: String,
    /// What carries the inputs, by its digest.
    inputs: String,
    steps: usize,
    signed: bool,
    /// How many requests the registry was sent.
    requests: u64,
}

impl Show for PublishReport {
    fn table(&self) -> String {
        let done = if self.steps == 0 { "published before, nothing to do" } else { "published" };
        let signed =
            if self.signed { "with provenance, SBOM and signature" } else { "NOT SIGNED (--no-sign)" };
        let Self { image, tag, inputs, requests, .. } = self;
        format!(
            "{done}, {signed}, in {requests} requests\nimage   {image}\ntag     {tag}\ninputs  {inputs}\n"
        )
    }
}

/// Gather, decide, do, show.
pub async fn run(args: PublishArgs, format: Format) -> Result<Outcome> {
    match publish(&args.from, args.inputs, &args.to, &args.options).await? {
        Ok(report) => {
            output::show(format, &report).into_diagnostic()?;
            Ok(Outcome::Done)
        }
        Err(report) => {
            output::show(format, &*report).into_diagnostic()?;
            Ok(Outcome::Refused)
        }
    }
}

/// Publishes an image of a layout. The inner error is the report of an image that breaks the contract.
pub async fn publish(
    from: &ImageRef,
    inputs: Option<PathBuf>,
    to: &ImageLocation,
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
    let report = verify::verify(&inspection, None);
    let verified = match report.verified() {
        Ok(verified) => verified,
        Err(report) => return Ok(Err(report)),
    };
    let tag = options.tag(verified.target())?;
    let inputs = inputs.unwrap_or_else(|| inputs::file(directory, verified.target()));
    let inputs = read_inputs(&inputs, &inspection)?;
    let image = manifest_with_blobs(&Layout::open(directory)?, &inspection)?;

    let section = ProgressSection::begin(ProgressOutput::detect(), format!("Publishing {}", inputs.target()));
    let sources = CredentialSources::from_variables(|name| std::env::var_os(name));
    let registries = Registries::new(sources, RetryPolicy::default());
    let registry = registries.open(repository, Access::Push).await?;
    let (remote, referrers) =
        publish::remote_state(&registry, image.digest(), &tag, &simple_signing::tag(image.digest())).await?;
    let conflict_policy =
        if options.replace { TagConflictPolicy::Replace } else { TagConflictPolicy::Refuse };
    if let Err(refusal) = conflict_policy.may_tag(&tag, remote.tag.as_ref(), image.digest()) {
        // Before anything is signed, for the transparency log forgets nothing.
        if let Some(there) = remote.tag {
            show_difference(DigestRef { store: to.clone(), digest: there }, &inspection.image).await;
        }
        return Err(refusal.into());
    }
    let mut for_github = Vec::new();
    let size = image.manifest().bytes.len() as u64;
    let subject = StatementSubject::image(repository.to_string(), image.digest().clone(), size);
    let attachment = artifact::inputs(&inputs, &subject);
    let inputs_at = DigestRef { store: to.clone(), digest: attachment.digest().clone() };
    let publication = if signer.signs() {
        let payload = simple_signing::payload(&repository.to_string(), image.digest());
        let signature = remote.signature.as_ref();
        let attachments = StoredEvidence {
            bundles: evidence::bundles(&registry, &referrers).await,
            simple_signatures: evidence::simple_signatures(&registry, signature, Some(&payload)).await,
        };
        let work = EvidenceBuilder {
            image: ImageFacts::of(&repository.to_string(), &inspection),
            subject,
            inspection: &inspection,
            inputs: &inputs,
            signer: &signer,
            signing: &options.signing,
        };
        let (evidence, bundles) = work.evidence(&attachments).await?;
        for_github = bundles;
        Publication::new(image, evidence, tag, conflict_policy)?
    } else {
        section.line(signer::UNSIGNED);
        Publication::without_evidence(image, tag, conflict_policy)
    };
    let publication = publication.with_inputs(attachment)?;
    let progress = section.uploads();
    let published =
        publish::publish(&registry, &publication, &remote, &progress, |step| section.line(&step.to_string()))
            .await?;
    if options.github_attestations {
        upload(&options.signing, &for_github, &section).await?;
    }
    drop(section);
    Ok(Ok(PublishReport {
        image: published.pinned().to_string(),
        tag: published.tag().to_string(),
        inputs: inputs_at.to_string(),
        steps: published.steps(),
        signed: signer.signs(),
        requests: registries.usage().requests,
    }))
}

/// Says what differs between the image that has the tag and ours.
async fn show_difference(there: DigestRef, ours: &DigestRef) {
    let text = match image_diff::compare(&there, ours, Depth::Packages).await {
        Ok(comparison) => {
            format!(
                "what differs, first the image that has the tag:\n\n{}",
                view::image_diff::table(&comparison)
            )
        }
        Err(error) => format!("what differs could not be found out: {error}"),
    };
    progress::note(&text);
}

/// Hands bundles to GitHub, where `gh attestation verify` looks first.
async fn upload(signing: &SigningArgs, bundles: &[Vec<u8>], section: &ProgressSection) -> Result<()> {
    let github = signing.github_attestations().await?;
    for bundle in bundles {
        let id = github.upload(bundle).await?;
        section.line(&format!("GitHub keeps the attestation {id}"));
    }
    Ok(())
}

/// The inputs, if they are those that the image says it was built from.
fn read_inputs(path: &std::path::Path, inspection: &Inspection) -> Result<BuildInputs> {
    let inputs =
        inputs::read(path).wrap_err("the image's inputs are needed: name their file with --inputs")?;
    let label = ImageFacts::of("", inspection).inputs_label.map_err(|reason| miette::miette!("{reason}"))?;
    if label.as_ref() == Some(&inputs.digest()) {
        return Ok(inputs);
    }
    Err(miette::miette!(
        help = "provenance must tell the truth: name the inputs of this image with --inputs",
        "{} holds other inputs than those that the image was built from",
        path.display()
    ))
}

/// The image, with its blobs where they lie.
fn manifest_with_blobs(layout: &Layout, inspection: &Inspection) -> Result<ManifestWithBlobs> {
    let digest = inspection.image.digest.clone();
    let (_, bytes) = layout
        .manifest(&TagOrDigest::Digest(digest.clone()))?
        .ok_or_else(|| miette::miette!("the image {digest} is gone from the store"))?;
    let manifest: Manifest = serde_json::from_slice(&bytes).into_diagnostic()?;
    let blob = |descriptor: &oci::Descriptor| {
        Blob::file(layout.path(&descriptor.digest), descriptor.digest.clone(), descriptor.size)
    };
    let blobs = std::iter::once(&manifest.config).chain(&manifest.layers).map(blob).collect();
    ManifestWithBlobs::new(RawManifest::new(bytes, oci::MANIFEST), blobs).into_diagnostic()
}

/// An image about to get its evidence.
struct EvidenceBuilder<'a> {
    image: ImageFacts,
    subject: StatementSubject,
    inspection: &'a Inspection,
    inputs: &'a BuildInputs,
    signer: &'a Signer,
    signing: &'a SigningArgs,
}

impl EvidenceBuilder<'_> {
    /// Makes the evidence that is missing, and accepts what is there and holds. Beside it, what the workflow signed now.
    async fn evidence(&self, attachments: &StoredEvidence) -> Result<(Evidence, Vec<Vec<u8>>)> {
        let (mut evidence, mut by_workflow) = (Evidence::default(), Vec::new());
        for signer_kind in self.signer.signer_kinds() {
            let evidence_status = self.evidence_status(attachments, signer_kind).await?;
            evidence.accepted.extend(evidence_status.accepted);
            for kind in evidence_status.missing {
                let statement = self.statement(kind).await?;
                if let Some(signed) = self.signer.sign(signer_kind, &statement).await? {
                    let now = Timestamp::now();
                    evidence.made.push(artifact::referrer(&signed.bundle, kind, &self.subject, now));
                    if signer_kind == SignerKind::Keyless {
                        by_workflow.push(signed.bundle);
                    }
                }
            }
            if evidence_status.simple_signature_missing
                && let Some(signature) = self.signer.sign_simple(&self.subject)?
            {
                let tag = simple_signing::tag(&self.image.digest);
                evidence.signature = Some((tag, simple_signing::manifest_with_blobs(&signature)));
            }
        }
        Ok((evidence, by_workflow))
    }

    /// What of a party's evidence is there already. What is not known is an error: nothing is published over it.
    async fn evidence_status(
        &self,
        attachments: &StoredEvidence,
        signer_kind: SignerKind,
    ) -> Result<EvidenceStatus> {
        let root = self.signing.trusted_root().await?;
        let Some(trust) = self.signer.trust(signer_kind, root).await? else {
            return Ok(EvidenceStatus::default());
        };
        evidence_status(&self.image, attachments, &trust).map_err(|reason| {
            miette::miette!(
                help = "run it again when the registry answers",
                "what is published already is not known: {reason}"
            )
        })
    }

    async fn statement(&self, kind: EvidenceKind) -> Result<Statement> {
        match kind {
            EvidenceKind::Provenance => {
                let platform = self.signer.build_platform(self.signing.tokens().as_ref(), None).await?;
                Ok(Statement::new(kind, &self.subject, &provenance::predicate(self.inputs, &platform)))
            }
            EvidenceKind::Sbom => {
                let packages: Vec<_> = self
                    .inspection
                    .packages
                    .iter()
                    .filter_map(|found| {
                        let (package, _) = found.content.as_ref().ok()?;
                        Some(sbom::SbomPackage::of(&found.path, package))
                    })
                    .collect();
                Ok(Statement::new(
                    kind,
                    &self.subject,
                    &sbom::document(&self.subject, self.inputs, &packages),
                ))
            }
            EvidenceKind::Signature => Ok(Statement::signature(&self.subject)),
            EvidenceKind::BootTest => {
                Err(miette::miette!("the result of a boot test is made by `boot-test`"))
            }
        }
    }
}
