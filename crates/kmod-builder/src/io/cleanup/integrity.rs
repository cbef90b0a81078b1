use std::collections::HashSet;

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};

use super::{CONCURRENT, RetentionBackend, RetentionError};
use crate::model::Digest;
use crate::model::cleanup::{Inventory, ManifestKind, RetentionPlan};

/// What was looked at after a clean-up, and what was found missing.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct IntegrityCheck {
    /// So many manifests that stay were asked for.
    pub manifests: usize,
    /// What is not as it was: the manifest, and what it lacks.
    pub broken: Vec<BrokenManifest>,
}

/// A kept manifest that is incomplete.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct BrokenManifest {
    pub digest: Digest,
    /// `its manifest`, `its blob sha256:…`.
    pub missing: String,
}

/// Asks the store for everything that stays: every manifest, and of the evidence every blob, because a bundle without
/// its blob proves nothing.
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
