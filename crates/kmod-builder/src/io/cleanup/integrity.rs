use std::collections::HashSet;

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};

use super::{CONCURRENT, RetentionBackend, RetentionError};
use crate::model::Digest;
use crate::model::cleanup::{Inventory, ManifestKind, RetentionPlan};

#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct IntegrityCheck {
    /// Number of kept manifests that were checked.
    pub manifests: usize,
    pub broken: Vec<BrokenManifest>,
}

#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct BrokenManifest {
    pub digest: Digest,
    /// For example `its manifest` or `its blob sha256:…`.
    pub missing: String,
}

/// Checks every kept manifest and every blob of the evidence, because a bundle proves nothing without its blob.
pub async fn check(
    backend: &RetentionBackend,
    inventory: &Inventory,
    plan: &RetentionPlan,
) -> Result<IntegrityCheck, RetentionError> {
    let kept: HashSet<&Digest> = plan.kept().iter().map(|entry| &entry.digest).collect();
    let stays: Vec<_> = inventory.all().iter().filter(|stored| kept.contains(&stored.digest)).collect();
    let manifests = stays.len();
    let looks = stream::iter(stays).map(async |stored| {
        let is_evidence = stored.info.subject.is_some()
            || stored.info.kind == ManifestKind::Signature
            || stored.tags.iter().any(|tag| tag.starts_with("sha256-"));
        let lack = backend.missing_content(stored, is_evidence).await?;
        Ok::<_, RetentionError>(lack.map(|missing| BrokenManifest { digest: stored.digest.clone(), missing }))
    });
    let broken: Vec<Option<BrokenManifest>> = looks.buffered(CONCURRENT).try_collect().await?;
    Ok(IntegrityCheck { manifests, broken: broken.into_iter().flatten().collect() })
}
