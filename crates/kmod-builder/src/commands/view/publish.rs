use serde::Serialize;

use crate::model::DocumentSchema;
use crate::model::ci_report::RecordedResult;
use crate::model::document;
use crate::model::image::{DigestRef, Tag};
use crate::output::Show;

#[derive(Serialize)]
pub struct PublishReport {
    pub(in crate::commands) schema: DocumentSchema,
    #[serde(serialize_with = "document::image")]
    pub(in crate::commands) image: DigestRef,
    pub(in crate::commands) tag: Tag,
    /// The manifest that attaches the inputs.
    #[serde(serialize_with = "document::image")]
    pub(in crate::commands) inputs: DigestRef,
    pub(in crate::commands) steps: usize,
    pub(in crate::commands) signed: bool,
    pub(in crate::commands) requests: u64,
}

impl Show for PublishReport {
    fn table(&self) -> String {
        let done = if self.steps == 0 { "already published, nothing to do" } else { "published" };
        let signed =
            if self.signed { "with provenance, SBOM and signature" } else { "NOT SIGNED (--no-sign)" };
        let Self { image, tag, inputs, requests, .. } = self;
        format!(
            "{done}, {signed}, in {requests} requests\nimage   {image}\ntag     {tag}\ninputs  {inputs}\n"
        )
    }

    fn recorded(&self) -> Option<RecordedResult> {
        let (digest, reference) = (self.image.digest.clone(), Some(self.image.to_string()));
        Some(RecordedResult::Image { digest, reference, signed: Some(self.signed) })
    }
}
