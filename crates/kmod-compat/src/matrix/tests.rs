mod faults;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::TarballSha256;

/// Three releases, one exclusion within the range of its row and one below it.
const SMALL: &str = r#"
[policy]
line = "2.4"
unknown_release = "hold"

[[release]]
version = "2.1.9"
linux_min = "3.10"
linux_max = "6.1"
source = "https://example.org/2.1.9"

[[release]]
version = "2.2.6"
linux_min = "3.10"
linux_max = "6.10"
source = "https://example.org/2.2.6"

[[release]]
version = "2.4.3"
linux_min = "4.18"
linux_max = "7.1"
sha256 = "1f08f2d154f5189b5f1382848a32667b3d34066145b474c49cd3d41a5fba59a7"
source = "https://example.org/2.4.3"

[[exclude]]
zfs = "2.1.9"
kernel = "6.2.8"
reason = "it does not compile"
source = "https://example.org/issues/1"

[[exclude]]
zfs = "2.4.3"
kernel = "6.19"
reason = " pools are damaged "
source = "https://example.org/issues/2"
"#;

fn small() -> CompatMatrix {
    CompatMatrix::parse("small.toml", SMALL).unwrap()
}

fn zfs(text: &str) -> ZfsVersion {
    text.parse().unwrap()
}

#[track_caller]
fn check(version: &str, kernel: &str, expected: &str) {
    let verdict = small().verdict(zfs(version), &kernel.parse().unwrap());
    let cause = if let Verdict::Incompatible(reason) = &verdict { Some(&reason.cause) } else { None };
    let bound = match cause {
        Some(IncompatibilityCause::KernelTooNew { .. }) => ": too new",
        Some(IncompatibilityCause::KernelTooOld { .. }) => ": too old",
        _ => "",
    };
    assert_eq!(format!("{}{bound}", verdict.kind()), expected);
}

#[test]
fn faulty_recipes_are_found_by_their_digest() {
    let template = format!("sha256:{}", "0a".repeat(32));
    let row = |template: &str| {
        format!(
            "{}\n[[faulty_recipe]]\ntemplate = \"{template}\"\nreason = \"it strips the modules\"\nsource = \"https://example.org/1\"\n",
            include_str!("../../../../compat/zfs.toml")
        )
    };
    let matrix = CompatMatrix::parse("zfs.toml", &row(&template)).unwrap();
    assert_eq!(matrix.faulty_recipe(&template).map(FaultyRecipe::reason), Some("it strips the modules"));
    assert_eq!(matrix.faulty_recipe(&format!("sha256:{}", "0b".repeat(32))), None);
    assert!(CompatMatrix::parse("zfs.toml", &row("0a0a")).is_err());
}

#[test]
fn parsing_keeps_every_value() {
    let matrix = small();
    assert_eq!(
        matrix.policy(),
        MatrixPolicy { line: "2.4".parse().unwrap(), unknown_release: UnlistedReleasePolicy::Hold }
    );
    let versions: Vec<_> = matrix.releases().map(|release| release.version().to_string()).collect();
    assert_eq!(versions, ["2.1.9", "2.2.6", "2.4.3"]);
    let release = matrix.release(zfs("2.4.3")).unwrap();
    assert_eq!(release.linux_min().to_string(), "4.18");
    assert_eq!(release.linux_max().to_string(), "7.1");
    assert_eq!(
        release.sha256().map(TarballSha256::as_str),
        Some("1f08f2d154f5189b5f1382848a32667b3d34066145b474c49cd3d41a5fba59a7")
    );
    assert_eq!(release.source(), "https://example.org/2.4.3");
    assert_eq!(matrix.release(zfs("2.1.9")).unwrap().sha256(), None);
    let exclusion = matrix.exclusions().last().unwrap();
    assert_eq!(exclusion.zfs(), Some(zfs("2.4.3")));
    assert_eq!(exclusion.kernel().unwrap().to_string(), "6.19");
    assert_eq!(exclusion.reason(), "pools are damaged");
    assert_eq!(exclusion.source(), "https://example.org/issues/2");
}

#[test]
fn only_major_and_minor_are_compared() {
    check("2.4.3", "7.1.4-200.fc44.x86_64", "compatible");
    check("2.4.3", "7.2.0-0.rc3.28.fc45.x86_64", "unsupported: too new");
    check("2.4.3", "4.18.0-1.fc30.x86_64", "compatible");
    check("2.4.3", "4.17.19-1.fc30.x86_64", "unsupported: too old");
    check("2.4.3", "7.1.4-200.fc44.aarch64+debug", "compatible");
}

#[test]
fn series_are_compared_as_numbers() {
    check("2.2.6", "6.9.12-200.fc40.x86_64", "compatible");
    check("2.2.6", "6.10.14-200.fc40.x86_64", "compatible");
    check("2.2.6", "3.9.1-1.fc40.x86_64", "unsupported: too old");
    check("2.1.9", "6.10.14-200.fc40.x86_64", "unsupported: too new");
}

/// OpenZFS itself builds 2.2 for any kernel.
#[test]
fn the_maximum_holds_for_lines_that_do_not_enforce_it() {
    check("2.2.6", "6.11.0-200.fc41.x86_64", "unsupported: too new");
}

#[test]
fn an_exclusion_holds_within_and_beyond_the_range() {
    check("2.4.3", "6.19.2-200.fc43.x86_64", "excluded");
    check("2.4.3", "6.18.9-200.fc43.x86_64", "compatible");
    check("2.1.9", "6.2.8-200.fc37.x86_64", "excluded");
    check("2.1.9", "6.2.9-200.fc37.x86_64", "unsupported: too new");
    check("2.2.6", "6.2.8-200.fc37.x86_64", "compatible");
}

#[test]
fn every_verdict_is_a_sentence_with_names_bound_and_link_and_json_with_a_stable_kind() {
    let link = "https://example.org/2.4.3";
    for (version, kernel, sentence, mut json) in [
        ("2.4.3", "7.1.4-200.fc44.x86_64", "compatible", json!({"kind": "compatible"})),
        (
            "2.4.3",
            "7.2.1-200.fc44.x86_64",
            "kernel 7.2.1-200.fc44.x86_64 is too new for OpenZFS 2.4.3, \
             which supports kernels up to 7.1 (https://example.org/2.4.3)",
            json!({"kind": "unsupported", "max": "7.1", "source": link}),
        ),
        (
            "2.4.3",
            "4.9.1-1.fc30.x86_64",
            "kernel 4.9.1-1.fc30.x86_64 is too old for OpenZFS 2.4.3, \
             which supports kernels from 4.18 on (https://example.org/2.4.3)",
            json!({"kind": "unsupported", "min": "4.18", "source": link}),
        ),
        (
            "2.4.3",
            "6.19.2-200.fc43.x86_64",
            "OpenZFS 2.4.3 is excluded for kernel 6.19.2-200.fc43.x86_64: \
             pools are damaged (https://example.org/issues/2)",
            json!({"kind": "excluded", "reason": "pools are damaged", "source": "https://example.org/issues/2"}),
        ),
        (
            "2.4.4",
            "7.1.4-200.fc44.x86_64",
            "the compatibility matrix has no row for OpenZFS 2.4.4, \
             so nothing says that it supports kernel 7.1.4-200.fc44.x86_64",
            json!({"kind": "unverified-release"}),
        ),
    ] {
        let verdict = small().verdict(zfs(version), &kernel.parse().unwrap());
        assert_eq!(verdict.to_string(), sentence);
        if verdict != Verdict::Compatible {
            json["zfs"] = version.into();
            json["kernel"] = kernel.into();
            json["message"] = sentence.into();
        }
        assert_eq!(json["kind"], verdict.kind());
        assert_eq!(serde_json::to_value(verdict).unwrap(), json);
    }
}

fn meta(version: &str, min: &str, max: &str) -> Meta {
    let text = format!("Version: {version}\nRelease: 1\nLinux-Minimum: {min}\nLinux-Maximum: {max}\n");
    Meta::parse(&text).unwrap()
}

#[test]
fn a_tarball_has_to_say_what_its_row_says() {
    let matrix = small();
    let release = matrix.release(zfs("2.4.3")).unwrap();
    assert_eq!(release.check_meta(&meta("2.4.3", "4.18", "7.1")), Ok(()));

    let conflict = release.check_meta(&meta("2.4.3", "4.18", "99.99")).unwrap_err();
    assert_eq!(
        conflict.to_string(),
        "the META found for OpenZFS 2.4.3 contradicts the compatibility matrix: \
         `Linux-Maximum` is 99.99, the matrix says 7.1"
    );
    let conflict = release.check_meta(&meta("2.4.2", "3.10", "7.1")).unwrap_err();
    assert_eq!(
        conflict.to_string(),
        "the META found for OpenZFS 2.4.3 contradicts the compatibility matrix: \
         `Version` is 2.4.2, the matrix says 2.4.3; `Linux-Minimum` is 3.10, the matrix says 4.18"
    );
    let kernel = "7.2.1-200.fc44.x86_64".parse().unwrap();
    assert!(matrix.verdict_with_meta(&meta("2.4.3", "4.18", "99.99"), &kernel).is_err());
}

fn declared(version: &str) -> DeclaredRelease {
    DeclaredRelease {
        version: zfs(version),
        linux_min: "4.18".parse().unwrap(),
        linux_max: "7.2".parse().unwrap(),
        sha256: "a".repeat(64).parse().unwrap(),
        signer: "4F".repeat(20).parse().unwrap(),
    }
}

#[test]
fn without_a_row_the_policy_decides_whether_a_declared_release_is_used() {
    #[track_caller]
    fn check(policy: &str, kernel: &str, kind: &str) {
        let mut matrix = CompatMatrix::parse("small.toml", &SMALL.replace("hold", policy)).unwrap();
        assert_eq!(matrix.wants_declaration(zfs("2.4.4")), policy == "declared");
        matrix.declare(Ok(declared("2.4.4")));
        assert_eq!(matrix.verdict(zfs("2.4.4"), &kernel.parse().unwrap()).kind(), kind);
    }
    check("hold", "7.2.1-200.fc44.x86_64", "unverified-release");
    check("never", "7.2.1-200.fc44.x86_64", "unverified-release");
    check("declared", "7.2.1-200.fc44.x86_64", "compatible");
    check("declared", "7.3.0-200.fc44.x86_64", "unsupported");

    let mut matrix = CompatMatrix::parse("small.toml", &SMALL.replace("hold", "declared")).unwrap();
    let kernel = "7.3.0-200.fc44.x86_64".parse().unwrap();
    assert_eq!(matrix.verdict(zfs("2.4.4"), &kernel).kind(), "unverified-release");
    matrix.declare(Ok(declared("2.4.4")));
    let verdict = matrix.verdict_with_meta(&meta("2.4.4", "4.18", "7.2"), &kernel).unwrap();
    assert!(
        verdict.to_string().contains("(https://github.com/openzfs/zfs/blob/zfs-2.4.4/META)"),
        "{verdict}"
    );
    assert!(matrix.verdict_with_meta(&meta("2.4.4", "4.18", "7.3"), &kernel).is_err());
}

#[test]
fn a_declared_release_can_be_excluded_before_it_has_a_row() {
    let excluded = format!(
        "{}\n[[exclude]]\nzfs = \"2.4.4\"\nreason = \"it loses data\"\nsource = \"https://example.org/3\"\n",
        SMALL.replace("hold", "declared")
    );
    let mut matrix = CompatMatrix::parse("small.toml", &excluded).unwrap();
    matrix.declare(Ok(declared("2.4.4")));
    let kernel = "7.0.1-200.fc44.x86_64".parse().unwrap();
    assert_eq!(matrix.verdict(zfs("2.4.4"), &kernel).kind(), "excluded");
    assert!(CompatMatrix::parse("small.toml", &excluded.replace("declared", "hold")).is_err());
    assert!(CompatMatrix::parse("small.toml", &excluded.replace("\"2.4.4\"", "\"2.4.1\"")).is_err());
}

#[test]
fn a_row_has_precedence_over_what_is_declared() {
    let mut matrix = CompatMatrix::parse("small.toml", &SMALL.replace("hold", "declared")).unwrap();
    matrix.declare(Ok(declared("2.4.3")));
    assert_eq!(matrix.release(zfs("2.4.3")).unwrap().linux_max().to_string(), "7.1");
}

#[test]
fn a_release_about_which_upstream_disagrees_is_unverified_with_the_reasons() {
    let mut matrix = CompatMatrix::parse("small.toml", &SMALL.replace("hold", "declared")).unwrap();
    matrix.declare(Err(Disagreement {
        version: zfs("2.4.4"),
        reasons: vec!["no signature".to_owned(), "META in the tarball is that of 2.4.3".to_owned()],
    }));
    let verdict = matrix.verdict(zfs("2.4.4"), &"7.0.1-200.fc44.x86_64".parse().unwrap());
    assert_eq!(verdict.kind(), "unverified-release");
    assert_eq!(
        verdict.to_string(),
        "the compatibility matrix has no row for OpenZFS 2.4.4, and upstream's statements about it disagree: \
         no signature; META in the tarball is that of 2.4.3"
    );
    let json = serde_json::to_value(&verdict).unwrap();
    assert_eq!(json["reasons"][0], "no signature");
}

#[test]
fn missing_rows_are_those_of_known_lines_and_newer_lines_are_named() {
    let released: Vec<_> =
        ["0.8.6", "2.0.7", "2.2.6", "2.4.4", "2.3.0", "2.2.7", "2.5.0", "2.5.1"].map(zfs).to_vec();
    let missing = small().missing(&released);
    assert_eq!(missing.versions, ["2.2.7", "2.4.4"].map(zfs));
    assert_eq!(missing.new_lines, [("2.5".parse().unwrap(), zfs("2.5.1"))].into());
}

/// The exclusions hold for a release whose `META` was read, too.
#[test]
fn a_row_is_not_weakened_by_a_meta_that_agrees() {
    let kernel = "6.19.2-200.fc43.x86_64".parse().unwrap();
    let verdict = small().verdict_with_meta(&meta("2.4.3", "4.18", "7.1"), &kernel).unwrap();
    assert_eq!(verdict.kind(), "excluded");
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in any::<String>()) {
        let _ = CompatMatrix::parse("any.toml", &text);
    }

    /// A cut anywhere gives a diagnostic or a smaller matrix.
    #[test]
    fn no_damage_makes_parser_or_report_panic(from in 0..SMALL.len(), length in 0_usize..200) {
        let to = (from + length).min(SMALL.len());
        let text = [&SMALL[..from], &SMALL[to..]].concat();
        if let Err(error) = CompatMatrix::parse("damaged.toml", &text) {
            prop_assert!(!faults::render(&error).is_empty());
        }
    }
}

#[test]
fn an_exclusion_covers_a_release_a_kernel_or_a_pair() {
    let rows = |exclusion: &str| {
        format!(
            "[policy]\nline = \"2.4\"\nunknown_release = \"hold\"\n\n[[release]]\nversion = \"2.4.1\"\n\
             linux_min = \"4.18\"\nlinux_max = \"6.19\"\nsource = \"https://example.org/\"\n\n[[release]]\n\
             version = \"2.4.3\"\nlinux_min = \"4.18\"\nlinux_max = \"6.19\"\nsource = \"https://example.org/\"\n\n\
             [[exclude]]\n{exclusion}\nreason = \"pools are damaged\"\nsource = \"https://example.org/1\"\n"
        )
    };
    for (exclusion, expected) in [
        ("zfs = \"2.4.3\"", [false, false, true, true]),
        ("kernel = \"6.18\"", [false, true, false, true]),
        ("zfs = \"2.4.3\"\nkernel = \"6.18\"", [false, false, false, true]),
    ] {
        let matrix = CompatMatrix::parse("test", &rows(exclusion)).unwrap();
        let pairs = ["2.4.1", "2.4.3"].iter().flat_map(|zfs| {
            ["6.17.8-300.fc43.x86_64", "6.18.1-300.fc43.x86_64"].iter().map(move |kernel| (zfs, kernel))
        });
        let excluded: Vec<_> = pairs
            .map(|(zfs, kernel)| {
                matrix.verdict(zfs.parse().unwrap(), &kernel.parse().unwrap()).kind() == "excluded"
            })
            .collect();
        assert_eq!(excluded, expected, "{exclusion}");
        assert_eq!(matrix.exclusions().next().unwrap().severity(), crate::Severity::High);
    }
}
