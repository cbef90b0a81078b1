use kmod_compat::{Arch, FedoraVersion, ZfsLine};

use super::branch::Branch;
use super::channel::{BRANCH, CANDIDATE, WITHDRAWN, is_run_and_commit, stream};
use crate::model::{Digest, Target};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TagClass {
    /// `zfs-X_kernel-Y`: the public name of an image.
    Version(Target),
    /// `withdrawn-zfs-X_kernel-Y`: points to the image whose withdrawal is attached to it.
    Withdrawn(Target),
    /// `candidate-zfs-X_kernel-Y`, `candidate-beta-BRANCH-zfs-X_kernel-Y`: published, but not yet promoted.
    Candidate,
    /// `beta-…`: built from a branch.
    Branch,
    /// `stable`, `zfs-2.4_stable`, `fedora-44_stable_aarch64`: followed by hosts. Always protected.
    Channel,
    /// `stable-RUN-COMMIT`: the record of a promotion. Always protected.
    Audit,
    /// `sha256-<hex>`: the referrers index of that digest, on registries without the referrers API (OCI distribution
    /// specification 1.1, "Referrers Tag Schema").
    Referrers(Digest),
    /// `sha256-<hex>.sig`, `.att`, `.sbom`: evidence for cosign before version 3, podman and bootc.
    Signature(Digest),
    /// Not made by this program; protected.
    Unknown,
}

impl TagClass {
    pub fn of(tag: &str) -> Self {
        let withdrawn = || tag.strip_prefix(WITHDRAWN).and_then(target).map(Self::Withdrawn);
        match evidence(tag).or_else(|| target(tag).map(Self::Version)).or_else(withdrawn) {
            Some(class) => class,
            None if tag
                .strip_prefix(CANDIDATE)
                .is_some_and(|rest| target(image_of_branch(rest)).is_some()) =>
            {
                Self::Candidate
            }
            None if tag.strip_prefix(BRANCH).is_some_and(|rest| !rest.is_empty()) => Self::Branch,
            None if is_channel(tag) => Self::Channel,
            None if is_audit(tag) => Self::Audit,
            None => Self::Unknown,
        }
    }
}

fn target(tag: &str) -> Option<Target> {
    Target::from_tag(&tag.parse().ok()?)
}

/// The tag without `beta-BRANCH-`.
fn image_of_branch(tag: &str) -> &str {
    let rest = tag.strip_prefix(BRANCH).and_then(|rest| rest.split_once('-'));
    rest.filter(|(branch, _)| Branch::is_in_tags(branch)).map_or(tag, |(_, image)| image)
}

fn evidence(tag: &str) -> Option<TagClass> {
    let rest = tag.strip_prefix("sha256-")?;
    let digest = |hex: &str| format!("sha256:{hex}").parse().ok();
    match rest.split_once('.') {
        None => Some(TagClass::Referrers(digest(rest)?)),
        Some((hex, "sig" | "att" | "sbom")) => Some(TagClass::Signature(digest(hex)?)),
        Some(_) => None,
    }
}

fn is_channel(tag: &str) -> bool {
    let of = |name: &str| {
        name.strip_prefix("zfs-").is_some_and(|line| line.parse::<ZfsLine>().is_ok())
            || name.strip_prefix("fedora-").is_some_and(|number| number.parse::<FedoraVersion>().is_ok())
    };
    let tag = without_arch(tag);
    stream(tag).is_some()
        || tag.rsplit_once('_').is_some_and(|(name, channel)| stream(channel).is_some() && of(name))
}

fn is_audit(tag: &str) -> bool {
    // Of another line than the first: `zfs-2.3_stable-RUN-COMMIT`.
    let of_line = tag.strip_prefix("zfs-").and_then(|rest| rest.split_once('_'));
    let tag = of_line.filter(|(line, _)| line.parse::<ZfsLine>().is_ok()).map_or(tag, |(_, rest)| rest);
    tag.split_once('-')
        .is_some_and(|(channel, rest)| stream(without_arch(channel)).is_some() && is_run_and_commit(rest))
}

fn without_arch(channel: &str) -> &str {
    let known = Arch::ALL.into_iter().filter(|arch| *arch != Arch::X86_64);
    let named = |arch: Arch| channel.strip_suffix(arch.rpm())?.strip_suffix('_');
    known.into_iter().find_map(named).unwrap_or(channel)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_told_apart() {
        let hex = Digest::of(b"").hex().to_owned();
        for (tag, class) in [
            ("stable", TagClass::Channel),
            ("zfs-2.4_stable", TagClass::Channel),
            ("fedora-44_next", TagClass::Channel),
            ("stable-1234-0123abc", TagClass::Audit),
            ("zfs-2.3_stable-1234-0123abc", TagClass::Audit),
            ("candidate-zfs-2.4.3_kernel-6.17.8-300.fc43.x86_64", TagClass::Candidate),
            ("candidate-beta-main-zfs-2.4.3_kernel-6.17.8-300.fc43.x86_64", TagClass::Candidate),
            ("beta-main", TagClass::Branch),
            (&format!("sha256-{hex}"), TagClass::Referrers(Digest::of(b""))),
            (&format!("sha256-{hex}.sig"), TagClass::Signature(Digest::of(b""))),
            (&format!("sha256-{hex}.att"), TagClass::Signature(Digest::of(b""))),
            (&format!("sha256-{hex}.sbom"), TagClass::Signature(Digest::of(b""))),
        ] {
            assert_eq!(TagClass::of(tag), class, "{tag}");
        }
        let version = TagClass::of("zfs-2.4.3_kernel-6.17.8-300.fc43.x86_64");
        assert!(matches!(version, TagClass::Version(target) if target.zfs.to_string() == "2.4.3"));
    }

    #[test]
    fn similar_tags_are_unknown() {
        let hex = Digest::of(b"").hex().to_owned();
        for tag in [
            "latest",
            "testing-devel",
            "rawhide",
            "testing-devel-1234-0123abc",
            "zfs-2.4_rawhide",
            "stable-1234",
            "stable-x-0123abc",
            "stable-1234-xyz",
            "zfs-2.4_latest",
            "zfs-2_kernel-6",
            "zfs-2.4.3-rc1_kernel-6.17.8-300.fc43.x86_64",
            "candidate-",
            "candidate-mine",
            "candidate-beta-main",
            "candidate-beta--zfs-2.4.3_kernel-6.17.8-300.fc43.x86_64",
            "beta-",
            "sha256-0",
            &format!("sha256-{hex}.xyz"),
            &format!("sha512-{hex}"),
            "",
            "host/name:tag",
        ] {
            assert_eq!(TagClass::of(tag), TagClass::Unknown, "{tag}");
        }
    }
}
