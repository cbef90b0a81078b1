//! Whether upstream's own statements about a release agree, so that the release can be used without a row.

use std::fmt;

use crate::{KernelSeries, KeyFingerprint, MatrixRow, Meta, TarballSha256, ZfsVersion};

/// What upstream says about a release, in four places. A text is the reason why a statement is invalid.
///
/// A place that could not be read is not a statement: without all four nothing is decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleaseStatements {
    pub version: ZfsVersion,
    /// `META` at the git tag.
    pub tag_meta: Result<Meta, String>,
    /// `META` in the release's tarball.
    pub tarball_meta: Result<Meta, String>,
    /// Of the tarball as downloaded.
    pub tarball_sha256: TarballSha256,
    /// Of the tarball as GitHub states it; releases before June 2025 have none.
    pub asset_sha256: Option<TarballSha256>,
    /// The signed checksum of the tarball.
    pub signature: Result<SignedChecksum, String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedChecksum {
    pub sha256: TarballSha256,
    /// A pinned key.
    pub signer: KeyFingerprint,
}

/// A release about which upstream's statements agree.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct DeclaredRelease {
    pub version: ZfsVersion,
    pub linux_min: KernelSeries,
    pub linux_max: KernelSeries,
    pub sha256: TarballSha256,
    /// The pinned key that signed the checksum.
    pub signer: KeyFingerprint,
}

/// Upstream's statements about a release disagree, or one of them is invalid
/// ([openzfs/zfs#18526](https://github.com/openzfs/zfs/issues/18526): the `META` of a tarball says 99.99).
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, thiserror::Error, miette::Diagnostic)]
#[error("the statements about OpenZFS {version} disagree: {}", reasons.join("; "))]
#[diagnostic(help("find out which is right, then add a row to compat/zfs.toml by hand"))]
pub struct Disagreement {
    pub version: ZfsVersion,
    /// Each a clause; at least one.
    pub reasons: Vec<String>,
}

impl ReleaseStatements {
    pub fn decide(&self) -> Result<DeclaredRelease, Disagreement> {
        let mut reasons = Vec::new();
        let tag = self.check_meta("META at the tag", &self.tag_meta, &mut reasons);
        let tarball = self.check_meta("META in the tarball", &self.tarball_meta, &mut reasons);
        if let (Some(tag), Some(tarball)) = (tag, tarball) {
            let mut compare = |key: &str, tag: KernelSeries, tarball: KernelSeries| {
                if tag != tarball {
                    reasons.push(format!("`{key}` is {tag} at the tag and {tarball} in the tarball"));
                }
            };
            compare("Linux-Minimum", tag.linux_min(), tarball.linux_min());
            compare("Linux-Maximum", tag.linux_max(), tarball.linux_max());
        }
        let signed = self.signature.as_ref().map_err(|reason| reasons.push(reason.clone())).ok();
        let mut compare = |what: &str, stated: Option<&TarballSha256>| {
            if let Some(stated) = stated.filter(|stated| **stated != self.tarball_sha256) {
                let found = &self.tarball_sha256;
                reasons.push(format!("the tarball has the sha256 {found}, {what} says {stated}"));
            }
        };
        compare("GitHub", self.asset_sha256.as_ref());
        compare("the signed checksum", signed.map(|signed| &signed.sha256));
        match (tag, signed) {
            (Some(meta), Some(signed)) if reasons.is_empty() => Ok(DeclaredRelease {
                version: self.version,
                linux_min: meta.linux_min(),
                linux_max: meta.linux_max(),
                sha256: self.tarball_sha256.clone(),
                signer: signed.signer.clone(),
            }),
            _ => Err(Disagreement { version: self.version, reasons }),
        }
    }

    fn check_meta<'a>(
        &self,
        place: impl fmt::Display,
        meta: &'a Result<Meta, String>,
        reasons: &mut Vec<String>,
    ) -> Option<&'a Meta> {
        match meta {
            Ok(meta) if meta.version() == self.version => return Some(meta),
            Ok(meta) => reasons.push(format!("{place} is that of {}", meta.version())),
            Err(reason) => reasons.push(format!("{place}: {reason}")),
        }
        None
    }
}

impl DeclaredRelease {
    /// The row that the matrix should have.
    pub fn row(&self) -> MatrixRow {
        MatrixRow::of_declared(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(version: &str, max: &str) -> Result<Meta, String> {
        let text = format!("Version: {version}\nRelease: 1\nLinux-Maximum: {max}\nLinux-Minimum: 4.18\n");
        Meta::parse(&text).map_err(|error| error.to_string())
    }

    fn sha256(digit: &str) -> TarballSha256 {
        digit.repeat(64).parse().unwrap()
    }

    fn statements() -> ReleaseStatements {
        let signer = "4F".repeat(20).parse().unwrap();
        ReleaseStatements {
            version: "2.4.5".parse().unwrap(),
            tag_meta: meta("2.4.5", "7.3"),
            tarball_meta: meta("2.4.5", "7.3"),
            tarball_sha256: sha256("a"),
            asset_sha256: Some(sha256("a")),
            signature: Ok(SignedChecksum { sha256: sha256("a"), signer }),
        }
    }

    #[track_caller]
    fn check(statements: &ReleaseStatements, reasons: &[&str]) {
        let error = statements.decide().unwrap_err();
        assert_eq!(error.reasons, reasons);
        assert!(error.to_string().starts_with("the statements about OpenZFS 2.4.5 disagree: "));
    }

    #[test]
    fn a_release_is_declared_if_all_statements_agree() {
        let declared = statements().decide().unwrap();
        let row = declared.row();
        assert_eq!((row.linux_min().to_string(), row.linux_max().to_string()), ("4.18".into(), "7.3".into()));
        assert_eq!(row.sha256(), Some(&sha256("a")));
        let old = ReleaseStatements { asset_sha256: None, ..statements() };
        assert_eq!(old.decide().unwrap(), declared, "GitHub has no digest of an old asset");
    }

    #[test]
    fn each_statement_alone_can_prevent_it() {
        check(
            &ReleaseStatements { tarball_meta: meta("99.99", "7.3"), ..statements() },
            &[
                "META in the tarball: META is not that of a released version: `99.99` is not a released OpenZFS \
               version (expected e.g. `2.4.0`)",
            ],
        );
        check(
            &ReleaseStatements { tag_meta: meta("2.4.4", "7.3"), ..statements() },
            &["META at the tag is that of 2.4.4"],
        );
        check(
            &ReleaseStatements { tarball_meta: meta("2.4.5", "7.4"), ..statements() },
            &["`Linux-Maximum` is 7.3 at the tag and 7.4 in the tarball"],
        );
        check(
            &ReleaseStatements { signature: Err("the signature is not valid".into()), ..statements() },
            &["the signature is not valid"],
        );
        let (a, b) = (sha256("a"), sha256("b"));
        check(
            &ReleaseStatements { asset_sha256: Some(b.clone()), ..statements() },
            &[&format!("the tarball has the sha256 {a}, GitHub says {b}")],
        );
        let signer = "4F".repeat(20).parse().unwrap();
        check(
            &ReleaseStatements {
                signature: Ok(SignedChecksum { sha256: b.clone(), signer }),
                ..statements()
            },
            &[&format!("the tarball has the sha256 {a}, the signed checksum says {b}")],
        );
    }

    #[test]
    fn everything_that_disagrees_is_named() {
        let statements = ReleaseStatements {
            tag_meta: Err("missing".into()),
            tarball_meta: meta("2.4.5", "7.3"),
            signature: Err("no signature".into()),
            asset_sha256: Some(sha256("b")),
            ..statements()
        };
        assert_eq!(statements.decide().unwrap_err().reasons.len(), 3);
    }
}
