//! The in-toto test result predicate (in-toto attestation framework, `spec/predicates/test-result.md`, v0.1).

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Clone, Debug, PartialEq)]
pub struct TestResult {
    /// As resource descriptors.
    pub configuration: Vec<Value>,
    pub passed: Vec<String>,
    pub failed: Vec<String>,
    /// Why the test failed, in a sentence.
    pub reason: Option<String>,
    pub url: Option<String>,
    pub finished: Timestamp,
}

impl TestResult {
    /// Passed if at least one step ran and none failed.
    ///
    /// `finishedOn` and `reason` are extensions, which consumers ignore ("Parsing rules" of the framework).
    /// `finishedOn` is as in SLSA provenance v1.
    pub fn predicate(&self) -> Value {
        let passed = self.failed.is_empty() && !self.passed.is_empty();
        let finished = Timestamp::from_second(self.finished.as_second()).unwrap_or(self.finished);
        let mut predicate = json!({
            "result": if passed { PASSED } else { "FAILED" },
            "configuration": self.configuration,
            "passedTests": self.passed,
            "failedTests": self.failed,
            "finishedOn": finished.to_string(),
        });
        for (name, value) in [("reason", &self.reason), ("url", &self.url)] {
            if let Some(value) = value {
                predicate[name] = json!(value);
            }
        }
        predicate
    }
}

/// The result of a test without faults. `WARNED` is not accepted.
const PASSED: &str = "PASSED";

/// The parts of a stored test result that decisions depend on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParsedTestResult {
    /// As stated by the signer.
    pub finished: Timestamp,
    /// Why the test did not pass, in a sentence; `None` if it passed.
    pub failure: Option<String>,
}

impl ParsedTestResult {
    /// A failure in the future counts as now. A pass in the future counts for nothing (`None`), because it would stay the
    /// newest result.
    pub fn as_of(self, now: Timestamp) -> Option<Self> {
        let latest = now.saturating_add(AHEAD).unwrap_or(Timestamp::MAX);
        let counts = self.finished <= latest || self.failure.is_some();
        counts.then(|| Self { finished: self.finished.min(now), ..self })
    }
}

/// Tolerated clock difference between the test machine and this one.
const AHEAD: SignedDuration = SignedDuration::from_mins(5);

/// The error is a sentence.
pub fn read(predicate: &Value) -> Result<ParsedTestResult, String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Wire {
        result: String,
        #[serde(default)]
        passed_tests: Vec<String>,
        #[serde(default)]
        failed_tests: Vec<String>,
        finished_on: Timestamp,
        reason: Option<String>,
    }
    let Wire { result, passed_tests, failed_tests, finished_on, reason } =
        Wire::deserialize(predicate).map_err(|error| format!("the test result cannot be read: {error}"))?;
    let passed = result == PASSED && failed_tests.is_empty() && !passed_tests.is_empty();
    let failure = (!passed).then(|| {
        let steps = if failed_tests.is_empty() { "no step".to_owned() } else { failed_tests.join(", ") };
        reason.unwrap_or_else(|| format!("it is {result}, and what failed is {steps}"))
    });
    Ok(ParsedTestResult { finished: finished_on, failure })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(passed: &[&str], failed: &[&str]) -> TestResult {
        let own = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        TestResult {
            configuration: vec![],
            passed: own(passed),
            failed: own(failed),
            reason: None,
            url: None,
            finished: "2026-11-20T10:00:00.5Z".parse().unwrap(),
        }
    }

    #[test]
    fn a_test_without_steps_has_not_passed() {
        for (passed, failed, word) in
            [(&["load"][..], &[][..], "PASSED"), (&["load"], &["scrub"], "FAILED"), (&[], &[], "FAILED")]
        {
            let predicate = result(passed, failed).predicate();
            assert_eq!(predicate["result"], word);
            let read = read(&predicate).unwrap();
            assert_eq!(read.failure.is_none(), word == "PASSED", "{read:?}");
            assert_eq!(read.finished.to_string(), "2026-11-20T10:00:00Z");
        }
    }

    #[test]
    fn a_result_that_contradicts_itself_has_not_passed() {
        let good = result(&["load"], &[]).predicate();
        for (member, value) in
            [("result", json!("WARNED")), ("failedTests", json!(["scrub"])), ("passedTests", json!([]))]
        {
            let mut other = good.clone();
            other[member] = value;
            assert!(read(&other).unwrap().failure.is_some(), "{other}");
        }
        for member in ["result", "finishedOn"] {
            let mut other = good.clone();
            other.as_object_mut().unwrap().remove(member);
            assert!(read(&other).is_err(), "{other}");
        }
    }
}
