//! Images as they are published: an image, its provenance as a referrer, the index of that, a signature, and then the
//! tags.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use kmod_builder::model::Digest;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::docker::DockerRegistry;

use super::github::Github;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// Where images are pushed.
#[derive(Clone)]
pub(super) struct Pusher {
    base: String,
    client: reqwest::Client,
    /// The stand-in without a registry behind it has no blobs.
    blobs: bool,
}

/// An image with everything that was published for it: `image`, `index`, `bundle` and `signature`.
#[derive(Clone, Debug)]
pub(super) struct Published {
    pub(super) image: Digest,
    pub(super) all: BTreeMap<&'static str, Digest>,
}

impl Pusher {
    pub(super) fn new(address: &str, blobs: bool) -> Self {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { base: format!("http://{address}/v2/owner/zfs-kmods"), client, blobs }
    }

    pub(super) async fn blob(&self, media_type: &str, bytes: &[u8]) -> Value {
        let digest = Digest::of(bytes);
        if self.blobs {
            let begun = self.client.post(format!("{}/blobs/uploads/", self.base)).send().await.unwrap();
            let location = begun.headers()["location"].to_str().unwrap().to_owned();
            let separator = if location.contains('?') { '&' } else { '?' };
            let put = self.client.put(format!("{location}{separator}digest={digest}")).body(bytes.to_vec());
            assert_eq!(put.send().await.unwrap().status(), StatusCode::CREATED);
        }
        json!({ "mediaType": media_type, "digest": digest, "size": bytes.len() })
    }

    pub(super) async fn put(&self, reference: Option<&str>, document: &Value) -> Digest {
        let bytes = document.to_string().into_bytes();
        let digest = Digest::of(&bytes);
        let reference = reference.map_or_else(|| digest.to_string(), str::to_owned);
        let media_type = document["mediaType"].as_str().unwrap().to_owned();
        let put = self
            .client
            .put(format!("{}/manifests/{reference}", self.base))
            .header("content-type", media_type);
        let answer = put.body(bytes).send().await.unwrap();
        let status = answer.status();
        assert_eq!(status, StatusCode::CREATED, "{}", answer.text().await.unwrap());
        digest
    }

    /// Pushes a tag for what is there, as a promotion does.
    pub(super) async fn tag(&self, digest: &Digest, tag: &str) {
        let get = self.client.get(format!("{}/manifests/{digest}", self.base)).header("accept", MANIFEST);
        let bytes = get.send().await.unwrap().bytes().await.unwrap();
        let put = self.client.put(format!("{}/manifests/{tag}", self.base)).header("content-type", MANIFEST);
        assert_eq!(put.body(bytes).send().await.unwrap().status(), StatusCode::CREATED);
    }

    /// Whether it can be pulled, by tag or digest.
    pub(super) async fn has(&self, reference: &str) -> bool {
        let accept = format!("{MANIFEST}, {INDEX}");
        let head = self.client.head(format!("{}/manifests/{reference}", self.base)).header("accept", accept);
        head.send().await.unwrap().status() == StatusCode::OK
    }

    pub(super) async fn delete(&self, digest: &Digest) {
        let delete = self.client.delete(format!("{}/manifests/{digest}", self.base));
        assert_eq!(delete.send().await.unwrap().status(), StatusCode::ACCEPTED);
    }

    /// Publishes an image that says it was made so many hours ago.
    pub(super) async fn publish(&self, name: &str, tags: &[&str], hours: i64) -> Published {
        let created = (Timestamp::now() - SignedDuration::from_hours(hours)).to_string();
        let config =
            json!({ "created": created, "architecture": "amd64", "os": "linux", "name": name }).to_string();
        let config = self.blob("application/vnd.oci.image.config.v1+json", config.as_bytes()).await;
        let layer = self.blob("application/vnd.oci.image.layer.v1.tar+gzip", name.as_bytes()).await;
        let shared = self.blob("application/vnd.oci.image.layer.v1.tar+gzip", b"userland").await;
        let image = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [shared, layer],
        });
        let size = image.to_string().len();
        let image = self.put(None, &image).await;

        let empty = self.blob("application/vnd.oci.empty.v1+json", b"{}").await;
        let bundle = self
            .blob("application/vnd.dev.sigstore.bundle.v0.3+json", format!("proof of {name}").as_bytes())
            .await;
        let bundle = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "config": empty, "layers": [bundle],
            "subject": { "mediaType": MANIFEST, "digest": image, "size": size },
            "annotations": { "org.opencontainers.image.created": created },
        });
        let size = bundle.to_string().len();
        let bundle = self.put(None, &bundle).await;
        let tag = format!("sha256-{}", image.hex());
        let entry = json!({ "mediaType": MANIFEST, "digest": bundle, "size": size });
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [entry] });
        let index = self.put(Some(&tag), &index).await;

        let payload = self
            .blob("application/vnd.dev.cosign.simplesigning.v1+json", format!("seal of {name}").as_bytes())
            .await;
        let config = self
            .blob("application/vnd.oci.image.config.v1+json", format!("{{\"of\":\"{name}\"}}").as_bytes())
            .await;
        let signature =
            json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [payload] });
        let signature = self.put(Some(&format!("{tag}.sig")), &signature).await;

        for tag in tags {
            self.tag(&image, tag).await;
        }
        let all = [("image", image.clone()), ("bundle", bundle), ("index", index), ("signature", signature)];
        Published { image, all: all.into() }
    }
}

/// The stand-in, and what pushes to it.
pub(super) struct CleanupEnvironment {
    pub(super) github: Github,
    pub(super) pusher: Pusher,
}

impl CleanupEnvironment {
    /// With a real registry behind it.
    pub(super) async fn real() -> Self {
        let github = Github::start(Some(DockerRegistry::start().await)).await;
        let pusher = Pusher::new(&github.address(), true);
        Self { github, pusher }
    }

    /// With manifests in memory only.
    pub(super) async fn memory() -> Self {
        let github = Github::start(None).await;
        let pusher = Pusher::new(&github.address(), false);
        Self { github, pusher }
    }

    pub(super) fn store(&self) -> String {
        format!("docker://{}/owner/zfs-kmods", self.github.address())
    }

    /// Publishes what counts as pushed so many hours ago.
    pub(super) async fn publish(&self, name: &str, tags: &[&str], hours: i64) -> Published {
        self.github.package().age = hours;
        self.pusher.publish(name, tags, hours).await
    }

    /// How many requests of this kind were made since the log was cleared.
    pub(super) fn count(&self, beginning: &str) -> usize {
        self.github.package().log.iter().filter(|line| line.starts_with(beginning)).count()
    }

    /// The digests that are there, by GitHub's word.
    pub(super) fn digests(&self) -> Vec<Digest> {
        let package = self.github.package();
        let mut digests: Vec<Digest> = package.active().map(|(_, version)| version.digest.clone()).collect();
        digests.sort();
        digests
    }
}

/// Everything of these, sorted.
pub(super) fn all_of<'a>(published: impl IntoIterator<Item = &'a Published>) -> Vec<Digest> {
    let mut all: Vec<Digest> = published.into_iter().flat_map(|one| one.all.values().cloned()).collect();
    all.sort();
    all
}

/// The tag that users look for: OpenZFS 2.4.3 for the kernel with this number.
pub(super) fn version_tag(number: usize) -> String {
    format!("zfs-2.4.3_kernel-6.17.{number}-300.fc43.x86_64")
}
