use std::fmt;
use std::str::FromStr;

use crate::model::Digest;

/// Keeps image tags below OCI's limit of 128 characters.
const MAX_LENGTH: usize = 40;
/// Digits of the digest in an escaped name.
const DIGITS: usize = 10;

/// The name of a branch in tags: letters, digits, `_` and `.`.
///
/// Other names are escaped: each other character becomes `_`, the name is truncated, and a dot and the first ten
/// digits of its SHA-256 digest are appended. Names that look escaped are escaped too, so that two branches share a
/// name only if those digits are equal.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Branch(String);

impl Branch {
    /// `name` as in git: `feature/x`.
    pub fn of(name: &str) -> Result<Self, ParseBranchError> {
        if name.is_empty() {
            return Err(ParseBranchError);
        }
        if name.len() <= MAX_LENGTH && name.chars().all(plain) && !ends_with_digits(name) {
            return Ok(Self(name.to_owned()));
        }
        let readable: String = name
            .chars()
            .map(|character| if plain(character) { character } else { '_' })
            .take(MAX_LENGTH - DIGITS - 1)
            .collect();
        Ok(Self(format!("{readable}.{}", &Digest::of(name.as_bytes()).hex()[..DIGITS])))
    }

    pub(super) fn is_in_tags(text: &str) -> bool {
        !text.is_empty() && text.len() <= MAX_LENGTH && text.chars().all(plain)
    }
}

fn plain(character: char) -> bool {
    character.is_ascii_alphanumeric() || "_.".contains(character)
}

fn ends_with_digits(name: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(_, end)| {
        end.len() == DIGITS && end.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    })
}

impl fmt::Display for Branch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the name of the branch is empty")]
pub struct ParseBranchError;

impl FromStr for Branch {
    type Err = ParseBranchError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::of(name)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn plain_names_stay_and_others_are_escaped() {
        let of = |name: &str| Branch::of(name).unwrap().to_string();
        assert_eq!(of("main"), "main");
        assert_eq!(of("release_2.4"), "release_2.4");
        assert_eq!(of("feature/x"), "feature_x.217d2bf51f");
        assert_eq!(of("feature-x"), "feature_x.c791eb83a2");
        // A branch may have the escaped name of another one.
        assert_ne!(of("feature_x.217d2bf51f"), of("feature/x"));
        assert_eq!(of(&"x".repeat(300)).len(), MAX_LENGTH);
        assert_eq!(Branch::of(""), Err(ParseBranchError));
    }

    proptest! {
        #[test]
        fn two_branches_never_share_a_name(one in ".{1,60}", other in ".{1,60}") {
            prop_assume!(one != other);
            let (one, other) = (Branch::of(&one).unwrap(), Branch::of(&other).unwrap());
            prop_assert!(one != other);
            for branch in [one, other] {
                prop_assert!(Branch::is_in_tags(&branch.to_string()));
            }
        }

        #[test]
        fn two_branches_of_escaped_characters_never_share_a_name(one in "[ab/_.-]{1,5}", other in "[ab/_.-]{1,5}") {
            prop_assume!(one != other);
            prop_assert_ne!(Branch::of(&one).unwrap(), Branch::of(&other).unwrap());
        }
    }
}
