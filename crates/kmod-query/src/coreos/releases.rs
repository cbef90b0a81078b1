use std::fmt;

use kmod_compat::Arch;

use super::CoreOsVersion;
use crate::document::{self, Node};
use crate::{FormatError, PinnedImage};

/// A release with an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    pub version: CoreOsVersion,
    pub images: Vec<(Arch, PinnedImage)>,
}

impl Release {
    pub fn image(&self, arch: Arch) -> Option<&PinnedImage> {
        self.images.iter().find(|(of, _)| *of == arch).map(|(_, image)| image)
    }
}

/// The entries of a `releases.json`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Releases {
    /// In the order of the document: the oldest first.
    pub releases: Vec<Release>,
    /// By reason, without reasons that do not occur.
    pub skipped: Vec<SkippedEntries>,
}

/// Entries that were skipped for one reason.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct SkippedEntries {
    pub reason: SkippedEntryReason,
    pub count: usize,
    /// The version of the last one, which is the newest, or its path if it has none.
    pub example: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SkippedEntryReason {
    /// A version of another form, such as `30.20190716.1` of 2019.
    InvalidVersion,
    /// No image for an architecture of ours. Releases before Fedora 42 have none.
    NoImage,
    /// The entry, or each of its images, cannot be read.
    Malformed,
}

impl fmt::Display for SkippedEntryReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::InvalidVersion => "without a valid version",
            Self::NoImage => "without an image",
            Self::Malformed => "malformed",
        })
    }
}

impl fmt::Display for SkippedEntries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { reason, count, example } = self;
        write!(f, "{count} {reason} (such as {example})")
    }
}

/// Parses `releases.json`. Entries that cannot be used are skipped and counted; a document without any usable entry is
/// an error.
pub fn parse_releases(text: &str) -> Result<Releases, FormatError> {
    let document = document::parse(text)?;
    let entries = Node::root(&document).required("releases")?;
    let mut read = Releases { releases: Vec::new(), skipped: Vec::new() };
    let mut last_error = None;
    for entry in entries.items()? {
        match parse_release(&entry) {
            Ok(release) => read.releases.push(release),
            Err((reason, error)) => {
                read.skip(reason, &entry);
                last_error = error.or(last_error);
            }
        }
    }
    read.skipped.sort_by_key(|skipped| skipped.reason);
    if read.releases.is_empty() {
        let skipped = read.skipped.iter().map(|skipped| format!("; {skipped}"));
        let error = last_error.map(|error| format!("; {error}"));
        let details: String = skipped.chain(error).collect();
        return Err(entries.invalid(format!("no entry can be used{details}")));
    }
    Ok(read)
}

impl Releases {
    fn skip(&mut self, reason: SkippedEntryReason, entry: &Node<'_>) {
        let version = entry.optional("version").and_then(|version| version.text().ok());
        let example = version.map_or_else(|| entry.path().to_owned(), str::to_owned);
        match self.skipped.iter_mut().find(|skipped| skipped.reason == reason) {
            Some(skipped) => {
                skipped.count += 1;
                skipped.example = example;
            }
            None => self.skipped.push(SkippedEntries { reason, count: 1, example }),
        }
    }
}

fn parse_release(entry: &Node<'_>) -> Result<Release, (SkippedEntryReason, Option<FormatError>)> {
    let malformed = |error| (SkippedEntryReason::Malformed, Some(error));
    let version = entry.required("version").map_err(malformed)?;
    let version = version.parsed().map_err(|error| (SkippedEntryReason::InvalidVersion, Some(error)))?;
    let (mut images, mut invalid) = (Vec::new(), None);
    if let Some(listed) = entry.optional("oci-images") {
        for image in listed.items().map_err(malformed)? {
            match parse_image(&image) {
                Ok(image) => images.extend(image),
                Err(error) => invalid = Some(error),
            }
        }
    }
    match invalid {
        _ if !images.is_empty() => Ok(Release { version, images }),
        Some(error) => Err(malformed(error)),
        None => Err((SkippedEntryReason::NoImage, None)),
    }
}

fn parse_image(image: &Node<'_>) -> Result<Option<(Arch, PinnedImage)>, FormatError> {
    // s390x and ppc64le.
    let Ok(arch) = image.required("architecture")?.text()?.parse() else { return Ok(None) };
    Ok(Some((arch, image.required("digest-ref")?.parsed()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const INDEX: &str = include_str!("../../tests/fixtures/coreos-releases.json");
    /// Every version of the testing stream from 2019 to July 2026.
    const TESTING: &str = include_str!("../../tests/fixtures/coreos-releases-testing-2026-07.json");

    fn texts(skipped: &[SkippedEntries]) -> Vec<String> {
        skipped.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_whole_index_of_testing_is_read_and_what_is_skipped_is_counted() {
        let read = parse_releases(TESTING).unwrap();
        let versions: Vec<_> = read.releases.iter().map(|release| release.version.to_string()).collect();
        assert_eq!(versions.len(), 36);
        assert_eq!((versions[0].as_str(), versions[35].as_str()), ("42.20250410.2.0", "44.20260720.2.1"));
        assert!(
            Arch::ALL.iter().all(|arch| read.releases.iter().all(|release| release.image(*arch).is_some()))
        );
        assert_eq!(
            texts(&read.skipped),
            [
                "11 without a valid version (such as 31.20191211.1)",
                "165 without an image (such as 41.20250331.2.0)"
            ]
        );
    }

    #[test]
    fn an_entry_that_cannot_be_read_stops_nothing() {
        let read = parse_releases(INDEX).unwrap();
        for strange in [
            "{}",
            "7",
            "null",
            r#"{"version": 7}"#,
            r#"{"version": "44.20260401.3.0", "oci-images": {}}"#,
            r#"{"version": "44.20260401.3.0", "oci-images": [{"architecture": "x86_64"}]}"#,
            r#"{"version": "44.20260401.3.0", "oci-images": [{"architecture": "x86_64", "digest-ref": "x"}]}"#,
        ] {
            let text = INDEX.replacen("\"releases\": [", &format!("\"releases\": [{strange}, "), 1);
            assert_ne!(text, INDEX);
            let with_strange = parse_releases(&text).unwrap();
            assert_eq!(with_strange.releases, read.releases, "{strange}");
            let count = |read: &Releases| read.skipped.iter().map(|skipped| skipped.count).sum::<usize>();
            assert_eq!(count(&with_strange), count(&read) + 1, "{strange}");
        }
    }

    #[test]
    fn one_bad_image_leaves_the_others_of_its_release() {
        let good = format!("quay.io/fedora/fedora-coreos@sha256:{}", "1".repeat(64));
        let text = format!(
            r#"{{"releases": [{{"version": "43.20260301.3.1", "oci-images": [
                {{"architecture": "aarch64", "digest-ref": "quay.io/fedora/fedora-coreos:43"}},
                {{"architecture": "x86_64", "digest-ref": "{good}"}}]}}]}}"#
        );
        let read = parse_releases(&text).unwrap();
        let images: Vec<_> = read.releases[0].images.iter().map(|(arch, _)| *arch).collect();
        assert_eq!((images, read.skipped), (vec![Arch::X86_64], Vec::new()));
    }

    #[track_caller]
    fn check_error(text: &str, expected: &str) {
        assert_eq!(parse_releases(text).unwrap_err().to_string(), expected);
    }

    #[test]
    fn a_document_without_a_usable_entry_is_an_error_that_names_the_fields() {
        check_error("{}", "the field `releases` is missing");
        check_error(r#"{"releases": {}}"#, "the field `releases` is invalid: expected a list");
        check_error(r#"{"releases": []}"#, "the field `releases` is invalid: no entry can be used");
        check_error(
            r#"{"releases": [{}]}"#,
            "the field `releases` is invalid: no entry can be used; 1 malformed (such as releases[0]); \
             the field `releases[0].version` is missing",
        );
        check_error(
            r#"{"releases": [{"version": "43.20260301.3.1", "oci-images": [{"architecture": "x86_64"}]}]}"#,
            "the field `releases` is invalid: no entry can be used; 1 malformed (such as 43.20260301.3.1); \
             the field `releases[0].oci-images[0].digest-ref` is missing",
        );
        check_error(
            r#"{"releases": [{"version": "41.20241001.3.0"}, {"version": "43"}]}"#,
            "the field `releases` is invalid: no entry can be used; 1 without a valid version (such as 43); \
             1 without an image (such as 41.20241001.3.0); the field `releases[1].version` is invalid: \
             `43` is not a version of Fedora CoreOS (expected e.g. `43.20260301.3.1`)",
        );
        check_error(&INDEX[..200], "the JSON is cut off at line 7, column 3");
    }
}
