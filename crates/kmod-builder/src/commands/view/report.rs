use crate::model::ci_report::RunReport;
use crate::output::{self, Show};

impl Show for RunReport {
    fn table(&self) -> String {
        let rows = self.targets.iter().map(|result| {
            let findings: Vec<_> = result.findings.iter().map(|finding| finding.kind.title()).collect();
            let end = if !findings.is_empty() {
                findings.join(", ")
            } else if result.promoted {
                "promoted".to_owned()
            } else {
                result.boot_test.clone().unwrap_or_default()
            };
            [result.tag(), result.planned.decision.as_str().to_owned(), end]
        });
        let table = output::columns(["TARGET", "DECISION", "RESULT"], rows);
        let findings = self.all().map(|finding| {
            let message = finding.message.replace('\n', "\n  ");
            format!("\n{}: {}\n  {message}\n", finding.subject, finding.kind.title())
        });
        format!("{table}{}", findings.collect::<String>())
    }
}
