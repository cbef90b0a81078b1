//! Steps of publishing an image. The tag is set last, so that no tag points to an image without its evidence, even
//! after an interruption.

use std::collections::BTreeSet;
use std::fmt;

use super::Digest;
use super::image::{DigestRef, Tag};
use super::manifest::{ManifestWithBlobs, RawManifest};
use super::referrers::signatures_are_within;

#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// Valid referrers in the repository.
    pub accepted: BTreeSet<Digest>,
    /// New referrers: provenance, SBOM, signature bundle.
    pub made: Vec<ManifestWithBlobs>,
    /// The simple signature for podman, bootc and rpm-ostree, and its tag.
    pub signature: Option<(Tag, ManifestWithBlobs)>,
}

/// If the tag points to another image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TagConflictPolicy {
    Refuse,
    Replace,
}

/// An image to publish, with its evidence, inputs and tag.
///
/// Invariant: every attachment refers to the image, and there is evidence unless `--no-sign` was given.
#[derive(Clone, Debug)]
pub struct Publication {
    image: ManifestWithBlobs,
    evidence: Evidence,
    /// Beside the evidence: the inputs, and what upstream may delete.
    attached: Vec<ManifestWithBlobs>,
    tag: Tag,
    conflict_policy: TagConflictPolicy,
}

impl Publication {
    pub fn new(
        image: ManifestWithBlobs,
        evidence: Evidence,
        tag: Tag,
        conflict_policy: TagConflictPolicy,
    ) -> Result<Self, PublicationError> {
        if evidence.accepted.is_empty() && evidence.made.is_empty() {
            return Err(PublicationError::NoEvidence { tag });
        }
        evidence.made.iter().try_for_each(|attachment| refers_to(&image, attachment))?;
        Ok(Self { image, evidence, attached: Vec::new(), tag, conflict_policy })
    }

    /// For `--no-sign`.
    pub fn without_evidence(image: ManifestWithBlobs, tag: Tag, conflict_policy: TagConflictPolicy) -> Self {
        Self { image, evidence: Evidence::default(), attached: Vec::new(), tag, conflict_policy }
    }

    pub fn with(mut self, attached: ManifestWithBlobs) -> Result<Self, PublicationError> {
        refers_to(&self.image, &attached)?;
        self.attached.push(attached);
        Ok(self)
    }

    pub fn image(&self) -> &ManifestWithBlobs {
        &self.image
    }

    pub fn evidence(&self) -> &Evidence {
        &self.evidence
    }

    pub fn tag(&self) -> &Tag {
        &self.tag
    }

    /// New evidence, and what is attached beside it.
    pub fn attachments(&self) -> impl Iterator<Item = &ManifestWithBlobs> {
        self.evidence.made.iter().chain(&self.attached)
    }

    /// Every referrer that the image must have before it gets its tag.
    pub fn referrers(&self) -> BTreeSet<Digest> {
        let made = self.attachments().map(|attachment| attachment.digest().clone());
        made.chain(self.evidence.accepted.iter().cloned()).collect()
    }

    /// The missing steps. Manifests follow their blobs; the tag is last, after everything was read back.
    pub fn steps(&self, remote: &RemoteState) -> Result<Vec<PublishStep>, PublicationError> {
        self.may_tag(remote.tag.as_ref())?;
        let mut steps = Vec::new();
        let image = self.image.digest();
        if !remote.image {
            steps.extend([PublishStep::UploadBlobs(image.clone()), PublishStep::PutManifest(image.clone())]);
        }
        let attached = self.attachments().map(ManifestWithBlobs::digest);
        let missing: Vec<_> = attached.filter(|made| !remote.referrers.contains(*made)).cloned().collect();
        for digest in &missing {
            steps
                .extend([PublishStep::UploadBlobs(digest.clone()), PublishStep::PutManifest(digest.clone())]);
        }
        if !missing.is_empty() {
            steps.push(PublishStep::UpdateReferrersIndex(image.clone()));
        }
        if let Some((tag, ours)) = &self.evidence.signature {
            let there = remote.signature.as_ref();
            if !there.is_some_and(|stored| signatures_are_within(ours.manifest(), stored)) {
                steps.push(PublishStep::AddSignature(tag.clone()));
            }
        }
        let tagged = remote.tag.as_ref() == Some(image);
        if !steps.is_empty() || !tagged {
            steps.push(PublishStep::ReadBack(image.clone()));
        }
        if !tagged {
            steps.push(PublishStep::PutTag(self.tag.clone()));
        }
        Ok(steps)
    }

    pub fn may_tag(&self, there: Option<&Digest>) -> Result<(), PublicationError> {
        self.conflict_policy.may_tag(&self.tag, there, self.image.digest())
    }
}

impl TagConflictPolicy {
    pub fn may_tag(self, tag: &Tag, there: Option<&Digest>, ours: &Digest) -> Result<(), PublicationError> {
        match there {
            Some(there) if there != ours && self == Self::Refuse => {
                let (tag, there, ours) = (tag.clone(), there.clone(), ours.clone());
                Err(PublicationError::TagConflict { tag, there, ours })
            }
            _ => Ok(()),
        }
    }
}

fn refers_to(image: &ManifestWithBlobs, attachment: &ManifestWithBlobs) -> Result<(), PublicationError> {
    if attachment.subject() == Some(image.digest()) {
        return Ok(());
    }
    let (evidence, image) = (attachment.digest().clone(), image.digest().clone());
    Err(PublicationError::OtherSubject { evidence, image })
}

#[derive(Clone, Debug, Default)]
pub struct RemoteState {
    pub tag: Option<Digest>,
    pub image: bool,
    /// Only those listed by the registry or its referrers index.
    pub referrers: BTreeSet<Digest>,
    pub signature: Option<RawManifest>,
}

/// Idempotent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublishStep {
    /// Upload the missing blobs of this manifest.
    UploadBlobs(Digest),
    PutManifest(Digest),
    /// Add the new referrers of this image to its index, if the registry has no referrers API.
    UpdateReferrersIndex(Digest),
    /// Append our simple signature to those at this tag.
    AddSignature(Tag),
    /// Read this image, its referrers and its signature.
    ReadBack(Digest),
    PutTag(Tag),
}

impl fmt::Display for PublishStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UploadBlobs(digest) => write!(f, "upload the blobs of {}", digest.short()),
            Self::PutManifest(digest) => write!(f, "store the manifest {}", digest.short()),
            Self::UpdateReferrersIndex(digest) => {
                write!(f, "update the referrers index of {}", digest.short())
            }
            Self::AddSignature(tag) => write!(f, "add the signature at {tag}"),
            Self::ReadBack(digest) => write!(f, "read {} and its evidence back", digest.short()),
            Self::PutTag(tag) => write!(f, "set the tag {tag}"),
        }
    }
}

/// A published image. Only `io::publish::publish` makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedImage {
    pinned: DigestRef,
    tag: Tag,
    steps: usize,
}

impl PublishedImage {
    pub(crate) fn new(pinned: DigestRef, tag: Tag, steps: usize) -> Self {
        Self { pinned, tag, steps }
    }

    pub fn pinned(&self) -> &DigestRef {
        &self.pinned
    }

    pub fn tag(&self) -> &Tag {
        &self.tag
    }

    /// Number of steps that were run; 0 if the image was published already.
    pub fn steps(&self) -> usize {
        self.steps
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
pub enum PublicationError {
    #[error("the tag `{tag}` points to {there}, and this image is {ours}")]
    #[diagnostic(help(
        "the same inputs give the same digest, so something differs: compare the images with `zfs-kmods reproduce IMAGE \
         --with IMAGE`, or move the tag with `--replace`"
    ))]
    TagConflict { tag: Tag, there: Digest, ours: Digest },
    #[error("no evidence for the image with the tag `{tag}`")]
    #[diagnostic(help("sign with `--key` or in GitHub Actions with `id-token: write`, or give `--no-sign`"))]
    NoEvidence { tag: Tag },
    #[error("the attachment {evidence} does not refer to the image {image}")]
    OtherSubject { evidence: Digest, image: Digest },
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::manifest::Blob;
    use super::super::oci::MANIFEST;
    use super::*;

    fn manifest_with_blobs(content: &str, subject: Option<&Digest>) -> ManifestWithBlobs {
        let blob = Blob::of(content.to_owned());
        let describe = |digest: &Digest, size: u64| json!({ "digest": digest.as_str(), "size": size });
        let mut manifest = json!({ "config": describe(&blob.digest, blob.size), "layers": [] });
        if let Some(subject) = subject {
            manifest["subject"] = describe(subject, 1);
        }
        ManifestWithBlobs::new(RawManifest::new(manifest.to_string(), MANIFEST), vec![blob]).unwrap()
    }

    fn publication() -> Publication {
        let image = manifest_with_blobs("image", None);
        let made =
            ["provenance", "sbom"].map(|kind| manifest_with_blobs(kind, Some(image.digest()))).to_vec();
        let signature = Some(("sha256-0.sig".parse().unwrap(), manifest_with_blobs("signature", None)));
        let inputs = manifest_with_blobs("inputs", Some(image.digest()));
        let evidence = Evidence { made, signature, ..Evidence::default() };
        let publication =
            Publication::new(image, evidence, "tag".parse().unwrap(), TagConflictPolicy::Refuse).unwrap();
        publication.with(inputs).unwrap()
    }

    fn signature(publication: &Publication) -> Option<RawManifest> {
        publication.evidence().signature.as_ref().map(|(_, signed)| signed.manifest().clone())
    }

    #[test]
    fn rejects_missing_evidence_and_attachments_of_other_images() {
        let image = manifest_with_blobs("image", None);
        let tag: Tag = "tag".parse().unwrap();
        let none =
            Publication::new(image.clone(), Evidence::default(), tag.clone(), TagConflictPolicy::Refuse);
        assert!(matches!(none, Err(PublicationError::NoEvidence { .. })));
        let stray =
            Evidence { made: vec![manifest_with_blobs("x", Some(&Digest::of(b"")))], ..Evidence::default() };
        let stray = Publication::new(image.clone(), stray, tag.clone(), TagConflictPolicy::Refuse);
        assert!(matches!(stray, Err(PublicationError::OtherSubject { .. })));
        let stray = manifest_with_blobs("inputs", Some(&Digest::of(b"")));
        let stray = Publication::without_evidence(image, tag, TagConflictPolicy::Refuse).with(stray);
        assert!(matches!(stray, Err(PublicationError::OtherSubject { .. })));
    }

    #[test]
    fn plans_every_step_or_none() {
        let publication = publication();
        let steps = publication.steps(&RemoteState::default()).unwrap();
        assert_eq!(steps.len(), 12);
        let remote = RemoteState {
            tag: Some(publication.image().digest().clone()),
            image: true,
            referrers: publication.referrers(),
            signature: signature(&publication),
        };
        assert_eq!(publication.steps(&remote).unwrap(), []);
    }

    proptest! {
        #[test]
        fn sets_the_tag_last_after_reading_back(image: bool, here: [bool; 3], signed: bool, tagged: bool) {
            let publication = publication();
            let digests: Vec<_> = publication.attachments().map(|made| made.digest().clone()).collect();
            let remote = RemoteState {
                tag: tagged.then(|| publication.image().digest().clone()),
                image,
                referrers: digests.into_iter().zip(here).filter(|(_, here)| *here).map(|(it, _)| it).collect(),
                signature: signature(&publication).filter(|_| signed),
            };
            let steps = publication.steps(&remote).unwrap();
            let complete = image && here == [true; 3] && signed;
            let is_tag = |step: &PublishStep| matches!(step, PublishStep::PutTag(_));
            let is_read = |step: &PublishStep| matches!(step, PublishStep::ReadBack(_));
            prop_assert_eq!(steps.iter().filter(|step| is_tag(step)).count(), usize::from(!tagged));
            prop_assert_eq!(steps.is_empty(), complete && tagged);
            if !tagged {
                prop_assert!(is_tag(&steps[steps.len() - 1]) && is_read(&steps[steps.len() - 2]));
            }
        }
    }
}
