//! Statements about what happened to an image after it was published, and to builds that published none. Their predicates
//! are described in docs/lifecycle.md.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::test_result::{self, ParsedTestResult};
use super::verify::{Lookup, StoredEvidence, TrustPolicy, trusted_statements};
use super::{EvidenceKind, ParsedStatement};
use crate::model::image::Tag;
use crate::model::reconcile::{FailedAttempt, RollbackNote};
use crate::model::tags::TagClass;
use crate::model::{Digest, Target};

/// What trusted signers stated about an image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageHistory {
    pub boot_tests: Vec<ParsedTestResult>,
    /// For users.
    pub is_promoted: bool,
    pub is_promoted_on_branch: bool,
    /// The newest statement decides.
    pub withdrawn: Option<Withdrawal>,
    /// The newest statement about a tag decides.
    pub rollbacks: BTreeMap<Tag, RollbackNote>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Withdrawal {
    /// A sentence.
    pub reason: String,
    pub decided_on: Timestamp,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WithdrawalPredicate {
    withdrawn: bool,
    #[serde(flatten)]
    withdrawal: Withdrawal,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RollbackPredicate {
    tag: Tag,
    to: Target,
    /// `false`: upstream did not go back after all.
    noted: bool,
    seen_on: Timestamp,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct FailedBuildsPredicate {
    attempts: Vec<FailedAttempt>,
    /// The image whose boot tests failed; `None` if no image was built.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    image: Option<Digest>,
}

/// `tags` are those that the promotion set.
pub fn promotion(tags: &[Tag], now: Timestamp) -> Value {
    json!({"promotedOn": seconds(now), "tags": tags})
}

pub fn withdrawal(withdrawn: bool, reason: &str, now: Timestamp) -> Value {
    let withdrawal = Withdrawal { reason: reason.to_owned(), decided_on: seconds(now) };
    value(&WithdrawalPredicate { withdrawn, withdrawal })
}

pub fn rollback(tag: &Tag, to: &Target, noted: bool, now: Timestamp) -> Value {
    value(&RollbackPredicate { tag: tag.clone(), to: to.clone(), noted, seen_on: seconds(now) })
}

pub fn failed_builds(attempts: &[FailedAttempt]) -> Value {
    value(&FailedBuildsPredicate { attempts: attempts.to_vec(), image: None })
}

/// Stated about the inputs of the image, so that it is known if the result at the image disappears.
pub fn failed_boot_test(image: &Digest, failure: &str, now: Timestamp) -> Value {
    let attempt = FailedAttempt { at: seconds(now), reason: failure.to_owned() };
    value(&FailedBuildsPredicate { attempts: vec![attempt], image: Some(image.clone()) })
}

fn value(predicate: &impl Serialize) -> Value {
    serde_json::to_value(predicate).expect("a predicate is text, times and truth values")
}

fn seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

/// Times in the future count as `now`, but [passed tests](ParsedTestResult::as_of). Statements that cannot be read make the history unknown: they might be the newest.
pub fn image_history(
    image: &Digest,
    evidence: &StoredEvidence,
    trust: &TrustPolicy,
    now: Timestamp,
) -> Lookup<ImageHistory> {
    let statements = |kind| trusted_statements(kind, image, evidence, trust);
    let mut boot_tests = Vec::new();
    for statement in statements(EvidenceKind::BootTest)? {
        let test = test_result::read(&statement.predicate)?;
        boot_tests.extend(test.as_of(now));
    }
    let withdrawn = withdrawal_of(image, evidence, trust, now)?;
    let mut notes: Vec<RollbackPredicate> = read(statements(EvidenceKind::Rollback)?)?;
    notes.sort_by_key(|note| (note.seen_on.min(now), !note.noted));
    let mut rollbacks = BTreeMap::new();
    for RollbackPredicate { tag, to, noted, seen_on } in notes {
        if noted {
            // The first of several notes of the same rollback counts.
            let note = rollbacks.entry(tag).or_insert_with(|| RollbackNote { to: to.clone(), seen: seen_on });
            if note.to != to {
                *note = RollbackNote { to, seen: seen_on };
            }
        } else {
            rollbacks.remove(&tag);
        }
    }
    let promotions = statements(EvidenceKind::Promotion)?;
    let is_promoted = promotions.iter().any(is_for_users);
    let is_promoted_on_branch = promotions.iter().any(|stated| !is_for_users(stated));
    Ok(ImageHistory { boot_tests, is_promoted, is_promoted_on_branch, withdrawn, rollbacks })
}

/// Whether a promotion set a tag that is not of a branch.
pub(super) fn is_for_users(promotion: &ParsedStatement) -> bool {
    let tags = promotion.predicate["tags"].as_array().into_iter().flatten().filter_map(Value::as_str);
    tags.map(TagClass::of).any(|class| class != TagClass::Branch)
}

/// The newest statement decides. Times in the future count as `now`.
pub fn withdrawal_of(
    image: &Digest,
    evidence: &StoredEvidence,
    trust: &TrustPolicy,
    now: Timestamp,
) -> Lookup<Option<Withdrawal>> {
    let statements = trusted_statements(EvidenceKind::Withdrawal, image, evidence, trust)?;
    let mut withdrawals: Vec<WithdrawalPredicate> = read(statements)?;
    // Of statements of the same second, the withdrawal decides.
    withdrawals.sort_by_key(|stated| (stated.withdrawal.decided_on.min(now), stated.withdrawn));
    Ok(withdrawals.pop().filter(|newest| newest.withdrawn).map(|newest| newest.withdrawal))
}

/// The failed builds of the inputs with this [identity](crate::model::inputs::PartialInputs::identity).
pub fn failed_attempts(
    identity: &Digest,
    evidence: &StoredEvidence,
    trust: &TrustPolicy,
) -> Lookup<Vec<FailedAttempt>> {
    let statements = trusted_statements(EvidenceKind::FailedBuilds, identity, evidence, trust)?;
    let all: Vec<FailedBuildsPredicate> = read(statements)?;
    let builds = all.into_iter().filter(|stated| stated.image.is_none());
    let mut attempts: Vec<FailedAttempt> = builds.flat_map(|stated| stated.attempts).collect();
    attempts.sort_by(|one, other| (one.at, &one.reason).cmp(&(other.at, &other.reason)));
    attempts.dedup();
    Ok(attempts)
}

/// The failed boot tests of the image that are stated about its inputs, and are newer than all results at the image: their
/// own results are missing. Times in the future count as `now`.
pub fn missing_boot_tests(
    inputs: &Digest,
    image: &Digest,
    evidence_of_inputs: &StoredEvidence,
    history: &ImageHistory,
    trust: &TrustPolicy,
    now: Timestamp,
) -> Lookup<Vec<FailedAttempt>> {
    let statements = trusted_statements(EvidenceKind::FailedBuilds, inputs, evidence_of_inputs, trust)?;
    let all: Vec<FailedBuildsPredicate> = read(statements)?;
    let newest = history.boot_tests.iter().map(|test| test.finished).max();
    let of_image = all.into_iter().filter(|stated| stated.image.as_ref() == Some(image));
    let attempts = of_image
        .flat_map(|stated| stated.attempts)
        .map(|attempt| FailedAttempt { at: attempt.at.min(now), ..attempt });
    Ok(attempts.filter(|attempt| newest.is_none_or(|newest| attempt.at > newest)).collect())
}

fn read<P: serde::de::DeserializeOwned>(statements: Vec<ParsedStatement>) -> Lookup<Vec<P>> {
    let parse = |statement: ParsedStatement| {
        let kind = statement.predicate_type;
        serde_json::from_value(statement.predicate).map_err(|error| format!("{kind}: {error}"))
    };
    statements.into_iter().map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::signing_key;
    use super::super::verify::StoredBundle;
    use super::super::{SigningKey, Statement, StatementSubject};
    use super::*;

    const NOW: &str = "2026-11-21T06:00:00Z";

    fn at(time: &str) -> Timestamp {
        format!("2026-11-{time}:00:00Z").parse().unwrap()
    }

    fn stored(key: &SigningKey, stated: &[(EvidenceKind, Value)]) -> StoredEvidence {
        let subject = StatementSubject::image("ghcr.io/owner/zfs-kmods", Digest::of(b"image"), 5);
        let bundle = |(kind, predicate): &(EvidenceKind, Value)| {
            let json = key.sign(&Statement::new(*kind, &subject, predicate)).unwrap();
            StoredBundle { referrer: Digest::of(&json), json }
        };
        StoredEvidence { bundles: Ok(stated.iter().map(bundle).collect()), simple_signatures: Ok(vec![]) }
    }

    fn history(stated: &[(EvidenceKind, Value)]) -> ImageHistory {
        let key = signing_key();
        let evidence = stored(&key, stated);
        let trust = TrustPolicy::key(key.public().clone());
        let history = image_history(&Digest::of(b"image"), &evidence, &trust, NOW.parse().unwrap()).unwrap();
        let stranger = TrustPolicy::key(signing_key().public().clone());
        let believed =
            image_history(&Digest::of(b"image"), &evidence, &stranger, NOW.parse().unwrap()).unwrap();
        assert_eq!(believed, ImageHistory::default(), "of a stranger");
        history
    }

    #[test]
    fn the_newest_withdrawal_decides() {
        let state =
            |withdrawn, time| (EvidenceKind::Withdrawal, withdrawal(withdrawn, "it loses data", at(time)));
        assert_eq!(history(&[]).withdrawn, None);
        let withdrawn = history(&[state(false, "10T00"), state(true, "11T00")]).withdrawn.unwrap();
        assert_eq!((withdrawn.reason.as_str(), withdrawn.decided_on), ("it loses data", at("11T00")));
        assert_eq!(history(&[state(true, "10T00"), state(false, "11T00")]).withdrawn, None);
        assert!(history(&[state(true, "10T00"), state(false, "10T00")]).withdrawn.is_some());
        // Of two times in the future neither is newer.
        assert!(history(&[state(true, "25T00"), state(false, "29T00")]).withdrawn.is_some());
    }

    #[test]
    fn the_first_note_of_a_rollback_counts_until_it_is_cleared() {
        let tag: Tag = "stable".parse().unwrap();
        let to = |kernel: &str| Target { zfs: "2.4.3".parse().unwrap(), kernel: kernel.parse().unwrap() };
        let (one, other) = (to("6.17.8-300.fc43.x86_64"), to("6.17.7-300.fc43.x86_64"));
        let note = |to: &Target, noted, time| (EvidenceKind::Rollback, rollback(&tag, to, noted, at(time)));
        let noted = |stated: &[(EvidenceKind, Value)]| history(stated).rollbacks.get(&tag).cloned();
        let seen = |to: &Target, time| Some(RollbackNote { to: to.clone(), seen: at(time) });
        assert_eq!(noted(&[note(&one, true, "11T00"), note(&one, true, "10T00")]), seen(&one, "10T00"));
        assert_eq!(noted(&[note(&one, true, "10T00"), note(&other, true, "11T00")]), seen(&other, "11T00"));
        assert_eq!(noted(&[note(&one, true, "10T00"), note(&one, false, "11T00")]), None);
        let again = [note(&one, true, "10T00"), note(&one, false, "11T00"), note(&one, true, "12T00")];
        assert_eq!(noted(&again), seen(&one, "12T00"));
    }

    #[test]
    fn promotions_and_tests_are_read() {
        let tested = |result: &str| {
            let failed: &[&str] = if result == "PASSED" { &[] } else { &["scrub"] };
            let predicate = json!({
                "result": result, "passedTests": ["load"], "failedTests": failed, "finishedOn": "2026-11-25T00:00:00Z"
            });
            (EvidenceKind::BootTest, predicate)
        };
        let history = history(&[
            (EvidenceKind::Promotion, promotion(&["stable".parse().unwrap()], at("10T00"))),
            tested("PASSED"),
            tested("FAILED"),
        ]);
        // The pass in the future counts for nothing.
        assert!(history.is_promoted && !history.is_promoted_on_branch);
        let tests: Vec<_> = history
            .boot_tests
            .iter()
            .map(|test| (test.finished.to_string(), test.failure.is_none()))
            .collect();
        assert_eq!(tests, [(NOW.to_owned(), false)]);
    }

    #[test]
    fn failed_builds_of_several_records_are_one_list() {
        let key = signing_key();
        let attempt = |time| FailedAttempt { at: at(time), reason: "error: unknown type".into() };
        let records = [
            (EvidenceKind::FailedBuilds, failed_builds(&[attempt("10T00")])),
            (EvidenceKind::FailedBuilds, failed_builds(&[attempt("10T00"), attempt("11T00")])),
        ];
        let evidence = stored(&key, &records);
        let trust = TrustPolicy::key(key.public().clone());
        let found = failed_attempts(&Digest::of(b"image"), &evidence, &trust).unwrap();
        assert_eq!(found, [attempt("10T00"), attempt("11T00")]);
        assert_eq!(failed_attempts(&Digest::of(b"other"), &evidence, &trust), Ok(vec![]));
    }

    #[test]
    fn a_failed_boot_test_is_missed_until_a_newer_result_is_stored() {
        let key = signing_key();
        let (image, now) = (Digest::of(b"the tested image"), NOW.parse().unwrap());
        let failed = |time| (EvidenceKind::FailedBuilds, failed_boot_test(&image, "scrub failed", at(time)));
        let evidence = stored(&key, &[failed("10T00"), failed("11T00")]);
        let missing = |results: &[&str], trust: &SigningKey, of: &Digest| {
            let tests = results.iter().map(|time| ParsedTestResult { finished: at(time), failure: None });
            let history = ImageHistory { boot_tests: tests.collect(), ..ImageHistory::default() };
            let trust = TrustPolicy::key(trust.public().clone());
            let subject = Digest::of(b"image");
            missing_boot_tests(&subject, of, &evidence, &history, &trust, now).unwrap().len()
        };
        assert_eq!(missing(&[], &key, &image), 2);
        assert_eq!(missing(&["10T00"], &key, &image), 1);
        assert_eq!(missing(&["09T00", "12T00"], &key, &image), 0);
        assert_eq!(missing(&[], &signing_key(), &image), 0, "of a stranger");
        assert_eq!(missing(&[], &key, &Digest::of(b"other")), 0);
        // They are no failed builds.
        let trust = TrustPolicy::key(key.public().clone());
        assert_eq!(failed_attempts(&Digest::of(b"image"), &evidence, &trust), Ok(vec![]));
    }

    #[test]
    fn a_statement_that_cannot_be_read_makes_the_history_unknown() {
        let key = signing_key();
        let evidence = stored(&key, &[(EvidenceKind::Withdrawal, json!({"withdrawn": "yes"}))]);
        let trust = TrustPolicy::key(key.public().clone());
        assert!(image_history(&Digest::of(b"image"), &evidence, &trust, at("21T00")).is_err());
    }
}
