use jiff::Timestamp;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::FindingKind;
use crate::model::plan::Plan;
use crate::model::{Digest, DocumentSchema};

/// The result of a command, read by `report`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "StoredRecord")]
pub struct CommandRecord {
    pub schema: DocumentSchema,
    pub command: String,
    /// Without the program's name. Contains no secrets.
    pub arguments: Vec<String>,
    /// The tag of the job's target, such as `zfs-2.4.4_kernel-6.17.8-300.fc43.x86_64`; `None` for a command about all
    /// targets.
    pub tag: Option<String>,
    pub status: CommandStatus,
    pub failure: Option<Failure>,
    pub started_at: Timestamp,
    pub ended_at: Timestamp,
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

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    #[serde(alias = "class")]
    pub kind: FindingKind,
    /// The error and its causes.
    pub message: String,
    /// More specific than the advice of the finding's kind.
    pub help: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "type")]
pub enum RecordedResult {
    Plan(Plan),
    /// Built, or up to date.
    Image {
        digest: Digest,
        /// With the digest, if the image was published.
        reference: Option<String>,
        /// `None` if the image was not published.
        signed: Option<bool>,
    },
    BootTest {
        /// `passed`, `failed` or `not-tested`.
        result: String,
        reason: Option<String>,
    },
    /// One sentence per failed check.
    Rejected {
        reasons: Vec<String>,
    },
}

impl CommandRecord {
    pub fn schema() -> DocumentSchema {
        DocumentSchema::new("command-record", 2)
    }

    /// The file's name in the directory of records. A record is replaced by one with the same command line and
    /// target.
    pub fn file_name(&self) -> String {
        let tag = self.tag.as_deref().unwrap_or("all");
        let line = Digest::of(self.arguments.join("\0").as_bytes());
        format!("{}.{tag}.{}.json", self.command, &line.hex()[..8])
    }
}

impl Failure {
    /// The failure of a command with exit status 3.
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

/// A record of any version. Version 1 had no `schema`, and `shown` had every document that the command printed.
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

/// The members of a document in `shown` that `report` reads.
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
