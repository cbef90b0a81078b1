use std::collections::HashSet;

use super::{JournalRecord, RetentionBackend, RetentionError};
use crate::model::Digest;
use crate::model::cleanup::{Graph, Inventory, ManifestInfo, StoredManifest};

#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct RestoredManifest {
    pub digest: Digest,
    /// Tags that point to something else and are left there.
    pub taken: Vec<String>,
    /// Why it could not be restored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Restores what a journal records as deleted, last deletion first, so that evidence exists before its image. Existing
/// content is not changed.
///
/// With digests, restores only these and what refers to them. What cannot be restored does not stop the rest, except
/// for a rate limit.
pub async fn restore(
    backend: &RetentionBackend,
    records: &[JournalRecord],
    digests: &[Digest],
) -> Result<Vec<RestoredManifest>, RetentionError> {
    let mut restored = Vec::new();
    for record in wanted(records, digests).into_iter().rev() {
        let (taken, error) = match backend.restore(record).await {
            Ok(taken) => (taken, None),
            Err(error) if error.is_limit() => return Err(error),
            Err(error) => (Vec::new(), Some(error.to_string())),
        };
        restored.push(RestoredManifest { digest: record.digest.clone(), taken, error });
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
