use std::fmt;
use std::str::FromStr;

use kmod_compat::Arch;
use kmod_query::Stream;
use serde::{Serialize, Serializer};

use super::branch::{Branch, ParseBranchError};
use super::channel_name::{ChannelName, ParseChannelNameError};
use crate::model::Target;
use crate::model::image::{ParseImageRefError, Tag};

pub(super) const CANDIDATE: &str = "candidate-";
pub(super) const BRANCH: &str = "beta-";
pub(super) const WITHDRAWN: &str = "withdrawn-";

/// `withdrawn-zfs-X_kernel-Y`.
pub fn withdrawn_tag(target: &Target) -> Tag {
    format!("{WITHDRAWN}{}", target.tag()).parse().expect("the image's tag is short enough for a prefix")
}

/// The target of promotions.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Channel {
    /// Only streams that [have a channel](Stream::has_channel).
    Stream(Stream),
    /// Of a bootable image.
    Named(ChannelName),
    /// `beta-BRANCH`: for testing a branch.
    Branch(Branch),
}

impl Channel {
    /// As users write it: `beta-feature/x`.
    pub fn name_of_branch(branch: &str) -> String {
        format!("{BRANCH}{branch}")
    }

    /// Users follow the tags of the other channels.
    pub const fn is_of_branch(&self) -> bool {
        matches!(self, Self::Branch(_))
    }

    /// The immutable tag of an image: `zfs-X_kernel-Y`, for a branch `beta-BRANCH-zfs-X_kernel-Y`.
    pub fn image_tag(&self, target: &Target) -> Result<Tag, ParseImageRefError> {
        match self {
            Self::Stream(_) | Self::Named(_) => Ok(target.tag()),
            Self::Branch(_) => format!("{self}-{}", target.tag()).parse(),
        }
    }

    /// The tag of an image before its promotion.
    pub fn candidate_tag(&self, target: &Target) -> Result<Tag, ParseImageRefError> {
        format!("{CANDIDATE}{}", self.image_tag(target)?).parse()
    }

    /// The channel's tag for hosts of an architecture: `stable`, `stable_aarch64`, `beta-BRANCH-aarch64`.
    /// Unambiguous, because branch names in tags have no `-`.
    pub fn followed_on(&self, arch: Arch) -> String {
        match (self, arch) {
            (_, Arch::X86_64) => self.to_string(),
            (Self::Stream(_) | Self::Named(_), other) => format!("{self}_{other}"),
            (Self::Branch(_), other) => format!("{self}-{other}"),
        }
    }

    /// From the most general to the most specific.
    pub fn moving_tags(&self, target: &Target) -> Vec<Tag> {
        self.moving_tags_of_line(target, true)
    }

    /// The tags without a line, such as `stable` and `fedora-44_stable`, belong to the default line alone.
    pub fn moving_tags_of_line(&self, target: &Target, is_default: bool) -> Vec<Tag> {
        let followed = self.followed_on(target.arch());
        let of_line = format!("zfs-{}_{followed}", target.zfs.line());
        let fedora = target.kernel.fedora().map(|fedora| format!("fedora-{fedora}_{followed}"));
        let all = match (self, is_default) {
            (Self::Branch(_), true) => vec![followed],
            (Self::Branch(_), false) => vec![format!("{followed}-zfs-{}", target.zfs.line())],
            (Self::Stream(_) | Self::Named(_), true) => {
                [followed, of_line].into_iter().chain(fedora).collect()
            }
            (Self::Stream(_) | Self::Named(_), false) => vec![of_line],
        };
        let parse =
            |tag: String| tag.parse().expect("numbers and the channel's own characters may be in tags");
        all.into_iter().map(parse).collect()
    }

    /// The immutable tag of a promotion: `CHANNEL-RUN-COMMIT`, with twelve digits of the commit.
    pub fn audit_tag(&self, arch: Arch, run: &str, commit: &str) -> Result<Tag, ParseChannelError> {
        let tag = format!("{}-{run}-{}", self.followed_on(arch), commit.get(..12).unwrap_or(commit));
        self.read_audit_tag(arch, &tag)
    }

    /// The number of the run in an audit tag of this channel.
    pub(super) fn audited_run(&self, arch: Arch, tag: &str) -> Option<u128> {
        let rest = tag.strip_prefix(&format!("{}-", self.followed_on(arch)))?;
        rest.split_once('-').filter(|_| is_run_and_commit(rest))?.0.parse().ok()
    }

    pub fn read_audit_tag(&self, arch: Arch, tag: &str) -> Result<Tag, ParseChannelError> {
        let channel = self.followed_on(arch);
        let fail = || ParseChannelError::AuditTag { tag: tag.to_owned(), channel: channel.clone() };
        let rest = tag.strip_prefix(&format!("{channel}-")).ok_or_else(fail)?;
        if is_run_and_commit(rest) { tag.parse().map_err(|_| fail()) } else { Err(fail()) }
    }
}

pub(super) fn stream(text: &str) -> Option<Stream> {
    text.parse().ok().filter(|stream: &Stream| stream.has_channel())
}

fn streams() -> String {
    Stream::with_channel().map(|stream| format!("`{stream}`")).collect::<Vec<_>>().join(", ")
}

pub(super) fn is_run_and_commit(text: &str) -> bool {
    text.split_once('-').is_some_and(|(run, commit)| {
        !run.is_empty()
            && run.bytes().all(|byte| byte.is_ascii_digit())
            && (7..=40).contains(&commit.len())
            && commit.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stream(stream) => stream.fmt(f),
            Self::Named(name) => name.fmt(f),
            Self::Branch(branch) => write!(f, "{BRANCH}{branch}"),
        }
    }
}

impl Serialize for Channel {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseChannelError {
    #[error(
        "`{0}` is not a channel (expected {streams}, the channel of an image, or `beta-` and the name of a branch)",
        streams = streams()
    )]
    Unknown(String),
    #[error(
        "{0} (expected {streams}, the channel of an image, or `beta-` and the name of a branch)",
        streams = streams()
    )]
    Name(#[from] ParseChannelNameError),
    #[error("`beta-` is followed by the name of a branch: {0}")]
    Branch(#[from] ParseBranchError),
    #[error(
        "`{tag}` is not an audit tag of {channel} (expected `{channel}-RUN-COMMIT`: decimal digits, and 7 to 40 \
         hexadecimal ones)"
    )]
    AuditTag { tag: String, channel: String },
}

impl FromStr for Channel {
    type Err = ParseChannelError;

    /// Branches are named as in git: `beta-feature/x`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix(BRANCH) {
            Some(branch) => Ok(Self::Branch(Branch::of(branch)?)),
            None => match stream(text) {
                Some(stream) => Ok(Self::Stream(stream)),
                None => Ok(Self::Named(text.parse()?)),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::TagClass;
    use super::*;

    fn target(kernel: &str) -> Target {
        Target { zfs: "2.4.3".parse().unwrap(), kernel: kernel.parse().unwrap() }
    }

    fn all(channel: &Channel, target: &Target) -> Vec<String> {
        let fixed = [channel.image_tag(target), channel.candidate_tag(target)].map(Result::unwrap);
        let audit = channel.audit_tag(target.arch(), "1234", &"0123456789abcdef".repeat(2)).unwrap();
        let tags = channel.moving_tags(target).into_iter().chain(fixed).chain([audit]);
        tags.map(|tag| tag.to_string()).collect()
    }

    #[test]
    fn a_stream_has_these_tags() {
        let stable: Channel = "stable".parse().unwrap();
        let kernel = "6.17.8-300.fc43.x86_64";
        let image = format!("zfs-2.4.3_kernel-{kernel}");
        let tags = all(&stable, &target(kernel));
        let classified: Vec<_> = tags.iter().map(|tag| (tag.as_str(), TagClass::of(tag))).collect();
        let expected = [
            ("stable", TagClass::Channel),
            ("zfs-2.4_stable", TagClass::Channel),
            ("fedora-43_stable", TagClass::Channel),
            (&image, TagClass::Version(target(kernel))),
            (&format!("candidate-{image}"), TagClass::Candidate),
            ("stable-1234-0123456789ab", TagClass::Audit),
        ];
        assert_eq!(classified, expected);
    }

    /// Images of all architectures share a repository; a channel tag is for one.
    #[test]
    fn each_architecture_has_channels_of_its_own() {
        let target = target("6.17.8-300.fc43.aarch64");
        let stable = all(&"stable".parse().unwrap(), &target);
        let expected = [
            "stable_aarch64",
            "zfs-2.4_stable_aarch64",
            "fedora-43_stable_aarch64",
            "stable_aarch64-1234-0123456789ab",
        ];
        assert_eq!([&stable[0], &stable[1], &stable[2], &stable[5]], expected.each_ref());
        let classes = expected.map(TagClass::of);
        assert_eq!(classes, [TagClass::Channel, TagClass::Channel, TagClass::Channel, TagClass::Audit]);
        let beta = all(&"beta-main".parse().unwrap(), &target);
        assert_eq!([&beta[0], &beta[3]], ["beta-main-aarch64", "beta-main-aarch64-1234-0123456789ab"]);
        assert_eq!(TagClass::of(&beta[3]), TagClass::Branch);
    }

    #[test]
    fn the_channel_of_an_image_has_tags_like_a_stream() {
        let kinoite: Channel = "kinoite".parse().unwrap();
        let kernel = "6.17.8-300.fc43.aarch64";
        let image = format!("zfs-2.4.3_kernel-{kernel}");
        let expected = [
            "kinoite_aarch64",
            "zfs-2.4_kinoite_aarch64",
            "fedora-43_kinoite_aarch64",
            &image,
            &format!("candidate-{image}"),
            "kinoite_aarch64-1234-0123456789ab",
        ];
        assert_eq!(all(&kinoite, &target(kernel)), expected);
    }

    #[test]
    fn a_kernel_without_a_fedora_release_has_no_fedora_channel() {
        let next: Channel = "next".parse().unwrap();
        let tags = next.moving_tags(&target("6.17.8-300.x86_64"));
        assert_eq!(tags.iter().map(Tag::as_str).collect::<Vec<_>>(), ["next", "zfs-2.4_next"]);
    }

    #[test]
    fn other_texts_are_not_channels() {
        for text in ["", "none", "beta", "beta-", "Stable", "stable_aarch64", "stable-1-0123abc"] {
            assert!(text.parse::<Channel>().is_err(), "{text}");
        }
    }

    #[test]
    fn audit_tags_are_those_of_the_channel() {
        let stable: Channel = "stable".parse().unwrap();
        assert!(stable.read_audit_tag(Arch::X86_64, "stable-1-0123abc").is_ok());
        for tag in [
            "stable-1",
            "testing-1-0123abc",
            "stable-x-0123abc",
            "stable-1-012345",
            "stable",
            "beta-stable-1-0123abc",
        ] {
            assert!(stable.read_audit_tag(Arch::X86_64, tag).is_err(), "{tag}");
        }
    }

    proptest! {
        #[test]
        fn branches_are_isolated(one in "[a-z0-9/_.-]{1,50}", other in "[a-z0-9/_.-]{1,50}") {
            let targets = ["x86_64", "aarch64"].map(|arch| target(&format!("6.17.8-300.fc43.{arch}")));
            let of = |branch: &str| {
                let channel = format!("beta-{branch}").parse().unwrap();
                targets.iter().flat_map(|target| all(&channel, target)).collect::<Vec<_>>()
            };
            for tag in of(&one) {
                let expected = if tag.starts_with(CANDIDATE) { TagClass::Candidate } else { TagClass::Branch };
                prop_assert_eq!(TagClass::of(&tag), expected, "{}", tag);
                prop_assert!(one == other || !of(&other).contains(&tag));
            }
        }
    }
}
