use serde::{Serialize, Serializer};
use serde_json::json;

use crate::model::Target;
use crate::model::document::{self, DocumentSchema};
use crate::model::image::DigestRef;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckStatus {
    Passed,
    Failed(String),
    /// Could not be determined, for this reason. Counts as not passed.
    Unknown(String),
}

impl CheckStatus {
    /// Passed if there are no failures.
    pub(in crate::model) fn of(failures: impl IntoIterator<Item = String>) -> Self {
        let failures: Vec<_> = failures.into_iter().collect();
        if failures.is_empty() { Self::Passed } else { Self::Failed(failures.join("; ")) }
    }

    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed(_) => "failed",
            Self::Unknown(_) => "unknown",
        }
    }

    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Passed => None,
            Self::Failed(reason) | Self::Unknown(reason) => Some(reason),
        }
    }
}

pub(in crate::model) type CheckName = (&'static str, &'static str);

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CheckResult {
    /// In kebab-case. Stable; the text may change.
    pub id: &'static str,
    pub check: &'static str,
    #[serde(flatten, serialize_with = "outcome")]
    value: CheckStatus,
}

fn outcome<S: Serializer>(status: &CheckStatus, serializer: S) -> Result<S::Ok, S::Error> {
    json!({ "outcome": status.as_str(), "reason": status.reason() }).serialize(serializer)
}

impl CheckResult {
    pub(in crate::model) fn new((id, check): CheckName, value: CheckStatus) -> Self {
        Self { id, check, value }
    }

    pub const fn outcome(&self) -> &CheckStatus {
        &self.value
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VerificationReport {
    schema: DocumentSchema,
    #[serde(serialize_with = "document::image")]
    image: DigestRef,
    #[serde(serialize_with = "document::optional_target")]
    target: Option<Target>,
    passed: bool,
    /// Whether the evidence was verified with a trusted signer; without one, only the contents are checked.
    authenticated: bool,
    checks: Vec<CheckResult>,
}

impl VerificationReport {
    pub(in crate::model) fn new(image: DigestRef, target: Option<Target>, checks: Vec<CheckResult>) -> Self {
        let passed = target.is_some() && checks.iter().all(|result| result.value == CheckStatus::Passed);
        Self {
            schema: DocumentSchema::new("verification", 1),
            image,
            target,
            passed,
            authenticated: false,
            checks,
        }
    }

    #[must_use]
    pub fn and(self, more: Vec<CheckResult>) -> Self {
        let checks = self.checks.into_iter().chain(more).collect();
        let authenticated = self.authenticated;
        Self { authenticated, ..Self::new(self.image, self.target, checks) }
    }

    /// The evidence of a trusted signer is among the checks.
    #[must_use]
    pub fn authenticated(self) -> Self {
        Self { authenticated: self.passed, ..self }
    }

    pub const fn is_authenticated(&self) -> bool {
        self.authenticated
    }

    pub const fn image(&self) -> &DigestRef {
        &self.image
    }

    pub const fn target(&self) -> Option<&Target> {
        self.target.as_ref()
    }

    pub const fn passed(&self) -> bool {
        self.passed
    }

    /// In the order of the contract.
    pub fn checks(&self) -> &[CheckResult] {
        &self.checks
    }

    /// The report itself if a check did not pass.
    pub fn verified(self) -> Result<VerifiedImage, Box<Self>> {
        match (self.passed, &self.target) {
            (true, Some(target)) => Ok(VerifiedImage { target: target.clone(), image: self.image }),
            _ => Err(Box::new(self)),
        }
    }
}

/// An image that passed every check. Only [`VerificationReport::verified`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedImage {
    image: DigestRef,
    target: Target,
}

impl VerifiedImage {
    pub const fn image(&self) -> &DigestRef {
        &self.image
    }

    pub const fn target(&self) -> &Target {
        &self.target
    }
}
