use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};

use super::RetentionError;
use crate::model::cleanup::RetentionReason;
use crate::model::manifest::RawManifest;
use crate::model::oci::Descriptor;
use crate::model::{Digest, DocumentSchema};

/// The deletion journal, from which deletions are restored.
///
/// One JSON value per line. The first line names the store; each further line restores one manifest and is on disk
/// before the deletion is requested.
#[derive(Debug)]
pub struct Journal {
    file: File,
    path: PathBuf,
}

#[derive(Debug, Serialize, Deserialize)]
struct JournalHeader {
    #[serde(deserialize_with = "schema")]
    schema: DocumentSchema,
    store: String,
    #[serde(alias = "begun")]
    started_at: Timestamp,
}

const SCHEMA: DocumentSchema = DocumentSchema::new("cleanup-journal", 2);

fn schema<'de, D: Deserializer<'de>>(deserializer: D) -> Result<DocumentSchema, D::Error> {
    SCHEMA.read(deserializer)
}

/// A deleted manifest, or one whose deletion was about to start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalRecord {
    pub digest: Digest,
    #[serde(default, alias = "id", skip_serializing_if = "Option::is_none")]
    pub version_id: Option<u64>,
    pub tags: BTreeSet<String>,
    pub media_type: String,
    /// In base64, because the digest covers exactly these bytes.
    #[serde(with = "in_base64")]
    pub bytes: Vec<u8>,
    /// `why` in version 1, which holds only the sentence.
    #[serde(alias = "why", deserialize_with = "RetentionReason::read")]
    pub reason: RetentionReason,
    #[serde(alias = "at")]
    pub deleted_at: Timestamp,
    /// Its entries in the `index.json` of a layout; empty if only another index lists it. `None` for registries and in
    /// journals of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layout_entries: Option<Vec<Descriptor>>,
}

impl JournalRecord {
    pub fn manifest(&self) -> RawManifest {
        RawManifest::new(self.bytes.clone(), &self.media_type)
    }
}

impl Journal {
    /// The file must not exist yet.
    pub fn begin(path: &Path, store: &str, now: Timestamp) -> Result<Self, RetentionError> {
        let fail = |error| RetentionError::File { what: "write", path: path.to_owned(), error };
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::create_dir_all(folder).map_err(fail)?;
        let file = OpenOptions::new().append(true).create_new(true).open(path).map_err(fail)?;
        // The directory entry must survive a crash, too.
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(fail)?;
        let mut journal = Self { file, path: path.to_owned() };
        journal.record(&JournalHeader { schema: SCHEMA, store: store.to_owned(), started_at: now })?;
        Ok(journal)
    }

    /// On return, the line is on disk.
    pub(super) fn record(&mut self, value: &impl Serialize) -> Result<(), RetentionError> {
        let mut line = serde_json::to_vec(value).expect("text, times and numbers can be written");
        line.push(b'\n');
        let written = self.file.write_all(&line).and_then(|()| self.file.sync_data());
        written.map_err(|error| RetentionError::File { what: "write", path: self.path.clone(), error })
    }
}

/// Reads the store's name and the records in order.
///
/// An incomplete last line is ignored: its deletion never started.
pub fn read_journal(path: &Path) -> Result<(String, Vec<JournalRecord>), RetentionError> {
    let text = fs::read_to_string(path).map_err(|error| RetentionError::File {
        what: "read",
        path: path.to_owned(),
        error,
    })?;
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let mut lines = whole.lines().enumerate();
    let broken =
        |line: usize| move |error| RetentionError::Journal { path: path.to_owned(), line: line + 1, error };
    let (_, first) = lines.next().unwrap_or_default();
    let header: JournalHeader = serde_json::from_str(first).map_err(broken(0))?;
    let records: Result<Vec<JournalRecord>, RetentionError> =
        lines.map(|(number, line)| serde_json::from_str(line).map_err(broken(number))).collect();
    Ok((header.store, records?))
}

mod in_base64 {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        STANDARD.decode(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_is_read_up_to_where_it_was_written() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("deep/journal.jsonl");
        let now: Timestamp = "2026-06-01T00:00:00Z".parse().unwrap();
        let record = JournalRecord {
            digest: Digest::of(b"{}"),
            version_id: Some(7),
            tags: ["a".to_owned()].into(),
            media_type: "x".into(),
            bytes: b"{}".to_vec(),
            reason: serde_json::from_str(r#"{"id":"old","text":"it is old"}"#).unwrap(),
            deleted_at: now,
            layout_entries: Some(vec![Descriptor::of("x", b"{}")]),
        };
        let mut journal = Journal::begin(&path, "oci:x", now).unwrap();
        journal.record(&record).unwrap();
        journal.record(&record).unwrap();
        assert!(Journal::begin(&path, "oci:x", now).is_err(), "no journal is ever written over");
        let whole = fs::read(&path).unwrap();
        assert_eq!(read_journal(&path).unwrap(), ("oci:x".to_owned(), vec![record.clone(), record.clone()]));
        fs::write(&path, &whole[..whole.len() - 5]).unwrap();
        assert_eq!(read_journal(&path).unwrap().1, [record]);
        fs::write(&path, "{}\n").unwrap();
        assert!(matches!(read_journal(&path), Err(RetentionError::Journal { line: 1, .. })));
    }
}
