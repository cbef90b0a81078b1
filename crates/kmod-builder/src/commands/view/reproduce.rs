use serde::Serialize;

use super::image_diff;
use crate::model::document::{self, DocumentSchema};
use crate::model::image::DigestRef;
use crate::model::image_diff::ImageDiff;
use crate::output::Show;

#[derive(Serialize)]
pub(in crate::commands) struct ReproduceReport {
    schema: DocumentSchema,
    #[serde(serialize_with = "document::image")]
    image: DigestRef,
    /// `None` if the second image was built for the comparison.
    #[serde(serialize_with = "document::optional_image")]
    with: Option<DigestRef>,
    #[serde(flatten)]
    pub(in crate::commands) comparison: ImageDiff,
}

impl ReproduceReport {
    pub(in crate::commands) const fn new(
        image: DigestRef,
        with: Option<DigestRef>,
        comparison: ImageDiff,
    ) -> Self {
        Self { schema: DocumentSchema::new("reproduce-report", 2), image, with, comparison }
    }
}

impl Show for ReproduceReport {
    fn table(&self) -> String {
        let verdict = match (self.comparison.identical, &self.with) {
            (true, None) => "reproduced, bit for bit",
            (false, None) => "NOT REPRODUCED",
            (true, Some(_)) => "the same, bit for bit",
            (false, Some(_)) => "NOT THE SAME",
        };
        let built = || format!("{}, built now", self.comparison.second);
        let second = self.with.as_ref().map_or_else(built, DigestRef::to_string);
        let table = image_diff::table(&self.comparison);
        format!("{table}\n{verdict}\nfirst   {}\nsecond  {second}\n", self.image)
    }
}
