//! The documents that several clients change: read, merged, written, and read back until nothing is missing.
//!
//! No registry locks them or honours `If-Match`, and on GHCR a read may be seconds old
//! (NVIDIA/nodewright-packages#132). So what was read is never forgotten, what is written contains all of it, and
//! what is found missing afterwards is merged and written again.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::model::Digest;
use crate::model::image::{Tag, TagOrDigest};
use crate::model::manifest::{ManifestWithBlobs, RawManifest};
use crate::model::referrers::{ReferrersIndex, signatures_are_within, with_signatures};

use super::client::Registry;
use super::error::{RegistryError, RegistryErrorKind};
use super::referrers::{fallback_tag, referrer};
use super::upload::Progress;

/// How often a document is merged and written again because another client's version replaced it.
const ROUNDS: usize = 4;

impl Registry {
    /// Lists these manifests in the index of what refers to their subject: what a client must do where the registry
    /// did not answer `OCI-Subject` (OCI distribution specification 1.1, "Pushing Manifests with Subject").
    ///
    /// Entries of other clients stay; wrong ones are repaired, and those for manifests that are gone are dropped,
    /// because docker-registry accepts no index that names a missing manifest.
    pub async fn file_referrers(
        &self,
        subject: &Digest,
        children: &[RawManifest],
    ) -> Result<(), RegistryError> {
        let tag = fallback_tag(subject);
        let mut stored = self.stored_index(subject).await?;
        let mut wanted = stored.clone().unwrap_or_else(ReferrersIndex::empty);
        let mut checked = BTreeSet::new();
        for _ in 0..ROUNDS {
            for child in children {
                wanted.put(child);
                checked.insert(child.digest.clone());
            }
            self.repair(subject, &mut wanted, &mut checked).await?;
            if stored.as_ref() == Some(&wanted) {
                return Ok(());
            }
            self.put_tag(&tag, &wanted.manifest()).await?;
            let mut latest = None;
            let settled = self
                .retry_policy()
                .settle(async || {
                    latest = self.stored_index(subject).await?;
                    Ok(latest.as_ref().is_some_and(|latest| wanted.is_within(latest)))
                })
                .await?;
            if settled {
                return Ok(());
            }
            if let Some(latest) = &latest {
                wanted.absorb(latest);
            }
            stored = latest;
        }
        let problem = RegistryErrorKind::NotSettled(format!("the index tagged `{tag}`"));
        Err(self.error(format!("list what refers to {subject}"), problem))
    }

    /// Takes manifests off the index of what refers to an image, as must be done before they are deleted where the
    /// registry has no referrers API. Without an index there is nothing to do.
    pub async fn unfile_referrers(&self, subject: &Digest, gone: &[Digest]) -> Result<(), RegistryError> {
        let Some(stored) = self.stored_index(subject).await? else { return Ok(()) };
        let mut wanted = stored.clone();
        for digest in gone {
            wanted.remove(digest);
        }
        if wanted == stored {
            return Ok(());
        }
        let tag = fallback_tag(subject);
        self.put_tag(&tag, &wanted.manifest()).await?;
        let settled = self
            .retry_policy()
            .settle(async || {
                let latest = self.stored_index(subject).await?;
                Ok(latest.is_none_or(|latest| !latest.digests().iter().any(|digest| gone.contains(digest))))
            })
            .await?;
        if settled {
            return Ok(());
        }
        let problem = RegistryErrorKind::NotSettled(format!("the index tagged `{tag}`"));
        Err(self.error(format!("take referrers off {subject}"), problem))
    }

    async fn stored_index(&self, subject: &Digest) -> Result<Option<ReferrersIndex>, RegistryError> {
        let document: Option<Value> = self.fallback_index(subject).await?;
        Ok(document.and_then(ReferrersIndex::of))
    }

    /// Reads every manifest that the index lists and has not been looked at, and corrects its entry.
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
                // What does not refer to the subject is not ours to correct.
                Some(child) => {
                    if let Some(child) = referrer(subject, child) {
                        index.put(&child.manifest);
                    }
                }
            }
        }
        Ok(())
    }

    /// Appends simple signatures to those stored under the tag, with their payloads.
    pub async fn add_signatures(
        &self,
        tag: &Tag,
        ours: &ManifestWithBlobs,
        progress: &Progress,
    ) -> Result<(), RegistryError> {
        let tag_or_digest = TagOrDigest::Tag(tag.clone());
        let mut stored = self.manifest(&tag_or_digest).await?;
        for _ in 0..ROUNDS {
            let wanted = match &stored {
                None => ours.clone(),
                Some(stored) if signatures_are_within(ours.manifest(), stored) => return Ok(()),
                Some(stored) => with_signatures(stored, ours).map_err(|error| {
                    self.error(
                        format!("add to the signatures at `{tag}`"),
                        RegistryErrorKind::Malformed(error.to_string()),
                    )
                })?,
            };
            self.send_blobs(wanted.blobs(), progress).await?;
            self.send_manifest(&tag_or_digest, &wanted, progress).await?;
            let settled = self
                .retry_policy()
                .settle(async || {
                    let latest = self.manifest(&tag_or_digest).await?;
                    let whole = latest
                        .as_ref()
                        .is_some_and(|latest| signatures_are_within(wanted.manifest(), latest));
                    // An answer that there is none is old: what was known before must not be lost over it.
                    stored = latest.or(stored.take());
                    Ok(whole)
                })
                .await?;
            if settled {
                return Ok(());
            }
        }
        let problem = RegistryErrorKind::NotSettled(format!("the signature tagged `{tag}`"));
        Err(self.error("add a signature", problem))
    }
}
