use jiff::Timestamp;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::FindingKind;
use crate::model::plan::Plan;
use crate::model::{Digest, DocumentSchema};

/// What a command leaves behind for `report`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "StoredRecord")]
pub struct CommandRecord {
    pub schema: DocumentSchema,
    /// `build`.
    pub command: String,
    /// The command line after the program's name; secrets never stand there.
    pub arguments: Vec<String>,
    /// The tag of the target that the job is for, such as `zfs-2.4.4_kernel-6.17.8-300.fc43.x86_64`; `None` for a command
    /// about all targets.
    pub tag: Option<String>,
    pub status: CommandStatus,
    pub failure: Option<Failure>,
    pub started_at: Timestamp,
    pub ended_at: Timestamp,
    /// In the order in which they were shown.
    pub results: Vec<RecordedResult>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CommandStatus {
    /// Exit status 0.
    Done,
    /// Exit status 3.
    Refused,
    /// Exit status 1.
    Failed,
}

/// Why a command did not end well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    #[serde(alias = "class")]
    pub kind: FindingKind,
    /// The error and its causes.
    pub message: String,
    /// What to do, where the error knows more than the advice of its kind.
    pub help: Option<String>,
}

/// What a record keeps of a result that a command has shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "type")]
pub enum RecordedResult {
    Plan(Plan),
    /// An image was built, or was up to date.
    Image {
        digest: Digest,
        /// With its digest, if the image was published.
        reference: Option<String>,
        /// `None` if the image was not published.
        signed: Option<bool>,
    },
    BootTest {
        /// `passed`, `failed` or `not-tested`.
        result: String,
        reason: Option<String>,
    },
    /// Why a check failed, one sentence each.
    Rejected {
        reasons: Vec<String>,
    },
}

impl CommandRecord {
    pub fn schema() -> DocumentSchema {
        DocumentSchema::new("command-record", 2)
    }

    /// The file's name in the directory of records. The same command line for the same target replaces its record;
    /// another command line, such as a promotion to another channel, does not.
    pub fn file_name(&self) -> String {
        let tag = self.tag.as_deref().unwrap_or("all");
        let line = Digest::of(self.arguments.join("\0").as_bytes());
        format!("{}.{tag}.{}.json", self.command, &line.hex()[..8])
    }
}

impl Failure {
    /// The failure of a command that ended with exit status 3.
    pub fn of_check(command: &str, results: &[RecordedResult]) -> Self {
        let kind = match command {
            "boot-test" => FindingKind::Boot,
            "build" | "publish" | "verify" | "promote" => FindingKind::Contract,
            _ => FindingKind::Other,
        };
        let reasons: Vec<&str> = results.iter().flat_map(RecordedResult::reasons).collect();
        let message = if reasons.is_empty() {
            format!("a check of `{command}` failed; its output says which")
        } else {
            reasons.join("; ")
        };
        Self { kind, message, help: None }
    }
}

impl RecordedResult {
    fn reasons(&self) -> Vec<&str> {
        match self {
            Self::BootTest { reason, .. } => reason.iter().map(String::as_str).collect(),
            Self::Rejected { reasons } => reasons.iter().map(String::as_str).collect(),
            Self::Plan(_) | Self::Image { .. } => Vec::new(),
        }
    }
}

/// A record as any version wrote it. Version 1 had no `schema` and kept in `shown` every document that the command had
/// printed.
#[derive(Deserialize)]
struct StoredRecord {
    #[serde(default = "CommandRecord::schema")]
    schema: DocumentSchema,
    #[serde(alias = "verb")]
    command: String,
    arguments: Vec<String>,
    #[serde(alias = "target")]
    tag: Option<String>,
    #[serde(alias = "ending")]
    status: CommandStatus,
    failure: Option<Failure>,
    #[serde(alias = "began")]
    started_at: Timestamp,
    #[serde(alias = "ended")]
    ended_at: Timestamp,
    #[serde(default)]
    results: Vec<RecordedResult>,
    #[serde(default)]
    shown: Vec<ShownDocument>,
}

/// The members that `report` reads of a document in `shown`.
#[derive(Deserialize)]
#[serde(untagged)]
enum ShownDocument {
    Plan(Plan),
    BootTest { result: String, reason: Option<String> },
    Published { image: String, digest: Option<Digest>, signed: bool },
    Built { digest: Digest, published: Option<ShownPublication> },
    Other(IgnoredAny),
}

#[derive(Deserialize)]
struct ShownPublication {
    image: String,
    signed: bool,
}

impl From<StoredRecord> for CommandRecord {
    fn from(stored: StoredRecord) -> Self {
        let StoredRecord { schema, command, arguments, tag, status, failure, started_at, ended_at, .. } =
            stored;
        let shown = stored.shown.into_iter().filter_map(ShownDocument::result);
        let results = stored.results.into_iter().chain(shown).collect();
        Self { schema, command, arguments, tag, status, failure, started_at, ended_at, results }
    }
}

impl ShownDocument {
    fn result(self) -> Option<RecordedResult> {
        match self {
            Self::Plan(plan) => Some(RecordedResult::Plan(plan)),
            Self::BootTest { result, reason } => Some(RecordedResult::BootTest { result, reason }),
            Self::Built { digest, published } => {
                let (reference, signed) = published.map(|it| (it.image, it.signed)).unzip();
                Some(RecordedResult::Image { digest, reference, signed })
            }
            Self::Published { image, digest, signed } => {
                let digest = digest.or_else(|| image.rsplit_once('@')?.1.parse().ok())?;
                Some(RecordedResult::Image { digest, reference: Some(image), signed: Some(signed) })
            }
            Self::Other(_) => None,
        }
    }
}
