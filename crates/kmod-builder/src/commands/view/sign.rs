use serde::Serialize;

use crate::model::document::{self, DocumentSchema};
use crate::model::evidence::EvidenceKind;
use crate::model::image::DigestRef;
use crate::output::Show;

#[derive(Serialize)]
pub(in crate::commands) struct SignReport {
    schema: DocumentSchema,
    #[serde(serialize_with = "document::image")]
    image: DigestRef,
    /// Of the statements that were signed again; empty if there was nothing to do.
    signed: Vec<EvidenceKind>,
    /// With `--skip-without-key`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    skipped: bool,
}

impl SignReport {
    pub(in crate::commands) fn new(image: DigestRef, signed: Vec<EvidenceKind>) -> Self {
        Self { schema: DocumentSchema::new("sign", 1), image, signed, skipped: false }
    }

    pub(in crate::commands) fn without_key(image: DigestRef) -> Self {
        Self { skipped: true, ..Self::new(image, Vec::new()) }
    }
}

impl Show for SignReport {
    fn table(&self) -> String {
        let kinds: Vec<_> = self.signed.iter().map(EvidenceKind::to_string).collect();
        match kinds.as_slice() {
            [] if self.skipped => format!("no key is given, nothing is signed\n{}\n", self.image),
            [] => format!("already signed, nothing to do\n{}\n", self.image),
            kinds => format!("signed: {}\n{}\n", kinds.join(", "), self.image),
        }
    }
}
