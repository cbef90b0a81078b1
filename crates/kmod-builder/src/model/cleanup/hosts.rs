use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use kmod_query::CoreOsVersion;

/// How long upstream keeps the images of a release: three months (`gc-policy.yaml` of coreos/fedora-coreos-pipeline),
/// counted from the date in its version, which is up to 34 days before the release (history of
/// coreos/fedora-coreos-streams).
const WINDOW: SignedDuration = SignedDuration::from_hours((92 + 34) * 24);

/// The releases of a stream that hosts can still run: the `newest`, and all that upstream still keeps.
pub fn releases_in_use(versions: &[CoreOsVersion], newest: usize, now: Timestamp) -> Vec<CoreOsVersion> {
    let mut versions = versions.to_vec();
    versions.sort_unstable_by(|one, other| other.cmp(one));
    versions.dedup();
    let is_young =
        |version: &CoreOsVersion| dated(*version).is_none_or(|date| now.duration_since(date) <= WINDOW);
    versions
        .into_iter()
        .enumerate()
        .filter(|(rank, version)| *rank < newest || is_young(version))
        .map(|(_, version)| version)
        .collect()
}

/// `None` if the number in the version is not a date.
fn dated(version: CoreOsVersion) -> Option<Timestamp> {
    let text = version.to_string();
    let date = Date::strptime("%Y%m%d", text.split('.').nth(1)?).ok()?;
    Some(date.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_and_the_young_are_in_use() {
        let versions =
            ["43.20260301.3.0", "43.20260315.3.1", "42.20250101.3.0", "43.20260215.3.0", "42.20241201.3.0"];
        let versions = versions.map(|version| version.parse::<CoreOsVersion>().unwrap());
        let used = |newest, now: &str| {
            let used = releases_in_use(&versions, newest, now.parse().unwrap());
            used.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let young = ["43.20260315.3.1", "43.20260301.3.0", "43.20260215.3.0"];
        assert_eq!(used(1, "2026-04-01T00:00:00Z"), young);
        assert_eq!(used(2, "2027-04-01T00:00:00Z"), young[..2]);
        assert_eq!(used(0, "2027-04-01T00:00:00Z").len(), 0);
        // A slow clock keeps more releases.
        assert_eq!(used(0, "2020-01-01T00:00:00Z").len(), 5);
    }
}
