//! The result of a test of an image as an in-toto predicate (in-toto attestation framework,
//! `spec/predicates/test-result.md`, v0.1).

use serde_json::{Value, json};

/// A test that was run on an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestResult {
    /// What the test was run with: names and SHA-256 digests, such as the kernel and the emulator's machine type.
    pub configuration: Vec<(String, super::Digest)>,
    /// The steps that went well.
    pub passed: Vec<String>,
    /// The steps that did not.
    pub failed: Vec<String>,
}

impl TestResult {
    /// The predicate. The whole passed if no step failed and at least one was made.
    pub fn predicate(&self) -> Value {
        let passed = self.failed.is_empty() && !self.passed.is_empty();
        let configuration: Vec<_> = self
            .configuration
            .iter()
            .map(|(name, digest)| json!({"name": name, "digest": {"sha256": digest.hex()}}))
            .collect();
        json!({
            "result": if passed { "PASSED" } else { "FAILED" },
            "configuration": configuration,
            "passedTests": self.passed,
            "failedTests": self.failed,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_without_steps_has_not_passed() {
        let result = |passed: &[&str], failed: &[&str]| {
            let own = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
            let test = TestResult { configuration: vec![], passed: own(passed), failed: own(failed) };
            test.predicate()["result"].clone()
        };
        assert_eq!(result(&["load"], &[]), "PASSED");
        assert_eq!(result(&["load"], &["scrub"]), "FAILED");
        assert_eq!(result(&[], &[]), "FAILED");
    }
}
