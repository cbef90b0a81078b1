use std::fmt;
use std::str::FromStr;

use crate::serde_as_text;

/// Name, version, release and architecture of an RPM, without an epoch: `kernel-devel-6.17.8-300.fc43.x86_64`.
///
/// All characters are safe in a path and a command line, and it is one component of a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nevra(String);

impl Nevra {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Nevra {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not the name of a package (expected NAME-VERSION-RELEASE.ARCH, e.g. `kernel-devel-6.17.8-300.fc43.x86_64`)"
)]
pub struct ParseNevraError(String);

impl FromStr for Nevra {
    type Err = ParseNevraError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_part = |part: &str| {
            part.starts_with(|first: char| first.is_ascii_alphanumeric()) && part.bytes().all(is_plain)
        };
        let parts = || {
            let (name_evr, arch) = text.rsplit_once('.')?;
            let (name_version, release) = name_evr.rsplit_once('-')?;
            let (name, version) = name_version.rsplit_once('-')?;
            Some([name, version, release, arch])
        };
        if text.len() <= 200 && parts().is_some_and(|parts| parts.into_iter().all(is_part)) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ParseNevraError(text.to_owned()))
        }
    }
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._-+~^".contains(&byte)
}

serde_as_text!(Nevra);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_packages_are_read() {
        for text in
            ["kernel-devel-6.17.8-300.fc43.x86_64", "kernel-64k-debug-devel-6.17.8~rc1-300.fc43.aarch64"]
        {
            let nevra: Nevra = crate::tests::round_trip(text);
            assert_eq!(nevra.as_str(), text);
        }
    }

    #[test]
    fn paths_and_other_texts_are_refused() {
        let long = format!("{}-1-1.x86_64", "k".repeat(200));
        for text in [
            "",
            "kernel",
            "../a-1-1.x86_64",
            "/a-1-1.x86_64",
            "a-1-1.x86_64/..",
            "a-1-1.",
            "a b-1-1.noarch",
            &long,
        ] {
            assert!(text.parse::<Nevra>().is_err(), "{text}");
        }
    }
}
