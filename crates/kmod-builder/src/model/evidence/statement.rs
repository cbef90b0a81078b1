use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::StatementSubject;
use crate::model::Digest;

/// The type of every statement (in-toto attestation framework, `spec/v1/statement.md`).
const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";

/// The payload type of a statement in a DSSE envelope (in-toto attestation framework, `spec/v1/envelope.md`).
pub(super) const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum EvidenceKind {
    /// From what and by whom the image was built: SLSA provenance v1.
    Provenance,
    /// Which packages are in the image: an SPDX 2.3 document.
    Sbom,
    /// That the signer stands by the image: what cosign 3 writes for `cosign sign`.
    Signature,
    /// That the modules of the image were booted and used: an in-toto test result.
    BootTest,
    /// That the image was promoted after all checks.
    #[value(skip)]
    Promotion,
    /// That the image is withdrawn, or reinstated.
    #[value(skip)]
    Withdrawal,
    /// That upstream went back, or did not after all, while a channel tag pointed to the image.
    #[value(skip)]
    Rollback,
    /// Which builds of the same inputs failed. The subject is the inputs, not an image.
    #[value(skip)]
    FailedBuilds,
}

impl EvidenceKind {
    /// What may be required of an image before its promotion.
    pub const ALL: [Self; 4] = [Self::Provenance, Self::Sbom, Self::Signature, Self::BootTest];

    /// What happened to it later, and what happened before it existed.
    const HISTORY: [Self; 4] = [Self::Promotion, Self::Withdrawal, Self::Rollback, Self::FailedBuilds];

    /// Statements about an image, in the order in which they are made.
    pub const OF_IMAGES: [Self; 7] = [
        Self::Provenance,
        Self::Sbom,
        Self::Signature,
        Self::BootTest,
        Self::Promotion,
        Self::Withdrawal,
        Self::Rollback,
    ];

    /// Required before a tag may point to the image.
    pub const REQUIRED: [Self; 3] = [Self::Provenance, Self::Sbom, Self::Signature];

    /// The SBOM's is the one that `cosign verify-attestation --type spdxjson` expects.
    pub const fn predicate_type(self) -> &'static str {
        match self {
            Self::Provenance => "https://slsa.dev/provenance/v1",
            Self::Sbom => "https://spdx.dev/Document",
            Self::Signature => "https://sigstore.dev/cosign/sign/v1",
            Self::BootTest => "https://in-toto.io/attestation/test-result/v0.1",
            Self::Promotion => "urn:zfs-kmods:promotion:v1",
            Self::Withdrawal => "urn:zfs-kmods:withdrawal:v1",
            Self::Rollback => "urn:zfs-kmods:rollback:v1",
            Self::FailedBuilds => "urn:zfs-kmods:failed-builds:v1",
        }
    }

    pub fn from_predicate_type(predicate_type: &str) -> Option<Self> {
        Self::ALL.into_iter().chain(Self::HISTORY).find(|kind| kind.predicate_type() == predicate_type)
    }
}

impl fmt::Display for EvidenceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Provenance => "provenance",
            Self::Sbom => "SBOM",
            Self::Signature => "signature",
            Self::BootTest => "boot test",
            Self::Promotion => "promotion",
            Self::Withdrawal => "withdrawal",
            Self::Rollback => "rollback",
            Self::FailedBuilds => "failed builds",
        })
    }
}

/// An in-toto statement to be signed.
///
/// Deterministic: members are sorted by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    kind: EvidenceKind,
    json: Vec<u8>,
}

impl Statement {
    pub fn new(kind: EvidenceKind, subject: &StatementSubject, predicate: &Value) -> Self {
        let mut statement = serde_json::json!({
            "_type": STATEMENT_TYPE,
            "subject": [{"name": subject.name, "digest": {"sha256": subject.digest.hex()}}],
            "predicateType": kind.predicate_type(),
            "predicate": predicate,
        });
        // Sorted already, unless a dependency enables serde_json's `preserve_order`.
        statement.sort_all_objects();
        Self { kind, json: statement.to_string().into_bytes() }
    }

    /// The statement of `cosign sign`.
    pub fn signature(subject: &StatementSubject) -> Self {
        Self::new(EvidenceKind::Signature, subject, &serde_json::json!({}))
    }

    pub const fn kind(&self) -> EvidenceKind {
        self.kind
    }

    pub fn json(&self) -> &[u8] {
        &self.json
    }
}

/// A stored statement. Unknown members are ignored.
#[derive(Clone, Debug)]
pub struct ParsedStatement {
    pub predicate_type: String,
    pub predicate: Value,
    /// SHA-256.
    subjects: Vec<Digest>,
}

impl ParsedStatement {
    /// `json` is the payload of an envelope. The error is a sentence.
    pub fn parse(json: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Wire {
            #[serde(rename = "_type")]
            kind: String,
            subject: Vec<WireSubject>,
            predicate_type: String,
            #[serde(default)]
            predicate: Value,
        }
        #[derive(Deserialize)]
        struct WireSubject {
            digest: WireDigest,
        }
        #[derive(Deserialize)]
        struct WireDigest {
            sha256: Option<String>,
        }
        let Wire { kind, subject, predicate_type, predicate } = serde_json::from_slice(json)
            .map_err(|error| format!("the payload is no in-toto statement: {error}"))?;
        if kind != STATEMENT_TYPE {
            return Err(format!("the payload's `_type` is `{kind}` (expected `{STATEMENT_TYPE}`)"));
        }
        let subjects = subject
            .into_iter()
            .filter_map(|subject| format!("sha256:{}", subject.digest.sha256?).parse().ok())
            .collect();
        Ok(Self { predicate_type, predicate, subjects })
    }

    pub fn is_about(&self, image: &Digest) -> bool {
        self.subjects.contains(image)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::evidence::tests::subject;

    #[test]
    fn what_is_written_is_read_back() {
        let subject = subject();
        for kind in EvidenceKind::ALL.into_iter().chain(EvidenceKind::HISTORY) {
            let statement = Statement::new(kind, &subject, &serde_json::json!({"b": 1, "a": 2}));
            let read = ParsedStatement::parse(statement.json()).unwrap();
            assert_eq!(EvidenceKind::from_predicate_type(&read.predicate_type), Some(kind));
            assert!(read.is_about(&subject.digest) && !read.is_about(&Digest::of(b"other")));
        }
        let text = String::from_utf8(Statement::signature(&subject).json().to_vec()).unwrap();
        assert_eq!(
            text,
            format!(
                r#"{{"_type":"https://in-toto.io/Statement/v1","predicate":{{}},"predicateType":"https://sigstore.dev/cosign/sign/v1","subject":[{{"digest":{{"sha256":"{}"}},"name":"ghcr.io/owner/zfs-kmods"}}]}}"#,
                subject.digest.hex()
            )
        );
    }

    #[test]
    fn what_is_no_statement_is_refused() {
        for text in [
            "",
            "{}",
            r#"{"_type":"https://in-toto.io/Statement/v0.1","subject":[],"predicateType":"x"}"#,
            r#"{"_type":"https://in-toto.io/Statement/v1","predicateType":"x"}"#,
            r#"{"_type":"https://in-toto.io/Statement/v1","subject":[],"subject":[],"predicateType":"x"}"#,
        ] {
            assert!(ParsedStatement::parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
