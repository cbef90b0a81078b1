use std::fmt;
use std::str::FromStr;

use kmod_compat::{FedoraVersion, serde_as_text};

use super::channel::{is_run_and_commit, stream};

const MAX_LENGTH: usize = 40;

/// What begins like that belongs to another class of tags, see [`TagClass`](super::TagClass).
const RESERVED: [&str; 6] = ["beta", "candidate", "withdrawn", "zfs", "sha256", "sha512"];

/// The channel of a bootable image: `kinoite`. Up to 40 lower-case ASCII letters, digits and single dashes.
///
/// No tag of a name belongs to another class of tags, or to another name: names have no `_` and do not end like an audit
/// tag.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelName(String);

impl ChannelName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ChannelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` cannot be the name of a channel: {reason}")]
pub struct ParseChannelNameError {
    name: String,
    reason: String,
}

impl FromStr for ChannelName {
    type Err = ParseChannelNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match fault(text) {
            None => Ok(Self(text.to_owned())),
            Some(reason) => Err(ParseChannelNameError { name: text.to_owned(), reason }),
        }
    }
}

serde_as_text!(ChannelName);

fn fault(name: &str) -> Option<String> {
    let is_word = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    if !name.split('-').all(is_word) {
        return Some("it does not consist of lower-case letters, digits and single dashes".to_owned());
    }
    if name.len() > MAX_LENGTH {
        return Some(format!("it has more than {MAX_LENGTH} characters"));
    }
    if name == "none" {
        return Some("`none` stands for no channel".to_owned());
    }
    if stream(name).is_some() {
        return Some("it is the channel of a stream".to_owned());
    }
    let begins_with =
        |word: &str| name.strip_prefix(word).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'));
    if let Some(word) = RESERVED.iter().find(|word| begins_with(word)) {
        return Some(format!("`{word}-…` are tags of another kind"));
    }
    if name.strip_prefix("fedora-").is_some_and(|number| number.parse::<FedoraVersion>().is_ok()) {
        return Some("`fedora-NUMBER_…` are tags of another kind".to_owned());
    }
    let looks_audited = name.match_indices('-').any(|(at, _)| is_run_and_commit(&name[at + 1..]));
    looks_audited.then(|| "it ends like an audit tag, `-RUN-COMMIT`".to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Channel, LineChannel, TagClass};
    use super::*;
    use crate::model::Target;

    #[test]
    fn names_that_look_like_other_tags_are_refused_with_the_reason() {
        for name in ["kinoite", "fedora-bootc", "ucore-43", "a", "43", "stable-2", "betamax", "latest"] {
            assert_eq!(name.parse::<ChannelName>().unwrap().as_str(), name);
        }
        let long = "a".repeat(41);
        for (name, reason) in [
            ("", "lower-case letters"),
            ("Kinoite", "lower-case letters"),
            ("kin_oite", "lower-case letters"),
            ("fedora-43_x", "lower-case letters"),
            ("kin--oite", "single dashes"),
            ("-kinoite", "single dashes"),
            ("kinoite-", "single dashes"),
            ("kinöite", "lower-case letters"),
            (&long, "more than 40 characters"),
            ("none", "no channel"),
            ("stable", "the channel of a stream"),
            ("beta", "`beta-…`"),
            ("beta-main", "`beta-…`"),
            ("candidate-x", "`candidate-…`"),
            ("zfs-2", "`zfs-…`"),
            ("withdrawn-x", "`withdrawn-…`"),
            ("sha256-0", "`sha256-…`"),
            ("fedora-43", "`fedora-NUMBER_…`"),
            ("kinoite-1-0123abc", "audit tag"),
        ] {
            let error = name.parse::<ChannelName>().unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }

    proptest! {
        /// A clean-up without the configuration protects the tags as unknown ones.
        #[test]
        fn tags_of_names_have_no_other_class_and_no_other_owner(
            one in "[a-z0-9]{1,4}(-[a-f0-9]{1,8}){0,3}",
            other in "(stable|next|kinoite|[a-z0-9]{1,4})(-[a-f0-9]{1,8}){0,3}",
        ) {
            prop_assume!(one != other);
            let (Ok(name), Ok(_)) = (one.parse::<ChannelName>(), other.parse::<Channel>()) else { return Ok(()) };
            let tags = |channel: &str| {
                let of = ["x86_64", "aarch64"].into_iter().flat_map(|arch| {
                    let kernel = format!("6.17.8-300.fc43.{arch}").parse().unwrap();
                    let target = Target { zfs: "2.4.3".parse().unwrap(), kernel };
                    ["", "zfs-2.4_"].into_iter().flat_map(move |line| {
                        let channel: LineChannel = format!("{line}{channel}").parse().unwrap();
                        let audit = channel.audit_tag(target.arch(), "7", "0123456789abcdef").unwrap();
                        let moving = channel.moving_tags(&target).unwrap().into_iter();
                        moving.map(|tag| (tag, TagClass::Channel)).chain([(audit, TagClass::Audit)])
                    })
                });
                of.collect::<Vec<_>>()
            };
            let foreign = tags(&other);
            for (tag, class) in tags(&one) {
                prop_assert_eq!(TagClass::of(tag.as_str()), TagClass::Unknown, "{}", tag);
                prop_assert_eq!(TagClass::with_channels(tag.as_str(), std::slice::from_ref(&name)), class, "{}", tag);
                prop_assert!(foreign.iter().all(|(foreign, _)| *foreign != tag), "{}", tag);
            }
        }
    }
}
