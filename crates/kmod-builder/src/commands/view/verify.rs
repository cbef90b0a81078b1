use crate::model::Target;
use crate::model::ci_report::RecordedResult;
use crate::model::verify::{CheckResult, CheckStatus, VerificationReport};
use crate::output::{self, Show};

impl Show for VerificationReport {
    fn table(&self) -> String {
        let rows = self.checks().iter().map(|answer| {
            let result = match answer.outcome() {
                CheckStatus::Passed => "ok",
                CheckStatus::Failed(_) => "FAILED",
                CheckStatus::Unknown(_) => "unknown",
            };
            [answer.check.to_owned(), result.to_owned()]
        });
        let table = output::columns(["CHECK", "RESULT"], rows);
        let reason =
            |answer: &CheckResult| Some(format!("\n{}:\n  {}\n", answer.check, answer.outcome().reason()?));
        let reasons: String = self.checks().iter().filter_map(reason).collect();
        let what = self.target().map_or_else(|| "an unknown target".to_owned(), Target::to_string);
        let verdict = match (self.passed(), self.is_authenticated()) {
            (true, true) => "verified",
            (true, false) => "contents verified, NOT AUTHENTICATED",
            (false, _) => "NOT VERIFIED",
        };
        format!("{table}{reasons}\n{verdict}: {what}\n{}\n", self.image())
    }

    fn recorded(&self) -> Option<RecordedResult> {
        let reason = |answer: &CheckResult| Some(format!("{}: {}", answer.check, answer.outcome().reason()?));
        Some(RecordedResult::Rejected { reasons: self.checks().iter().filter_map(reason).collect() })
    }
}
