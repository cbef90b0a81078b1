//! What has to hold between the values of a matrix. Values that could not be read are passed over.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;

use super::UnlistedReleasePolicy;
use super::error::Fault;
use super::parse::{RawExclusion, RawMatrix, RawPolicy, RawRelease};
use crate::ZfsVersion;

pub(super) fn check(raw: &RawMatrix, faults: &mut Vec<Fault>) {
    let versions = raw.releases.iter().filter_map(|release| release.version.as_ref());
    let rows = versions.map(|version| Row {
        key: *version.get_ref(),
        name: format!("the row of OpenZFS {}", version.get_ref()),
        span: version.span(),
    });
    each_once_and_sorted(rows, "by version, the oldest first", faults);

    let exclusions = raw.exclusions.iter().filter_map(|exclusion| {
        let (zfs, kernel) = (exclusion.zfs.as_ref()?.get_ref(), exclusion.kernel.as_ref()?.get_ref());
        let name = format!("the exclusion of kernel {kernel} for OpenZFS {zfs}");
        Some(Row { key: (*zfs, kernel), name, span: exclusion.span.clone() })
    });
    each_once_and_sorted(exclusions, "by `zfs`, then by `kernel`", faults);

    faults.extend(raw.releases.iter().filter_map(empty_range));
    // A version that could not be read may well be the one that seems to have no row.
    if raw.releases.iter().all(|release| release.version.is_some()) {
        let rowless =
            raw.exclusions.iter().filter_map(|exclusion| rowless_exclusion(exclusion, &raw.releases));
        faults.extend(rowless.chain(rowless_line(&raw.policy, &raw.releases)));
    }
}

/// Something that may stand in the file once, at its place.
struct Row<K> {
    key: K,
    name: String,
    span: Range<usize>,
}

fn each_once_and_sorted<K: Ord>(rows: impl Iterator<Item = Row<K>>, order: &str, faults: &mut Vec<Fault>) {
    let mut seen: BTreeMap<K, (String, Range<usize>)> = BTreeMap::new();
    for Row { key, name, span } in rows {
        if let Some((_, first)) = seen.get(&key) {
            let fault = Fault::new(format!("{name} is there twice"), span, "again here");
            faults.push(fault.and_label(first.clone(), "first here").with_help("keep one of them"));
            continue;
        }
        // Compared with the greatest so far, so that one row at a wrong place is one fault.
        if let Some((greatest, (greater, place))) = seen.last_key_value()
            && *greatest > key
        {
            let fault =
                Fault::new(format!("{name} stands after {greater}"), span.clone(), "move this one up");
            faults.push(
                fault
                    .and_label(place.clone(), "it belongs before this")
                    .with_help(format!("sort them {order}")),
            );
        }
        seen.insert(key, (name, span));
    }
}

fn empty_range(release: &RawRelease) -> Option<Fault> {
    let (min, max) = (release.linux_min.as_ref()?, release.linux_max.as_ref()?);
    (min.get_ref() > max.get_ref()).then(|| {
        let message = format!("`linux_max` {} is below `linux_min` {}", max.get_ref(), min.get_ref());
        Fault::new(message, max.span(), "no kernel can be within")
            .and_label(min.span(), "the lower bound")
            .with_help("versions are compared as numbers: 6.10 is above 6.9")
    })
}

/// An exclusion of a release that is held anyway is most likely a typing error.
fn rowless_exclusion(exclusion: &RawExclusion, releases: &[RawRelease]) -> Option<Fault> {
    let zfs = exclusion.zfs.as_ref()?;
    let known = versions(releases).any(|version| version == *zfs.get_ref());
    (!known).then(|| {
        let message = format!("the exclusion names OpenZFS {}, which has no row", zfs.get_ref());
        Fault::new(message, zfs.span(), "no `[[release]]` has this `version`")
            .with_help("an exclusion narrows the range of a row: add the row, or correct the version")
    })
}

fn rowless_line(policy: &RawPolicy, releases: &[RawRelease]) -> Option<Fault> {
    let line = policy.line.as_ref()?;
    let holds = policy.unknown_release.as_ref().map(Spanned::get_ref) == Some(&UnlistedReleasePolicy::Hold);
    let known = versions(releases).any(|version| version.line() == *line.get_ref());
    (holds && !known).then(|| {
        let message = format!("the line {} has no row, so nothing would ever be built", line.get_ref());
        Fault::new(message, line.span(), "no `[[release]]` is of this line")
            .with_help("add a row for a release of the line, or follow another line")
    })
}

fn versions(releases: &[RawRelease]) -> impl Iterator<Item = ZfsVersion> {
    releases.iter().filter_map(|release| Some(*release.version.as_ref()?.get_ref()))
}
