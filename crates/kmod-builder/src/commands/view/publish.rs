use serde::Serialize;

use crate::model::ci_report::RecordedResult;
use crate::output::Show;

#[derive(Serialize)]
pub struct PublishReport {
    pub(in crate::commands) image: String,
    pub(in crate::commands) tag: String,
    /// Digest reference of the manifest with the inputs.
    pub(in crate::commands) inputs: String,
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
        let digest = self.image.rsplit_once('@')?.1.parse().ok()?;
        Some(RecordedResult::Image { digest, reference: Some(self.image.clone()), signed: Some(self.signed) })
    }
}
