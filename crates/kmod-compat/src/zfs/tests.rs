use proptest::prelude::*;

use super::*;
use crate::tests::round_trip;

#[track_caller]
fn zfs(text: &str) -> ZfsVersion {
    text.parse().unwrap()
}

#[test]
fn versions_are_ordered_as_numbers() {
    assert!(zfs("2.2.9") < zfs("2.2.10"));
    assert!(zfs("2.2.11") < zfs("2.3.0"));
    assert!(zfs("2.9.0") < zfs("2.10.0"));
}

#[test]
fn a_version_knows_its_tag_and_line() {
    assert_eq!(zfs("2.4.3").tag(), "zfs-2.4.3");
    for (version, line) in [("2.4.3", "2.4"), ("2.4.10", "2.4"), ("2.40.0", "2.40")] {
        assert_eq!(zfs(version).line().to_string(), line);
    }
}

#[test]
fn each_unreleased_kind_has_its_own_error() {
    #[track_caller]
    fn check(text: &str, expected: &str) {
        let error = text.parse::<ZfsVersion>().unwrap_err().to_string();
        assert!(error.starts_with(&format!("`{text}` is {expected}")), "{error}");
    }
    check("2.4.0-rc1", "a release candidate of OpenZFS");
    check("2.3.0-rc10", "a release candidate of OpenZFS");
    check("2.4.99-rc1", "a release candidate of OpenZFS");
    check("2.4.99", "a development tag of OpenZFS");
    let malformed = "2|2.4|2.4.x|2.4.0.1|02.4.0|2.4.00| 2.4.0|zfs-2.4.0|2.4.0-1|2.4.0-rc|2.4.0-rcx|2.4.0+git|2.4.٣|2.4.-1|\
                     2.4.99999999999999999999999";
    for text in malformed.split('|').chain([""]) {
        check(text, "not a released OpenZFS version");
    }
}

#[test]
fn a_line_is_exactly_two_numbers() {
    for text in ["", "2", "2.", ".4", "2.4.0", "02.4", "2.4-rc1", "2.4+a.0", "zfs-2.4", "2.4 "] {
        let error = text.parse::<ZfsLine>().unwrap_err().to_string();
        assert_eq!(error, format!("`{text}` is not a line of OpenZFS releases (expected e.g. `2.4`)"));
    }
}

#[test]
fn padding_of_tables_applies() {
    assert_eq!(format!("[{:8}]", zfs("2.4.3")), "[2.4.3   ]");
    assert_eq!(format!("[{:5}]", zfs("2.4.3").line()), "[2.4  ]");
}

proptest! {
    #[test]
    fn versions_survive_a_round_trip(major in any::<u64>(), minor in any::<u64>(), patch in any::<u64>()) {
        prop_assume!(patch != 99);
        round_trip::<ZfsVersion>(&format!("{major}.{minor}.{patch}"));
    }

    #[test]
    fn lines_survive_a_round_trip(major in any::<u64>(), minor in any::<u64>()) {
        round_trip::<ZfsLine>(&format!("{major}.{minor}"));
    }

    #[test]
    fn no_text_makes_a_parser_panic(text in any::<String>()) {
        let _ = text.parse::<ZfsVersion>();
        let _ = text.parse::<ZfsLine>();
    }

    /// Nearly valid texts reach further into the parser than arbitrary ones.
    #[test]
    fn no_near_miss_makes_a_parser_panic(text in "[0-9.rc+-]{0,14}") {
        if let Ok(version) = text.parse::<ZfsVersion>() {
            prop_assert_eq!(version.to_string(), text.clone());
        }
        if let Ok(line) = text.parse::<ZfsLine>() {
            prop_assert_eq!(line.to_string(), text);
        }
    }
}
