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
        let Some(line) = self.line else { return Ok(plain) };
        let tag = match &self.channel {
            Channel::Stream(_) | Channel::Named(_) => format!("zfs-{line}_{plain}"),
            Channel::Branch(_) => format!("{plain}-zfs-{line}"),
        };
        tag.parse().map_err(|_| ParseChannelError::Unknown(tag))
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
        }
        assert_eq!("zfs-2.4_stable".parse::<LineChannel>().unwrap().moving_tags(&target), None);
        for text in ["zfs-2.4", "zfs-2_stable", "zfs-2.4_none", "zfs-2.4.3_stable"] {
            assert!(text.parse::<LineChannel>().is_err(), "{text}");
        }
    }
}
