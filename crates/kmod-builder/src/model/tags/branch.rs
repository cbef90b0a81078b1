use std::fmt;
use std::str::FromStr;

use crate::model::Digest;

/// The longest name of a branch in a tag. With it the tag of an image stays below the 128 characters of OCI for every
/// kernel that a distribution ships.
const LONGEST: usize = 40;
/// How many digits tell names apart that would look the same.
const DIGITS: usize = 10;

/// A branch, by its name as it stands in tags: letters, digits, `_` and `.`.
///
/// A name that has nothing else stands as it is. In any other one each other character becomes `_`, the end is cut
/// off where it is too long, and a dot and the first ten digits of the name's SHA-256 digest follow. Names that look as
/// if that had been done to them are treated so as well: two branches share a name only if those digits do.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Branch(String);

impl Branch {
    /// The branch of a name in git: `feature/x`.
    pub fn of(name: &str) -> Result<Self, ParseBranchError> {
        if name.is_empty() {
            return Err(ParseBranchError);
        }
        let plain = |character: char| character.is_ascii_alphanumeric() || "_.".contains(character);
        if name.len() <= LONGEST && name.chars().all(plain) && !ends_with_digits(name) {
            return Ok(Self(name.to_owned()));
        }
        let readable: String = name
            .chars()
            .map(|character| if plain(character) { character } else { '_' })
            .take(LONGEST - DIGITS - 1)
            .collect();
        Ok(Self(format!("{readable}.{}", &Digest::of(name.as_bytes()).hex()[..DIGITS])))
    }

    /// Whether a text is the name of some branch as it stands in tags.
    pub(super) fn is_in_tags(text: &str) -> bool {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.".contains(&byte);
        !text.is_empty() && text.len() <= LONGEST && text.bytes().all(plain)
    }
}

/// Whether a name ends as those do that were changed.
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

/// A branch without a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a branch has a name")]
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
    fn plain_names_stay_and_others_are_told_apart() {
        let of = |name: &str| Branch::of(name).unwrap().to_string();
        assert_eq!(of("main"), "main");
        assert_eq!(of("release_2.4"), "release_2.4");
        assert_eq!(of("feature/x"), "feature_x.217d2bf51f");
        assert_eq!(of("feature-x"), "feature_x.c791eb83a2");
        // What one branch becomes, another one could be called.
        assert_ne!(of("feature_x.217d2bf51f"), of("feature/x"));
        assert_eq!(of(&"x".repeat(300)).len(), LONGEST);
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
        fn nor_do_those_of_the_characters_that_are_changed(one in "[ab/_.-]{1,5}", other in "[ab/_.-]{1,5}") {
            prop_assume!(one != other);
            prop_assert_ne!(Branch::of(&one).unwrap(), Branch::of(&other).unwrap());
        }
    }
}
