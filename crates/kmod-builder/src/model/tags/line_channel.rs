use std::fmt;
use std::str::FromStr;

use kmod_compat::{Arch, ZfsLine};
use serde::{Serialize, Serializer};

use super::channel::{Channel, ParseChannelError};
use crate::model::Target;
use crate::model::image::Tag;

/// The channel of one line of OpenZFS: `stable` has the default line, `zfs-2.3_stable` another one. For a branch
/// `beta-BRANCH` and `zfs-2.3_beta-BRANCH`, whose tag is `beta-BRANCH-zfs-2.3`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LineChannel {
    pub channel: Channel,
    /// `None`: the default line.
    pub line: Option<ZfsLine>,
}

impl LineChannel {
    /// From the most general to the most specific. `None` if the target is of another line.
    pub fn moving_tags(&self, target: &Target) -> Option<Vec<Tag>> {
        let is_own = self.line.is_none_or(|line| line == target.zfs.line());
        is_own.then(|| self.channel.moving_tags_of_line(target, self.line.is_none()))
    }

    /// The tag for hosts of an architecture: `stable`, `zfs-2.3_stable_aarch64`.
    pub fn followed_on(&self, arch: Arch) -> String {
        self.with_line(&self.channel.followed_on(arch))
    }

    fn with_line(&self, channel: &str) -> String {
        match (&self.channel, self.line) {
            (_, None) => channel.to_owned(),
            (Channel::Stream(_) | Channel::Named(_), Some(line)) => format!("zfs-{line}_{channel}"),
            (Channel::Branch(_), Some(line)) => format!("{channel}-zfs-{line}"),
        }
    }

    /// The immutable tag of a promotion: `CHANNEL-RUN-COMMIT`. One run promotes one target to a channel of a line.
    pub fn audit_tag(&self, arch: Arch, run: &str, commit: &str) -> Result<Tag, ParseChannelError> {
        let plain = self.channel.audit_tag(arch, run, commit)?;
        let tag = self.with_line(plain.as_str());
        tag.parse().map_err(|_| ParseChannelError::Unknown(tag))
    }

    pub fn read_audit_tag(&self, arch: Arch, tag: &str) -> Result<Tag, ParseChannelError> {
        let fail = || ParseChannelError::AuditTag { tag: tag.to_owned(), channel: self.followed_on(arch) };
        let plain = self.without_line(tag).ok_or_else(fail)?;
        self.channel.read_audit_tag(arch, plain).map_err(|_| fail())?;
        tag.parse().map_err(|_| fail())
    }

    /// By the number of the run.
    pub fn newest_audit_tag<'a>(&self, arch: Arch, tags: &'a [Tag]) -> Option<&'a Tag> {
        let run = |tag: &Tag| self.channel.audited_run(arch, self.without_line(tag.as_str())?);
        tags.iter().filter_map(|tag| Some((run(tag)?, tag))).max().map(|(_, tag)| tag)
    }

    /// Whether an audit tag of this channel ends with this commit.
    pub fn names_commit(&self, audit_tag: &Tag, commit: &str) -> bool {
        let plain = self.without_line(audit_tag.as_str());
        plain.and_then(|plain| plain.strip_suffix(commit)).is_some_and(|rest| rest.ends_with('-'))
    }

    /// `None` if the tag is of another line.
    fn without_line<'a>(&self, tag: &'a str) -> Option<&'a str> {
        match (&self.channel, self.line) {
            (_, None) => Some(tag),
            (Channel::Stream(_) | Channel::Named(_), Some(line)) => tag.strip_prefix(&format!("zfs-{line}_")),
            (Channel::Branch(_), Some(line)) => tag.strip_suffix(&format!("-zfs-{line}")),
        }
    }
}

impl fmt::Display for LineChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            None => f.pad(&self.channel.to_string()),
            Some(line) => f.pad(&format!("zfs-{line}_{}", self.channel)),
        }
    }
}

impl Serialize for LineChannel {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl FromStr for LineChannel {
    type Err = ParseChannelError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let of = |channel: &str, line: &str| {
            let line = line.parse().map_err(|_| ParseChannelError::Unknown(text.to_owned()))?;
            Ok(Self { channel: channel.parse()?, line: Some(line) })
        };
        if let Some((line, channel)) = text.strip_prefix("zfs-").and_then(|rest| rest.split_once('_')) {
            return of(channel, line);
        }
        Ok(Self { channel: text.parse()?, line: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_of_other_lines_have_only_their_own_tags() {
        let target =
            Target { zfs: "2.3.5".parse().unwrap(), kernel: "6.17.8-300.fc43.x86_64".parse().unwrap() };
        for (name, moving, audit) in [
            ("stable", vec!["stable", "zfs-2.3_stable", "fedora-43_stable"], "stable-1-0123456789ab"),
            ("zfs-2.3_stable", vec!["zfs-2.3_stable"], "zfs-2.3_stable-1-0123456789ab"),
            ("zfs-2.3_kinoite", vec!["zfs-2.3_kinoite"], "zfs-2.3_kinoite-1-0123456789ab"),
            ("beta-main", vec!["beta-main"], "beta-main-1-0123456789ab"),
            ("zfs-2.3_beta-main", vec!["beta-main-zfs-2.3"], "beta-main-1-0123456789ab-zfs-2.3"),
        ] {
            let channel: LineChannel = name.parse().unwrap();
            assert_eq!(channel.to_string(), name);
            let tags = channel.moving_tags(&target).unwrap();
            assert_eq!(tags.iter().map(Tag::as_str).collect::<Vec<_>>(), moving);
            let tag = channel.audit_tag(Arch::X86_64, "1", &"0123456789abcdef".repeat(2)).unwrap();
            assert_eq!(tag.as_str(), audit);
            assert_eq!(channel.read_audit_tag(Arch::X86_64, audit).unwrap(), tag);
            assert!(channel.names_commit(&tag, "0123456789ab"), "{tag}");
            assert!(!channel.names_commit(&tag, "123456789ab"), "{tag}");
        }
        assert_eq!("zfs-2.4_stable".parse::<LineChannel>().unwrap().moving_tags(&target), None);
        for text in ["zfs-2.4", "zfs-2_stable", "zfs-2.4_none", "zfs-2.4.3_stable"] {
            assert!(text.parse::<LineChannel>().is_err(), "{text}");
        }
    }
    #[test]
    fn audit_tags_are_those_of_the_line() {
        for (channel, tags) in [
            ("stable", ["zfs-2.3_stable-1-0123abc", "stable-1-0123abc-zfs-2.3"]),
            ("zfs-2.3_stable", ["stable-1-0123abc", "zfs-2.4_stable-1-0123abc"]),
            ("beta-main", ["beta-main-1-0123abc-zfs-2.3", "zfs-2.3_beta-main-1-0123abc"]),
            ("zfs-2.3_beta-main", ["beta-main-1-0123abc", "beta-main-1-0123abc-zfs-2.4"]),
        ] {
            let channel: LineChannel = channel.parse().unwrap();
            for tag in tags {
                let error = channel.read_audit_tag(Arch::X86_64, tag).unwrap_err().to_string();
                assert!(error.contains(tag) && error.contains(&channel.followed_on(Arch::X86_64)), "{error}");
            }
        }
    }

    #[test]
    fn the_newest_audit_tag_is_that_of_the_highest_run() {
        let tags = [
            "stable-9-0123abc",
            "stable-10-0123abc",
            "stable-8-fffffff",
            "testing-99-0123abc",
            "stable",
            "stable-x-0123abc",
            "zfs-2.3_stable-11-0123abc",
            "beta-main-7-0123abc-zfs-2.3",
        ];
        let tags: Vec<Tag> = tags.iter().map(|tag| tag.parse().unwrap()).collect();
        for (channel, newest) in [
            ("stable", Some("stable-10-0123abc")),
            ("zfs-2.3_stable", Some("zfs-2.3_stable-11-0123abc")),
            ("zfs-2.3_beta-main", Some("beta-main-7-0123abc-zfs-2.3")),
            ("next", None),
            ("beta-main", None),
            ("zfs-2.2_stable", None),
        ] {
            let channel: LineChannel = channel.parse().unwrap();
            assert_eq!(channel.newest_audit_tag(Arch::X86_64, &tags).map(Tag::as_str), newest);
        }
    }
}
