use proptest::prelude::*;

use super::*;
use crate::model::verify::{CheckResult, CheckStatus, VerificationReport};

const KERNEL: &str = "6.17.9-300.fc43.x86_64";

fn target(zfs: &str, kernel: &str) -> Target {
    Target { zfs: zfs.parse().unwrap(), kernel: kernel.parse().unwrap() }
}

const NOW: &str = "2026-11-21T06:00:00Z";

fn at(time: &str) -> Timestamp {
    time.parse().unwrap()
}

fn promotion_to(channel: &str, overrides: PromotionOverrides) -> Promotion {
    let image = format!("docker://localhost/zfs-kmods@{}", Digest::of(b"ours")).parse().unwrap();
    let answers = vec![CheckResult::new(("example", "it is an example"), CheckStatus::Passed)];
    let report = VerificationReport::new(image, Some(target("2.4.3", KERNEL)), answers);
    let channel: Channel = channel.parse().unwrap();
    let audit_tag = channel.audit_tag(kmod_compat::Arch::X86_64, "1", "0123abc").unwrap();
    let proven = ProvenImage::assume_proven(report.verified().unwrap());
    let of = PromotionChannel { channel: LineChannel { channel: channel.clone(), line: None }, audit_tag };
    Promotion::new(proven, &channel, Some(of), overrides, at(NOW)).unwrap()
}

fn promotion(overrides: PromotionOverrides) -> Promotion {
    promotion_to("stable", overrides)
}

/// The updates, or every rejection.
fn updates(promotion: &Promotion, found: &TagState) -> Result<Vec<TagUpdate>, Vec<PromotionRejection>> {
    let plan = promotion.plan(found);
    if plan.rejections.is_empty() { Ok(plan.updates) } else { Err(plan.rejections) }
}

fn nothing(promotion: &Promotion) -> TagState {
    everywhere(promotion, None)
}

fn everywhere(promotion: &Promotion, there: Option<&TaggedImage>) -> TagState {
    let tags = promotion.tags().into_iter().map(|tag| (tag, there.cloned()));
    TagState { tags: tags.collect(), ..TagState::default() }
}

/// Everything free, but for one tag.
fn with(tag: &str, there: TaggedImage) -> TagState {
    let mut found = nothing(&promotion(PromotionOverrides::default()));
    *found.tags.get_mut(&tag.parse::<Tag>().unwrap()).unwrap() = Some(there);
    found
}

fn other(target: Result<Target, String>) -> TaggedImage {
    TaggedImage { digest: Digest::of(b"other"), target }
}

const EVERYTHING: PromotionOverrides =
    PromotionOverrides { replace: true, downgrade: true, follow_source: false };

fn tags(updates: &[TagUpdate]) -> Vec<&str> {
    updates.iter().map(|update| update.tag.as_str()).collect()
}

#[test]
fn plans_every_update_or_none() {
    let promotion = promotion(PromotionOverrides::default());
    let first = updates(&promotion, &nothing(&promotion)).unwrap();
    let image = format!("zfs-2.4.3_kernel-{KERNEL}");
    let expected = [&image, "stable-1-0123abc", "stable", "zfs-2.4_stable", "fedora-43_stable"];
    assert_eq!(tags(&first), expected);
    let ours = TaggedImage { digest: Digest::of(b"ours"), target: Err("nobody has to know".into()) };
    let done = everywhere(&promotion, Some(&ours));
    assert_eq!(updates(&promotion, &done).unwrap(), []);
}

#[test]
fn a_branch_gets_its_own_tags_only() {
    let promotion = promotion_to("beta-main", PromotionOverrides::default());
    let updates = updates(&promotion, &nothing(&promotion)).unwrap();
    let image = format!("beta-main-zfs-2.4.3_kernel-{KERNEL}");
    assert_eq!(tags(&updates), [image.as_str(), "beta-main-1-0123abc", "beta-main"]);
}

#[test]
fn a_channel_goes_forward_only() {
    for (zfs, kernel) in [
        ("2.4.3", KERNEL),
        ("2.4.2", KERNEL),
        ("2.3.9", "6.17.8-300.fc43.x86_64"),
        // Older as RPM orders, newer as text.
        ("2.4.3", "6.9.12-300.fc43.x86_64"),
        ("2.4.3", "6.17.9-30.fc43.x86_64"),
    ] {
        let found = with("stable", other(Ok(target(zfs, kernel))));
        let updates = updates(&promotion(PromotionOverrides::default()), &found).unwrap();
        assert_eq!(updates[2].from, Some(Digest::of(b"other")), "{zfs} {kernel}");
    }
    for (zfs, kernel) in [
        ("2.4.4", KERNEL),
        ("2.4.10", KERNEL),
        ("2.4.3", "6.17.10-300.fc43.x86_64"),
        ("2.4.2", "6.18.1-100.fc43.x86_64"),
        ("2.4.4", "6.17.8-300.fc43.x86_64"),
        ("2.4.3", "6.17.9-300.fc43.aarch64"),
        ("2.4.3", "6.17.8-300.fc43.x86_64+debug"),
    ] {
        for tag in ["stable", "zfs-2.4_stable", "fedora-43_stable"] {
            let found = with(tag, other(Ok(target(zfs, kernel))));
            let rejections = updates(
                &promotion(PromotionOverrides { replace: true, downgrade: false, follow_source: false }),
                &found,
            )
            .unwrap_err();
            assert!(
                matches!(
                    rejections[..],
                    [PromotionRejection::Backwards { .. } | PromotionRejection::OtherBuild { .. }]
                ),
                "{zfs} {kernel}: {rejections:?}"
            );
            assert!(
                updates(
                    &promotion(PromotionOverrides { replace: false, downgrade: true, follow_source: false }),
                    &found
                )
                .is_ok()
            );
        }
    }
}

#[test]
fn rejects_moving_a_tag_of_an_unknown_target() {
    let found = with("stable", other(Err("it has no label".into())));
    let rejections = updates(&promotion(PromotionOverrides::default()), &found).unwrap_err();
    assert!(matches!(rejections[..], [PromotionRejection::Unreadable { .. }]), "{rejections:?}");
    let mut found = nothing(&promotion(PromotionOverrides::default()));
    found.tags.remove(&"stable".parse::<Tag>().unwrap());
    let rejections = updates(&promotion(EVERYTHING), &found).unwrap_err();
    assert!(matches!(rejections[..], [PromotionRejection::NotAsked { .. }]), "{rejections:?}");
}

#[test]
fn immutable_tags_stay() {
    let image = format!("zfs-2.4.3_kernel-{KERNEL}");
    let found = with(&image, other(Ok(target("2.4.3", KERNEL))));
    let rejections = updates(
        &promotion(PromotionOverrides { replace: false, downgrade: true, follow_source: false }),
        &found,
    )
    .unwrap_err();
    assert!(matches!(rejections[..], [PromotionRejection::Taken { .. }]), "{rejections:?}");
    assert!(
        updates(
            &promotion(PromotionOverrides { replace: true, downgrade: false, follow_source: false }),
            &found
        )
        .is_ok()
    );
    let found = with("stable-1-0123abc", other(Ok(target("2.4.3", KERNEL))));
    let rejections = updates(&promotion(EVERYTHING), &found).unwrap_err();
    assert!(matches!(rejections[..], [PromotionRejection::AuditTaken { .. }]), "{rejections:?}");
}

#[test]
fn reports_every_rejection_at_once() {
    let newer = other(Ok(target("2.4.4", KERNEL)));
    let replacing = promotion(PromotionOverrides { replace: true, downgrade: false, follow_source: false });
    let found = everywhere(&replacing, Some(&newer));
    let plan = replacing.plan(&found);
    assert_eq!(plan.rejections.len(), 4);
    // The image's own tag depends on no channel.
    assert_eq!(tags(&plan.updates), [format!("zfs-2.4.3_kernel-{KERNEL}")]);
    let plan = promotion(PromotionOverrides::default()).plan(&found);
    assert!(matches!(plan.rejections[..], [PromotionRejection::Taken { .. }]), "{plan:?}");
    assert_eq!(plan.updates, []);
}

#[test]
fn a_channel_goes_back_when_two_runs_saw_that_upstream_did() {
    let following = PromotionOverrides { replace: false, downgrade: false, follow_source: true };
    let newer = other(Ok(target("2.4.3", "6.17.10-300.fc43.x86_64")));
    let promotion = promotion(following);
    let found = |seen: Option<&str>, to: &str| {
        let mut found = nothing(&promotion);
        for tag in promotion.moving_tags() {
            found.tags.insert(tag.clone(), Some(newer.clone()));
            let note = seen.map(|seen| RollbackNote { to: target("2.4.3", to), seen: at(seen) });
            found.rollbacks.extend(note.map(|note| (tag, note)));
        }
        found
    };
    let own = format!("zfs-2.4.3_kernel-{KERNEL}");
    for (seen, to, moved, noted) in [
        (None, KERNEL, false, true),
        (Some("2026-11-20T19:00:00Z"), KERNEL, false, false),
        (Some("2026-11-20T18:00:00Z"), KERNEL, true, false),
        (Some("2026-11-20T18:00:00Z"), "6.17.8-300.fc43.x86_64", false, true),
        (Some("2026-11-01T18:00:00Z"), KERNEL, false, true),
        // Of a clock that was wrong.
        (Some("2026-12-20T18:00:00Z"), KERNEL, false, false),
    ] {
        let plan = promotion.plan(&found(seen, to));
        assert_eq!(plan.rejections, [], "{seen:?}");
        assert_eq!(plan.updates.len(), if moved { 5 } else { 1 }, "{seen:?}: {plan:?}");
        assert_eq!(plan.updates[0].tag.as_str(), own);
        let notes = plan.notes.iter().filter(|note| note.noted && note.image == newer.digest);
        assert_eq!(notes.count(), if noted { 3 } else { 0 }, "{seen:?}: {plan:?}");
    }
    let mut recalled = found(None, KERNEL);
    recalled.recalled = promotion.moving_tags().into_iter().collect();
    assert_eq!(promotion.plan(&recalled).updates.len(), 5, "a recalled image is left at once");
}

#[test]
fn without_a_channel_only_the_images_own_tag_is_set() {
    let whole = promotion(PromotionOverrides::default());
    let names: Channel = "stable".parse().unwrap();
    let alone =
        Promotion::new(whole.proven().clone(), &names, None, PromotionOverrides::default(), at(NOW)).unwrap();
    let plan = alone.plan(&nothing(&alone));
    assert_eq!(tags(&plan.updates), [format!("zfs-2.4.3_kernel-{KERNEL}")]);
    let other_line = PromotionChannel {
        channel: "zfs-2.3_stable".parse().unwrap(),
        audit_tag: "zfs-2.3_stable-1-0123abc".parse().unwrap(),
    };
    let error = Promotion::new(
        whole.proven().clone(),
        &names,
        Some(other_line),
        PromotionOverrides::default(),
        at(NOW),
    );
    assert!(matches!(error, Err(PromotionError::OtherLine { .. })), "{error:?}");
}

fn tagged_image() -> impl Strategy<Value = Option<TaggedImage>> {
    let zfs = prop::sample::select(vec!["2.3.9", "2.4.2", "2.4.3", "2.4.4"]);
    let kernel = prop::sample::select(vec![
        "6.9.12-300.fc43.x86_64",
        KERNEL,
        "6.17.10-300.fc43.x86_64",
        "6.17.9-300.fc43.aarch64",
    ]);
    let target = prop_oneof![
        4 => (zfs, kernel).prop_map(|(zfs, kernel)| Ok(target(zfs, kernel))),
        1 => Just(Err("it does not say".to_owned())),
    ];
    let digest = prop::sample::select(vec![&b"ours"[..], b"other", b"third"]);
    prop::option::of(
        (digest, target).prop_map(|(digest, target)| TaggedImage { digest: Digest::of(digest), target }),
    )
}

proptest! {
    /// Whatever is there already: all or nothing, immutable tags before the ones that move, each tag once and only if
    /// it points elsewhere; and stopping after any step leaves the rest of the same steps to be done.
    #[test]
    fn the_order_holds_and_every_step_may_be_the_last(
        tagged_image in prop::collection::vec(tagged_image(), 5), replace: bool, downgrade: bool,
    ) {
        let promotion = promotion(PromotionOverrides { replace, downgrade, follow_source: false });
        let tags = promotion.tags().into_iter().zip(tagged_image).collect();
        let mut found = TagState { tags, ..TagState::default() };
        let ours = Digest::of(b"ours");
        let plan = promotion.plan(&found);
        if !plan.rejections.is_empty() {
            prop_assert!(found.tags.values().flatten().any(|there| there.digest != ours));
            prop_assert!(plan.updates.iter().all(|update| update.tag == promotion.tags()[0]));
            return Ok(());
        }
        let updates = plan.updates;
        let order = promotion.tags();
        let positions: Vec<_> =
            updates.iter().map(|update| order.iter().position(|tag| *tag == update.tag).unwrap()).collect();
        prop_assert!(positions.is_sorted_by(|one, other| one < other));
        for tag in &order {
            let there = found.tags[tag].as_ref().map(|there| there.digest.clone());
            let update = updates.iter().find(|update| update.tag == *tag);
            prop_assert_eq!(update.is_none(), there.as_ref() == Some(&ours));
            prop_assert!(update.is_none_or(|update| update.from == there));
        }
        for (done, update) in updates.iter().enumerate() {
            prop_assert_eq!(&promotion.plan(&found).updates[..], &updates[done..]);
            let target = Ok(promotion.proven().target().clone());
            found.tags.insert(update.tag.clone(), Some(TaggedImage { digest: ours.clone(), target }));
        }
        prop_assert_eq!(promotion.plan(&found).updates, vec![]);
    }
}
