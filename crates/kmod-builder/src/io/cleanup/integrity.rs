use std::collections::{BTreeMap, HashSet};

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;

use super::{CONCURRENT, RetentionBackend, RetentionError};
use crate::model::Digest;
use crate::model::cleanup::{Inventory, ManifestKind, RetentionEntry, RetentionPlan, StoredManifest};

#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct IntegrityCheck {
    /// Number of kept manifests.
    pub manifests: usize,
    /// How many of them were checked.
    pub checked: usize,
    pub broken: Vec<BrokenManifest>,
    /// Those that were broken before the first deletion.
    pub broken_before: Vec<BrokenManifest>,
    /// Why the check did not finish.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unfinished: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct BrokenManifest {
    pub digest: Digest,
    /// For example `its manifest` or `its blob sha256:…`.
    pub missing: String,
}

/// Manifests that are checked although the deletions do not concern them.
const SAMPLE: usize = 256;

/// What is requested before the first deletion and after the last one: the manifests because of which others may be
/// deleted, whatever shares content with what is deleted, and a sample of the rest that differs from run to run. In a
/// directory, everything.
pub(super) struct IntegritySample<'a> {
    kept: usize,
    manifests: Vec<&'a Digest>,
    /// Each with a manifest that needs it.
    blobs: BTreeMap<&'a Digest, &'a Digest>,
}

impl<'a> IntegritySample<'a> {
    pub(super) fn new(
        inventory: &'a Inventory,
        plan: &'a RetentionPlan,
        going: &[&RetentionEntry],
        is_local: bool,
        now: Timestamp,
    ) -> Self {
        let gone = going.iter().filter_map(|entry| inventory.find(&entry.digest));
        let gone: Vec<&StoredManifest> = gone.collect();
        let related: HashSet<&Digest> =
            gone.iter().flat_map(|stored| stored.info.children.iter().chain(&stored.info.subject)).collect();
        let freed: HashSet<&Digest> =
            gone.iter().flat_map(|stored| &stored.info.blobs).map(|blob| &blob.digest).collect();
        let mut users = plan.policy.minimum;
        let mut matters = |entry: &RetentionEntry| {
            let counts = entry.is_for_users(&plan.policy.channels) && users > 0;
            users -= usize::from(counts);
            counts || ["newest", "channel"].contains(&&*entry.reason.id) || related.contains(&entry.digest)
        };
        let (mut manifests, mut rest) = (Vec::new(), Vec::new());
        for entry in plan.kept() {
            let list = if is_local || matters(entry) { &mut manifests } else { &mut rest };
            list.extend(inventory.find(&entry.digest));
        }
        let step = rest.len().div_ceil(SAMPLE).max(1);
        let first = usize::try_from(now.as_second()).unwrap_or_default() % step;
        manifests.extend(rest.into_iter().skip(first).step_by(step));
        let mut blobs = BTreeMap::new();
        let kept = plan.kept().iter().filter_map(|entry| inventory.find(&entry.digest));
        for stored in kept {
            for blob in stored.info.blobs.iter().filter(|blob| freed.contains(&blob.digest)) {
                blobs.insert(&blob.digest, &stored.digest);
            }
        }
        // A bundle proves nothing without its blob.
        for stored in manifests.iter().filter(|stored| is_local || is_evidence(stored)) {
            blobs.extend(stored.info.blobs.iter().map(|blob| (&blob.digest, &stored.digest)));
        }
        let manifests = manifests.into_iter().map(|stored| &stored.digest).collect();
        Self { kept: plan.kept().len(), manifests, blobs }
    }

    /// Fails if a manifest is missing: the plan counts on it. Returns other damage.
    pub(super) async fn before(
        &self,
        backend: &RetentionBackend,
    ) -> Result<Vec<BrokenManifest>, RetentionError> {
        if let Some(digest) = missing_manifests(backend, &self.manifests).await?.into_iter().next() {
            let reason = "it is listed and must be kept, but it does not exist";
            return Err(RetentionError::unsure(format!("what {digest} is"), reason));
        }
        self.missing_blobs(backend).await
    }

    pub(super) async fn after(
        &self,
        backend: &RetentionBackend,
        broken_before: Vec<BrokenManifest>,
    ) -> (IntegrityCheck, Option<RetentionError>) {
        let (checked, manifests) = (self.manifests.len(), self.kept);
        let mut check = IntegrityCheck { manifests, checked, broken_before, ..IntegrityCheck::default() };
        match self.missing(backend).await {
            Ok(missing) => {
                let is_new = |broken: &BrokenManifest| !check.broken_before.contains(broken);
                check.broken = missing.into_iter().filter(is_new).collect();
                (check, None)
            }
            Err(error) => {
                check.unfinished = Some(error.to_string());
                (check, Some(error))
            }
        }
    }

    async fn missing(&self, backend: &RetentionBackend) -> Result<Vec<BrokenManifest>, RetentionError> {
        let manifests = missing_manifests(backend, &self.manifests).await?;
        let broken = |digest| BrokenManifest { digest, missing: "its manifest".to_owned() };
        let mut missing: Vec<BrokenManifest> = manifests.into_iter().map(broken).collect();
        missing.extend(self.missing_blobs(backend).await?);
        Ok(missing)
    }

    async fn missing_blobs(&self, backend: &RetentionBackend) -> Result<Vec<BrokenManifest>, RetentionError> {
        let looks = stream::iter(&self.blobs).map(async |(blob, owner)| {
            let is_missing = !backend.has_blob(blob).await?;
            let broken = || BrokenManifest { digest: (*owner).clone(), missing: format!("its blob {blob}") };
            Ok::<_, RetentionError>(is_missing.then(broken))
        });
        let broken: Vec<Option<BrokenManifest>> = looks.buffered(CONCURRENT).try_collect().await?;
        Ok(broken.into_iter().flatten().collect())
    }
}

async fn missing_manifests(
    backend: &RetentionBackend,
    digests: &[&Digest],
) -> Result<Vec<Digest>, RetentionError> {
    let looks = stream::iter(digests).map(async |digest| {
        let is_missing = !backend.has_manifest(digest).await?;
        Ok::<_, RetentionError>(is_missing.then(|| (*digest).clone()))
    });
    let missing: Vec<Option<Digest>> = looks.buffered(CONCURRENT).try_collect().await?;
    Ok(missing.into_iter().flatten().collect())
}

fn is_evidence(stored: &StoredManifest) -> bool {
    stored.info.subject.is_some()
        || stored.info.kind == ManifestKind::Signature
        || stored.tags.iter().any(|tag| tag.starts_with("sha256-"))
}
