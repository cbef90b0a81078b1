use jiff::Timestamp;

use super::*;
use crate::model::evidence::provenance::{BuildPlatform, predicate};
use crate::model::evidence::sbom::tests::packages;
use crate::model::evidence::tests::{inputs, signing_key, subject};
use crate::model::evidence::{SigningKey, Statement, StatementSubject, artifact, sbom};
use crate::model::verify::CheckResult;

const REPOSITORY: &str = "ghcr.io/owner/zfs-kmods";

pub(crate) fn image() -> ImageFacts {
    let rpms = packages().into_iter().map(|package| (package.file_name, package.digest)).collect();
    ImageFacts {
        repository: REPOSITORY.into(),
        digest: subject().digest,
        inputs_label: Ok(Some(inputs().digest())),
        rpms: Ok(rpms),
    }
}

pub(crate) fn statements(subject: &StatementSubject, platform: &BuildPlatform) -> Vec<Statement> {
    vec![
        Statement::new(EvidenceKind::Provenance, subject, &predicate(&inputs(), platform)),
        Statement::new(EvidenceKind::Sbom, subject, &sbom::document(subject, &inputs(), &packages())),
        Statement::signature(subject),
    ]
}

fn stored(kind: EvidenceKind, subject: &StatementSubject, json: Vec<u8>) -> StoredBundle {
    let time = jiff::Timestamp::UNIX_EPOCH;
    StoredBundle { referrer: artifact::referrer(&json, kind, subject, time).digest().clone(), json }
}

fn attach(key: &SigningKey, subject: &StatementSubject) -> StoredEvidence {
    let statements = statements(subject, &BuildPlatform::Local { source: None });
    let bundles = statements
        .iter()
        .map(|statement| stored(statement.kind(), subject, key.sign(statement).unwrap()))
        .collect();
    StoredEvidence { bundles: Ok(bundles), simple_signatures: Ok(vec![key.sign_simple(subject).unwrap()]) }
}

fn trust(key: &SigningKey) -> TrustPolicy {
    TrustPolicy::key(key.public().clone())
}

/// The checks that did not pass, and what they came to instead.
fn not_passed(answers: &[CheckResult]) -> Vec<String> {
    answers
        .iter()
        .filter(|answer| *answer.outcome() != CheckStatus::Passed)
        .map(|answer| format!("{}: {}", answer.check, answer.outcome().as_str()))
        .collect()
}

fn failing(image: &ImageFacts, evidence: &StoredEvidence, key: &SigningKey) -> Vec<String> {
    not_passed(&verify_evidence(image, evidence, &trust(key), Timestamp::UNIX_EPOCH))
}

#[test]
fn whole_evidence_passes() {
    let key = signing_key();
    let evidence = attach(&key, &subject());
    let answers = verify_evidence(&image(), &evidence, &trust(&key), Timestamp::UNIX_EPOCH);
    assert_eq!(answers.len(), 7);
    assert!(not_passed(&answers).is_empty(), "{answers:?}");
    assert!(
        not_passed(&verify_evidence_presence(&subject().digest, &evidence, Timestamp::UNIX_EPOCH)).is_empty()
    );
}

#[test]
fn nothing_passes_with_another_key_or_for_another_image() {
    let (key, other) = (signing_key(), signing_key());
    let all = [
        "provenance is signed and whole: failed",
        "provenance is of the image's inputs: unknown",
        "SBOM is signed: failed",
        "SBOM lists exactly the RPMs of the image: unknown",
        "signature is good: failed",
        "signature for podman and bootc is good: failed",
    ];
    assert_eq!(failing(&image(), &attach(&key, &subject()), &other), all);
    let elsewhere = StatementSubject::image(REPOSITORY, Digest::of(b"other"), 5);
    assert_eq!(failing(&image(), &attach(&key, &elsewhere), &key), all);
    let nothing = StoredEvidence { bundles: Ok(vec![]), simple_signatures: Ok(vec![]) };
    assert_eq!(failing(&image(), &nothing, &key), all);
}

#[test]
fn one_of_several_trusted_signers_suffices() {
    let [old, new, stranger] = [signing_key(), signing_key(), signing_key()];
    let trust_of = |keys: &[&SigningKey]| {
        TrustPolicy::Signers(keys.iter().map(|key| TrustedSigner::Key(key.public().clone())).collect())
    };
    let both = trust_of(&[&new, &old]);
    for signer in [&old, &new] {
        let answers = verify_evidence(&image(), &attach(signer, &subject()), &both, Timestamp::UNIX_EPOCH);
        assert!(not_passed(&answers).is_empty(), "{answers:?}");
    }
    let answers = verify_evidence(&image(), &attach(&stranger, &subject()), &both, Timestamp::UNIX_EPOCH);
    assert_eq!(not_passed(&answers).len(), 6);
    let reason = answers[0].outcome().reason().unwrap();
    assert_eq!(reason.matches("it is not signed with this key").count(), 1, "{reason}");
    let without_keys =
        verify_evidence(&image(), &attach(&old, &subject()), &trust_of(&[]), Timestamp::UNIX_EPOCH);
    assert_eq!(not_passed(&without_keys).len(), 5);
}

#[test]
fn what_could_not_be_found_out_is_unknown() {
    let key = signing_key();
    let unreachable = StoredEvidence { bundles: Err("403".into()), simple_signatures: Err("403".into()) };
    let answers = verify_evidence(&image(), &unreachable, &trust(&key), Timestamp::UNIX_EPOCH);
    assert!(answers.iter().all(|answer| matches!(answer.outcome(), CheckStatus::Unknown(_))), "{answers:?}");
    let unread = ImageFacts { inputs_label: Err("no".into()), rpms: Err("no".into()), ..image() };
    assert_eq!(
        failing(&unread, &attach(&key, &subject()), &key),
        ["provenance is of the image's inputs: unknown", "SBOM lists exactly the RPMs of the image: unknown"]
    );
}

#[test]
fn no_byte_of_the_evidence_can_be_changed() {
    let key = signing_key();
    let whole = attach(&key, &subject());
    for (at, bundle) in whole.bundles.clone().unwrap().into_iter().enumerate() {
        // The payload and the signature; what surrounds them is not signed.
        let text = String::from_utf8(bundle.json).unwrap();
        for member in ["\"payload\":\"", "\"sig\":\""] {
            let start = text.find(member).unwrap() + member.len();
            let end = start + text[start..].find('"').unwrap();
            for position in (start..end - 2).step_by(31) {
                let mut changed = text.clone().into_bytes();
                changed[position] = if changed[position] == b'A' { b'B' } else { b'A' };
                let mut bundles = whole.bundles.clone().unwrap();
                bundles[at].json = changed;
                let evidence = StoredEvidence { bundles: Ok(bundles), ..whole.clone() };
                assert!(!failing(&image(), &evidence, &key).is_empty());
            }
        }
    }
}

#[test]
fn bundles_of_strangers_spoil_nothing() {
    let (key, stranger) = (signing_key(), signing_key());
    let mut evidence = attach(&key, &subject());
    let mut bundles = vec![stored(EvidenceKind::Sbom, &subject(), b"junk".to_vec())];
    bundles.extend(attach(&stranger, &subject()).bundles.unwrap());
    bundles.extend(evidence.bundles.unwrap());
    evidence.bundles = Ok(bundles);
    let strangers = attach(&stranger, &subject()).simple_signatures.unwrap();
    evidence.simple_signatures = Ok([strangers, evidence.simple_signatures.unwrap()].concat());
    assert!(failing(&image(), &evidence, &key).is_empty());
}

#[test]
fn label_and_packages_are_compared() {
    let key = signing_key();
    let evidence = attach(&key, &subject());
    for label in [None, Some(Digest::of(b"other"))] {
        let other = ImageFacts { inputs_label: Ok(label), ..image() };
        assert_eq!(failing(&other, &evidence, &key), ["provenance is of the image's inputs: failed"]);
    }
    let with = |change: fn(&mut BTreeMap<String, Digest>)| {
        let mut rpms = image().rpms.unwrap();
        change(&mut rpms);
        let answers = verify_evidence(
            &ImageFacts { rpms: Ok(rpms), ..image() },
            &evidence,
            &trust(&key),
            Timestamp::UNIX_EPOCH,
        );
        assert_eq!(not_passed(&answers), ["SBOM lists exactly the RPMs of the image: failed"]);
        let CheckStatus::Failed(reason) = answers[3].outcome().clone() else { panic!("{answers:?}") };
        reason
    };
    let reason = with(|rpms| drop(rpms.insert("extra.rpm".into(), Digest::of(b""))));
    assert_eq!(reason, "it does not list extra.rpm");
    let reason = with(|rpms| drop(rpms.pop_last()));
    assert_eq!(reason, "it lists src/zfs-kmod-2.4.3-1.fc43.src.rpm, which is not in the image");
    let reason = with(|rpms| *rpms.first_entry().unwrap().get_mut() = Digest::of(b""));
    assert!(reason.starts_with("its digest of devel/libzfs6-devel"), "{reason}");
}

#[test]
fn only_bundles_of_the_current_form_with_one_signature_are_taken() {
    let key = signing_key();
    let bundle = String::from_utf8(key.sign(&Statement::signature(&subject())).unwrap()).unwrap();
    let refused = |from: &str, to: &str| {
        assert!(bundle.contains(from), "{from} is not in {bundle}");
        let changed = bundle.replacen(from, to, 1);
        let changed = stored(EvidenceKind::Signature, &subject(), changed.into_bytes());
        match verify_bundle(&changed, EvidenceKind::Signature, &subject().digest, &trust(&key)) {
            Err(BundleRejection::Invalid(reason)) => reason,
            other => panic!("{other:?}"),
        }
    };
    refused("bundle.v0.3+json", "bundle+json;version=0.2");
    refused("vnd.in-toto+json", "vnd.other+json");
    refused("\"signatures\":[", "\"signatures\":[{\"sig\":\"AAAA\"},");
}

#[test]
fn only_what_is_missing_is_signed_again() {
    let key = signing_key();
    let whole = attach(&key, &subject());
    let carriers: BTreeSet<_> =
        whole.bundles.clone().unwrap().into_iter().map(|stored| stored.referrer).collect();
    let nothing_missing = EvidenceStatus { accepted: carriers.clone(), ..EvidenceStatus::default() };
    assert_eq!(evidence_status(&image(), &whole, &trust(&key)).unwrap(), nothing_missing);
    let everything_missing = EvidenceStatus {
        missing: EvidenceKind::REQUIRED.to_vec(),
        simple_signature_missing: true,
        ..EvidenceStatus::default()
    };
    assert_eq!(evidence_status(&image(), &whole, &trust(&signing_key())).unwrap(), everything_missing);
    let other =
        ImageFacts { inputs_label: Ok(Some(Digest::of(b"other"))), rpms: Ok(BTreeMap::new()), ..image() };
    let standing_of_other = evidence_status(&other, &whole, &trust(&key)).unwrap();
    assert_eq!(standing_of_other.missing, [EvidenceKind::Provenance, EvidenceKind::Sbom]);
    for unknown in [
        StoredEvidence { bundles: Err("403".into()), ..whole.clone() },
        StoredEvidence { simple_signatures: Err("403".into()), ..whole },
    ] {
        assert_eq!(evidence_status(&image(), &unknown, &trust(&key)), Err("403".to_owned()));
    }
}
