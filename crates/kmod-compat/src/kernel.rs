use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use rpm_version::Evr;

use crate::{Arch, FedoraVersion, serde_as_text};

/// A whole `uname -r`, such as `6.17.8-300.fc43.x86_64` or `6.17.8-300.fc43.x86_64+debug`.
///
/// Ordered as RPM orders version and release, not as text (6.9 comes before 6.10). All characters are safe in a path and a
/// command line. Three of them (`+`, `~`, `^`) are not allowed in an OCI tag and must be escaped there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KernelRelease {
    version: String,
    release: String,
    arch: Arch,
    variant: Option<String>,
    series: KernelSeries,
    fedora: Option<FedoraVersion>,
}

impl KernelRelease {
    /// The upstream version, RPM's `Version` (`6.17.8`).
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The distribution's release, RPM's `Release` (`300.fc43`).
    pub fn release(&self) -> &str {
        &self.release
    }

    pub const fn arch(&self) -> Arch {
        self.arch
    }

    /// What follows a `+`: `debug`, `rt` and other builds of the same source.
    pub fn variant(&self) -> Option<&str> {
        self.variant.as_deref()
    }

    /// Major and minor, which is all that OpenZFS declares support by.
    pub const fn series(&self) -> KernelSeries {
        self.series
    }

    /// The Fedora release, where the release names one (`.fc43`).
    pub const fn fedora(&self) -> Option<FedoraVersion> {
        self.fedora
    }
}

impl Ord for KernelRelease {
    fn cmp(&self, other: &Self) -> Ordering {
        Evr::new("", &self.version, &self.release)
            .cmp(&Evr::new("", &other.version, &other.release))
            // RPM calls some different texts equal (`1.0` and `1.00`); total order and `Eq` must agree.
            .then_with(|| self.to_string().cmp(&other.to_string()))
    }
}

impl PartialOrd for KernelRelease {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for KernelRelease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = format!("{}-{}.{}", self.version, self.release, self.arch);
        if let Some(variant) = &self.variant {
            text.push('+');
            text.push_str(variant);
        }
        f.pad(&text)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not a kernel release: {reason} (expected e.g. `6.17.8-300.fc43.x86_64`, as `uname -r` prints it)"
)]
pub struct ParseKernelReleaseError {
    text: String,
    reason: &'static str,
}

impl FromStr for KernelRelease {
    type Err = ParseKernelReleaseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fail = |reason| ParseKernelReleaseError { text: text.to_owned(), reason };
        if tag_length(text) > MAX_LENGTH {
            return Err(fail("it is too long for a tag"));
        }
        let (base, variant) = match text.split_once('+') {
            Some((base, variant)) => (base, Some(variant)),
            None => (text, None),
        };
        if variant.is_some_and(|variant| !is_name(variant, "-_")) {
            return Err(fail("what follows `+` is not a plain word"));
        }
        let (evr, arch) = base.rsplit_once('.').ok_or_else(|| fail("no architecture at its end"))?;
        let arch = arch.parse().map_err(|_| fail("it does not end with a supported architecture"))?;
        let (version, release) =
            evr.split_once('-').ok_or_else(|| fail("no `-` between version and release"))?;
        let series = series_of_version(version)
            .ok_or_else(|| fail("its version is not made of two or more numbers"))?;
        if !is_name(release, "._~^") {
            return Err(fail("its release is empty or has a character that no RPM release has"));
        }
        let fedora = release.split('.').rev().find_map(|part| part.strip_prefix("fc")?.parse().ok());
        Ok(Self {
            version: version.to_owned(),
            release: release.to_owned(),
            arch,
            variant: variant.map(str::to_owned),
            series,
            fedora,
        })
    }
}

/// Characters in a tag, of which an OCI tag has at most 128; the rest is for the version of OpenZFS.
const MAX_LENGTH: usize = 84;

/// The length in a tag, where `+`, `~` and `^` are replaced by words of up to 7 characters.
fn tag_length(text: &str) -> usize {
    text.len() + 6 * text.matches(['+', '~', '^']).count()
}

/// Starts with a letter or digit and has, beside those, only the given punctuation.
fn is_name(text: &str, punctuation: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text.chars().all(|character| character.is_ascii_alphanumeric() || punctuation.contains(character))
}

/// `None` unless the version is two or more numbers with dots between them.
fn series_of_version(version: &str) -> Option<KernelSeries> {
    let mut numbers = version.split('.').map(parse_number);
    let series = KernelSeries { major: numbers.next()??, minor: numbers.next()?? };
    numbers.all(|number| number.is_some()).then_some(series)
}

/// A decimal number as versions write it: no sign, no leading zero.
fn parse_number(text: &str) -> Option<u32> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| plain)
}

serde_as_text!(KernelRelease);

/// Major and minor of a kernel version (`6.17`): what OpenZFS's `META` declares its range in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KernelSeries {
    major: u32,
    minor: u32,
}

impl KernelSeries {
    pub const fn major(self) -> u32 {
        self.major
    }

    pub const fn minor(self) -> u32 {
        self.minor
    }
}

impl fmt::Display for KernelSeries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}.{}", self.major, self.minor))
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a kernel series (expected major and minor, e.g. `6.17`)")]
pub struct ParseKernelSeriesError(String);

impl FromStr for KernelSeries {
    type Err = ParseKernelSeriesError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        series_of_version(text)
            .filter(|_| text.matches('.').count() == 1)
            .ok_or_else(|| ParseKernelSeriesError(text.to_owned()))
    }
}

serde_as_text!(KernelSeries);

/// The beginning of an upstream kernel version, by which exclusions name kernels.
///
/// Whole numbers are compared, not characters: `6.2.8` is every distribution's build of 6.2.8 and not 6.2.80; `6.2` is the
/// whole series.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KernelVersionPrefix(Vec<u32>);

impl KernelVersionPrefix {
    /// Whether the kernel's version is this one or begins with it.
    pub fn matches(&self, kernel: &KernelRelease) -> bool {
        let mut numbers = kernel.version.split('.').map(parse_number);
        self.0.iter().all(|wanted| numbers.next() == Some(Some(*wanted)))
    }
}

impl fmt::Display for KernelVersionPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers: Vec<String> = self.0.iter().map(u32::to_string).collect();
        f.pad(&numbers.join("."))
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a kernel version (expected e.g. `6.2.8`, or `6.2` for all of that series)")]
pub struct ParseKernelVersionPrefixError(String);

impl FromStr for KernelVersionPrefix {
    type Err = ParseKernelVersionPrefixError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let numbers: Option<Vec<u32>> = text.split('.').map(parse_number).collect();
        match numbers {
            Some(numbers) if numbers.len() >= 2 => Ok(Self(numbers)),
            _ => Err(ParseKernelVersionPrefixError(text.to_owned())),
        }
    }
}

serde_as_text!(KernelVersionPrefix);

#[cfg(test)]
mod tests;
