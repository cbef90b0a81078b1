use std::fmt;
use std::str::FromStr;

use crate::serde_as_text;

/// Its text is the name of RPM and the kernel (`x86_64`, `aarch64`); [`Arch::oci`] is the name in OCI images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Arch {
    X86_64,
    Aarch64,
}

impl Arch {
    pub const ALL: [Self; 2] = [Self::X86_64, Self::Aarch64];

    /// RPM's and the kernel's name.
    pub const fn rpm(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
        }
    }

    /// The value of `architecture` in an OCI image configuration (Go's `GOARCH`).
    pub const fn oci(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            Self::Aarch64 => "arm64",
        }
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.rpm())
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a supported architecture (expected `x86_64` or `aarch64`)")]
pub struct ParseArchError(String);

impl FromStr for Arch {
    type Err = ParseArchError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|arch| arch.rpm() == text).ok_or_else(|| ParseArchError(text.to_owned()))
    }
}

serde_as_text!(Arch);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn architectures_survive_a_round_trip() {
        for arch in Arch::ALL {
            assert_eq!(crate::tests::round_trip::<Arch>(arch.rpm()), arch);
        }
    }

    #[test]
    fn the_name_of_an_image_is_not_parsed() {
        let error = "amd64".parse::<Arch>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "`amd64` is not a supported architecture (expected `x86_64` or `aarch64`)"
        );
    }
}
