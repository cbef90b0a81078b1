use std::time::Duration;

use fake_sigstore::FakeSigstore;
use secrecy::SecretString;

use jiff::Timestamp;

use super::*;
use crate::model::Digest;
use crate::model::evidence::tests::subject;
use crate::model::evidence::verify::tests::{image, statements};
use crate::model::evidence::verify::{StoredBundle, StoredEvidence, verify_evidence};
use crate::model::verify::CheckStatus;

fn client() -> reqwest::Client {
    reqwest::Client::builder().timeout(Duration::from_secs(20)).build().unwrap()
}

fn keyless(sigstore: &FakeSigstore) -> Keyless {
    let bearer = Some(SecretString::from("bearer"));
    let tokens = TokenSource::new(client(), Some(sigstore.token_url()), bearer).unwrap();
    let services = SigstoreServices {
        fulcio: sigstore.url(),
        rekor: sigstore.url(),
        timestamp: Some(sigstore.timestamp_url()),
    };
    Keyless::new(client(), tokens, &services)
}

fn start() -> FakeSigstore {
    FakeSigstore::start("127.0.0.1:0", fake_sigstore::claims()).unwrap()
}

fn root(sigstore: &FakeSigstore) -> TrustedRoot {
    TrustedRoot::from_json(sigstore.trusted_root()).unwrap()
}

/// Every kind of evidence, signed by every signer.
async fn attach(signer: &Signer) -> StoredEvidence {
    let statements = statements(&subject(), &signer.build_platform(None, None).await.unwrap());
    let mut bundles = Vec::new();
    for signer_kind in signer.signer_kinds() {
        for statement in &statements {
            let json = signer.sign(signer_kind, statement).await.unwrap().unwrap().bundle;
            bundles.push(StoredBundle { referrer: Digest::of(&json), json });
        }
    }
    let simple_signatures = Ok(signer.sign_simple(&subject()).unwrap().into_iter().collect());
    StoredEvidence { bundles: Ok(bundles), simple_signatures }
}

#[tokio::test]
async fn what_a_workflow_signs_is_verified_by_its_identity_and_by_no_other() {
    let sigstore = start();
    let signer = Signer::new(None, Some(keyless(&sigstore)));
    let attached = attach(&signer).await;
    let identity = || CertificateIdentity::github("owner/zfs-kmods", root(&sigstore)).unwrap();
    let verify_evidence =
        |identity| verify_evidence(&image(), &attached, &TrustPolicy::identity(identity), Timestamp::now());
    for accepted in [identity(), identity().workflow("build.yaml").reference("refs/heads/main")] {
        let answers = verify_evidence(accepted);
        assert_eq!(answers.len(), 6);
        assert!(answers.iter().all(|answer| *answer.outcome() == CheckStatus::Passed), "{answers:?}");
    }
    for refused in [
        identity().workflow("other.yaml"),
        identity().reference("refs/heads/other"),
        CertificateIdentity::github("owner/other", root(&sigstore)).unwrap(),
        CertificateIdentity::github("owner/zfs-kmods", root(&start())).unwrap(),
        CertificateIdentity::github("owner/zfs-kmods", trusted_root(None).await.unwrap()).unwrap(),
    ] {
        let mut answers = verify_evidence(refused);
        // Nobody who is trusted withdrew it.
        answers.retain(|answer| answer.id != "not-withdrawn");
        assert!(answers.iter().all(|answer| *answer.outcome() != CheckStatus::Passed), "{answers:?}");
    }
}

#[tokio::test]
async fn both_parties_make_evidence_that_is_complete_for_each() {
    let sigstore = start();
    let key = SigningKey::generate().unwrap();
    let signer = Signer::new(Some(key), Some(keyless(&sigstore)));
    let attached = attach(&signer).await;
    assert_eq!(signer.signer_kinds(), [SignerKind::Key, SignerKind::Keyless]);
    for signer_kind in signer.signer_kinds() {
        let trust = signer.trust(signer_kind, root(&sigstore)).await.unwrap().unwrap();
        let answers = verify_evidence(&image(), &attached, &trust, Timestamp::now());
        assert!(
            answers.iter().all(|answer| *answer.outcome() == CheckStatus::Passed),
            "{signer_kind:?} {answers:?}"
        );
    }
}

#[tokio::test]
async fn without_a_token_the_permission_is_named() {
    for (url, bearer) in [(None, None), (Some(String::new()), Some(SecretString::from("x")))] {
        let error = TokenSource::new(client(), url, bearer).unwrap_err();
        let shown = format!("{:?}", miette::Report::new(error));
        assert!(shown.contains("id-token: write"), "{shown}");
    }
}

#[tokio::test]
async fn a_service_that_refuses_is_not_asked_again() {
    let sigstore = start();
    let refusing = wiremock::MockServer::start().await;
    let services = SigstoreServices {
        fulcio: refusing.uri(),
        rekor: sigstore.url(),
        timestamp: Some(sigstore.timestamp_url()),
    };
    wiremock::Mock::given(wiremock::matchers::any())
        .respond_with(wiremock::ResponseTemplate::new(403))
        .expect(1)
        .mount(&refusing)
        .await;
    let tokens =
        TokenSource::new(client(), Some(sigstore.token_url()), Some(SecretString::from("b"))).unwrap();
    let keyless = Keyless::new(client(), tokens, &services);
    let error = keyless.sign(&Statement::signature(&subject())).await.unwrap_err();
    assert!(matches!(error, SignerError::Sigstore(_)), "{error:?}");
}

#[tokio::test]
async fn without_a_key_or_an_identity_nothing_is_signed() {
    let unsigned = Signer::unsigned();
    assert!(!unsigned.signs() && unsigned.signer_kinds().is_empty());
    assert_eq!(unsigned.sign(SignerKind::Key, &Statement::signature(&subject())).await.unwrap(), None);
    assert_eq!(unsigned.sign_simple(&subject()).unwrap(), None);
    assert_eq!(unsigned.build_platform(None, None).await.unwrap(), BuildPlatform::Local { source: None });
}
