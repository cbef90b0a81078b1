use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::{JournalRecord, RetentionError};
use crate::io::github::DeleteOutcome;
use crate::io::layout::{Layout, LayoutError, MAX_DOCUMENT};
use crate::model::Digest;
use crate::model::cleanup::{Age, Inventory, ManifestInfo, ManifestKind, StoredManifest};
use crate::model::manifest::RawManifest;
use crate::model::oci::{Descriptor, INDEX, Index, MANIFEST, REF_NAME};

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
            let bytes = self.layout.read_blob(&digest)?;
            let info = ManifestInfo::read(&media_type, &bytes);
            let listed = serde_json::from_slice::<Index>(&bytes).map(|index| index.manifests);
            let listed = listed.unwrap_or_default();
            for child in info.children.iter().filter(|child| self.layout.has(child)) {
                let path = self.layout.path(child);
                // Larger blobs are not manifests.
                if fs::metadata(&path).map_err(LayoutError::io(&path))?.len() <= MAX_DOCUMENT {
                    let entry = listed.iter().find(|entry| entry.digest == *child);
                    next.push((child.clone(), entry.map_or_else(String::new, |it| it.media_type.clone())));
                }
            }
            found.insert(digest, info);
        }
        Ok(found)
    }

    /// Absolute, if it can be resolved.
    pub(super) fn directory(&self) -> String {
        let directory = self.layout.directory();
        fs::canonicalize(directory).unwrap_or_else(|_| directory.to_owned()).display().to_string()
    }

    pub(super) fn entries(&self) -> Result<HashMap<Digest, Vec<Descriptor>>, RetentionError> {
        let mut entries: HashMap<Digest, Vec<Descriptor>> = HashMap::new();
        for entry in self.layout.index()?.manifests {
            entries.entry(entry.digest.clone()).or_default().push(entry);
        }
        Ok(entries)
    }

    pub(super) fn has(&self, digest: &Digest) -> bool {
        self.layout.has(digest)
    }

    /// Whether a blob with this digest is a manifest, listed or not.
    pub(super) fn has_manifest(&self, digest: &Digest) -> Result<bool, RetentionError> {
        let path = self.layout.path(digest);
        if !self.layout.has(digest)
            || fs::metadata(&path).map_err(LayoutError::io(&path))?.len() > MAX_DOCUMENT
        {
            return Ok(false);
        }
        let bytes = self.layout.read_blob(digest)?;
        let is = |media_type: &str| ManifestInfo::read(media_type, &bytes).kind != ManifestKind::Unknown;
        Ok(is(MANIFEST) || is(INDEX))
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

    /// Removes it from the index; [`LayoutBackend::collect_garbage`] removes its blobs. The manifests that only it
    /// listed are listed themselves from now on, until they are deleted.
    pub(super) fn delete(&self, digest: &Digest) -> Result<DeleteOutcome, RetentionError> {
        let raw = if self.layout.has(digest) { self.layout.read_blob(digest)? } else { Vec::new() };
        if ManifestInfo::read("", &raw).children.is_empty() {
            self.layout.change_index(|index| index.manifests.retain(|entry| entry.digest != *digest))?;
            return Ok(DeleteOutcome::Deleted);
        }
        self.layout.change_index(|index| {
            let before = self.manifests(index)?;
            index.manifests.retain(|entry| entry.digest != *digest);
            let after = self.manifests(index)?;
            for child in before.get(digest).into_iter().flat_map(|info| &info.children) {
                if let Some(info) = before.get(child).filter(|_| !after.contains_key(child)) {
                    index.add(Descriptor::new(&info.media_type, child.clone(), info.size));
                }
            }
            Ok::<_, RetentionError>(DeleteOutcome::Deleted)
        })?
    }

    /// Moves aside blobs that only deleted manifests needed (`freed`) and blobs that nothing has needed for a day. Moves
    /// needed blobs back, and deletes what was moved aside a day ago.
    ///
    /// The index is locked, so that nothing is added between the check and the removal. Blobs of an image that is not
    /// listed yet are kept for a day.
    pub(super) fn collect_garbage(
        &self,
        freed: &HashSet<Digest>,
        now: Timestamp,
    ) -> Result<(), RetentionError> {
        self.layout.change_index(|index| {
            let needed = self.manifests(index)?.into_iter().flat_map(|(digest, info)| {
                let blobs = info.blobs.into_iter().map(|blob| blob.digest);
                blobs.chain(info.children).chain([digest])
            });
            let needed: HashSet<Digest> = needed.collect();
            for (digest, path) in files(&self.layout.directory().join("blobs/sha256"))? {
                let is_free = freed.contains(&digest) || GRACE.has_passed(modified(&path)?, now);
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

    /// Its grace period starts now. The date is set first: with its old one, a blob that a killed run left there would
    /// be deleted at once.
    fn set_aside(&self, digest: &Digest, path: &Path, now: Timestamp) -> Result<(), LayoutError> {
        let aside = self.aside();
        let rename = || {
            fs::create_dir_all(&aside)?;
            File::open(path)?.set_modified(now.into())?;
            fs::rename(path, aside.join(digest.hex()))
        };
        rename().map_err(LayoutError::io(path))
    }

    /// See `RetentionBackend::restore`.
    pub(super) fn restore_manifest(
        &self,
        raw: &RawManifest,
        record: &JournalRecord,
    ) -> Result<Vec<String>, RetentionError> {
        let info = ManifestInfo::read(&raw.media_type, &raw.bytes);
        let missing = || info.blobs.iter().map(|blob| &blob.digest).filter(|blob| !self.layout.has(blob));
        if let Some(blob) = missing().find(|blob| !self.aside().join(blob.hex()).exists()) {
            let reason = format!("its blob {blob} was moved aside more than a day ago and is deleted");
            return Err(RetentionError::unsure(format!("how to restore {}", raw.digest), reason));
        }
        for blob in missing() {
            let aside = self.aside().join(blob.hex());
            fs::rename(&aside, self.layout.path(blob)).map_err(LayoutError::io(&aside))?;
        }
        let descriptor = self.layout.put(&raw.media_type, &raw.bytes)?;
        let entries = record.layout_entries.clone().unwrap_or_else(|| {
            let tagged = |tag: &String| descriptor.clone().annotated(REF_NAME, tag);
            if record.tags.is_empty() {
                vec![descriptor.clone()]
            } else {
                record.tags.iter().map(tagged).collect()
            }
        });
        let taken = self.layout.change_index(|index| list_again(index, entries))?;
        Ok(taken)
    }

    fn aside(&self) -> PathBuf {
        self.layout.directory().join(ASIDE)
    }
}

/// Returns the tags that point to something else, without which their entries are listed.
fn list_again(index: &mut Index, entries: Vec<Descriptor>) -> Vec<String> {
    let mut taken = Vec::new();
    for mut entry in entries {
        let tag = entry.annotations.get(REF_NAME).cloned();
        let owner = tag.as_ref().and_then(|tag| index.tagged(tag)).map(|owner| owner.digest.clone());
        match (tag, owner) {
            (Some(_), Some(owner)) if owner == entry.digest => {}
            (Some(tag), Some(_)) => {
                entry.annotations.remove(REF_NAME);
                index.add(entry);
                taken.push(tag);
            }
            (Some(tag), None) => index.tag(&tag, entry),
            (None, _) => index.add(entry),
        }
    }
    taken
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
