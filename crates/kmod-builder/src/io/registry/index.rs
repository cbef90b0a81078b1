//! Documents that several clients change: read, merge, write and read back until nothing is missing.
//!
//! Registries neither lock them nor honour `If-Match`, and GHCR may serve reads that are seconds old
//! (NVIDIA/nodewright-packages#132). So a write contains every entry ever read, and entries missing afterwards are
//! merged and written again.

use std::collections::BTreeSet;

use kmod_query::registry::{Referrer, RegistryError, RegistryErrorKind, referrers_tag};
use serde_json::Value;

use super::{RegistryWriter, UploadProgress};
use crate::model::Digest;
use crate::model::image::{Tag, TagOrDigest};
use crate::model::manifest::{ManifestWithBlobs, RawManifest};
use crate::model::referrers::{ReferrersIndex, signatures_are_within, with_signatures};

/// Writes of a document that other clients keep replacing.
const ROUNDS: usize = 4;

impl RegistryWriter {
    /// Adds manifests to the referrers index of their subject, as a client must if the registry does not return
    /// `OCI-Subject` (OCI distribution specification 1.1, "Pushing Manifests with Subject").
    ///
    /// Keeps entries of other clients, corrects wrong ones, and removes those of missing manifests, because
    /// docker-registry rejects an index that names one.
    pub async fn add_to_referrers_index(
        &self,
        subject: &Digest,
        children: &[RawManifest],
    ) -> Result<(), RegistryError> {
        let tag = referrers_tag(subject);
        let mut stored = self.stored_index(subject).await?;
        let mut desired = stored.clone().unwrap_or_else(ReferrersIndex::empty);
        let mut checked = BTreeSet::new();
        for _ in 0..ROUNDS {
            for child in children {
                desired.put(child);
                checked.insert(child.digest.clone());
            }
            self.repair(subject, &mut desired, &mut checked).await?;
            if stored.as_ref() == Some(&desired) {
                return Ok(());
            }
            self.put_tag(&tag, &desired.manifest()).await?;
            let mut latest = None;
            let visible = self
                .retry_policy()
                .poll_until(async || {
                    latest = self.stored_index(subject).await?;
                    Ok(latest.as_ref().is_some_and(|latest| desired.is_within(latest)))
                })
                .await?;
            if visible {
                return Ok(());
            }
            if let Some(latest) = &latest {
                desired.absorb(latest);
            }
            stored = latest;
        }
        let kind = RegistryErrorKind::NotYetVisible(format!("the index tagged `{tag}`"));
        Err(self.error(format!("list the referrers of {subject}"), kind))
    }

    async fn stored_index(&self, subject: &Digest) -> Result<Option<ReferrersIndex>, RegistryError> {
        let document: Option<Value> = self.referrers_index(subject).await?;
        Ok(document.and_then(ReferrersIndex::of))
    }

    /// Reads every unchecked manifest in the list and corrects its entry.
    async fn repair(
        &self,
        subject: &Digest,
        index: &mut ReferrersIndex,
        checked: &mut BTreeSet<Digest>,
    ) -> Result<(), RegistryError> {
        for digest in index.digests() {
            if !checked.insert(digest.clone()) {
                continue;
            }
            match self.manifest(&TagOrDigest::Digest(digest.clone())).await? {
                None => index.remove(&digest),
                // Other manifests' entries are left as they are.
                Some(child) => {
                    if let Some(child) = Referrer::of(subject, child) {
                        index.put(&child.manifest);
                    }
                }
            }
        }
        Ok(())
    }

    /// Appends simple signatures, with their payloads, to those under the tag.
    pub async fn add_signatures(
        &self,
        tag: &Tag,
        ours: &ManifestWithBlobs,
        progress: &UploadProgress,
    ) -> Result<(), RegistryError> {
        let tag_or_digest = TagOrDigest::Tag(tag.clone());
        let mut stored = self.manifest(&tag_or_digest).await?;
        for _ in 0..ROUNDS {
            let desired = match &stored {
                None => ours.clone(),
                Some(stored) if signatures_are_within(ours.manifest(), stored) => return Ok(()),
                Some(stored) => with_signatures(stored, ours).map_err(|error| {
                    self.error(
                        format!("add to the signatures at `{tag}`"),
                        RegistryErrorKind::Malformed(error.to_string()),
                    )
                })?,
            };
            self.send_blobs(desired.blobs(), progress).await?;
            self.send_manifest(&tag_or_digest, &desired, progress).await?;
            let visible = self
                .retry_policy()
                .poll_until(async || {
                    let latest = self.manifest(&tag_or_digest).await?;
                    let complete = latest
                        .as_ref()
                        .is_some_and(|latest| signatures_are_within(desired.manifest(), latest));
                    // "Not found" is a stale answer here; keep what was read before.
                    stored = latest.or(stored.take());
                    Ok(complete)
                })
                .await?;
            if visible {
                return Ok(());
            }
        }
        let kind = RegistryErrorKind::NotYetVisible(format!("the signature tagged `{tag}`"));
        Err(self.error("add a signature", kind))
    }
}
