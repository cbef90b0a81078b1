use std::collections::HashSet;

use super::{JournalRecord, RetentionBackend, RetentionError};
use crate::model::Digest;
use crate::model::cleanup::{Graph, Inventory, ManifestInfo, StoredManifest};

#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct RestoredManifest {
    pub digest: Digest,
    /// Tags that point to something else and are left there.
    pub taken: Vec<String>,
}

/// Restores what a journal records as deleted, last deletion first, so that evidence exists before its image. Existing
/// content is not changed.
///
/// With digests, restores only these and what refers to them.
pub async fn restore(
    backend: &RetentionBackend,
    records: &[JournalRecord],
    digests: &[Digest],
) -> Result<Vec<RestoredManifest>, RetentionError> {
    let mut restored = Vec::new();
    for record in wanted(records, digests).into_iter().rev() {
        let taken = backend.restore(record).await?;
        restored.push(RestoredManifest { digest: record.digest.clone(), taken });
    }
    Ok(restored)
}

/// An image is restored with its evidence, an index with its images.
fn wanted<'a>(records: &'a [JournalRecord], digests: &[Digest]) -> Vec<&'a JournalRecord> {
    if digests.is_empty() {
        return records.iter().collect();
    }
    let inventory = Inventory::new(records.iter().map(|record| {
        let raw = record.manifest();
        StoredManifest {
            digest: record.digest.clone(),
            id: record.version_id,
            tags: record.tags.clone(),
            created: None,
            updated: None,
            info: ManifestInfo::read(&raw.media_type, &raw.bytes),
        }
    }));
    let mut needed = HashSet::new();
    Graph::new(&inventory).protect(&inventory, &mut needed, digests.iter().cloned());
    records.iter().filter(|record| needed.contains(&record.digest)).collect()
}
