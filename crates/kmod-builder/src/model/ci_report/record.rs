use jiff::Timestamp;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::FindingKind;
use crate::model::plan::Plan;
use crate::model::{Digest, DocumentSchema};

/// The result of a command, read by `report`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandRecord {
    #[serde(default = "CommandRecord::schema")]
    pub schema: DocumentSchema,
    #[serde(alias = "verb")]
    pub command: String,
    /// Without the program's name. Contains no secrets.
    pub arguments: Vec<String>,
    /// The tag of the job's target, such as `zfs-2.4.4_kernel-6.17.8-300.fc43.x86_64`; `None` for a command about all
    /// targets.
    #[serde(alias = "target")]
    pub tag: Option<String>,
    #[serde(alias = "ending")]
    pub status: CommandStatus,
    pub failure: Option<Failure>,
    #[serde(alias = "began")]
    pub started_at: Timestamp,
    #[serde(alias = "ended")]
    pub ended_at: Timestamp,
    #[serde(default, alias = "shown", deserialize_with = "results")]
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

/// Version 1 had every document that the command printed.
fn results<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<RecordedResult>, D::Error> {
    let documents = Vec::<Value>::deserialize(deserializer)?.into_iter().filter_map(|document| {
        if document["type"].is_string() {
            return Some(serde_json::from_value(document).map_err(D::Error::custom));
        }
        printed(&document).map(Ok)
    });
    documents.collect()
}

/// The result in a document that a command of version 1 printed: a plan, a boot test, a publication or a build.
fn printed(document: &Value) -> Option<RecordedResult> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    if let Ok(plan) = Plan::deserialize(document) {
        return Some(RecordedResult::Plan(plan));
    }
    if let Some(result) = text(&document["result"]) {
        return Some(RecordedResult::BootTest { result, reason: text(&document["reason"]) });
    }
    let published = if document["signed"].is_boolean() { document } else { &document["published"] };
    let reference = text(&published["image"]);
    let in_reference = || reference.as_ref()?.rsplit_once('@').map(|(_, digest)| digest);
    let digest = document["digest"].as_str().or_else(in_reference)?.parse().ok()?;
    Some(RecordedResult::Image { digest, reference, signed: published["signed"].as_bool() })
}
