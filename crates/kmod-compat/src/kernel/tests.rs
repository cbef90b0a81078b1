use proptest::prelude::*;
use rpm_version::rpm_evr_compare;

use super::*;
use crate::tests::round_trip;

#[track_caller]
fn kernel(text: &str) -> KernelRelease {
    text.parse().unwrap()
}

#[test]
fn a_release_is_parsed_into_its_parts() {
    let stock = kernel("6.17.8-300.fc43.x86_64");
    assert_eq!(stock.version(), "6.17.8");
    assert_eq!(stock.release(), "300.fc43");
    assert_eq!(stock.arch(), Arch::X86_64);
    assert_eq!(stock.variant(), None);
    assert_eq!(stock.series().to_string(), "6.17");
    assert_eq!((stock.series().major(), stock.series().minor()), (6, 17));
    assert_eq!(stock.fedora().map(FedoraVersion::number), Some(43));
}

#[test]
fn variants_follow_a_plus() {
    #[track_caller]
    fn check(text: &str, variant: &str) {
        let kernel = kernel(text);
        assert_eq!(kernel.variant(), Some(variant));
        assert_eq!(kernel.to_string(), text);
    }
    check("6.17.8-300.fc43.x86_64+debug", "debug");
    check("6.17.8-300.fc43.x86_64+rt", "rt");
    check("6.17.8-300.fc43.aarch64+64k-debug", "64k-debug");
}

#[test]
fn a_prerelease_kernel_belongs_to_its_future_series() {
    let candidate = kernel("7.2.0-0.rc3.260718g1a2b3c4d5e6f.28.fc45.x86_64");
    assert_eq!(candidate.series().to_string(), "7.2");
    assert_eq!(candidate.fedora().map(FedoraVersion::number), Some(45));
    assert!(candidate < kernel("7.2.0-100.fc45.x86_64"));
    assert!(candidate > kernel("7.2.0-0.rc2.20.fc45.x86_64"));
}

#[test]
fn releases_of_other_distributions_have_no_fedora_release() {
    assert_eq!(kernel("5.14.0-570.12.1.el9_6.x86_64").fedora(), None);
    assert_eq!(kernel("6.17.8-300.fcx.x86_64").fedora(), None);
    // The last one is where RPM puts `%dist`.
    assert_eq!(kernel("6.17.8-1.fc40.fc43.x86_64").fedora().map(FedoraVersion::number), Some(43));
}

#[test]
fn releases_are_ordered_as_rpm_orders_them() {
    let ascending = [
        "6.9.12-200.fc40.x86_64",
        "6.10.0-0.rc1.1.fc41.x86_64",
        "6.10.0-1~beta.fc41.x86_64",
        "6.10.0-1.fc41.x86_64",
        "6.10.0-9.fc41.x86_64",
        "6.10.0-10.fc41.x86_64",
        "6.10.0-10.fc42.aarch64",
        "6.10.0-10.fc42.x86_64",
        "6.10.0-10.fc42.x86_64+debug",
        "6.10.2-1.fc41.x86_64",
        "6.10.10-1.fc41.x86_64",
        "7.0.4-200.fc44.x86_64",
    ];
    let parsed: Vec<_> = ascending.into_iter().map(kernel).collect();
    assert!(parsed.is_sorted());
}

#[test]
fn each_malformed_release_is_rejected_with_its_reason() {
    #[track_caller]
    fn check(text: &str, reason: &str) {
        let error = text.parse::<KernelRelease>().unwrap_err().to_string();
        assert!(error.contains(&format!(" is not a kernel release: {reason}")), "{error}");
    }
    check("", "no architecture at its end");
    check("6.17.8-300.fc43", "it does not end with a supported architecture");
    check("6.17.8-300.fc43.riscv64", "it does not end with a supported architecture");
    check("6.17.8-300.fc43.amd64", "it does not end with a supported architecture");
    check("6.17.8.x86_64", "no `-` between version and release");
    check("6-300.fc43.x86_64", "its version is not made of two or more numbers");
    check("0:6.17.8-300.fc43.x86_64", "its version is not made of two or more numbers");
    check("kernel-6.17.8-300.fc43.x86_64", "its version is not made of two or more numbers");
    check("6.17.-300.fc43.x86_64", "its version is not made of two or more numbers");
    check("6.17.08-300.fc43.x86_64", "its version is not made of two or more numbers");
    check("6.4294967296-300.fc43.x86_64", "its version is not made of two or more numbers");
    check("6.17.8-.x86_64", "its release is empty");
    check("6.17.8-300-1.fc43.x86_64", "its release is empty or has a character");
    check("6.17.8-300/../etc.x86_64", "its release is empty or has a character");
    check("6.17.8-$(id).fc43.x86_64", "its release is empty or has a character");
    check("6.17.8-300.fc43.x86_64\n", "it does not end with a supported architecture");
    check("6.17.8-300.fc43.x86_64+", "what follows `+` is not a plain word");
    check("6.17.8-300.fc43.x86_64+a+b", "what follows `+` is not a plain word");
    check("6.17.8-300.fc43.x86_64+a b", "what follows `+` is not a plain word");
    check(&format!("6.17.8-{}.fc43.x86_64", "3".repeat(100)), "it is too long for a tag");
}

#[test]
fn a_series_is_exactly_two_numbers() {
    for text in ["", "6", "6.", ".17", "6.17.0", "6.x", "06.17", "6.017", "6.+1", "6.17 ", "v6.17"] {
        let error = text.parse::<KernelSeries>().unwrap_err().to_string();
        assert_eq!(error, format!("`{text}` is not a kernel series (expected major and minor, e.g. `6.17`)"));
    }
}

#[test]
fn a_version_prefix_matches_whole_numbers() {
    #[track_caller]
    fn check(prefix: &str, release: &str, expected: bool) {
        let prefix: KernelVersionPrefix = prefix.parse().unwrap();
        assert_eq!(prefix.matches(&kernel(release)), expected);
    }
    check("6.2.8", "6.2.8-200.fc37.x86_64", true);
    check("6.2.8", "6.2.8-100.fc36.aarch64+debug", true);
    check("6.2.8", "6.2.80-200.fc37.x86_64", false);
    check("6.2.8", "6.2.9-200.fc37.x86_64", false);
    check("6.2", "6.2.0-200.fc37.x86_64", true);
    check("6.2", "6.20.0-200.fc37.x86_64", false);
    check("6.2.0", "6.2-200.fc37.x86_64", false);
}

#[test]
fn a_version_prefix_is_two_or_more_numbers() {
    for text in ["", "6", "6.", "6.2.", "6.2.x", "6.02", "6.2.8-200.fc37.x86_64", "6.2.*"] {
        assert!(text.parse::<KernelVersionPrefix>().is_err(), "{text}");
    }
}

/// Releases of all shapes that the parser accepts.
/// Short enough for a tag.
fn release_text() -> impl Strategy<Value = String> {
    let release = "(0|[1-9][0-9]{0,3})(\\.(0|[1-9][0-9]{0,3})){1,3}-[A-Za-z0-9][A-Za-z0-9._~^]{0,20}\\.(x86_64|aarch64)(\\+[a-z0-9][a-z0-9_-]{0,7})?";
    release.prop_filter("it fits a tag", |text| tag_length(text) <= MAX_LENGTH)
}

/// Releases from so few pieces that equal ones, and ones that RPM calls equal, are common.
fn similar_release() -> impl Strategy<Value = KernelRelease> {
    "[01](\\.[01]){1,2}-[01a][01a._~^]{0,4}\\.(x86_64|aarch64)(\\+a)?"
        .prop_map(|text| text.parse().expect("the pattern yields releases only"))
}

proptest! {
    #[test]
    fn releases_survive_a_round_trip(text in release_text()) {
        round_trip::<KernelRelease>(&text);
    }

    #[test]
    fn series_survive_a_round_trip(major in any::<u32>(), minor in any::<u32>()) {
        let series: KernelSeries = round_trip(&format!("{major}.{minor}"));
        prop_assert_eq!((series.major(), series.minor()), (major, minor));
    }

    #[test]
    fn version_prefixes_survive_a_round_trip(numbers in prop::collection::vec(any::<u32>(), 2..5)) {
        let prefix = KernelVersionPrefix(numbers);
        prop_assert_eq!(round_trip::<KernelVersionPrefix>(&prefix.to_string()), prefix);
    }

    #[test]
    fn the_order_is_total(a in similar_release(), b in similar_release(), c in similar_release()) {
        prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
        prop_assert_eq!(a.cmp(&b) == Ordering::Equal, a == b);
        if a <= b && b <= c {
            prop_assert!(a <= c);
        }
    }

    #[test]
    fn the_order_agrees_with_rpm(a in similar_release(), b in similar_release()) {
        let evr = |kernel: &KernelRelease| format!("{}-{}", kernel.version(), kernel.release());
        match rpm_evr_compare(&evr(&a), &evr(&b)) {
            Ordering::Equal => {}
            different => prop_assert_eq!(a.cmp(&b), different),
        }
    }

    #[test]
    fn no_text_makes_a_parser_panic(text in any::<String>()) {
        let _ = text.parse::<KernelRelease>();
        let _ = text.parse::<KernelSeries>();
        let _ = text.parse::<KernelVersionPrefix>();
    }

    /// Nearly valid texts reach further into the parser than arbitrary ones.
    #[test]
    fn no_near_miss_makes_a_parser_panic(text in "[0-9.]{0,6}-?[0-9a-z.~^é-]{0,8}(\\.x86_64)?[+]?[a-zé]{0,3}") {
        if let Ok(release) = text.parse::<KernelRelease>() {
            prop_assert_eq!(release.to_string(), text);
        }
    }
}
