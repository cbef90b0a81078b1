use std::collections::BTreeMap;
use std::fs;
use std::ops::Deref;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use kmod_builder::io::evidence::attach::attach;
use kmod_builder::io::evidence::bundles;
use kmod_builder::io::registry::{Access, NoCredentials, Registries, RegistryWriter, RetryPolicy};
use kmod_builder::model::evidence::test_result::TestResult;
use kmod_builder::model::evidence::verify::{StoredBundle, TrustPolicy, verify_bundle};
use kmod_builder::model::evidence::{EvidenceKind, SigningKey, Statement, StatementSubject, artifact};
use kmod_builder::model::image::{Repository, TagOrDigest};
use kmod_builder::model::inputs::BuildInputs;
use kmod_builder::model::referrers::ReferrersIndex;
use kmod_builder::model::tags::TagClass;
use kmod_builder::model::{Compression, Digest};
use kmod_query::registry::referrers_tag;
use secrecy::SecretString;

use super::proxy::RegistryProxy;
use crate::command_output::{CommandOutput, Program};
use crate::docker::DockerRegistry;
use crate::images::{Rpms, inputs_for, matrix_row};
use crate::rpms::{self, KERNEL};

/// Keys made with `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256`, and used nowhere else.
const OURS: &str = include_str!("ours.pem");
const STRANGERS: &str = include_str!("stranger.pem");

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TestKey {
    Ours,
    Strangers,
}

pub(super) struct PromoteEnvironment {
    pub(super) registry: DockerRegistry,
    pub(super) proxy: RegistryProxy,
    pub(super) program: Program,
    /// Whether the inputs of images state that Fedora did not sign the kernel's package.
    pub(super) unsigned_kernel_package: bool,
}

impl Deref for PromoteEnvironment {
    type Target = Program;

    fn deref(&self) -> &Program {
        &self.program
    }
}

pub(super) fn key(test_key: TestKey) -> SigningKey {
    let text = if test_key == TestKey::Ours { OURS } else { STRANGERS };
    SigningKey::from_pem(&SecretString::from(text), None).unwrap()
}

impl PromoteEnvironment {
    pub(super) async fn new() -> Self {
        let registry = DockerRegistry::start().await;
        let proxy = RegistryProxy::start(&registry).await;
        let mut program = Program::new();
        program.set("ZFS_KMODS_ALLOW_BUILDER", "registry.example.org/fedora");
        let world = Self { registry, proxy, program, unsigned_kernel_package: false };
        world.configure("");
        fs::write(world.path("Ours.pem"), OURS).unwrap();
        fs::write(world.path("Strangers.pem"), STRANGERS).unwrap();
        fs::write(world.path("ours.pub"), key(TestKey::Ours).public().to_pem()).unwrap();
        world
    }

    /// Writes the configuration, with the row of the release of all images.
    pub(super) fn configure(&self, more: &str) {
        let row = matrix_row(&Digest::of(b""));
        fs::write(self.path("zfs-kmods.toml"), format!("{row}{more}")).unwrap();
    }

    /// With a tested candidate signed with our key.
    pub(super) async fn with_candidate() -> (Self, Digest) {
        let world = Self::new().await;
        let digest = world.prove(KERNEL, Compression::Zstd).await;
        (world, digest)
    }

    pub(super) fn repository(&self) -> Repository {
        format!("{}/owner/zfs-kmods", self.proxy.address()).parse().unwrap()
    }

    pub(super) fn client(&self) -> RegistryWriter {
        let registries = Registries::new(NoCredentials, RetryPolicy::default());
        RegistryWriter::open_with(&registries, &self.repository(), Access::Delete, None).unwrap()
    }

    pub(super) fn image(&self, digest: &Digest) -> String {
        format!("docker://{}@{digest}", self.repository())
    }

    pub(super) fn promotion(&self, digest: &Digest, more: &[&str]) -> Vec<String> {
        let public_key = self.path("ours.pub").display().to_string();
        let image = self.image(digest);
        let all = ["promote", &image, "--public-key", &public_key, "--format", "json"];
        all.iter().chain(more).map(|&argument| argument.to_owned()).collect()
    }

    pub(super) async fn promote(&self, digest: &Digest, more: &[&str]) -> CommandOutput {
        self.run(&self.promotion(digest, more)).await
    }

    pub(super) async fn publish(&self, kernel: &str, compression: Compression, test_key: TestKey) -> Digest {
        let (layout, inputs) = (self.path(&format!("{kernel}-{compression:?}")), self.inputs(kernel));
        let (_, built) = Rpms::new(rpms::good_for(kernel)).compose_from(&inputs, compression, &layout).await;
        let (digest, more) = (built.digest().clone(), ["--candidate", "--replace"]);
        self.publish_from(&layout, kernel, &digest, Some(test_key), &more).await;
        digest
    }

    /// Without a key, the workflow of the environment signs.
    pub(super) async fn publish_from(
        &self,
        layout: &Path,
        kernel: &str,
        digest: &Digest,
        test_key: Option<TestKey>,
        more: &[&str],
    ) {
        let inputs = self.path("inputs.json");
        fs::write(&inputs, self.inputs(kernel).canonical_json()).unwrap();
        let from = format!("oci:{}@{digest}", layout.display());
        let to = format!("docker://{}", self.repository());
        let (inputs, key) = (inputs.display().to_string(), test_key.map(|test_key| self.key_file(test_key)));
        let arguments = ["publish", "--from", &from, "--to", &to, "--inputs", &inputs];
        let key = key.as_ref().map_or(vec![], |key| vec!["--key", key]);
        self.run(&[&arguments[..], &key, more].concat()).await.with(0);
    }

    fn inputs(&self, kernel: &str) -> BuildInputs {
        let inputs = inputs_for(kernel);
        if !self.unsigned_kernel_package {
            return inputs;
        }
        let mut value: serde_json::Value = serde_json::from_str(&inputs.canonical_json()).unwrap();
        value["schema"] = 2.into();
        value["kernel_devel"]["digest"] = Digest::of(b"kernel-devel").as_str().into();
        BuildInputs::parse(&value.to_string()).unwrap()
    }

    pub(super) fn key_file(&self, test_key: TestKey) -> String {
        self.path(&format!("{test_key:?}.pem")).display().to_string()
    }

    /// Publishes an image with a passed boot test.
    pub(super) async fn prove(&self, kernel: &str, compression: Compression) -> Digest {
        let digest = self.publish(kernel, compression, TestKey::Ours).await;
        self.test(&digest, TestKey::Ours, true, SignedDuration::from_mins(10)).await;
        digest
    }

    /// Attaches a boot test result.
    pub(super) async fn test(&self, digest: &Digest, test_key: TestKey, passed: bool, ago: SignedDuration) {
        let step = vec!["boot 1: load".to_owned()];
        let (passed, failed) = if passed { (step, vec![]) } else { (vec![], step) };
        let (finished, configuration) = (Timestamp::now() - ago, vec![]);
        let result = TestResult { configuration, passed, failed, reason: None, url: None, finished };
        let subject = self.subject(digest).await;
        let statement = Statement::new(EvidenceKind::BootTest, &subject, &result.predicate());
        self.attach(&key(test_key).sign(&statement).unwrap(), EvidenceKind::BootTest, &subject).await;
    }

    pub(super) async fn subject(&self, digest: &Digest) -> StatementSubject {
        let manifest = self.client().manifest(&TagOrDigest::Digest(digest.clone())).await.unwrap().unwrap();
        let size = manifest.bytes.len() as u64;
        StatementSubject::image(self.repository().to_string(), digest.clone(), size)
    }

    pub(super) async fn attach(&self, bundle: &[u8], kind: EvidenceKind, subject: &StatementSubject) {
        let referrer = artifact::referrer(bundle, kind, subject, Timestamp::now());
        attach(&self.client(), &subject.digest, &[referrer]).await.unwrap();
    }

    /// Removes our own evidence of a kind from an image, and returns it.
    pub(super) async fn take(&self, kind: EvidenceKind, digest: &Digest) -> StoredBundle {
        let client = self.client();
        let stored_evidence = bundles(&client, &client.referrers(digest).await.unwrap()).await.unwrap();
        let trust = TrustPolicy::key(key(TestKey::Ours).public().clone());
        let is_ours = |stored: &StoredBundle| verify_bundle(stored, kind, digest, &trust).is_ok();
        let ours = stored_evidence.into_iter().find(is_ours).unwrap();
        let index = client.referrers_index(digest).await.unwrap();
        let mut index = index.and_then(ReferrersIndex::of).expect("docker-registry has no referrers API");
        index.remove(&ours.referrer);
        client.put_tag(&referrers_tag(digest), &index.manifest()).await.unwrap();
        assert!(client.delete_manifest(&ours.referrer).await.unwrap());
        ours
    }

    pub(super) async fn tags(&self) -> BTreeMap<String, Digest> {
        let client = self.client();
        let mut tags = BTreeMap::new();
        for tag in client.tags().await.unwrap() {
            // docker-registry lists tags whose manifest is gone.
            if let Some(digest) = client.resolve(&TagOrDigest::Tag(tag.clone())).await.unwrap() {
                tags.insert(tag.to_string(), digest);
            }
        }
        tags
    }

    /// The tags for users; no unproven image may have them.
    pub(super) async fn users_tags(&self) -> BTreeMap<String, Digest> {
        let mut tags = self.tags().await;
        let other =
            |tag: &String| ["candidate-", "sha256-", "beta-"].iter().any(|prefix| tag.starts_with(prefix));
        tags.retain(|tag, _| !other(tag));
        tags
    }

    /// Checks that the promotion is rejected for this reason and changes no tag but the image's own.
    pub(super) async fn rejects(&self, digest: &Digest, more: &[&str], reason: &str) {
        let others = async || {
            let mut tags = self.tags().await;
            tags.retain(|tag, _| !matches!(TagClass::of(tag), TagClass::Version(_)));
            tags
        };
        let before = others().await;
        let report = self.promote(digest, more).await.with(3).json();
        assert!(report["rejections"][0].as_str().unwrap().contains(reason), "{report}");
        assert_eq!(others().await, before);
    }

    pub(super) fn blob(&self, digest: &Digest) -> PathBuf {
        let hex = digest.hex();
        self.registry.storage().join("blobs/sha256").join(&hex[..2]).join(hex).join("data")
    }
}
