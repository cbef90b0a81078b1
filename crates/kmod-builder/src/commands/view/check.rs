use kmod_compat::Verdict;
use serde::Serialize;

use crate::model::{DocumentSchema, Target};
use crate::output::Show;

#[derive(Serialize)]
pub struct CheckReport {
    schema: DocumentSchema,
    target: Target,
    compatible: bool,
    verdict: Verdict,
}

impl CheckReport {
    pub fn new(target: Target, verdict: Verdict) -> Self {
        let compatible = verdict == Verdict::Compatible;
        Self { schema: DocumentSchema::new("check-report", 2), target, compatible, verdict }
    }
}

impl Show for CheckReport {
    fn table(&self) -> String {
        match &self.verdict {
            Verdict::Compatible => {
                format!("compatible: OpenZFS {} may be built for {}\n", self.target.zfs, self.target.kernel)
            }
            Verdict::Incompatible(reason) => format!("{}: {reason}\n", reason.kind()),
        }
    }
}
