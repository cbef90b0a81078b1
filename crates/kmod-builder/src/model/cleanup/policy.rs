use std::fmt;
use std::str::FromStr;

use kmod_compat::{KernelRelease, serde_as_text};
use kmod_query::Stream;
use kmod_query::coreos::ParseStreamError;
use serde::{Deserialize, Serialize};

use super::{Age, Percentage};
use crate::model::tags::ChannelName;

/// What to keep: part of a plan. A plan of a version that did not know a field gets its default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RetentionPolicy {
    pub older_than: Age,
    pub candidates_older_than: Age,
    #[serde(alias = "betas_older_than")]
    pub branches_older_than: Age,
    // Evidence may be pushed before its image (OCI distribution specification 1.1, "Pushing Manifests with Subject").
    pub orphans_older_than: Age,
    pub keep_newest: usize,
    pub keep_kernels: Vec<HostKernel>,
    /// Of bootable images. Their tags are protected in any case; this tells them from foreign ones.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub channels: Vec<ChannelName>,
    pub minimum: usize,
    pub max_delete: Percentage,
}

/// The flags of `cleanup`, and the table `[retention]` of the configuration. With a plan, only those that are stricter
/// than its own count.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, clap::Args)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default, expecting = "a table")]
pub struct RetentionLimits {
    /// Delete images for users at this age (hours, days, weeks: 36h, 90d, 12w) [default: 90d]
    #[arg(long, value_name = "AGE")]
    pub older_than: Option<Age>,
    /// Delete candidates that were never promoted at this age [default: 14d]
    #[arg(long, value_name = "AGE")]
    pub candidates_older_than: Option<Age>,
    /// Delete images of branches at this age [default: 14d]
    #[arg(long, alias = "betas-older-than", value_name = "AGE")]
    pub branches_older_than: Option<Age>,
    /// Keep this many of the newest images per OpenZFS line and architecture, whatever their age [default: 3]
    #[arg(long, value_name = "NUMBER")]
    pub keep_newest: Option<usize>,
    /// Refuse to leave fewer images for users than this [default: 3]
    #[arg(long, value_name = "NUMBER")]
    pub minimum: Option<usize>,
    /// Refuse to delete more than this percentage of all manifests [default: 50%]
    #[arg(long, value_name = "PERCENTAGE")]
    pub max_delete: Option<Percentage>,
    /// Keep images for every kernel that hosts of these streams can still run, or `none`
    /// [default: stable,testing,next]
    #[arg(long, value_delimiter = ',', value_name = "STREAMS")]
    pub keep_kernels_of: Option<Vec<FollowedStream>>,
    /// So many of the last releases of each of these streams; beyond them, all that upstream itself still keeps
    /// [default: 6]
    #[arg(long, value_name = "NUMBER")]
    pub keep_releases: Option<usize>,
}

impl RetentionLimits {
    /// In the configuration.
    pub const MEMBERS: [&'static str; 8] = [
        "older-than",
        "candidates-older-than",
        "branches-older-than",
        "keep-newest",
        "minimum",
        "max-delete",
        "keep-kernels-of",
        "keep-releases",
    ];

    /// Those that are not given are taken from the others.
    #[must_use]
    pub fn or(self, others: Self) -> Self {
        Self {
            older_than: self.older_than.or(others.older_than),
            candidates_older_than: self.candidates_older_than.or(others.candidates_older_than),
            branches_older_than: self.branches_older_than.or(others.branches_older_than),
            keep_newest: self.keep_newest.or(others.keep_newest),
            minimum: self.minimum.or(others.minimum),
            max_delete: self.max_delete.or(others.max_delete),
            keep_kernels_of: self.keep_kernels_of.or(others.keep_kernels_of),
            keep_releases: self.keep_releases.or(others.keep_releases),
        }
    }

    /// Without the kernels of hosts, which are looked up.
    pub fn policy(&self) -> RetentionPolicy {
        let default = RetentionPolicy::default();
        RetentionPolicy {
            older_than: self.older_than.unwrap_or(default.older_than),
            candidates_older_than: self.candidates_older_than.unwrap_or(default.candidates_older_than),
            branches_older_than: self.branches_older_than.unwrap_or(default.branches_older_than),
            keep_newest: self.keep_newest.unwrap_or(default.keep_newest),
            minimum: self.minimum.unwrap_or(default.minimum),
            max_delete: self.max_delete.unwrap_or(default.max_delete),
            ..default
        }
    }

    /// A policy that keeps what either of both keeps.
    pub fn restrict(&self, policy: &RetentionPolicy) -> RetentionPolicy {
        let stricter = |age: Age, given: Option<Age>| given.map_or(age, |given| age.max(given));
        RetentionPolicy {
            older_than: stricter(policy.older_than, self.older_than),
            candidates_older_than: stricter(policy.candidates_older_than, self.candidates_older_than),
            branches_older_than: stricter(policy.branches_older_than, self.branches_older_than),
            keep_newest: policy.keep_newest.max(self.keep_newest.unwrap_or_default()),
            minimum: policy.minimum.max(self.minimum.unwrap_or_default()),
            max_delete: self.max_delete.map_or(policy.max_delete, |given| policy.max_delete.min(given)),
            ..policy.clone()
        }
    }

    pub fn streams(&self) -> Vec<Stream> {
        match &self.keep_kernels_of {
            Some(followed) => followed.iter().filter_map(|followed| followed.0).collect(),
            None => Stream::with_channel().collect(),
        }
    }

    pub fn releases(&self) -> usize {
        self.keep_releases.unwrap_or(6)
    }
}

/// A stream, or none for `none`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FollowedStream(Option<Stream>);

impl FromStr for FollowedStream {
    type Err = ParseStreamError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "none" { Ok(Self(None)) } else { text.parse().map(|stream| Self(Some(stream))) }
    }
}

impl fmt::Display for FollowedStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.0.map_or("none", Stream::name))
    }
}

serde_as_text!(FollowedStream);

/// A kernel that hosts can still run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostKernel {
    pub kernel: KernelRelease,
    /// The releases with this kernel: `stable 43.20260301.3.1`.
    pub seen: String,
}

impl Default for RetentionPolicy {
    fn default() -> Self {
        Self {
            older_than: Age::days(90),
            candidates_older_than: Age::days(14),
            branches_older_than: Age::days(14),
            orphans_older_than: Age::hours(24),
            keep_newest: 3,
            keep_kernels: Vec::new(),
            channels: Vec::new(),
            minimum: 3,
            max_delete: Percentage::HALF,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The help states them as text.
    #[test]
    fn the_documented_defaults_are_those_of_the_policy() {
        use clap::Args as _;
        let command = RetentionLimits::augment_args(clap::Command::new("cleanup"));
        let policy = RetentionPolicy::default();
        let defaults = [
            ("older_than", policy.older_than.to_string()),
            ("candidates_older_than", policy.candidates_older_than.to_string()),
            ("branches_older_than", policy.branches_older_than.to_string()),
            ("keep_newest", policy.keep_newest.to_string()),
            ("minimum", policy.minimum.to_string()),
            ("max_delete", policy.max_delete.to_string()),
            ("keep_kernels_of", Stream::with_channel().map(Stream::name).collect::<Vec<_>>().join(",")),
            ("keep_releases", RetentionLimits::default().releases().to_string()),
        ];
        for (id, default) in defaults {
            let flag = command.get_arguments().find(|argument| argument.get_id() == id).unwrap();
            let help = flag.get_help().unwrap().to_string();
            assert!(help.ends_with(&format!("[default: {default}]")), "{help}");
        }
        let flags: Vec<_> = command.get_arguments().filter_map(|argument| argument.get_long()).collect();
        assert_eq!(flags, RetentionLimits::MEMBERS);
    }
}
