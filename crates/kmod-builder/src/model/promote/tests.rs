use proptest::prelude::*;

use super::*;
use crate::model::verify::{CheckResult, CheckStatus, VerificationReport};

const KERNEL: &str = "6.17.9-300.fc43.x86_64";

fn target(zfs: &str, kernel: &str) -> Target {
    Target { zfs: zfs.parse().unwrap(), kernel: kernel.parse().unwrap() }
}

fn promotion_to(channel: &str, overrides: PromotionOverrides) -> Promotion {
    let image = format!("docker://localhost/zfs-kmods@{}", Digest::of(b"ours")).parse().unwrap();
    let answers = vec![CheckResult::new(("example", "it is an example"), CheckStatus::Passed)];
    let report = VerificationReport::new(image, Some(target("2.4.3", KERNEL)), answers);
    let channel: Channel = channel.parse().unwrap();
    let audit_tag = channel.audit_tag(kmod_compat::Arch::X86_64, "1", "0123abc").unwrap();
    Promotion::new(ProvenImage::assume_proven(report.verified().unwrap()), channel, audit_tag, overrides)
        .unwrap()
}

fn promotion(overrides: PromotionOverrides) -> Promotion {
    promotion_to("stable", overrides)
}

fn nothing(promotion: &Promotion) -> TagState {
    TagState(promotion.tags().map(|tag| (tag.clone(), None)).collect())
}

/// Everything free, but for one tag.
fn with(tag: &str, there: TaggedImage) -> TagState {
    let mut found = nothing(&promotion(PromotionOverrides::default()));
    *found.0.get_mut(&tag.parse::<Tag>().unwrap()).unwrap() = Some(there);
    found
}

fn other(target: Result<Target, String>) -> TaggedImage {
    TaggedImage { digest: Digest::of(b"other"), target }
}

const EVERYTHING: PromotionOverrides = PromotionOverrides { replace: true, downgrade: true };

fn tags(updates: &[TagUpdate]) -> Vec<&str> {
    updates.iter().map(|update| update.tag.as_str()).collect()
}

#[test]
fn plans_every_update_or_none() {
    let promotion = promotion(PromotionOverrides::default());
    let updates = promotion.updates(&nothing(&promotion)).unwrap();
    let image = format!("zfs-2.4.3_kernel-{KERNEL}");
    let expected = [&image, "stable-1-0123abc", "stable", "zfs-2.4_stable", "fedora-43_stable"];
    assert_eq!(tags(&updates), expected);
    let ours = TaggedImage { digest: Digest::of(b"ours"), target: Err("nobody has to know".into()) };
    let done = TagState(promotion.tags().map(|tag| (tag.clone(), Some(ours.clone()))).collect());
    assert_eq!(promotion.updates(&done).unwrap(), []);
}

#[test]
fn a_branch_gets_its_own_tags_only() {
    let promotion = promotion_to("beta-main", PromotionOverrides::default());
    let updates = promotion.updates(&nothing(&promotion)).unwrap();
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
        let updates = promotion(PromotionOverrides::default()).updates(&found).unwrap();
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
            let rejections = promotion(PromotionOverrides { replace: true, downgrade: false })
                .updates(&found)
                .unwrap_err();
            assert!(
                matches!(
                    rejections[..],
                    [PromotionRejection::Backwards { .. } | PromotionRejection::OtherBuild { .. }]
                ),
                "{zfs} {kernel}: {rejections:?}"
            );
            assert!(
                promotion(PromotionOverrides { replace: false, downgrade: true }).updates(&found).is_ok()
            );
        }
    }
}

#[test]
fn rejects_moving_a_tag_of_an_unknown_target() {
    let found = with("stable", other(Err("it has no label".into())));
    let rejections = promotion(PromotionOverrides::default()).updates(&found).unwrap_err();
    assert!(matches!(rejections[..], [PromotionRejection::Unreadable { .. }]), "{rejections:?}");
    let mut found = nothing(&promotion(PromotionOverrides::default()));
    found.0.remove(&"stable".parse::<Tag>().unwrap());
    let rejections = promotion(EVERYTHING).updates(&found).unwrap_err();
    assert!(matches!(rejections[..], [PromotionRejection::NotAsked { .. }]), "{rejections:?}");
}

#[test]
fn immutable_tags_stay() {
    let image = format!("zfs-2.4.3_kernel-{KERNEL}");
    let found = with(&image, other(Ok(target("2.4.3", KERNEL))));
    let rejections =
        promotion(PromotionOverrides { replace: false, downgrade: true }).updates(&found).unwrap_err();
    assert!(matches!(rejections[..], [PromotionRejection::Taken { .. }]), "{rejections:?}");
    assert!(promotion(PromotionOverrides { replace: true, downgrade: false }).updates(&found).is_ok());
    let found = with("stable-1-0123abc", other(Ok(target("2.4.3", KERNEL))));
    let rejections = promotion(EVERYTHING).updates(&found).unwrap_err();
    assert!(matches!(rejections[..], [PromotionRejection::AuditTaken { .. }]), "{rejections:?}");
}

#[test]
fn reports_every_rejection_at_once() {
    let promotion = promotion(PromotionOverrides::default());
    let newer = other(Ok(target("2.4.4", KERNEL)));
    let found = TagState(promotion.tags().map(|tag| (tag.clone(), Some(newer.clone()))).collect());
    assert_eq!(promotion.updates(&found).unwrap_err().len(), 5);
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
        let promotion = promotion(PromotionOverrides { replace, downgrade });
        let mut found = TagState(promotion.tags().cloned().zip(tagged_image).collect());
        let ours = Digest::of(b"ours");
        let Ok(updates) = promotion.updates(&found) else {
            prop_assert!(found.0.values().flatten().any(|there| there.digest != ours));
            return Ok(());
        };
        let order: Vec<_> = promotion.tags().collect();
        let positions: Vec<_> =
            updates.iter().map(|update| order.iter().position(|tag| **tag == update.tag).unwrap()).collect();
        prop_assert!(positions.is_sorted_by(|one, other| one < other));
        for tag in &order {
            let there = found.0[*tag].as_ref().map(|there| there.digest.clone());
            let update = updates.iter().find(|update| update.tag == **tag);
            prop_assert_eq!(update.is_none(), there.as_ref() == Some(&ours));
            prop_assert!(update.is_none_or(|update| update.from == there));
        }
        for (done, update) in updates.iter().enumerate() {
            prop_assert_eq!(promotion.updates(&found).unwrap(), &updates[done..]);
            let target = Ok(promotion.proven().target().clone());
            found.0.insert(update.tag.clone(), Some(TaggedImage { digest: ours.clone(), target }));
        }
        prop_assert_eq!(promotion.updates(&found).unwrap(), vec![]);
    }
}
