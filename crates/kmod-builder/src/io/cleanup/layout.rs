use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::RetentionError;
use crate::io::github::DeleteOutcome;
use crate::io::layout::Layout;
use crate::model::Digest;
use crate::model::cleanup::{Age, Inventory, ManifestInfo, StoredManifest};
use crate::model::manifest::RawManifest;
use crate::model::oci::{Descriptor, Index, REF_NAME};

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
        let mut all: BTreeMap<Digest, StoredManifest> = BTreeMap::new();
        let mut next: Vec<(Digest, String)> = Vec::new();
        let mut tags: BTreeMap<Digest, BTreeSet<String>> = BTreeMap::new();
        for entry in &index.manifests {
            next.push((entry.digest.clone(), entry.media_type.clone()));
            let names = tags.entry(entry.digest.clone()).or_default();
            names.extend(entry.annotations.get(REF_NAME).cloned());
        }
        while let Some((digest, media_type)) = next.pop() {
            if all.contains_key(&digest) {
                continue;
            }
            let info = ManifestInfo::read(&media_type, &self.layout.read_blob(&digest)?);
            // Other tools list only the index and not its children.
            let children = info.children.iter().filter(|child| self.layout.has(child));
            next.extend(children.map(|child| (child.clone(), String::new())));
            let created = Some(modified(&self.blob(&digest))?);
            let tags = tags.remove(&digest).unwrap_or_default();
            all.insert(
                digest.clone(),
                StoredManifest { digest, id: None, tags, created, updated: None, info },
            );
        }
        Ok(Inventory::new(all.into_values()))
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
    /// needed blobs back, and deletes what was moved aside a day ago. Returns the bytes moved aside.
    ///
    /// The index is locked, so that nothing is added between the check and the removal. Blobs of an image that is not
    /// listed yet are kept for a day.
    pub(super) fn collect_garbage(&self, deleted: &[Digest], now: Timestamp) -> Result<u64, RetentionError> {
        self.layout.change_index(|index| {
            let needed = self.needed(index)?;
            let mut free: HashSet<Digest> = deleted.iter().cloned().collect();
            for digest in deleted.iter().filter(|digest| self.layout.has(digest)) {
                let info = ManifestInfo::read("", &self.layout.read_blob(digest)?);
                free.extend(info.blobs.into_iter().map(|blob| blob.digest));
            }
            let mut bytes = 0;
            for (digest, path) in files(&self.blobs())? {
                if needed.contains(&digest) {
                    continue;
                }
                if free.contains(&digest) || GRACE.has_passed(modified(&path)?, now) {
                    bytes += self.set_aside(&digest, &path, now)?;
                }
            }
            for (digest, path) in files(&self.aside())? {
                if needed.contains(&digest) && !self.layout.has(&digest) {
                    fs::rename(&path, self.blob(&digest)).map_err(file("put back", &path))?;
                } else if GRACE.has_passed(modified(&path)?, now) {
                    fs::remove_file(&path).map_err(file("remove", &path))?;
                }
            }
            Ok(bytes)
        })?
    }

    /// All blobs reachable from the index, manifests included.
    fn needed(&self, index: &Index) -> Result<HashSet<Digest>, RetentionError> {
        let mut needed = HashSet::new();
        let mut next: Vec<(Digest, String)> =
            index.manifests.iter().map(|entry| (entry.digest.clone(), entry.media_type.clone())).collect();
        while let Some((digest, media_type)) = next.pop() {
            if !needed.insert(digest.clone()) {
                continue;
            }
            let info = ManifestInfo::read(&media_type, &self.layout.read_blob(&digest)?);
            needed.extend(info.blobs.into_iter().map(|blob| blob.digest));
            for child in info.children {
                // A blob too large for a manifest has no children.
                if self.layout.has(&child) && is_document(&self.blob(&child))? {
                    next.push((child, String::new()));
                } else {
                    needed.insert(child);
                }
            }
        }
        Ok(needed)
    }

    fn set_aside(&self, digest: &Digest, path: &Path, now: Timestamp) -> Result<u64, RetentionError> {
        let aside = self.aside();
        fs::create_dir_all(&aside).map_err(file("make", &aside))?;
        let target = aside.join(digest.hex());
        let handle = File::open(path).map_err(file("read", path))?;
        let size = handle.metadata().map_err(file("read", path))?.len();
        fs::rename(path, &target).map_err(file("set aside", path))?;
        // Its grace period starts now.
        handle.set_modified(now.into()).map_err(file("date", &target))?;
        Ok(size)
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
            fs::rename(&aside, self.blob(blob)).map_err(|_| {
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
            let free = self.layout.change_index(|index| tag(index, name, &descriptor))?;
            if !free {
                taken.push(name.clone());
            }
        }
        Ok(taken)
    }

    fn blobs(&self) -> PathBuf {
        self.layout.directory().join("blobs").join("sha256")
    }

    fn blob(&self, digest: &Digest) -> PathBuf {
        self.blobs().join(digest.hex())
    }

    fn aside(&self) -> PathBuf {
        self.layout.directory().join(ASIDE)
    }
}

/// False if the name points to another image; the manifest is then listed without it.
fn tag(index: &mut Index, name: &str, manifest: &Descriptor) -> bool {
    match index.tagged(name) {
        Some(other) if other.digest != manifest.digest => {
            index.add(manifest.clone());
            false
        }
        _ => {
            index.tag(name, manifest.clone());
            true
        }
    }
}

/// The files whose names are digests.
fn files(directory: &Path) -> Result<Vec<(Digest, PathBuf)>, RetentionError> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(file("read", directory)(error)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(file("read", directory))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if let Ok(digest) = format!("sha256:{name}").parse() {
            files.push((digest, path));
        }
    }
    Ok(files)
}

fn modified(path: &Path) -> Result<Timestamp, RetentionError> {
    let time = fs::metadata(path).and_then(|metadata| metadata.modified()).map_err(file("read", path))?;
    Timestamp::try_from(time)
        .map_err(|error| RetentionError::unsure(format!("how old {} is", path.display()), error.to_string()))
}

/// True if the blob is small enough to be a manifest.
fn is_document(path: &Path) -> Result<bool, RetentionError> {
    let size = fs::metadata(path).map_err(file("read", path))?.len();
    Ok(size <= crate::io::layout::MAX_DOCUMENT)
}

fn file(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> RetentionError {
    let path = path.to_owned();
    move |error| RetentionError::File { what, path, error }
}
