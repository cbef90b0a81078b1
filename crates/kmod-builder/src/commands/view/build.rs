use std::path::PathBuf;
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::publish::PublishReport;
use crate::model::ci_report::RecordedResult;
use crate::model::plan::NotBuiltKind;
use crate::model::{Digest, DocumentSchema, Target};
use crate::output::Show;

#[derive(Serialize)]
pub struct BuildReport {
    schema: DocumentSchema,
    /// `built`, `up-to-date`, or the decision of `plan`.
    decision: &'static str,
    #[serde(flatten)]
    pub result: BuildResult,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub published: Option<PublishReport>,
}

#[derive(Serialize)]
#[serde(untagged)]
pub enum BuildResult {
    NotBuilt {
        #[serde(skip)]
        kind: NotBuiltKind,
        reason: String,
        verdict: serde_json::Value,
    },
    UpToDate {
        target: Target,
        image: NamedImage,
    },
    Built {
        target: Target,
        image: NamedImage,
        /// The file beside the image; `None` if nothing was kept.
        inputs: Option<PathBuf>,
        inputs_digest: Digest,
        #[serde(rename = "duration_seconds", serialize_with = "seconds")]
        duration: Duration,
    },
}

#[derive(Serialize)]
pub struct NamedImage {
    pub reference: Option<String>,
    pub digest: Digest,
}

fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(duration.as_secs())
}

impl BuildReport {
    pub fn new(result: BuildResult) -> Self {
        let decision = match &result {
            BuildResult::NotBuilt { kind, .. } => kind.as_str(),
            BuildResult::UpToDate { .. } => "up-to-date",
            BuildResult::Built { .. } => "built",
        };
        Self { schema: DocumentSchema::new("build-report", 2), decision, result, published: None }
    }
}

impl Show for BuildReport {
    fn table(&self) -> String {
        let built = match &self.result {
            BuildResult::NotBuilt { kind, reason, .. } => format!("{}: {reason}\n", kind.as_str()),
            BuildResult::UpToDate { image, .. } => {
                let reference = image.reference.as_deref().unwrap_or_default();
                format!(
                    "up to date: made from the same inputs, and verified again\nimage   {reference}\ndigest  {}\n",
                    image.digest
                )
            }
            BuildResult::Built { image, inputs, duration, .. } => {
                let kept = match (&image.reference, inputs) {
                    (Some(image), Some(inputs)) => format!("image   {image}\ninputs  {}\n", inputs.display()),
                    _ => "image   not kept (--discard)\n".to_owned(),
                };
                format!("built and verified in {} s\ndigest  {}\n{kept}", duration.as_secs(), image.digest)
            }
        };
        let published = self.published.as_ref().map(|report| format!("\n{}", report.table()));
        built + &published.unwrap_or_default()
    }

    fn recorded(&self) -> Option<RecordedResult> {
        let (BuildResult::UpToDate { image, .. } | BuildResult::Built { image, .. }) = &self.result else {
            return None;
        };
        Some(match &self.published {
            Some(published) => published.recorded()?,
            None => RecordedResult::Image { digest: image.digest.clone(), reference: None, signed: None },
        })
    }
}
