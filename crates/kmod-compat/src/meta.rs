use crate::{KernelSeries, ZfsVersion};

/// The file `META` at the root of an OpenZFS source tree.
///
/// Lines of a key, a colon, spaces and a value; see
/// [the file of 2.4.4](https://github.com/openzfs/zfs/blob/zfs-2.4.4/META). Only of released versions: release candidates
/// (`Release: rc5`) and development trees (`Version: 2.4.99`) are rejected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    version: ZfsVersion,
    release: String,
    linux_min: KernelSeries,
    linux_max: KernelSeries,
}

impl Meta {
    pub fn parse(text: &str) -> Result<Self, MetaError> {
        let fields = Fields::read(text)?;
        let release = fields.required("Release")?.to_owned();
        let number = fields.required("Version")?;
        // The release candidates of 2.3.0 all have `Version: 2.3.0`; only `Release` differs.
        let version = if release.starts_with("rc") { &format!("{number}-{release}") } else { number };
        let not_released = |error| MetaError(format!("META is not that of a released version: {error}"));
        let version = version.parse().map_err(not_released)?;
        let linux_min = fields.series("Linux-Minimum")?;
        let linux_max = fields.series("Linux-Maximum")?;
        if linux_min > linux_max {
            let bounds =
                format!("`Linux-Maximum` {linux_max} of META is below its `Linux-Minimum` {linux_min}");
            return Err(MetaError(bounds));
        }
        Ok(Self { version, release, linux_min, linux_max })
    }

    pub const fn version(&self) -> ZfsVersion {
        self.version
    }

    /// RPM's `Release`: `1`.
    pub fn release(&self) -> &str {
        &self.release
    }

    pub const fn linux_min(&self) -> KernelSeries {
        self.linux_min
    }

    pub const fn linux_max(&self) -> KernelSeries {
        self.linux_max
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
#[error("{0}")]
#[diagnostic(help(
    "expected the file META of a released OpenZFS source tree; check the source of this file"
))]
pub struct MetaError(String);

/// Where upstream shows the `META` of a release.
pub(crate) fn meta_url(zfs: ZfsVersion) -> String {
    format!("https://github.com/openzfs/zfs/blob/{}/META", zfs.tag())
}

/// The lines of the file, in its order.
struct Fields<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Fields<'a> {
    fn read(text: &'a str) -> Result<Self, MetaError> {
        let mut fields: Vec<(&str, &str)> = Vec::new();
        for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let (key, value) = line.split_once(':').filter(|(key, _)| is_key(key)).ok_or_else(|| {
                let line: String = line.chars().take(60).collect();
                MetaError(format!("line {} of META is not `Key: value`: `{line}`", index + 1))
            })?;
            if fields.iter().any(|(known, _)| *known == key) {
                return Err(MetaError(format!("META has `{key}` twice")));
            }
            fields.push((key, value.trim()));
        }
        Ok(Self(fields))
    }

    fn required(&self, key: &str) -> Result<&'a str, MetaError> {
        let found = self.0.iter().find(|(known, value)| *known == key && !value.is_empty());
        found.map(|(_, value)| *value).ok_or_else(|| MetaError(format!("META has no `{key}`")))
    }

    fn series(&self, key: &str) -> Result<KernelSeries, MetaError> {
        let invalid = |reason| MetaError(format!("`{key}` of META cannot be read: {reason}"));
        self.required(key)?.parse().map_err(invalid)
    }
}

fn is_key(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `META` of the tag `zfs-2.4.4`, word for word.
    const RELEASED: &str = "\
Meta:          1
Name:          zfs
Branch:        1.0
Version:       2.4.4
Release:       1
Release-Tags:  relext
License:       CDDL
Author:        OpenZFS
Linux-Maximum: 7.2
Linux-Minimum: 4.18
";

    #[track_caller]
    fn check_refused(text: &str, expected: &str) {
        assert_eq!(Meta::parse(text).unwrap_err().to_string(), expected);
    }

    #[test]
    fn a_released_version_is_parsed() {
        let meta = Meta::parse(RELEASED).unwrap();
        assert_eq!(meta.version().to_string(), "2.4.4");
        assert_eq!(meta.release(), "1");
        assert_eq!(meta.linux_min().to_string(), "4.18");
        assert_eq!(meta.linux_max().to_string(), "7.2");
        assert_eq!(Meta::parse(&RELEASED.replace('\n', "\r\n")), Ok(meta));
    }

    #[test]
    fn a_release_candidate_is_rejected_though_its_version_is_that_of_the_release() {
        let candidate = RELEASED.replace("2.4.4", "2.3.0").replace("Release:       1", "Release:       rc5");
        check_refused(
            &candidate,
            "META is not that of a released version: `2.3.0-rc5` is a release candidate of OpenZFS, \
             not a released version (expected e.g. `2.4.0`)",
        );
    }

    #[test]
    fn each_fault_has_its_own_message() {
        check_refused("", "META has no `Release`");
        check_refused(&RELEASED.replace("Linux-Minimum: 4.18\n", ""), "META has no `Linux-Minimum`");
        check_refused(&RELEASED.replace("2.4.4", ""), "META has no `Version`");
        check_refused(&format!("{RELEASED}Linux-Maximum: 7.3\n"), "META has `Linux-Maximum` twice");
        check_refused(
            "<!DOCTYPE html>\n<title>Not: here</title>",
            "line 1 of META is not `Key: value`: `<!DOCTYPE html>`",
        );
        check_refused(
            &RELEASED.replace("7.2", "7.2.1"),
            "`Linux-Maximum` of META cannot be read: `7.2.1` is not a kernel series \
             (expected major and minor, e.g. `6.17`)",
        );
        check_refused(
            &RELEASED.replace("2.4.4", "2.4.99"),
            "META is not that of a released version: `2.4.99` is a development tag of OpenZFS, \
             not a released version (expected e.g. `2.4.0`)",
        );
        check_refused(
            &RELEASED.replace("7.2", "4.9"),
            "`Linux-Maximum` 4.9 of META is below its `Linux-Minimum` 4.18",
        );
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in any::<String>()) {
            let _ = Meta::parse(&text);
        }

        #[test]
        fn no_near_miss_makes_the_parser_panic(
            lines in prop::collection::vec("(Version|Release|Linux-Minimum|Linux-Maximum|é)?:? ?[0-9.rcé]{0,5}", 0..6),
        ) {
            let _ = Meta::parse(&lines.join("\n"));
        }
    }
}
