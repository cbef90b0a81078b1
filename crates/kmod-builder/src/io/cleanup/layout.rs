use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::RetentionError;
use crate::io::github::DeleteOutcome;
use crate::io::layout::{Layout, LayoutError, MAX_DOCUMENT};
use crate::model::Digest;
use crate::model::cleanup::{Age, Inventory, ManifestInfo, StoredManifest};
use crate::model::manifest::RawManifest;
use crate::model::oci::{Index, REF_NAME};

/// An OCI image layout. `index.json` lists the manifests; a manifest's age is that of its file.
///
/// Blobs of deleted images are moved to `.removed` for a day, from where `restore` takes them, and are then deleted.
/// Blobs that other images need stay in place.
#[derive(Debug)]
pub struct LayoutBackend {
    layout: Layout,
}

/// Inside the layout, so that moving a blob is a rename.
const ASIDE: &str = ".removed";
/// How long removed blobs can be restored, and how long an upload may take before its image is listed.
const GRACE: Age = Age::hours(24);

impl LayoutBackend {
    pub fn new(layout: Layout) -> Self {
        Self { layout }
    }

    pub(super) fn gather(&self) -> Result<Inventory, RetentionError> {
        let index = self.layout.index()?;
        let mut tags: BTreeMap<Digest, BTreeSet<String>> = BTreeMap::new();
        for entry in &index.manifests {
            let names = tags.entry(entry.digest.clone()).or_default();
            names.extend(entry.annotations.get(REF_NAME).cloned());
        }
        let stored = self.manifests(&index)?.into_iter().map(|(digest, info)| {
            let created = Some(modified(&self.layout.path(&digest))?);
            let tags = tags.remove(&digest).unwrap_or_default();
            Ok(StoredManifest { digest, id: None, tags, created, updated: None, info })
        });
        Ok(Inventory::new(stored.collect::<Result<Vec<_>, LayoutError>>()?))
    }

    /// Those in the index and those that they list. Other tools list only an index and not its children.
    fn manifests(&self, index: &Index) -> Result<BTreeMap<Digest, ManifestInfo>, LayoutError> {
        let mut found = BTreeMap::new();
        let mut next: Vec<(Digest, String)> =
            index.manifests.iter().map(|entry| (entry.digest.clone(), entry.media_type.clone())).collect();
        while let Some((digest, media_type)) = next.pop() {
            if found.contains_key(&digest) {
                continue;
            }
            let info = ManifestInfo::read(&media_type, &self.layout.read_blob(&digest)?);
            for child in info.children.iter().filter(|child| self.layout.has(child)) {
                let path = self.layout.path(child);
                // Larger blobs are not manifests.
                if fs::metadata(&path).map_err(LayoutError::io(&path))?.len() <= MAX_DOCUMENT {
                    next.push((child.clone(), String::new()));
                }
            }
            found.insert(digest, info);
        }
        Ok(found)
    }

    pub(super) fn tags_now(&self, digest: &Digest) -> Result<Option<BTreeSet<String>>, RetentionError> {
        if !self.layout.has(digest) {
            return Ok(None);
        }
        let index = self.layout.index()?;
        let entries = index.manifests.iter().filter(|entry| entry.digest == *digest);
        Ok(Some(entries.filter_map(|entry| entry.annotations.get(REF_NAME).cloned()).collect()))
    }

    pub(super) fn manifest(&self, digest: &Digest) -> Result<Option<RawManifest>, RetentionError> {
        if !self.layout.has(digest) {
            return Ok(None);
        }
        let index = self.layout.index()?;
        let listed = index.manifests.iter().find(|entry| entry.digest == *digest);
        let media_type = listed.map_or("", |entry| &entry.media_type);
        Ok(Some(RawManifest::new(self.layout.read_blob(digest)?, media_type)))
    }

    /// Removes it from the index; [`LayoutBackend::collect_garbage`] removes its blobs.
    pub(super) fn delete(&self, digest: &Digest) -> Result<DeleteOutcome, RetentionError> {
        self.layout.change_index(|index| index.manifests.retain(|entry| entry.digest != *digest))?;
        Ok(DeleteOutcome::Deleted)
    }

    /// Moves aside blobs that only the deleted manifests needed and blobs that nothing has needed for a day. Moves
    /// needed blobs back, and deletes what was moved aside a day ago.
    ///
    /// The index is locked, so that nothing is added between the check and the removal. Blobs of an image that is not
    /// listed yet are kept for a day.
    pub(super) fn collect_garbage(&self, deleted: &[Digest], now: Timestamp) -> Result<(), RetentionError> {
        self.layout.change_index(|index| {
            let needed = self.manifests(index)?.into_iter().flat_map(|(digest, info)| {
                let blobs = info.blobs.into_iter().map(|blob| blob.digest);
                blobs.chain(info.children).chain([digest])
            });
            let needed: HashSet<Digest> = needed.collect();
            let mut free: HashSet<Digest> = deleted.iter().cloned().collect();
            for digest in deleted.iter().filter(|digest| self.layout.has(digest)) {
                let info = ManifestInfo::read("", &self.layout.read_blob(digest)?);
                free.extend(info.blobs.into_iter().map(|blob| blob.digest));
            }
            for (digest, path) in files(&self.layout.directory().join("blobs/sha256"))? {
                let is_free = free.contains(&digest) || GRACE.has_passed(modified(&path)?, now);
                if is_free && !needed.contains(&digest) {
                    self.set_aside(&digest, &path, now)?;
                }
            }
            for (digest, path) in files(&self.aside())? {
                if needed.contains(&digest) && !self.layout.has(&digest) {
                    fs::rename(&path, self.layout.path(&digest)).map_err(LayoutError::io(&path))?;
                } else if GRACE.has_passed(modified(&path)?, now) {
                    fs::remove_file(&path).map_err(LayoutError::io(&path))?;
                }
            }
            Ok(())
        })?
    }

    /// Its grace period starts now.
    fn set_aside(&self, digest: &Digest, path: &Path, now: Timestamp) -> Result<(), LayoutError> {
        let aside = self.aside();
        let rename = || {
            fs::create_dir_all(&aside)?;
            let handle = File::open(path)?;
            fs::rename(path, aside.join(digest.hex()))?;
            handle.set_modified(now.into())
        };
        rename().map_err(LayoutError::io(path))
    }

    /// Checks layers too, because they are local and shared with deleted images.
    pub(super) fn missing_content(&self, stored: &StoredManifest) -> Option<String> {
        let blobs = stored.info.blobs.iter().map(|blob| (&blob.digest, "its blob"));
        let mut all = std::iter::once((&stored.digest, "its manifest")).chain(blobs);
        all.find(|(digest, _)| !self.layout.has(digest)).map(|(digest, what)| format!("{what} {digest}"))
    }

    /// See `RetentionBackend::restore`.
    pub(super) fn restore_manifest(
        &self,
        raw: &RawManifest,
        tags: &BTreeSet<String>,
    ) -> Result<Vec<String>, RetentionError> {
        let info = ManifestInfo::read(&raw.media_type, &raw.bytes);
        for blob in info.blobs.iter().map(|blob| &blob.digest).filter(|blob| !self.layout.has(blob)) {
            let aside = self.aside().join(blob.hex());
            fs::rename(&aside, self.layout.path(blob)).map_err(|_| {
                let reason = format!("its blob {blob} was set aside more than a day ago and is gone");
                RetentionError::unsure(format!("how to bring {} back", raw.digest), reason)
            })?;
        }
        let descriptor = self.layout.put(&raw.media_type, &raw.bytes)?;
        let mut taken = Vec::new();
        if tags.is_empty() {
            self.layout.list(&descriptor, None)?;
        }
        for name in tags {
            let free = self.layout.change_index(|index| {
                let free = index.tagged(name).is_none_or(|other| other.digest == descriptor.digest);
                if free {
                    index.tag(name, descriptor.clone());
                } else {
                    index.add(descriptor.clone());
                }
                free
            })?;
            if !free {
                taken.push(name.clone());
            }
        }
        Ok(taken)
    }

    fn aside(&self) -> PathBuf {
        self.layout.directory().join(ASIDE)
    }
}

/// The files whose names are digests.
fn files(directory: &Path) -> Result<Vec<(Digest, PathBuf)>, LayoutError> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.and_then(Iterator::collect::<io::Result<Vec<_>>>),
    };
    let named = entries.map_err(LayoutError::io(directory))?.into_iter().filter_map(|entry| {
        let digest = format!("sha256:{}", entry.file_name().to_str()?).parse().ok()?;
        Some((digest, entry.path()))
    });
    Ok(named.collect())
}

fn modified(path: &Path) -> Result<Timestamp, LayoutError> {
    let time = fs::metadata(path).and_then(|metadata| metadata.modified());
    time.and_then(|time| Timestamp::try_from(time).map_err(io::Error::other)).map_err(LayoutError::io(path))
}
