//! From text to matrix: first each value for itself, then the [rules](super::rules) between them.

use std::ops::Range;
use std::str::FromStr;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{Fault, MatrixError};
use super::table::{Table, kind};
use super::{CompatMatrix, Exclusion, Policy, Release, UnlistedReleasePolicy, rules};
use crate::{KernelSeries, KernelVersionPrefix, TarballSha256, ZfsLine, ZfsVersion};

const POLICY: &str = "[policy]
line = \"2.4\"
unknown_release = \"hold\"";

const RELEASE: &str = "[[release]]
version = \"2.4.4\"
linux_min = \"4.18\"
linux_max = \"7.2\"
source = \"https://github.com/openzfs/zfs/blob/zfs-2.4.4/META\"";

const EXCLUDE: &str = "[[exclude]]
zfs = \"2.1.9\"
kernel = \"6.2.8\"
reason = \"does not compile\"
source = \"https://github.com/openzfs/zfs/issues/14658\"";

pub(super) fn parse(name: &str, text: &str) -> Result<CompatMatrix, MatrixError> {
    let (document, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        let faults = errors.iter().map(|error| syntax(error, text)).collect();
        return Err(MatrixError::new(name, text, faults));
    }
    let mut faults = Vec::new();
    let raw = RawMatrix::read(document.get_ref(), &mut faults);
    rules::check(&raw, &mut faults);
    match raw.complete() {
        Some(matrix) if faults.is_empty() => Ok(matrix),
        _ => Err(MatrixError::new(name, text, faults)),
    }
}

fn syntax(error: &toml::de::Error, text: &str) -> Fault {
    let span = error.span().unwrap_or_default();
    // What is missing at the end is reported behind the last character, where nothing can be pointed at.
    let last = text.floor_char_boundary(text.trim_end().len().saturating_sub(1));
    let span = if span.start < text.len() { span } else { last..last + 1 };
    Fault::new(format!("bad TOML: {}", error.message()), span, "here")
        .with_help("nothing else was checked: mend the syntax first")
}

/// The matrix as it is written. What could not be read is `None`, and its fault is noted.
pub(super) struct RawMatrix {
    pub(super) policy: RawPolicy,
    pub(super) releases: Vec<RawRelease>,
    pub(super) exclusions: Vec<RawExclusion>,
}

pub(super) struct RawPolicy {
    pub(super) line: Option<Spanned<ZfsLine>>,
    pub(super) unknown_release: Option<Spanned<UnlistedReleasePolicy>>,
}

pub(super) struct RawRelease {
    pub(super) version: Option<Spanned<ZfsVersion>>,
    pub(super) linux_min: Option<Spanned<KernelSeries>>,
    pub(super) linux_max: Option<Spanned<KernelSeries>>,
    sha256: Option<Spanned<TarballSha256>>,
    source: Option<Spanned<Link>>,
}

pub(super) struct RawExclusion {
    pub(super) span: Range<usize>,
    pub(super) zfs: Option<Spanned<ZfsVersion>>,
    pub(super) kernel: Option<Spanned<KernelVersionPrefix>>,
    reason: Option<Spanned<Reason>>,
    source: Option<Spanned<Link>>,
}

impl RawMatrix {
    fn read(document: &DeTable<'_>, faults: &mut Vec<Fault>) -> Self {
        let mut table = Table::new("the matrix", POLICY, document, 0..0);
        let policy = RawPolicy::read(table.value("policy"), faults);
        let releases = rows("`[[release]]`", RELEASE, table.value("release"), faults, RawRelease::read);
        let exclusions = rows("`[[exclude]]`", EXCLUDE, table.value("exclude"), faults, RawExclusion::read);
        table.finish(faults);
        Self { policy, releases, exclusions }
    }

    fn complete(self) -> Option<CompatMatrix> {
        let releases = self.releases.into_iter().map(RawRelease::complete);
        Some(CompatMatrix {
            policy: self.policy.complete()?,
            releases: releases
                .map(|release| Some((release.as_ref()?.version, release?)))
                .collect::<Option<_>>()?,
            exclusions: self.exclusions.into_iter().map(RawExclusion::complete).collect::<Option<_>>()?,
        })
    }
}

impl RawPolicy {
    fn read(value: Option<&Spanned<DeValue<'_>>>, faults: &mut Vec<Fault>) -> Self {
        match value.map(|value| (value.get_ref(), value.span())) {
            Some((DeValue::Table(entries), span)) => {
                let mut table = Table::new("`[policy]`", POLICY, entries, span);
                let line = table.required("line", faults);
                let unknown_release = table.required("unknown_release", faults);
                table.finish(faults);
                return Self { line, unknown_release };
            }
            Some((other, span)) => {
                let message = format!("`policy` is not a table but {}", kind(other));
                faults.push(Fault::new(message, span, "write it as `[policy]`").with_help(POLICY));
            }
            None => {
                let message = "the matrix has no `[policy]`";
                let help = format!("begin with one such as\n\n{POLICY}");
                faults.push(Fault::new(message, 0..0, "before the first row").with_help(help));
            }
        }
        Self { line: None, unknown_release: None }
    }

    fn complete(self) -> Option<Policy> {
        Some(Policy { line: self.line?.into_inner(), unknown_release: self.unknown_release?.into_inner() })
    }
}

/// Reads each table of an array of tables; there may be none.
fn rows<T>(
    name: &'static str,
    example: &'static str,
    value: Option<&Spanned<DeValue<'_>>>,
    faults: &mut Vec<Fault>,
    read: impl Fn(Table<'_>, &mut Vec<Fault>) -> T,
) -> Vec<T> {
    let mut refuse = |value: &Spanned<DeValue<'_>>| {
        let message = format!("expected rows that begin with {name}, found {}", kind(value.get_ref()));
        let help = format!("a complete row is\n\n{example}");
        faults.push(Fault::new(message, value.span(), "not a row").with_help(help));
    };
    let mut tables = Vec::new();
    match value.map(|value| (value, value.get_ref())) {
        None => {}
        Some((_, DeValue::Array(values))) => {
            for value in values {
                match value.get_ref() {
                    DeValue::Table(entries) => tables.push(Table::new(name, example, entries, value.span())),
                    _ => refuse(value),
                }
            }
        }
        Some((value, _)) => refuse(value),
    }
    tables.into_iter().map(|table| read(table, faults)).collect()
}

impl RawRelease {
    fn read(mut table: Table<'_>, faults: &mut Vec<Fault>) -> Self {
        let release = Self {
            version: table.required("version", faults),
            linux_min: table.required("linux_min", faults),
            linux_max: table.required("linux_max", faults),
            sha256: table.optional("sha256", faults),
            source: table.required("source", faults),
        };
        table.finish(faults);
        release
    }

    fn complete(self) -> Option<Release> {
        Some(Release {
            version: self.version?.into_inner(),
            linux_min: self.linux_min?.into_inner(),
            linux_max: self.linux_max?.into_inner(),
            sha256: self.sha256.map(Spanned::into_inner),
            source: self.source?.into_inner().0,
        })
    }
}

impl RawExclusion {
    fn read(mut table: Table<'_>, faults: &mut Vec<Fault>) -> Self {
        let exclusion = Self {
            span: table.span(),
            zfs: table.required("zfs", faults),
            kernel: table.required("kernel", faults),
            reason: table.required("reason", faults),
            source: table.required("source", faults),
        };
        table.finish(faults);
        exclusion
    }

    fn complete(self) -> Option<Exclusion> {
        Some(Exclusion {
            zfs: self.zfs?.into_inner(),
            kernel: self.kernel?.into_inner(),
            reason: self.reason?.into_inner().0,
            source: self.source?.into_inner().0,
        })
    }
}

/// A link that a reader can follow to the proof.
struct Link(String);

impl FromStr for Link {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rest = text.strip_prefix("https://").unwrap_or_default();
        let (host, _) = rest.split_once('/').unwrap_or((rest, ""));
        if host.contains('.') && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!("`{text}` is not a link to a proof (expected a URL that begins with `https://`)"))
        }
    }
}

/// What is wrong with an excluded pair, as the middle of a sentence.
struct Reason(String);

impl FromStr for Reason {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.trim() {
            "" => Err("the reason is empty, but it is all that a held build has to show"),
            reason => Ok(Self(reason.to_owned())),
        }
    }
}
