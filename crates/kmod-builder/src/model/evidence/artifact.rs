//! Evidence as OCI artifacts: a Sigstore bundle as a referrer of the image (cosign, `BUNDLE_SPEC.md`; OCI image
//! specification 1.1, "Guidelines for Artifact Usage").

use super::{EvidenceKind, StatementSubject};
use crate::model::Digest;
use crate::model::inputs::BuildInputs;
use crate::model::manifest::{Blob, ManifestWithBlobs, RawManifest};
use crate::model::oci::{self, Annotations, Descriptor, Manifest};

/// The media type of a Sigstore bundle, and the artifact type of its manifest.
pub const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
/// Annotation: the predicate type of the statement in a bundle.
pub const PREDICATE_TYPE: &str = "dev.sigstore.bundle.predicateType";

/// The media type of an image's inputs, and the artifact type of their manifest.
pub const INPUTS: &str = "application/vnd.zfs-kmods.inputs.v1+json";
/// Annotation: the file name under which clients save a layer (oras).
const TITLE: &str = "org.opencontainers.image.title";

/// The artifact type of a kept kernel-devel package.
pub const KERNEL_DEVEL: &str = "application/vnd.zfs-kmods.kernel-devel.v1";
const RPM: &str = "application/x-rpm";

/// The media type of an empty configuration.
const EMPTY: &str = "application/vnd.oci.empty.v1+json";
const EMPTY_BYTES: &[u8] = b"{}";

/// The artifact that attaches a bundle to an image.
///
/// `created` is when the bundle was made. In the index of the tag schema, the entry for this manifest must repeat its
/// artifact type and annotations (OCI distribution specification, "Referrers Tag Schema"); clients filter by them.
pub fn referrer(
    bundle: &[u8],
    kind: EvidenceKind,
    subject: &StatementSubject,
    created: jiff::Timestamp,
) -> ManifestWithBlobs {
    // Whole seconds, as in other clients.
    let created = jiff::Timestamp::from_second(created.as_second()).unwrap_or(created);
    let annotations = [
        ("dev.sigstore.bundle.content", "dsse-envelope".to_owned()),
        (PREDICATE_TYPE, kind.predicate_type().to_owned()),
        ("org.opencontainers.image.created", created.to_string()),
    ];
    let annotations = annotations.map(|(name, value)| (name.to_owned(), value)).into();
    let layer = Blob::of(bundle.to_vec());
    artifact(BUNDLE, layer.descriptor(BUNDLE), layer, subject, annotations)
}

/// The artifact that attaches the build inputs to an image.
///
/// Its layer is [`BuildInputs::identity_json`], whose digest is a label of the image, so that other inputs cannot be
/// substituted. The manifest makes registries keep the blob. It is the same for the same image and attached once.
pub fn inputs(inputs: &BuildInputs, subject: &StatementSubject) -> ManifestWithBlobs {
    let layer = Blob::of(inputs.identity_json());
    let descriptor = layer.descriptor(INPUTS).annotated(TITLE, "inputs.json");
    artifact(INPUTS, descriptor, layer, subject, Annotations::new())
}

/// The artifact that keeps the kernel-devel package of an image in its repository, because upstream deletes old packages.
///
/// The blob's digest is in the inputs of the image. The manifest makes registries keep it as long as the image.
pub fn kernel_devel(package: Blob, file_name: &str, subject: &StatementSubject) -> ManifestWithBlobs {
    let descriptor = package.descriptor(RPM).annotated(TITLE, file_name);
    artifact(KERNEL_DEVEL, descriptor, package, subject, Annotations::new())
}

fn artifact(
    artifact_type: &str,
    descriptor: Descriptor,
    layer: Blob,
    subject: &StatementSubject,
    annotations: Annotations,
) -> ManifestWithBlobs {
    let config = Blob::of(EMPTY_BYTES);
    let manifest = Manifest {
        artifact_type: Some(artifact_type.to_owned()),
        subject: Some(Descriptor::new(oci::MANIFEST, subject.digest.clone(), subject.size)),
        annotations,
        ..Manifest::new(config.descriptor(EMPTY), vec![descriptor])
    };
    manifest_with_blobs(&manifest, vec![config, layer])
}

pub(super) fn manifest_with_blobs(manifest: &Manifest, blobs: Vec<Blob>) -> ManifestWithBlobs {
    let manifest = serde_json::to_vec(manifest).expect("a manifest is text and whole numbers");
    ManifestWithBlobs::new(RawManifest::new(manifest, oci::MANIFEST), blobs)
        .expect("the manifest names these blobs")
}

/// The bundle in a stored manifest; `None` if it carries none.
pub fn carried_bundle(manifest: &[u8]) -> Option<Digest> {
    let Manifest { layers, .. } = serde_json::from_slice(manifest).ok()?;
    match &layers[..] {
        [layer] if layer.media_type == BUNDLE => Some(layer.digest.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::evidence::tests::subject;

    #[test]
    fn a_referrer_is_what_cosign_writes() {
        let subject = subject();
        let created = "2026-11-20T10:00:00.5Z".parse().unwrap();
        let artifact = referrer(b"bundle", EvidenceKind::Provenance, &subject, created);
        let expected = format!(
            concat!(
                r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","#,
                r#""artifactType":"application/vnd.dev.sigstore.bundle.v0.3+json","#,
                r#""config":{{"mediaType":"application/vnd.oci.empty.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2}},"#,
                r#""layers":[{{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","digest":"{bundle}","size":6}}],"#,
                r#""subject":{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{image}","size":5}},"#,
                r#""annotations":{{"dev.sigstore.bundle.content":"dsse-envelope","dev.sigstore.bundle.predicateType":"https://slsa.dev/provenance/v1","org.opencontainers.image.created":"2026-11-20T10:00:00Z"}}}}"#,
            ),
            bundle = Digest::of(b"bundle"),
            image = subject.digest,
        );
        assert_eq!(artifact.manifest().bytes, expected);
        assert_eq!(artifact.blobs(), [Blob::of("{}"), Blob::of("bundle")]);
        assert_eq!(artifact.subject(), Some(&subject.digest));
        assert_eq!(carried_bundle(&artifact.manifest().bytes), Some(Digest::of(b"bundle")));
        assert_eq!(carried_bundle(b"{}"), None);
    }

    #[test]
    fn inputs_are_attached_under_the_digest_on_the_label() {
        let subject = subject();
        let inputs = crate::model::inputs::tests::inputs();
        let mut elsewhere = inputs.clone();
        elsewhere.source_image = None;
        let artifact = super::inputs(&inputs, &subject);
        assert_eq!(artifact, super::inputs(&elsewhere, &subject), "nothing is built from the base image");
        assert_eq!(artifact.blobs()[1].digest, inputs.digest());
        assert_eq!(artifact.subject(), Some(&subject.digest));
        assert_eq!(carried_bundle(&artifact.manifest().bytes), None);
        let read = BuildInputs::parse(&inputs.identity_json()).unwrap();
        assert_eq!(read, elsewhere);
    }
}
