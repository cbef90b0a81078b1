//! Responses on disk, for conditional requests.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use reqwest::header::{ETAG, HeaderMap, HeaderName, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED};
use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// The version of the file format; other entries are ignored.
const SCHEMA: u32 = 2;

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
    /// Those in [`STORED_HEADERS`].
    headers: BTreeMap<String, String>,
    sha256: String,
}

const STORED_HEADERS: [&str; 4] = ["etag", "last-modified", "content-type", "link"];

pub(super) struct Entry {
    header: Header,
    pub(super) body: Bytes,
}

impl Entry {
    /// The headers of a conditional request.
    pub(super) fn conditions(&self) -> HeaderMap {
        let stored = self.headers();
        let pairs = [(IF_NONE_MATCH, ETAG), (IF_MODIFIED_SINCE, LAST_MODIFIED)];
        pairs
            .into_iter()
            .filter_map(|(condition, name)| Some((condition, stored.get(name)?.clone())))
            .collect()
    }

    pub(super) fn headers(&self) -> HeaderMap {
        let pairs = self.header.headers.iter();
        pairs
            .filter_map(|(name, value)| Some((name.parse::<HeaderName>().ok()?, value.parse().ok()?)))
            .collect()
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
        let conditional = headers.contains_key(ETAG) || headers.contains_key(LAST_MODIFIED);
        if conditional { self.store_always(url, headers, body) } else { Ok(()) }
    }

    pub(super) fn store_always(&self, url: &str, headers: &HeaderMap, body: &Bytes) -> io::Result<()> {
        let text = |name: &str| Some(headers.get(name)?.to_str().ok()?.to_owned());
        let stored = STORED_HEADERS.into_iter();
        let headers = stored.filter_map(|name| Some((name.to_string(), text(name)?))).collect();
        let sha256 = Digest::of(body).hex().to_owned();
        let header = Header { schema: SCHEMA, url: url.to_owned(), headers, sha256 };
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
