//! Responses on disk, for conditional requests.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use reqwest::header::{ETAG, HeaderMap, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED};
use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// The version of the file format; other entries are ignored.
const SCHEMA: u32 = 1;

/// One file per URL: a line of JSON ([`Header`]), then the body. Damaged files are ignored.
#[derive(Clone, Debug)]
pub(super) struct Cache {
    directory: PathBuf,
    largest: u64,
}

#[derive(Serialize, Deserialize)]
struct Header {
    schema: u32,
    url: String,
    etag: Option<String>,
    last_modified: Option<String>,
    content_type: Option<String>,
    link: Option<String>,
    sha256: String,
}

pub(super) struct Entry {
    header: Header,
    pub(super) body: Bytes,
}

impl Entry {
    /// The headers of a conditional request.
    pub(super) fn conditions(&self) -> HeaderMap {
        let pairs = [(IF_NONE_MATCH, &self.header.etag), (IF_MODIFIED_SINCE, &self.header.last_modified)];
        pairs.into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?.parse().ok()?))).collect()
    }

    pub(super) fn headers(&self) -> HeaderMap {
        use reqwest::header::{CONTENT_TYPE, LINK};
        let pairs = [(CONTENT_TYPE, &self.header.content_type), (LINK, &self.header.link)];
        pairs.into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?.parse().ok()?))).collect()
    }
}

impl Cache {
    pub(super) const fn new(directory: PathBuf, largest: u64) -> Self {
        Self { directory, largest }
    }

    /// `None` if missing or damaged.
    pub(super) fn load(&self, url: &str) -> Option<Entry> {
        let path = self.path(url);
        // With room for the header. Larger files were not written by this program.
        if fs::metadata(&path).ok()?.len() > self.largest + 16 * 1024 {
            return None;
        }
        let content = Bytes::from(fs::read(&path).ok()?);
        let end = content.iter().position(|byte| *byte == b'\n')?;
        let header: Header = serde_json::from_slice(&content[..end]).ok()?;
        let body = content.slice(end + 1..);
        let valid = header.schema == SCHEMA && header.url == url && header.sha256 == Digest::of(&body).hex();
        valid.then_some(Entry { header, body })
    }

    /// Stores only responses that allow conditional requests.
    pub(super) fn store(&self, url: &str, headers: &HeaderMap, body: &Bytes) -> io::Result<()> {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let header = Header {
            schema: SCHEMA,
            url: url.to_owned(),
            etag: text(ETAG),
            last_modified: text(LAST_MODIFIED),
            content_type: text(reqwest::header::CONTENT_TYPE),
            link: text(reqwest::header::LINK),
            sha256: Digest::of(body).hex().to_owned(),
        };
        if header.etag.is_none() && header.last_modified.is_none() {
            return Ok(());
        }
        let mut file = serde_json::to_vec(&header)?;
        file.push(b'\n');
        file.extend_from_slice(body);
        crate::atomic_file::write_cached(&self.path(url), file)
    }

    fn path(&self, url: &str) -> PathBuf {
        Path::new(&self.directory).join(Digest::of(url.as_bytes()).hex())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "https://example.org/a.json";

    fn cache_with_entry(directory: &Path) -> Cache {
        let cache = Cache::new(directory.to_owned(), 1024);
        let headers = HeaderMap::from_iter([(ETAG, "\"one\"".parse().unwrap())]);
        cache.store(URL, &headers, &Bytes::from_static(b"{}\n[]")).unwrap();
        cache
    }

    #[test]
    fn a_stored_response_is_loaded_with_its_condition() {
        let directory = tempfile::tempdir().unwrap();
        let entry = cache_with_entry(directory.path()).load(URL).unwrap();
        assert_eq!(entry.body, "{}\n[]");
        assert_eq!(entry.conditions()[IF_NONE_MATCH], "\"one\"");
    }

    #[test]
    fn damaged_and_foreign_entries_are_ignored() {
        let directory = tempfile::tempdir().unwrap();
        let cache = cache_with_entry(directory.path());
        let path = cache.path(URL);
        let whole = fs::read(&path).unwrap();
        for damaged in [&whole[..whole.len() - 1], &whole[..10], b"", b"\n", &vec![b'x'; 40 * 1024]] {
            fs::write(&path, damaged).unwrap();
            assert!(cache.load(URL).is_none());
        }
        fs::rename(&path, cache.path("https://example.org/b.json")).unwrap();
        fs::write(cache.path("https://example.org/b.json"), &whole).unwrap();
        assert!(cache.load("https://example.org/b.json").is_none(), "the entry of another address");
    }

    #[test]
    fn responses_without_a_validator_are_not_stored() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::new(directory.path().to_owned(), 1024);
        cache.store(URL, &HeaderMap::new(), &Bytes::from_static(b"{}")).unwrap();
        assert!(cache.load(URL).is_none());
    }
}
