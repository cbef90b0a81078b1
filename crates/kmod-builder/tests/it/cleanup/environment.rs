//! Published images: an image, its provenance as a referrer, the referrers index, a signature, and then the tags.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use kmod_builder::io::layout::Layout;
use kmod_builder::io::registry::{
    Access, NoCredentials, Registries, RegistryWriter, RetryPolicy, UploadProgress,
};
use kmod_builder::model::Digest;
use kmod_builder::model::image::TagOrDigest;
use kmod_builder::model::manifest::{Blob, RawManifest};
use kmod_builder::model::oci::{self, Descriptor, INDEX, MANIFEST};
use serde_json::{Value, json};

use super::github::Github;
use crate::command_output::Program;
use crate::docker::DockerRegistry;

pub(super) const OLD: i64 = 200 * 24;

/// An image and its evidence; the last two have a tag that begins with `sha256-`.
pub(super) struct Documents {
    pub(super) blobs: Vec<Blob>,
    /// `image`, `bundle`, `index` and `signature`, each with its tag.
    pub(super) manifests: [(&'static str, Option<String>, Value); 4],
}

impl Documents {
    pub(super) fn new(name: &str, created: Timestamp) -> Self {
        const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
        let mut blobs = Vec::new();
        let mut blob = |media_type: &str, text: String| {
            blobs.push(Blob::of(text.clone()));
            Descriptor::of(media_type, text.as_bytes())
        };
        let config = json!({ "created": created, "architecture": "amd64", "os": "linux", "name": name });
        let image = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "config": blob(oci::CONFIG, config.to_string()),
            "layers": [blob(oci::LAYER_GZIP, "userland".into()), blob(oci::LAYER_GZIP, name.into())],
        });
        let bundle = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": BUNDLE,
            "config": blob("application/vnd.oci.empty.v1+json", "{}".into()),
            "layers": [blob(BUNDLE, format!("proof of {name}"))],
            "subject": Descriptor::of(MANIFEST, image.to_string().as_bytes()),
            "annotations": { "org.opencontainers.image.created": created },
        });
        let entry = Descriptor::of(MANIFEST, bundle.to_string().as_bytes());
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [entry] });
        let payload =
            blob("application/vnd.dev.cosign.simplesigning.v1+json", format!("signature of {name}"));
        let config = blob(oci::CONFIG, json!({ "of": name }).to_string());
        let signature =
            json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [payload] });
        let tag = format!("sha256-{}", Digest::of(image.to_string().as_bytes()).hex());
        let signature_tag = Some(format!("{tag}.sig"));
        let manifests = [
            ("image", None, image),
            ("bundle", None, bundle),
            ("index", Some(tag), index),
            ("signature", signature_tag, signature),
        ];
        Self { blobs, manifests }
    }
}

#[derive(Clone)]
pub(super) struct Pusher(RegistryWriter);

/// An image with everything that was published for it: `image`, `index`, `bundle` and `signature`.
#[derive(Clone, Debug)]
pub(super) struct Published {
    pub(super) image: Digest,
    pub(super) all: BTreeMap<&'static str, Digest>,
}

impl Pusher {
    pub(super) fn new(address: &str) -> Self {
        let repository = format!("{address}/owner/zfs-kmods").parse().unwrap();
        let registries = Registries::new(NoCredentials, RetryPolicy::default());
        Self(RegistryWriter::open_with(&registries, &repository, Access::Delete, None).unwrap())
    }

    /// Pushes a tag for an existing manifest, as a promotion does.
    pub(super) async fn tag(&self, digest: &Digest, tag: &str) {
        let raw = self.0.manifest(&TagOrDigest::Digest(digest.clone())).await.unwrap().unwrap();
        self.0.put_tag(&tag.parse().unwrap(), &raw).await.unwrap();
    }

    /// Whether it can be pulled, by tag or digest.
    pub(super) async fn has(&self, reference: &str) -> bool {
        let by_digest = reference.parse().map(TagOrDigest::Digest);
        let tag_or_digest = by_digest.unwrap_or_else(|_| TagOrDigest::Tag(reference.parse().unwrap()));
        self.0.resolve(&tag_or_digest).await.unwrap().is_some()
    }

    pub(super) async fn delete(&self, digest: &Digest) {
        assert!(self.0.delete_manifest(digest).await.unwrap());
    }

    /// Stores a manifest under its digest and under these tags.
    pub(super) async fn put(&self, document: &Value, tags: &[&str]) -> Digest {
        let raw = RawManifest::new(document.to_string(), MANIFEST);
        self.0.put_manifest(&raw).await.unwrap();
        for tag in tags {
            self.tag(&raw.digest, tag).await;
        }
        raw.digest
    }

    /// An image without evidence that says it was made so many hours ago.
    pub(super) async fn publish_unsigned(&self, name: &str, tags: &[&str], hours: i64) -> Digest {
        let documents = Documents::new(name, Timestamp::now() - SignedDuration::from_hours(hours));
        self.0.send_blobs(&documents.blobs, &UploadProgress::none()).await.unwrap();
        self.put(&documents.manifests[0].2, tags).await
    }

    /// Publishes an image that says it was made so many hours ago.
    pub(super) async fn publish(&self, name: &str, tags: &[&str], hours: i64) -> Published {
        let documents = Documents::new(name, Timestamp::now() - SignedDuration::from_hours(hours));
        self.0.send_blobs(&documents.blobs, &UploadProgress::none()).await.unwrap();
        let mut all = BTreeMap::new();
        for (kind, tag, document) in documents.manifests {
            let raw = RawManifest::new(document.to_string(), MANIFEST);
            match tag {
                Some(tag) => self.0.put_tag(&tag.parse().unwrap(), &raw).await.unwrap(),
                None => self.0.put_manifest(&raw).await.unwrap(),
            };
            all.insert(kind, raw.digest);
        }
        let image = all["image"].clone();
        for tag in tags {
            self.tag(&image, tag).await;
        }
        Published { image, all }
    }
}

/// An image layout whose manifests are as old as their files.
pub(super) struct LayoutImages(pub(super) Layout);

impl LayoutImages {
    pub(super) fn blob(&self, text: &str) -> Descriptor {
        self.0.put("application/octet-stream", text.as_bytes()).unwrap()
    }

    pub(super) fn image(
        &self,
        layers: &[&str],
        tags: &[&str],
        modified: Timestamp,
        subject: Option<&Descriptor>,
    ) -> Descriptor {
        let layers: Vec<_> = layers.iter().map(|layer| self.blob(layer)).collect();
        let mut document =
            json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": self.blob("{}"), "layers": layers });
        if let Some(subject) = subject {
            document["subject"] = serde_json::to_value(subject).unwrap();
        }
        self.put(&document, tags, modified)
    }

    pub(super) fn put(&self, document: &Value, tags: &[&str], modified: Timestamp) -> Descriptor {
        let media_type = document["mediaType"].as_str().unwrap();
        let descriptor = self.0.put(media_type, document.to_string().as_bytes()).unwrap();
        if tags.is_empty() {
            self.0.list(&descriptor, None).unwrap();
        }
        for tag in tags {
            self.0.list(&descriptor, Some(&tag.parse().unwrap())).unwrap();
        }
        self.date(&descriptor.digest, modified);
        descriptor
    }

    pub(super) fn date(&self, digest: &Digest, modified: Timestamp) {
        std::fs::File::open(self.0.path(digest)).unwrap().set_modified(modified.into()).unwrap();
    }
}

pub(super) struct CleanupEnvironment {
    pub(super) github: Github,
    pub(super) pusher: Pusher,
}

impl CleanupEnvironment {
    pub(super) async fn real() -> Self {
        Self::with(Some(DockerRegistry::start().await)).await
    }

    pub(super) async fn memory() -> Self {
        Self::with(None).await
    }

    async fn with(registry: Option<DockerRegistry>) -> Self {
        let github = Github::start(registry).await;
        let pusher = Pusher::new(&github.address());
        Self { github, pusher }
    }

    pub(super) fn program(&self) -> Program {
        Program::at(&format!("http://{}", self.github.address()))
    }

    pub(super) fn store(&self) -> String {
        format!("docker://{}/owner/zfs-kmods", self.github.address())
    }

    /// Publishes an image that was pushed so many hours ago.
    pub(super) async fn publish(&self, name: &str, tags: &[&str], hours: i64) -> Published {
        self.github.package().age = hours;
        self.pusher.publish(name, tags, hours).await
    }

    /// The number of requests since the log was cleared.
    pub(super) fn count(&self, beginning: &str) -> usize {
        self.github.package().log.iter().filter(|line| line.starts_with(beginning)).count()
    }

    /// The digests that GitHub lists.
    pub(super) fn digests(&self) -> Vec<Digest> {
        let package = self.github.package();
        let mut digests: Vec<Digest> = package.active().map(|(_, version)| version.digest.clone()).collect();
        digests.sort();
        digests
    }
}

/// An index of these manifests.
pub(super) fn index_of<'a>(children: impl IntoIterator<Item = &'a Digest>) -> Value {
    let entry = |digest: &Digest| json!({ "mediaType": MANIFEST, "digest": digest, "size": 700 });
    let manifests: Vec<Value> = children.into_iter().map(entry).collect();
    json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests })
}

/// The digests of all manifests, sorted.
pub(super) fn all_of<'a>(published: impl IntoIterator<Item = &'a Published>) -> Vec<Digest> {
    let mut all: Vec<Digest> = published.into_iter().flat_map(|one| one.all.values().cloned()).collect();
    all.sort();
    all
}

/// The version tag of OpenZFS 2.4.3 for the kernel with this number.
pub(super) fn version_tag(number: usize) -> String {
    format!("zfs-2.4.3_kernel-6.17.{number}-300.fc43.x86_64")
}
