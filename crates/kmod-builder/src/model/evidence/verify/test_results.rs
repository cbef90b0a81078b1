//! Whether an image counts as tested, based on every attached result.

use jiff::Timestamp;

use super::{StoredEvidence, TrustPolicy, none_accepted, trusted_statements, verified_bundles};
use crate::model::Digest;
use crate::model::evidence::test_result::{self, ParsedTestResult};
use crate::model::evidence::{EvidenceKind, lifecycle};
use crate::model::verify::CheckStatus;

/// Whether the newest boot test passed.
///
/// * Only results of trusted signers about this image count.
/// * The newest is determined by the time in the signed statement: anyone with write access to the repository can
///   change annotations, order and manifest age.
/// * If two results have the same second, the failure decides.
/// * An unreadable trusted result makes the check unknown: it might be the newest.
/// * A failure in the future counts as now, and a pass in the future for nothing.
/// * A promotion for users by a trusted signer stands for results that are no longer stored.
///
/// Signatures do not prevent hiding a failure by deleting its result from the repository.
pub fn newest_boot_test(
    image: &Digest,
    evidence: &StoredEvidence,
    trust: &TrustPolicy,
    now: Timestamp,
) -> CheckStatus {
    if matches!(trust, TrustPolicy::Unverified) {
        return CheckStatus::Unknown("no trusted signer is given".to_owned());
    }
    let (mut newest, mut reasons) = (None::<ParsedTestResult>, Vec::new());
    let verified_bundles = match verified_bundles(EvidenceKind::BootTest, image, evidence, trust) {
        Ok(verified_bundles) => verified_bundles,
        Err(outcome) => return outcome,
    };
    for verified in verified_bundles {
        let verified = match verified {
            Ok(verified) => verified,
            Err(reason) => {
                reasons.push(reason);
                continue;
            }
        };
        let result = match test_result::read(&verified.statement.predicate) {
            Ok(result) => result,
            Err(error) => return CheckStatus::Unknown(format!("{}: {error}", verified.referrer)),
        };
        let finished = result.finished;
        let Some(result) = result.as_of(now) else {
            reasons.push(format!("{}: its test ends in the future, at {finished}", verified.referrer));
            continue;
        };
        let age = |result: &ParsedTestResult| (result.finished, result.failure.is_some());
        if newest.as_ref().is_none_or(|newest| age(newest) < age(&result)) {
            newest = Some(result);
        }
    }
    match newest {
        None => match trusted_statements(EvidenceKind::Promotion, image, evidence, trust) {
            Ok(promotions) if promotions.iter().any(lifecycle::is_for_users) => CheckStatus::Passed,
            _ => none_accepted(EvidenceKind::BootTest, &reasons),
        },
        Some(ParsedTestResult { failure: None, .. }) => CheckStatus::Passed,
        Some(ParsedTestResult { failure: Some(failure), finished }) => {
            CheckStatus::Failed(format!("the newest test, of {finished}, failed: {failure}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::super::StoredBundle;
    use super::*;
    use crate::model::evidence::tests::{signing_key, subject};
    use crate::model::evidence::{SigningKey, Statement};

    const NOW: i64 = 1_800_000_000;

    fn predicate(seconds_ago: i64, passed: bool) -> Value {
        let (passed, failed) = if passed { (vec!["load"], vec![]) } else { (vec![], vec!["load"]) };
        let finished = Timestamp::from_second(NOW - seconds_ago).unwrap();
        let own = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect();
        let (configuration, reason, url) = (vec![], None, None);
        let (passed, failed) = (own(passed), own(failed));
        test_result::TestResult { configuration, passed, failed, reason, url, finished }.predicate()
    }

    fn evidence(key: &SigningKey, predicates: &[Value]) -> StoredEvidence {
        let bundle = |predicate: &Value| {
            let json = key.sign(&Statement::new(EvidenceKind::BootTest, &subject(), predicate)).unwrap();
            StoredBundle { referrer: Digest::of(&json), json }
        };
        StoredEvidence { bundles: Ok(predicates.iter().map(bundle).collect()), simple_signatures: Ok(vec![]) }
    }

    fn judge(key: &SigningKey, evidence: &StoredEvidence) -> CheckStatus {
        let now = Timestamp::from_second(NOW).unwrap();
        newest_boot_test(&subject().digest, evidence, &TrustPolicy::key(key.public().clone()), now)
    }

    #[test]
    fn the_newest_result_decides_wherever_it_stands() {
        let key = signing_key();
        let of = |results: &[(i64, bool)]| {
            let predicates: Vec<_> = results.iter().map(|&(ago, passed)| predicate(ago, passed)).collect();
            judge(&key, &evidence(&key, &predicates))
        };
        assert_eq!(of(&[(10, true)]), CheckStatus::Passed);
        for results in [[(20, true), (10, false)], [(10, false), (20, true)], [(10, true), (10, false)]] {
            assert_eq!(
                of(&results),
                CheckStatus::Failed(
                    "the newest test, of 2027-01-15T07:59:50Z, failed: it is FAILED, and what failed is load"
                        .into()
                )
            );
        }
        assert_eq!(of(&[(10, true), (20, false), (30, true)]), CheckStatus::Passed);
        assert_eq!(of(&[]), CheckStatus::Failed("no boot test is attached".into()));
    }

    #[test]
    fn strangers_neither_prove_nor_spoil() {
        let (key, stranger) = (signing_key(), signing_key());
        let theirs = evidence(&stranger, &[predicate(0, false), predicate(0, true), json!({})]);
        assert!(matches!(judge(&key, &theirs), CheckStatus::Failed(_)));
        let mut both = evidence(&key, &[predicate(10, true)]);
        both.bundles.as_mut().unwrap().extend(theirs.bundles.unwrap());
        assert_eq!(judge(&key, &both), CheckStatus::Passed);
    }

    #[test]
    fn a_pass_in_the_future_does_not_hide_a_failure() {
        let key = signing_key();
        let of = |results: &[Value]| judge(&key, &evidence(&key, results));
        let ahead = |passed| predicate(-3600, passed);
        assert_eq!(of(&[predicate(10, true), ahead(true)]), CheckStatus::Passed);
        assert!(
            matches!(of(&[ahead(true)]), CheckStatus::Failed(reason) if reason.contains("in the future"))
        );
        assert!(matches!(of(&[predicate(10, false), ahead(true)]), CheckStatus::Failed(_)));
        assert!(matches!(of(&[predicate(10, true), ahead(false)]), CheckStatus::Failed(_)));
    }

    #[test]
    fn a_promotion_stands_for_results_that_are_gone() {
        let key = signing_key();
        let mut stored = evidence(&key, &[]);
        let now = Timestamp::from_second(NOW).unwrap();
        let mut promoted_to = |tag: &str| {
            let predicate = lifecycle::promotion(&[tag.parse().unwrap()], now);
            let json = key.sign(&Statement::new(EvidenceKind::Promotion, &subject(), &predicate)).unwrap();
            stored.bundles = Ok(vec![StoredBundle { referrer: Digest::of(&json), json }]);
            stored.clone()
        };
        assert!(matches!(judge(&key, &promoted_to("beta-main")), CheckStatus::Failed(_)), "of a branch");
        let mut stored = promoted_to("stable");
        assert_eq!(judge(&key, &stored), CheckStatus::Passed);
        assert!(matches!(judge(&signing_key(), &stored), CheckStatus::Failed(_)), "of a stranger");
        let failed = evidence(&key, &[predicate(10, false)]);
        stored.bundles.as_mut().unwrap().extend(failed.bundles.unwrap());
        assert!(matches!(judge(&key, &stored), CheckStatus::Failed(_)), "a failure is newer");
    }

    #[test]
    fn what_cannot_be_ordered_is_unknown() {
        let key = signing_key();
        let mut timeless = predicate(10, false);
        timeless.as_object_mut().unwrap().remove("finishedOn");
        let outcome = judge(&key, &evidence(&key, &[predicate(10, true), timeless]));
        assert!(matches!(outcome, CheckStatus::Unknown(_)), "{outcome:?}");
        let unreachable = StoredEvidence { bundles: Err("403".into()), simple_signatures: Ok(vec![]) };
        assert_eq!(judge(&key, &unreachable), CheckStatus::Unknown("403".into()));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        /// The order of the list has no effect, and only a newer result overrides a failure.
        #[test]
        fn order_does_not_matter(mut results in prop::collection::vec((0_i64..4, any::<bool>()), 1..5)) {
            let key = signing_key();
            let newest = results.iter().map(|(ago, _)| *ago).min().unwrap();
            let passed = results.iter().all(|&(ago, passed)| ago != newest || passed);
            for _ in 0..results.len() {
                results.rotate_left(1);
                let predicates: Vec<_> = results.iter().map(|&(ago, passed)| predicate(ago, passed)).collect();
                prop_assert_eq!(judge(&key, &evidence(&key, &predicates)) == CheckStatus::Passed, passed);
            }
        }
    }
}
