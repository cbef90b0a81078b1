//! GitHub's REST API for tags, releases and contents of OpenZFS's repository.

use std::{fs, path::Path};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use crate::error::Result;
use crate::lab::make::openzfs;
use crate::lab::{cache, environment};

const REPOSITORY: &str = "/github/repos/openzfs/zfs";

/// Each release line with its highest patch. The lab's release is the newest of its line; [`openzfs::OLDER`] comes later.
const LINES: [(&str, u32); 4] = [("2.1", 16), ("2.2", 11), ("2.3", 1), ("2.4", 3)];
/// Tags that are no releases: starts of development.
const DEVELOPMENT: [&str; 4] = ["2.1.99", "2.2.99", "2.3.99", "2.4.99"];
const CANDIDATES: &str = "2.3.0-rc1 2.3.0-rc2 2.4.0-rc1 2.4.0-rc2 2.4.0-rc3 2.4.0-rc4 2.4.0-rc5 2.40.0-rc1";

/// Writes tags, releases and the `META` of the lab's release to files, from which [`answer`] serves.
pub(crate) fn publish(directory: &Path, tarball_size: u64, meta: &str) -> Result {
    fs::create_dir_all(directory)?;
    fs::write(directory.join(meta_file(openzfs::VERSION)), meta)?;
    let versions = LINES.map(|(line, highest)| (0..=highest).map(move |patch| format!("{line}.{patch}")));
    let versions: Vec<String> = versions.into_iter().flatten().collect();
    let mut tags = versions.clone();
    tags.extend(DEVELOPMENT.into_iter().chain(CANDIDATES.split(' ')).map(str::to_owned));
    tags.sort();
    let tags: Vec<Value> = tags.iter().map(|version| tag(version)).collect();
    fs::write(directory.join("tags.json"), json!(tags).to_string())?;

    // GitHub's order: newest first. Several lines are released on one day.
    let mut releases = vec![release("2.4.4", 99, 0, true)];
    for (age, version) in by_time(&versions).into_iter().enumerate() {
        let size = if version == openzfs::VERSION { tarball_size } else { 34_000_000 };
        releases.push(release(&version, age, size, false));
    }
    let candidates = CANDIDATES.split(' ').enumerate();
    releases.extend(candidates.map(|(age, version)| release(version, 60 + age, 33_000_000, false)));
    Ok(fs::write(directory.join("releases.json"), json!(releases).to_string())?)
}

/// A release that appears while the lab runs.
pub(crate) struct NewRelease<'a> {
    pub(crate) version: &'a str,
    pub(crate) meta: &'a str,
    pub(crate) sha256: &'a str,
    pub(crate) size: u64,
}

pub(crate) fn add_release(directory: &Path, new: &NewRelease<'_>) -> Result {
    fs::write(directory.join(meta_file(new.version)), new.meta)?;
    for (name, entry) in [
        ("tags.json", tag(new.version)),
        ("releases.json", release_of(new.version, 999, PUBLISHED, new.size, new.sha256, false)),
    ] {
        let file = directory.join(name);
        let mut all: Vec<Value> = serde_json::from_slice(&fs::read(&file)?)?;
        all.insert(0, entry);
        fs::write(file, json!(all).to_string())?;
    }
    Ok(())
}

/// Of a release that appears while the lab runs.
const PUBLISHED: &str = "2026-11-01T16:00:00Z";

fn meta_file(version: &str) -> String {
    format!("META-{version}")
}

/// The document at `path`, and the `Link` header if there are more pages.
pub(crate) fn answer(www: &Path, path: &str, query: &str) -> Option<(Value, Option<String>)> {
    let read = |name: &str| -> Option<Vec<Value>> {
        serde_json::from_slice(&fs::read(www.join("github").join(name)).ok()?).ok()
    };
    let rest = path.strip_prefix(REPOSITORY)?;
    if let Some(prefix) = rest.strip_prefix("/git/matching-refs/") {
        let prefix = format!("refs/{prefix}");
        let mut tags = read("tags.json")?;
        tags.retain(|tag| tag["ref"].as_str().is_some_and(|name| name.starts_with(&prefix)));
        return Some((json!(tags), None));
    }
    if rest == "/contents/META" {
        let version = query.strip_prefix("ref=zfs-").filter(|version| !version.contains(['/', '&']))?;
        let meta = fs::read_to_string(www.join("github").join(meta_file(version))).ok()?;
        return Some((contents(&meta, version), None));
    }
    let releases = read("releases.json")?;
    if let Some(name) = rest.strip_prefix("/releases/tags/") {
        // A draft has no tag.
        let found = |release: &Value| release["tag_name"] == name && release["draft"] == false;
        return releases.into_iter().find(found).map(|release| (release, None));
    }
    if rest != "/releases" {
        return None;
    }
    let number = |name: &str| {
        query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')?.parse::<usize>().ok())
    };
    let size = number("per_page").unwrap_or(30).clamp(1, 100);
    let page = number("page").unwrap_or(1).max(1);
    let last = releases.len().div_ceil(size);
    let link = (page < last).then(|| {
        let to = |page| environment::url(&format!("{REPOSITORY}/releases?per_page={size}&page={page}"));
        format!("<{}>; rel=\"next\", <{}>; rel=\"last\"", to(page + 1), to(last))
    });
    let page = releases.into_iter().skip((page - 1) * size).take(size);
    Some((page.collect(), link))
}

/// Releases with the same distance from the newest of their line have the same date.
fn by_time(versions: &[String]) -> Vec<String> {
    let age = |version: &String| {
        let (line, patch) = version.rsplit_once('.').unwrap_or_default();
        let highest = LINES.iter().find(|(name, _)| *name == line).map_or(0, |(_, highest)| *highest);
        highest - patch.parse().unwrap_or(0)
    };
    let mut ordered = versions.to_vec();
    ordered.sort_by(|left, right| age(left).cmp(&age(right)).then(right.cmp(left)));
    ordered
}

/// A file of the repository: Base64 in lines, as GitHub encodes it.
fn contents(text: &str, version: &str) -> Value {
    let encoded = BASE64_STANDARD.encode(text);
    let lines: Vec<_> = encoded.as_bytes().chunks(60).map(String::from_utf8_lossy).collect();
    let address = environment::url(&format!("{REPOSITORY}/contents/META?ref=zfs-{version}"));
    json!({
        "name": "META", "path": "META", "type": "file", "sha": sha(text), "size": text.len(), "encoding": "base64",
        "content": lines.join("\n") + "\n", "url": address, "git_url": address, "html_url": address,
        "download_url": address, "_links": { "self": address, "git": address, "html": address },
    })
}

fn tag(version: &str) -> Value {
    let sha = sha(version);
    json!({
        "ref": format!("refs/tags/zfs-{version}"),
        "node_id": format!("REF_{}", &sha[..12]),
        "url": environment::url(&format!("{REPOSITORY}/git/refs/tags/zfs-{version}")),
        "object": { "sha": sha, "type": "tag", "url": environment::url(&format!("{REPOSITORY}/git/tags/{sha}")) },
    })
}

fn release(version: &str, age: usize, size: u64, draft: bool) -> Value {
    let ours = version == openzfs::VERSION;
    let id = 100_000 + age;
    let month = 12 - age / 4 % 12;
    let published = if ours {
        openzfs::PUBLISHED.to_owned()
    } else {
        format!("{}-{month:02}-{:02}T17:00:00Z", 2025 - age / 48, 1 + age % 4)
    };
    let checksum = if ours { openzfs::SHA256.to_owned() } else { cache::digest(version) };
    release_of(version, id, &published, size, &checksum, draft)
}

fn release_of(version: &str, id: usize, published: &str, size: u64, checksum: &str, draft: bool) -> Value {
    let address = |path: &str| environment::url(&format!("{REPOSITORY}{path}"));
    let author = author();
    let asset = |end: &str, id: usize, size: u64, digest: &str| {
        let name = format!("zfs-{version}.{end}");
        json!({
            "url": address(&format!("/releases/assets/{id}")), "id": id, "node_id": format!("RA_{id}"), "name": name,
            "label": "", "uploader": author, "content_type": "application/gzip", "state": "uploaded", "size": size,
            "digest": format!("sha256:{digest}"), "download_count": 1000, "created_at": published, "updated_at": published,
            "browser_download_url": environment::url(&format!("/openzfs/releases/download/zfs-{version}/{name}")),
        })
    };
    let assets = if draft {
        vec![]
    } else {
        vec![
            asset("sha256.asc", id * 10, 833, &sha(version)),
            asset("tar.gz", id * 10 + 1, size, checksum),
            asset("tar.gz.asc", id * 10 + 2, 833, &sha(checksum)),
        ]
    };
    json!({
        "url": address(&format!("/releases/{id}")), "assets_url": address(&format!("/releases/{id}/assets")),
        "upload_url": address(&format!("/releases/{id}/assets{{?name,label}}")),
        "html_url": environment::url(&format!("/openzfs/releases/tag/zfs-{version}")), "id": id, "author": author,
        "node_id": format!("RE_{id}"), "tag_name": format!("zfs-{version}"), "target_commitish": "master",
        "name": format!("zfs-{version}"), "draft": draft, "prerelease": version.contains("rc"), "immutable": false,
        "created_at": published, "updated_at": published, "published_at": (!draft).then_some(published), "assets": assets,
        "tarball_url": address(&format!("/tarball/zfs-{version}")),
        "zipball_url": address(&format!("/zipball/zfs-{version}")),
        "body": "#### Changes\n- a change, as they are listed by the hundred\n".repeat(80),
    })
}

fn author() -> Value {
    let user = environment::url("/github/users/releaser");
    json!({
        "login": "releaser", "id": 1, "node_id": "U_1", "avatar_url": environment::url("/avatar"), "gravatar_id": "",
        "url": user, "html_url": user, "followers_url": user, "following_url": user, "gists_url": user,
        "starred_url": user, "subscriptions_url": user, "organizations_url": user, "repos_url": user,
        "events_url": user, "received_events_url": user, "type": "User", "site_admin": false,
    })
}

fn sha(text: &str) -> String {
    cache::digest(text)[..40].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RELEASES: &str = "/github/repos/openzfs/zfs/releases";

    fn site() -> tempfile::TempDir {
        let www = tempfile::tempdir().unwrap();
        publish(&www.path().join("github"), 34_545_847, "Meta: 1\n").unwrap();
        www
    }

    #[test]
    fn references_match_by_prefix() {
        let path = "/github/repos/openzfs/zfs/git/matching-refs/tags/zfs-2.4.";
        let (tags, _) = answer(site().path(), path, "").unwrap();
        let names: Vec<_> = tags.as_array().unwrap().iter().map(|tag| tag["ref"].as_str().unwrap()).collect();
        for tag in ["refs/tags/zfs-2.4.3", "refs/tags/zfs-2.4.99"] {
            assert!(names.contains(&tag), "{names:?}");
        }
        assert!(names.iter().all(|name| name.starts_with("refs/tags/zfs-2.4.")), "{names:?}");
    }

    #[test]
    fn pages_lead_to_the_last_one_and_hold_everything_once() {
        let www = site();
        let mut query = "per_page=10".to_owned();
        let mut names = Vec::new();
        loop {
            let (page, link) = answer(www.path(), RELEASES, &query).unwrap();
            let name = |release: &Value| release["tag_name"].as_str().unwrap().to_owned();
            names.extend(page.as_array().unwrap().iter().map(name));
            let Some(link) = link else { break };
            let next = link.split('>').next().unwrap();
            query = next.split_once('?').unwrap().1.to_owned();
        }
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
        assert!(names.contains(&"zfs-2.1.0".to_owned()));
    }

    #[test]
    fn a_draft_is_not_found_by_its_tag() {
        let www = site();
        let by_tag = |version: &str| answer(www.path(), &format!("{RELEASES}/tags/zfs-{version}"), "");
        assert!(by_tag("2.4.4").is_none());
        assert_eq!(by_tag(openzfs::VERSION).unwrap().0["draft"], false);
    }
}
