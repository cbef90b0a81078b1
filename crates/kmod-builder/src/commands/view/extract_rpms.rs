use indicatif::HumanBytes;
use serde::Serialize;

use crate::io::image_rpms::ExtractedRpm;
use crate::model::document::{self, DocumentSchema};
use crate::model::image::DigestRef;
use crate::output::{self, Show};

#[derive(Serialize)]
pub(in crate::commands) struct ExtractReport {
    schema: DocumentSchema,
    #[serde(serialize_with = "document::image")]
    image: DigestRef,
    rpms: Vec<ExtractedRpm>,
}

impl ExtractReport {
    pub(in crate::commands) fn new(image: &DigestRef, rpms: Vec<ExtractedRpm>) -> Self {
        Self { schema: DocumentSchema::new("extracted-rpms", 1), image: image.clone(), rpms }
    }
}

impl Show for ExtractReport {
    fn table(&self) -> String {
        let rows = self.rpms.iter().map(|extracted| {
            [
                extracted.file.display().to_string(),
                HumanBytes(extracted.size).to_string(),
                extracted.state.as_str().to_owned(),
            ]
        });
        output::columns(["FILE", "SIZE", "STATE"], rows)
    }
}
