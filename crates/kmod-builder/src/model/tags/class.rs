use kmod_compat::{Arch, FedoraVersion, ZfsLine};

use super::branch::Branch;
use super::channel::{BRANCH, CANDIDATE, WITHDRAWN, is_run_and_commit, stream};
use super::channel_name::ChannelName;
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
    /// Not made by this program, or of a channel of an image, which only the configuration tells apart; protected.
    Unknown,
}

impl TagClass {
    /// Knows the channels of streams and branches only.
    pub fn of(tag: &str) -> Self {
        Self::with_channels(tag, &[])
    }

    /// Knows the named channels, too.
    pub fn with_channels(tag: &str, named: &[ChannelName]) -> Self {
        let is_followed =
            |channel: &str| stream(channel).is_some() || named.iter().any(|name| name.as_str() == channel);
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
            None if is_channel(tag, is_followed) => Self::Channel,
            None if is_audit(tag, is_followed) => Self::Audit,
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

fn is_channel(tag: &str, is_followed: impl Fn(&str) -> bool) -> bool {
    let of = |name: &str| {
        name.strip_prefix("zfs-").is_some_and(|line| line.parse::<ZfsLine>().is_ok())
            || name.strip_prefix("fedora-").is_some_and(|number| number.parse::<FedoraVersion>().is_ok())
    };
    let tag = without_arch(tag);
    is_followed(tag) || tag.rsplit_once('_').is_some_and(|(name, channel)| is_followed(channel) && of(name))
}

fn is_audit(tag: &str, is_followed: impl Fn(&str) -> bool) -> bool {
    // Of another line than the first: `zfs-2.3_stable-RUN-COMMIT`.
    let of_line = tag.strip_prefix("zfs-").and_then(|rest| rest.split_once('_'));
    let tag = of_line.filter(|(line, _)| line.parse::<ZfsLine>().is_ok()).map_or(tag, |(_, rest)| rest);
    let mut ends = tag.match_indices('-').map(|(at, _)| tag.split_at(at));
    ends.any(|(channel, rest)| is_run_and_commit(&rest[1..]) && is_followed(without_arch(channel)))
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
    fn tags_of_named_channels_are_told_apart_if_the_names_are_known() {
        let named = ["kinoite".parse().unwrap(), "fedora-bootc".parse().unwrap()];
        for (tag, class) in [
            ("kinoite", TagClass::Channel),
            ("zfs-2.4_kinoite_aarch64", TagClass::Channel),
            ("fedora-44_fedora-bootc", TagClass::Channel),
            ("fedora-bootc-1234-0123abc", TagClass::Audit),
            ("zfs-2.3_kinoite_aarch64-1234-0123abc", TagClass::Audit),
            ("kinoite-1234", TagClass::Unknown),
            ("fedora-44_silverblue", TagClass::Unknown),
        ] {
            assert_eq!(TagClass::with_channels(tag, &named), class, "{tag}");
            assert_eq!(TagClass::of(tag), TagClass::Unknown, "{tag}");
        }
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
