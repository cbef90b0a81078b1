use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::DiffResult;
use crate::model::Digest;

const LONGEST: usize = 60;
/// How many characters are shown before the one that differs, where not all are.
const CONTEXT: usize = 20;

/// What is in an RPM: every tag of its header, and every file of its payload. The bytes of a file are those that were
/// unpacked; the rest that is known of it is the header's word, which counts when it is installed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RpmMetadata {
    /// The values of each tag of the header, by the tag's name (`BUILDTIME`); one unless the tag is an array.
    pub header: BTreeMap<String, Vec<String>>,
    /// The same of the signature header, which says of header and payload what can be computed from them.
    pub signature: BTreeMap<String, Vec<String>>,
    /// The files by their paths, which in a source package have no directory.
    pub files: BTreeMap<String, RpmFileEntry>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RpmFileEntry {
    /// The digest of its bytes, or of a link's target; none where the payload has no bytes for it (ghosts, second
    /// names of a file).
    pub content: Option<Digest>,
    /// Its size in bytes.
    pub size: u64,
    /// Type and permissions, as `st_mode` has them (inode(7)).
    pub mode: u16,
    /// Seconds since 1970.
    pub modified: u32,
    /// `root:root`
    pub owner: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FileAspect {
    /// Its bytes.
    Content,
    Size,
    Mode,
    Mtime,
    Owner,
}

impl FileAspect {
    /// `content`, `size`, `mode`, `mtime`, `owner`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Content => "content",
            Self::Size => "size",
            Self::Mode => "mode",
            Self::Mtime => "mtime",
            Self::Owner => "owner",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileDiff {
    /// Its path in the package.
    pub path: String,
    /// Where it is; never [`DiffResult::Same`].
    pub result: DiffResult,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub aspects: BTreeSet<FileAspect>,
}

/// A header tag that does not have the same values in both packages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TagDiff {
    /// Its name, as rpm has it without `RPMTAG_`: `BUILDTIME`.
    pub tag: String,
    pub what: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RpmDiff {
    /// The files, by their paths.
    pub files: Vec<FileDiff>,
    /// The header's tags, by their names. Those of the signature header (`SIG_` before the name) only if nothing else
    /// differs: otherwise they only repeat that something does.
    pub tags: Vec<TagDiff>,
}

impl RpmDiff {
    pub fn of(first: &RpmMetadata, second: &RpmMetadata) -> Self {
        let files = pairs(&first.files, &second.files)
            .filter_map(|(path, one, other)| {
                let result = DiffResult::of(one, other);
                let aspects = match (one, other) {
                    (Some(one), Some(other)) => aspects(one, other),
                    _ => BTreeSet::new(),
                };
                (result != DiffResult::Same).then(|| FileDiff { path: path.clone(), result, aspects })
            })
            .collect::<Vec<_>>();
        let mut tags = tags("", &first.header, &second.header);
        if files.is_empty() && tags.is_empty() {
            tags = self::tags("SIG_", &first.signature, &second.signature);
        }
        Self { files, tags }
    }

    /// Whether neither files nor tags differ. The RPMs may still do: compressed to different bytes, for one.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && self.tags.is_empty()
    }
}

fn pairs<'a, T>(
    first: &'a BTreeMap<String, T>,
    second: &'a BTreeMap<String, T>,
) -> impl Iterator<Item = (&'a String, Option<&'a T>, Option<&'a T>)> {
    let names: BTreeSet<_> = first.keys().chain(second.keys()).collect();
    names.into_iter().map(|name| (name, first.get(name), second.get(name)))
}

fn aspects(first: &RpmFileEntry, second: &RpmFileEntry) -> BTreeSet<FileAspect> {
    let differs = [
        (FileAspect::Content, first.content != second.content),
        (FileAspect::Size, first.size != second.size),
        (FileAspect::Mode, first.mode != second.mode),
        (FileAspect::Mtime, first.modified != second.modified),
        (FileAspect::Owner, first.owner != second.owner),
    ];
    differs.into_iter().filter(|(_, differs)| *differs).map(|(aspect, _)| aspect).collect()
}

fn tags(
    prefix: &str,
    first: &BTreeMap<String, Vec<String>>,
    second: &BTreeMap<String, Vec<String>>,
) -> Vec<TagDiff> {
    pairs(first, second)
        .filter(|(_, first, second)| first != second)
        .map(|(tag, first, second)| TagDiff { tag: format!("{prefix}{tag}"), what: words(first, second) })
        .collect()
}

fn words(first: Option<&Vec<String>>, second: Option<&Vec<String>>) -> String {
    match (first.map(Vec::as_slice), second.map(Vec::as_slice)) {
        (_, None) => "only in the first".to_owned(),
        (None, _) => "only in the second".to_owned(),
        (Some([first]), Some([second])) => {
            let from = beginning(first, second);
            format!("{}, then {}", short(first, from), short(second, from))
        }
        (Some(first), Some(second)) if first.len() == second.len() => {
            let differing = first.iter().zip(second).filter(|(first, second)| first != second).count();
            format!("{differing} of {} values differ", first.len())
        }
        (Some(first), Some(second)) => format!("{} values, then {}", first.len(), second.len()),
    }
}

/// From which character on two values are shown: the first, if the whole fits, else shortly before they differ.
fn beginning(first: &str, second: &str) -> usize {
    if [first, second].iter().all(|value| value.chars().count() <= LONGEST) {
        return 0;
    }
    let common = first.chars().zip(second.chars()).take_while(|(one, other)| one == other).count();
    common.saturating_sub(CONTEXT)
}

/// A value on one line, from some character on, cut where it is too long; what is not printable is escaped.
fn short(value: &str, from: usize) -> String {
    let mut characters = value.chars().skip(from).flat_map(char::escape_debug);
    let text: String = characters.by_ref().take(LONGEST).collect();
    let before = if from > 0 { "…" } else { "" };
    let after = if characters.next().is_some() { "…" } else { "" };
    format!("`{before}{text}{after}`")
}
