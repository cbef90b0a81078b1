//! GitHub's record of a package, and GitHub's rules.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use kmod_builder::model::Digest;
use serde_json::{Value, json};

/// A version: one manifest, deleted or not.
#[derive(Clone, Debug)]
pub(super) struct Version {
    pub(super) digest: Digest,
    pub(super) media_type: String,
    pub(super) bytes: Bytes,
    pub(super) tags: BTreeSet<String>,
    pub(super) created: Timestamp,
    pub(super) downloads: u64,
    pub(super) deleted: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Owner {
    #[default]
    User,
    Organization,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Faults {
    /// This page of the list answers 500.
    pub(super) broken_page: Option<u32>,
    /// This manifest answers this status, once `changes` has reached `manifest_after`.
    pub(super) manifest: Option<(Digest, u16)>,
    pub(super) manifest_after: usize,
    /// So often; `None` for always.
    pub(super) manifest_times: Option<usize>,
    /// This blob does not exist.
    pub(super) lost_blob: Option<Digest>,
    /// After so many changes, each further one is answered 403, which is no rate limit.
    pub(super) forbidden_after: Option<usize>,
    /// The deletion of this manifest answers 404, and it stays.
    pub(super) undeletable: Option<Digest>,
    /// The API still shows this tag at this manifest.
    pub(super) late_tag: Option<(&'static str, Digest)>,
    /// The list lacks this manifest, which exists.
    pub(super) unlisted: Option<Digest>,
    /// For so many complete reads of the list, a version of the first page is deleted after that page was read, and a
    /// new one is pushed after the second.
    pub(super) shifts: usize,
    /// After so many changes, the next few are answered 403 with these seconds in `Retry-After`.
    pub(super) secondary: Option<(usize, usize, u64)>,
    /// Lists still show what was deleted.
    pub(super) stale_lists: bool,
    /// Hours by which the clock is ahead.
    pub(super) clock: i64,
    /// Each version in the list lacks its `metadata.container`.
    pub(super) no_metadata: bool,
    pub(super) slow_deletions: std::time::Duration,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Package {
    pub(super) owner: Owner,
    pub(super) versions: BTreeMap<u64, Version>,
    /// The newest version with each digest.
    by_digest: HashMap<String, u64>,
    pub(super) faults: Faults,
    pub(super) log: Vec<String>,
    pub(super) changes: usize,
    /// Hours since the push, for manifests that are pushed from now on.
    pub(super) age: i64,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Delete,
    Missing,
    Refuse(&'static str),
}

pub(super) const LAST_TAGGED: &str =
    "You cannot delete the last tagged version of a package. You must delete the package instead.";
pub(super) const DOWNLOADS: &str = "Publicly visible package versions with more than 5,000 downloads cannot be deleted. \
     Contact GitHub support for further assistance.";

impl Package {
    pub(super) fn active(&self) -> impl Iterator<Item = (&u64, &Version)> {
        self.versions.iter().filter(|(_, version)| !version.deleted)
    }

    /// By tag or digest.
    pub(super) fn find(&mut self, reference: &str) -> Option<&mut Version> {
        let id = if reference.starts_with("sha256:") {
            *self.by_digest.get(reference)?
        } else {
            *self.active().find(|(_, version)| version.tags.contains(reference))?.0
        };
        self.versions.get_mut(&id).filter(|version| !version.deleted)
    }

    /// Adds a manifest that does not exist yet; the tag, if any, is new too.
    pub(super) fn push_new(&mut self, tag: &str, media_type: &str, bytes: &Bytes) -> Digest {
        let digest = Digest::of(bytes);
        let id = self.versions.keys().next_back().map_or(1000, |last| last + 1);
        let version = Version {
            digest: digest.clone(),
            media_type: media_type.to_owned(),
            bytes: bytes.clone(),
            tags: Some(tag.to_owned()).into_iter().filter(|tag| !tag.is_empty()).collect(),
            created: Timestamp::now() - SignedDuration::from_hours(self.age),
            downloads: 0,
            deleted: false,
        };
        self.versions.insert(id, version);
        self.by_digest.insert(digest.to_string(), id);
        digest
    }

    /// Pushing an existing manifest changes no date, and neither does a tag
    /// (dependabot/dependabot-core#16328).
    pub(super) fn pushed(&mut self, reference: &str, media_type: &str, bytes: &Bytes) -> Digest {
        let digest = Digest::of(bytes);
        let tag = Some(reference).filter(|reference| !reference.starts_with("sha256:")).unwrap_or_default();
        self.take_tag(tag);
        let Some(version) = self.find(digest.as_str()) else { return self.push_new(tag, media_type, bytes) };
        version.tags.extend(Some(tag.to_owned()).filter(|tag| !tag.is_empty()));
        digest
    }

    /// A tag points to one version. Deleted versions keep their former tags.
    fn take_tag(&mut self, tag: &str) {
        self.versions.values_mut().filter(|version| !version.deleted).for_each(|version| {
            version.tags.remove(tag);
        });
    }

    pub(super) fn may_delete(&self, id: u64) -> Verdict {
        let Some(version) = self.versions.get(&id).filter(|version| !version.deleted) else {
            return Verdict::Missing;
        };
        if self.faults.undeletable.as_ref() == Some(&version.digest) {
            return Verdict::Missing;
        }
        let other_tags = self.active().any(|(other, version)| *other != id && !version.tags.is_empty());
        if version.downloads > 5000 {
            Verdict::Refuse(DOWNLOADS)
        } else if self.active().count() == 1 || (!version.tags.is_empty() && !other_tags) {
            Verdict::Refuse(LAST_TAGGED)
        } else {
            Verdict::Delete
        }
    }

    /// A page of the list, newest first, and the number of pages.
    pub(super) fn page(&self, number: usize, per_page: usize) -> (Value, usize) {
        let shown =
            self.versions.iter().rev().filter(|(_, version)| !version.deleted || self.faults.stale_lists);
        let unlisted = self.faults.unlisted.as_ref();
        let shown: Vec<_> = shown.filter(|(_, version)| Some(&version.digest) != unlisted).collect();
        let pages = shown.len().div_ceil(per_page).max(1);
        let page = shown.into_iter().skip((number - 1) * per_page).take(per_page);
        (page.map(|(id, version)| self.wire(*id, version)).collect(), pages)
    }

    pub(super) fn wire(&self, id: u64, version: &Version) -> Value {
        let mut tags = version.tags.clone();
        if let Some((tag, digest)) = &self.faults.late_tag {
            tags.remove(*tag);
            tags.extend((*digest == version.digest).then(|| (*tag).to_owned()));
        }
        let mut wire = json!({
            "id": id,
            "name": version.digest,
            "url": format!("https://api.github.com/…/versions/{id}"),
            "created_at": version.created.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            "updated_at": version.created.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            "metadata": { "package_type": "container", "container": { "tags": tags } },
        });
        if self.faults.no_metadata {
            wire["metadata"] = json!({ "package_type": "container" });
        }
        wire
    }

    /// The status that this manifest answers instead.
    pub(super) fn manifest_fault(&mut self, reference: Option<&str>) -> Option<u16> {
        let (digest, status) = self.faults.manifest.clone()?;
        if Some(digest.as_str()) != reference || self.changes < self.faults.manifest_after {
            return None;
        }
        if let Some(times) = &mut self.faults.manifest_times {
            *times = times.checked_sub(1)?;
        }
        Some(status)
    }

    /// What happens between two page reads, see [`Faults::shifts`].
    pub(super) fn shift(&mut self, page: usize) {
        if self.faults.shifts == 0 {
            return;
        }
        if page == 1 {
            let newest = self.active().map(|(id, _)| *id).max().unwrap();
            self.versions.get_mut(&newest).unwrap().deleted = true;
        } else {
            self.faults.shifts -= 1;
            let name = format!("pushed {}", self.versions.len());
            self.push_new(
                "",
                kmod_builder::model::oci::MANIFEST,
                &Bytes::from(format!(r#"{{"x":"{name}"}}"#)),
            );
        }
    }

    /// The `Retry-After` of this change, if it is beyond the secondary limit.
    pub(super) fn limited(&mut self) -> Option<u64> {
        let position = self.changes;
        self.changes += 1;
        let (after, count, seconds) = self.faults.secondary?;
        (after..after + count).contains(&position).then_some(seconds)
    }
}
