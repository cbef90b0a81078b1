use std::collections::HashSet;

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};

use super::{CONCURRENT, RetentionError, Stock};
use crate::model::Digest;
use crate::model::retention::{Inventory, Kind, RetentionPlan};

/// What was looked at after a clean-up, and what was found missing.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Checked {
    /// So many manifests that stay were asked for.
    pub manifests: usize,
    /// What is not as it was: the manifest, and what it lacks.
    pub broken: Vec<(Digest, String)>,
}

/// Asks the store for everything that stays: every manifest, and of the evidence every blob, because a bundle without
/// its blob proves nothing.
pub async fn check(
    stock: &Stock,
    inventory: &Inventory,
    plan: &RetentionPlan,
) -> Result<Checked, RetentionError> {
    let kept: HashSet<&Digest> = plan.kept().iter().map(|entry| &entry.digest).collect();
    let stays: Vec<_> = inventory.all().iter().filter(|stored| kept.contains(&stored.digest)).collect();
    let manifests = stays.len();
    let looks = stream::iter(stays).map(async |stored| {
        let is_evidence = stored.contents.subject.is_some()
            || stored.contents.kind == Kind::Signature
            || stored.tags.iter().any(|tag| tag.starts_with("sha256-"));
        let lack = stock.lacks(stored, is_evidence).await?;
        Ok::<_, RetentionError>(lack.map(|lack| (stored.digest.clone(), lack)))
    });
    let broken: Vec<Option<(Digest, String)>> = looks.buffered(CONCURRENT).try_collect().await?;
    Ok(Checked { manifests, broken: broken.into_iter().flatten().collect() })
}
