//! The matrix that is shipped, held against what upstream's own files said on a day.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::str::FromStr;

use kmod_compat::{CompatMatrix, IncompatibilityCause, KernelRelease, KernelSeries, Verdict, ZfsVersion};

const META: &str = include_str!("fixtures/openzfs-meta-2026-08-21.csv");

/// The last minor of each major version of Linux that is finished, see https://kernel.org.
const LAST_MINORS: [(u32, u32); 4] = [(3, 19), (4, 20), (5, 19), (6, 19)];

#[track_caller]
fn read<T: FromStr<Err: Debug>>(text: &str) -> T {
    text.parse().expect("the tests name good versions only")
}

/// One line of the fixture.
struct Declared {
    tag: &'static str,
    version: &'static str,
    min: KernelSeries,
    max: KernelSeries,
}

fn declared() -> Vec<Declared> {
    let lines = META.lines().filter(|line| !line.starts_with('#')).skip(1);
    lines
        .map(|line| {
            let cells: Vec<&str> = line.split(',').collect();
            let [tag, _commit, _date, version, min, max] = cells[..] else {
                panic!("not six cells: {line}");
            };
            Declared { tag, version, min: read(min), max: read(max) }
        })
        .collect()
}

/// Only the tags of released versions.
fn released() -> BTreeMap<ZfsVersion, Declared> {
    let tags = declared().into_iter();
    tags.filter_map(|declared| Some((declared.tag.strip_prefix("zfs-")?.parse().ok()?, declared))).collect()
}

fn embedded() -> CompatMatrix {
    CompatMatrix::embedded().unwrap_or_else(|error| panic!("{:?}", miette::Report::new(error)))
}

#[test]
fn candidates_and_development_tags_are_left_out() {
    let (all, released) = (declared(), released());
    assert_eq!(all.len(), 71);
    assert_eq!(released.len(), 44);
    let refused = all.iter().filter(|declared| declared.tag.contains("-rc") || declared.tag.ends_with(".99"));
    assert_eq!(refused.count(), 71 - 44);
    for (version, declared) in released {
        assert_eq!(version.to_string(), declared.version, "{}", declared.tag);
    }
}

#[test]
fn every_row_says_what_upstream_says() {
    let (matrix, released) = (embedded(), released());
    for release in matrix.releases() {
        // A row for a later release than the fixture knows is no fault of the row.
        let Some(declared) = released.get(&release.version()) else {
            assert!(released.keys().all(|known| *known < release.version()), "{}", release.version());
            continue;
        };
        assert_eq!(release.linux_min(), declared.min, "{}", declared.tag);
        assert_eq!(release.linux_max(), declared.max, "{}", declared.tag);
    }
    for version in released.keys() {
        assert!(matrix.release(*version).is_some(), "no row for {version}");
    }
}

/// A row that was copied and half changed is the likeliest mistake.
#[test]
fn every_row_links_its_own_release_and_has_its_own_digest() {
    let matrix = embedded();
    for release in matrix.releases() {
        let expected = format!("https://github.com/openzfs/zfs/blob/{}/META", release.version().tag());
        assert_eq!(release.source(), expected);
        let same = matrix
            .releases()
            .filter(|other| release.sha256().is_some() && other.sha256() == release.sha256());
        assert!(same.count() <= 1, "{} shares its sha256", release.version());
    }
}

fn predecessor(series: KernelSeries) -> KernelSeries {
    let (major, minor) = match (series.major(), series.minor()) {
        (major, 0) => *LAST_MINORS.iter().find(|(last, _)| *last + 1 == major).expect("a finished major"),
        (major, minor) => (major, minor - 1),
    };
    read(&format!("{major}.{minor}"))
}

fn successor(series: KernelSeries) -> KernelSeries {
    let (major, minor) = match (series.major(), series.minor()) {
        last if LAST_MINORS.contains(&last) => (last.0 + 1, 0),
        (major, minor) => (major, minor + 1),
    };
    read(&format!("{major}.{minor}"))
}

#[test]
fn series_step_over_the_ends_of_major_versions() {
    #[track_caller]
    fn check(earlier: &str, later: &str) {
        let (earlier, later): (KernelSeries, KernelSeries) = (read(earlier), read(later));
        assert_eq!(successor(earlier), later);
        assert_eq!(predecessor(later), earlier);
    }
    check("3.9", "3.10");
    check("4.17", "4.18");
    check("4.20", "5.0");
    check("5.19", "6.0");
    check("6.9", "6.10");
    check("6.19", "7.0");
}

/// The first build of a series and a late one: the patch number must not matter.
fn kernels(series: KernelSeries) -> [KernelRelease; 3] {
    ["0-0.rc1.7.fc43.x86_64", "0-300.fc43.x86_64", "199-200.fc43.aarch64"]
        .map(|rest| read(&format!("{series}.{rest}")))
}

#[test]
fn every_release_is_judged_right_around_its_bounds() {
    let matrix = embedded();
    let cause = |zfs, kernel: &KernelRelease| match matrix.verdict(zfs, kernel) {
        Verdict::Compatible => None,
        Verdict::Incompatible(incompatibility) => Some(incompatibility.cause),
    };
    for (zfs, Declared { min, max, .. }) in released() {
        for kernel in kernels(predecessor(min)) {
            let too_old = cause(zfs, &kernel);
            assert!(
                matches!(too_old, Some(IncompatibilityCause::KernelTooOld { min: bound, .. }) if bound == min),
                "{zfs} × {kernel}: {too_old:?}"
            );
        }
        for kernel in kernels(min).into_iter().chain(kernels(max)) {
            assert_eq!(cause(zfs, &kernel), None, "{zfs} × {kernel}");
        }
        for kernel in kernels(successor(max)) {
            let too_new = cause(zfs, &kernel);
            assert!(
                matches!(too_new, Some(IncompatibilityCause::KernelTooNew { max: bound, .. }) if bound == max),
                "{zfs} × {kernel}: {too_new:?}"
            );
        }
    }
}

#[test]
fn the_known_exclusion_is_excluded_with_its_issue() {
    let kernel = read("6.2.8-200.fc37.x86_64");
    let verdict = embedded().verdict(read("2.1.9"), &kernel);
    let Verdict::Incompatible(incompatibility) = verdict else { panic!("{verdict}") };
    assert!(matches!(incompatibility.cause, IncompatibilityCause::Excluded { .. }));
    assert_eq!(incompatibility.source(), Some("https://github.com/openzfs/zfs/issues/14658"));
}
