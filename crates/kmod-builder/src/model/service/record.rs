use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Class;
use crate::model::Digest;

/// What a verb leaves behind for the report: what it was, how it ended, and all that it printed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// `build`.
    pub verb: String,
    /// The words of the command line after the program's name; secrets never stand there.
    pub arguments: Vec<String>,
    /// The tag of the target that the job is for, such as `zfs-2.4.4_kernel-6.17.8-300.fc43.x86_64`; none for what is
    /// about all of them.
    pub target: Option<String>,
    /// How it ended.
    pub ending: Ending,
    /// Why, if it did not end well.
    pub failure: Option<Failure>,
    /// When it began.
    pub began: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// What it wrote to standard output, each document as JSON whatever `--format` said.
    pub shown: Vec<Value>,
}

/// How a verb ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// Exit status 0.
    Done,
    /// Exit status 3.
    Refused,
    /// Exit status 1.
    Failed,
}

/// What went wrong, in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The kind of trouble.
    pub class: Class,
    /// The error and its causes.
    pub message: String,
    /// What to do, where the error knows it better than its class.
    pub help: Option<String>,
}

impl Record {
    /// The file's name in the directory of records. The same line for the same target replaces its record; another line
    /// of the verb, such as a promotion to another channel, does not.
    pub fn file_name(&self) -> String {
        let target = self.target.as_deref().unwrap_or("all");
        let line = Digest::of(self.arguments.join("\0").as_bytes());
        format!("{}.{target}.{}.json", self.verb, &line.hex()[..8])
    }

    /// The last value at a JSON pointer (RFC 6901) in what was shown.
    pub fn shown_at(&self, pointer: &str) -> Option<&Value> {
        self.shown.iter().rev().find_map(|value| value.pointer(pointer)).filter(|value| !value.is_null())
    }

    /// How a check that said no is to be called: what the verb has shown says it.
    pub fn refusal(verb: &str, shown: &[Value]) -> Failure {
        let class = match verb {
            "boot-test" => Class::Boot,
            "build" | "publish" | "verify" | "promote" => Class::Contract,
            _ => Class::Other,
        };
        let reasons: Vec<String> = shown.iter().flat_map(reasons).collect();
        let message = if reasons.is_empty() {
            format!("a check of `{verb}` said no; its output says which")
        } else {
            reasons.join("; ")
        };
        Failure { class, message, help: None }
    }
}

/// The sentences of a document that say why not: the reason of a boot test, and of each check that did not pass.
fn reasons(shown: &Value) -> Vec<String> {
    let own = shown["reason"].as_str().map(str::to_owned);
    let lists = ["checks", "rejections"].into_iter().filter_map(|name| shown[name].as_array());
    let each = lists.flatten().filter_map(|answer| {
        let reason = answer["reason"].as_str().or_else(|| answer.as_str())?;
        match answer["check"].as_str() {
            Some(check) => Some(format!("{check}: {reason}")),
            None => Some(reason.to_owned()),
        }
    });
    own.into_iter().chain(each).collect()
}
