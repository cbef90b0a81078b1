use sigstore_crypto::FulcioCiClaims;
use sigstore_trust_root::TrustedRoot;
use sigstore_types::artifact::ArtifactDigest;
use sigstore_types::{Bundle, Sha256Hash};
use sigstore_verify::{VerificationPolicy, Verifier};

use super::VerifiedBundle;
use crate::model::evidence::Claims;
use crate::model::evidence::provenance::ACTIONS_BUILD_TYPE;

const GITHUB_ISSUER: &str = "https://token.actions.githubusercontent.com";
const GITHUB: &str = "https://github.com";

/// The ref whose runs publish for users. Runs of branches are trusted only where their ref is named.
const DEFAULT_REF: &str = "refs/heads/main";

/// A trusted GitHub Actions workflow on one ref, and the root of trust for its certificates.
#[derive(Clone, Debug)]
pub struct CertificateIdentity {
    server: String,
    issuer: String,
    repository: String,
    workflow: Option<String>,
    reference: String,
    root: TrustedRoot,
}

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("`{0}` does not name a repository on GitHub (expected `owner/name`)")]
pub struct CertificateIdentityError(String);

impl CertificateIdentity {
    /// Whether it is `owner/name`.
    pub fn check_repository(repository: &str) -> Result<(), CertificateIdentityError> {
        let part = |part: &str| {
            !part.is_empty()
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        };
        match repository.split_once('/') {
            Some((owner, name)) if part(owner) && part(name) => Ok(()),
            _ => Err(CertificateIdentityError(repository.to_owned())),
        }
    }

    /// Any workflow of a repository on github.com, `owner/name`, on `refs/heads/main`.
    pub fn github(repository: &str, root: TrustedRoot) -> Result<Self, CertificateIdentityError> {
        Self::check_repository(repository)?;
        Ok(Self {
            server: GITHUB.to_owned(),
            issuer: GITHUB_ISSUER.to_owned(),
            repository: repository.to_owned(),
            workflow: None,
            reference: DEFAULT_REF.to_owned(),
            root,
        })
    }

    /// Restricts to a workflow: `build.yaml`, `.github/workflows/build.yaml`, or in another repository,
    /// `owner/name/.github/workflows/build.yaml`.
    #[must_use]
    pub fn workflow(mut self, workflow: &str) -> Self {
        self.workflow = Some(match workflow.split('/').count() {
            1 => format!("{}/.github/workflows/{workflow}", self.repository),
            3 => format!("{}/{workflow}", self.repository),
            _ => workflow.to_owned(),
        });
        self
    }

    /// Runs of another git ref: `refs/heads/topic`.
    #[must_use]
    pub fn reference(mut self, reference: &str) -> Self {
        reference.clone_into(&mut self.reference);
        self
    }

    /// What the run with this token signs, and nothing else: a policy that names its repository and ref accepts it, too.
    pub fn of_run(claims: &Claims, root: TrustedRoot) -> Result<Self, CertificateIdentityError> {
        let workflow =
            claims.job_workflow_ref.rsplit_once('@').map_or(&*claims.job_workflow_ref, |(path, _)| path);
        let identity = Self::github(&claims.repository, root)?;
        Ok(identity.server(&claims.server(), &claims.iss).workflow(workflow).reference(&claims.reference))
    }

    /// A server other than github.com, and the issuer of its tokens.
    #[must_use]
    pub fn server(mut self, server: &str, issuer: &str) -> Self {
        server.trim_end_matches('/').clone_into(&mut self.server);
        issuer.clone_into(&mut self.issuer);
        self
    }

    /// Checks everything but the statement: certificate and its log entry, signature, transparency log entry, times,
    /// and that the certificate was issued to this workflow.
    pub(super) fn check(&self, bundle: &Bundle, image: Sha256Hash) -> Result<FulcioCiClaims, String> {
        let policy = VerificationPolicy::any_identity().require_issuer(&self.issuer);
        let result = Verifier::new(&self.root)
            .and_then(|verifier| verifier.verify(ArtifactDigest::sha256(image), bundle, &policy))
            .map_err(|error| error.to_string())?;
        let certificate = result.certificate().ok_or("it is signed with a key, not with a certificate")?;
        self.matches(&certificate.ci_claims)?;
        Ok(certificate.ci_claims.clone())
    }

    fn matches(&self, claims: &FulcioCiClaims) -> Result<(), String> {
        let repository = format!("{}/{}", self.server, self.repository);
        let source = claimed("repository", claims.source_repository_uri.as_deref())?;
        // GitHub's owner and repository names are case-insensitive.
        if !source.eq_ignore_ascii_case(&repository) {
            return Err(format!("it was signed by a run of {source} (expected {repository})"));
        }
        let signer = claimed("workflow", claims.build_signer_uri.as_deref())?;
        let (path, _) = signer.rsplit_once('@').unwrap_or((signer, ""));
        let accepted = match &self.workflow {
            Some(workflow) => path.eq_ignore_ascii_case(&format!("{}/{workflow}", self.server)),
            // Without a named workflow, only those of the repository itself: no reusable ones of other repositories.
            None => path
                .get(..repository.len() + 1)
                .is_some_and(|start| start.eq_ignore_ascii_case(&format!("{repository}/"))),
        };
        if !accepted {
            let expected = self.workflow.as_ref().unwrap_or(&self.repository);
            return Err(format!("it was signed by the workflow {signer} (expected {expected})"));
        }
        let (expected, reference) =
            (&self.reference, claimed("ref", claims.source_repository_ref.as_deref())?);
        if reference != expected {
            return Err(format!("it was signed by a run of {reference} (expected {expected})"));
        }
        Ok(())
    }
}

fn claimed<'a>(what: &str, claim: Option<&'a str>) -> Result<&'a str, String> {
    claim.ok_or_else(|| format!("its certificate names no {what}"))
}

/// Fails if provenance and certificate describe different runs.
pub(super) fn provenance_is_of_signer(
    verified: &VerifiedBundle,
    claims: &FulcioCiClaims,
) -> Result<(), String> {
    let predicate = &verified.statement.predicate;
    for (pointer, expected) in [
        ("/buildDefinition/buildType", Some(ACTIONS_BUILD_TYPE)),
        ("/buildDefinition/externalParameters/workflow/repository", claims.source_repository_uri.as_deref()),
        ("/buildDefinition/externalParameters/workflow/ref", claims.source_repository_ref.as_deref()),
        ("/runDetails/builder/id", claims.build_signer_uri.as_deref()),
    ] {
        let said = predicate.pointer(pointer).and_then(serde_json::Value::as_str);
        if said.is_none() || said != expected {
            return Err(format!(
                "the provenance says {} in `{pointer}`, the certificate of its signer {}",
                said.unwrap_or("nothing"),
                expected.unwrap_or("nothing")
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> TrustedRoot {
        TrustedRoot::from_json(r#"{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}"#)
            .unwrap()
    }

    fn claims() -> FulcioCiClaims {
        let mut claims = FulcioCiClaims::default();
        claims.source_repository_uri = Some("https://github.com/Owner/zfs-kmods".into());
        claims.source_repository_ref = Some("refs/heads/main".into());
        claims.build_signer_uri =
            Some("https://github.com/Owner/zfs-kmods/.github/workflows/build.yaml@refs/heads/main".into());
        claims
    }

    #[test]
    fn a_workflow_is_matched_by_what_was_asked_for() {
        let identity = || CertificateIdentity::github("owner/zfs-kmods", root()).unwrap();
        for accepted in [
            identity(),
            identity().workflow("build.yaml"),
            identity().workflow(".github/workflows/build.yaml"),
            identity().workflow("owner/zfs-kmods/.github/workflows/build.yaml").reference("refs/heads/main"),
        ] {
            accepted.matches(&claims()).unwrap();
        }
        for refused in [
            CertificateIdentity::github("owner/zfs", root()).unwrap(),
            CertificateIdentity::github("other/zfs-kmods", root()).unwrap(),
            identity().workflow("release.yaml"),
            identity().reference("refs/heads/other"),
            identity().server("https://github.example.org", "https://github.example.org/_services/token"),
        ] {
            refused.matches(&claims()).unwrap_err();
        }
        identity().matches(&FulcioCiClaims::default()).unwrap_err();
    }

    #[test]
    fn a_branch_is_trusted_only_if_it_is_named() {
        let mut claims = claims();
        claims.source_repository_ref = Some("refs/heads/topic".into());
        let identity = || CertificateIdentity::github("owner/zfs-kmods", root()).unwrap();
        let reason = identity().matches(&claims).unwrap_err();
        assert_eq!(reason, "it was signed by a run of refs/heads/topic (expected refs/heads/main)");
        identity().reference("refs/heads/topic").matches(&claims).unwrap();
    }

    #[test]
    fn a_workflow_of_another_repository_must_be_named() {
        let mut claims = claims();
        claims.build_signer_uri = Some(
            "https://github.com/owner/zfs-kmods-evil/.github/workflows/build.yaml@refs/heads/main".into(),
        );
        let identity = || CertificateIdentity::github("owner/zfs-kmods", root()).unwrap();
        identity().matches(&claims).unwrap_err();
        identity().workflow("owner/zfs-kmods-evil/.github/workflows/build.yaml").matches(&claims).unwrap();
    }

    #[test]
    fn a_repository_has_an_owner_and_a_name() {
        for text in ["", "owner", "owner/", "/name", "owner/name/more", "owner/na me"] {
            assert!(CertificateIdentity::github(text, root()).is_err(), "{text}");
        }
    }
}
