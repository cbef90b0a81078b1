use kmod_compat::{DeclaredRelease, KernelSeries, KeyFingerprint};
use serde::{Deserialize, Serialize};

use super::BuildInputs;

/// How a release without a row in the compatibility matrix was verified: `META` at its tag and in its tarball, the digest
/// of the tarball at GitHub, and the checksum that this key signed agreed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Declaration {
    pub linux_min: KernelSeries,
    pub linux_max: KernelSeries,
    pub signer: KeyFingerprint,
}

impl From<&DeclaredRelease> for Declaration {
    fn from(declared: &DeclaredRelease) -> Self {
        Self { linux_min: declared.linux_min, linux_max: declared.linux_max, signer: declared.signer.clone() }
    }
}

impl BuildInputs {
    /// The release as it was declared when the inputs were resolved.
    pub fn declared_release(&self) -> Option<DeclaredRelease> {
        let Declaration { linux_min, linux_max, signer } = self.declared.clone()?;
        let sha256 = self.tarball.digest.hex().parse().ok()?;
        Some(DeclaredRelease { version: self.zfs, linux_min, linux_max, sha256, signer })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::inputs::tests::{inputs, known};

    fn declaration() -> Declaration {
        Declaration {
            linux_min: "4.18".parse().unwrap(),
            linux_max: "7.2".parse().unwrap(),
            signer: "4F".repeat(20).parse().unwrap(),
        }
    }

    #[test]
    fn a_declaration_is_recorded_and_read_back() {
        let declared = BuildInputs { declared: Some(declaration()), ..inputs() };
        let read = BuildInputs::parse(&declared.identity_json()).unwrap();
        assert_eq!(read.declared_release(), declared.declared_release());
        assert_eq!(read.declared_release().unwrap().row().linux_max().to_string(), "7.2");
        assert_eq!(inputs().declared_release(), None);
        assert!(!inputs().canonical_json().contains("declared"));
    }

    #[test]
    fn a_row_that_follows_a_declaration_requires_no_other_build() {
        let declared = BuildInputs { declared: Some(declaration()), ..inputs() };
        assert_ne!(declared.digest(), inputs().digest());
        assert!(declared.is_build_of(&known()));
        assert_eq!(declared.userland_digest(), inputs().userland_digest());
    }
}
