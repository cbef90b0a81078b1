use jiff::Timestamp;
use kmod_compat::{ZfsLine, ZfsVersion};

use crate::FormatError;
use crate::digest::Digest;
use crate::document::{self, Node};

#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct ZfsRelease {
    pub version: ZfsVersion,
    pub published_at: Timestamp,
    /// The release asset `zfs-X.tar.gz`, not GitHub's archive of the tag.
    pub tarball_url: String,
    /// SHA-256 in hex. GitHub has it for assets uploaded since June 2025.
    pub tarball_digest: Option<String>,
    /// In bytes.
    pub size: u64,
}

/// A release in GitHub's list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listed {
    Published(ZfsRelease),
    /// Why it cannot be used, in a sentence.
    Unusable(String),
}

/// Parses GitHub's response for one release.
pub fn parse_release(text: &str) -> Result<Listed, FormatError> {
    let document = document::parse(text)?;
    release(&Node::root(&document))
}

/// Parses a page of GitHub's list of releases; unusable ones are skipped.
pub fn parse_releases(text: &str) -> Result<Vec<ZfsRelease>, FormatError> {
    let document = document::parse(text)?;
    let published = |entry| match release(&entry) {
        Ok(Listed::Published(release)) => Some(Ok(release)),
        Ok(Listed::Unusable(_)) => None,
        Err(error) => Some(Err(error)),
    };
    Node::root(&document).items()?.filter_map(published).collect()
}

/// Parses GitHub's list of references: the released versions among the tags, unsorted.
pub fn parse_tags(text: &str) -> Result<Vec<ZfsVersion>, FormatError> {
    let document = document::parse(text)?;
    let version = |entry: Node<'_>| {
        let name = entry.required("ref")?.text()?;
        Ok(name.strip_prefix("refs/tags/zfs-").and_then(|version| version.parse().ok()))
    };
    Node::root(&document).items()?.filter_map(|entry| version(entry).transpose()).collect()
}

/// By version.
pub fn newest(releases: Vec<ZfsRelease>, line: ZfsLine) -> Option<ZfsRelease> {
    releases
        .into_iter()
        .filter(|release| release.version.line() == line)
        .max_by_key(|release| release.version)
}

fn release(entry: &Node<'_>) -> Result<Listed, FormatError> {
    let tag = entry.required("tag_name")?.text()?;
    let unusable = |why: &str| Ok(Listed::Unusable(why.to_owned()));
    let version: ZfsVersion = match tag.strip_prefix("zfs-").unwrap_or(tag).parse() {
        Ok(version) => version,
        Err(error) => return unusable(&format!("{error}")),
    };
    if entry.required("draft")?.boolean()? {
        return unusable("it is a draft");
    }
    if entry.required("prerelease")?.boolean()? {
        return unusable("it is a pre-release");
    }
    let published_at = entry.required("published_at")?.parsed()?;
    for asset in entry.required("assets")?.items()? {
        // Assets are listed while they are being uploaded.
        let uploaded = asset.optional("state").is_none_or(|state| state.text() == Ok("uploaded"));
        if !uploaded || asset.required("name")?.text()? != format!("{}.tar.gz", version.tag()) {
            continue;
        }
        let tarball_digest = asset.optional("digest").map(|digest| sha256(&digest)).transpose()?;
        return Ok(Listed::Published(ZfsRelease {
            version,
            published_at,
            tarball_url: asset.required("browser_download_url")?.text()?.to_owned(),
            tarball_digest,
            size: asset.required("size")?.number()?,
        }));
    }
    unusable("its source tarball is not uploaded yet")
}

fn sha256(digest: &Node<'_>) -> Result<String, FormatError> {
    Ok(digest.parsed::<Digest>()?.hex().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const RELEASES: &str = include_str!("../../tests/fixtures/openzfs-releases.json");
    const TAGS: &str = include_str!("../../tests/fixtures/openzfs-tags.json");

    #[test]
    fn the_newest_is_by_version_within_its_line() {
        let newest = |line: &str| {
            let releases = parse_releases(RELEASES).unwrap();
            newest(releases, line.parse().unwrap()).map(|release| release.version.to_string())
        };
        // In the fixture, 2.2.9 has the later date.
        assert_eq!(newest("2.2").as_deref(), Some("2.2.10"));
        assert_eq!(newest("2.4").as_deref(), Some("2.4.3"));
        assert_eq!(newest("2.40"), None);
    }

    #[test]
    fn tags_are_filtered() {
        let mut versions = parse_tags(TAGS).unwrap();
        versions.sort_unstable();
        let texts: Vec<String> = versions.iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["2.4.0", "2.4.1", "2.4.2", "2.4.3", "2.4.10", "2.40.0"]);
    }

    const ONE: &str = r#"{"tag_name": "zfs-2.4.3", "draft": false, "prerelease": false,
        "published_at": "2026-06-12T18:00:10Z", "assets": [{"name": "zfs-2.4.3.tar.gz", "state": "uploaded",
        "size": 35000000, "digest": null, "browser_download_url": "https://example.org/zfs-2.4.3.tar.gz"}]}"#;

    #[test]
    fn why_a_release_cannot_be_built() {
        let Listed::Published(release) = parse_release(ONE).unwrap() else { panic!("it can be built") };
        assert_eq!(release.tarball_digest, None);
        for (from, to, expected) in [
            (r#""draft": false"#, r#""draft": true"#, "it is a draft"),
            (r#""prerelease": false"#, r#""prerelease": true"#, "it is a pre-release"),
            ("uploaded", "starter", "its source tarball is not uploaded yet"),
            (".tar.gz\", \"state", ".sha256.asc\", \"state", "its source tarball is not uploaded yet"),
            ("\"zfs-2.4.3\"", "\"zfs-2.4.0-rc1\"", "`2.4.0-rc1` is a release candidate of OpenZFS"),
            ("\"zfs-2.4.3\"", "\"zfs-2.4.99\"", "`2.4.99` is a development tag of OpenZFS"),
        ] {
            let listed = parse_release(&ONE.replace(from, to)).unwrap();
            let Listed::Unusable(why) = &listed else { panic!("{to}: {listed:?}") };
            assert!(why.starts_with(expected), "{why}");
        }
    }

    #[test]
    fn a_strange_digest_is_refused() {
        let text = ONE.replace("\"digest\": null", "\"digest\": \"md5:12\"");
        let error = parse_release(&text).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the field `assets[0].digest` is invalid: `md5:12` is not a digest (expected `sha256:` and 64 lower-case hexadecimal digits)"
        );
    }
}
