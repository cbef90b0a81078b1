use kmod_compat::{CompatMatrix, FedoraVersion, KernelRelease, ZfsVersion};
use kmod_query::ZfsRelease;

use super::{Declaration, SourceImageRef, Tarball};
use crate::model::containerfile::TEMPLATE;
use crate::model::{Compression, Digest, Target};

/// The inputs that are known before packages and images are looked up. Members as in [`super::BuildInputs`].
#[derive(Clone, Debug)]
pub struct PartialInputs {
    pub template: Digest,
    pub target: Target,
    pub tarball: Tarball,
    pub fedora: FedoraVersion,
    pub source_date_epoch: i64,
    pub compression: Compression,
    pub source_image: Option<SourceImageRef>,
    /// The caller's to set, for a release without a row.
    pub declared: Option<Declaration>,
}

#[derive(Clone, Debug, thiserror::Error, miette::Diagnostic)]
pub enum PartialInputsError {
    #[error("the kernel release `{0}` does not name a Fedora release")]
    #[diagnostic(help("name a kernel with `.fcNN` in its release, as Fedora's have"))]
    NoFedora(KernelRelease),
    #[error("no checksum is known for the tarball of OpenZFS {0}")]
    #[diagnostic(help("add `sha256` to the release's row in compat/zfs.toml"))]
    NoChecksum(ZfsVersion),
    #[error(
        "the tarball of OpenZFS {zfs} should have the SHA-256 {expected}, but the release now has {found}"
    )]
    #[diagnostic(help(
        "a released tarball never changes: find out why before you change `sha256` in compat/zfs.toml"
    ))]
    OtherTarball { zfs: ZfsVersion, expected: String, found: String },
}

impl PartialInputs {
    /// `fedora` is used if the kernel does not name its own.
    pub fn new(
        matrix: &CompatMatrix,
        zfs: &ZfsRelease,
        kernel: &KernelRelease,
        fedora: Option<FedoraVersion>,
        compression: Compression,
        source_image: Option<SourceImageRef>,
    ) -> Result<Self, PartialInputsError> {
        Ok(Self {
            template: Digest::of(TEMPLATE.as_bytes()),
            target: Target { zfs: zfs.version, kernel: kernel.clone() },
            tarball: tarball(matrix, zfs)?,
            fedora: kernel.fedora().or(fedora).ok_or_else(|| PartialInputsError::NoFedora(kernel.clone()))?,
            // No file of a release is newer than its publication, and the date is the same for every kernel.
            source_date_epoch: zfs.published_at.as_second(),
            compression,
            source_image,
            declared: None,
        })
    }
}

impl PartialInputs {
    /// The digest of what is known: builds of the same partial inputs are repeated attempts of one build.
    pub fn identity(&self) -> Digest {
        self.identity_with(env!("CARGO_PKG_VERSION"))
    }

    pub(super) fn identity_with(&self, tool: &str) -> Digest {
        let known = serde_json::json!({
            "template": self.template, "target": self.target, "tarball": self.tarball, "fedora": self.fedora,
            "tool": tool, "sourceDateEpoch": self.source_date_epoch,
            "compression": self.compression,
        });
        Digest::of(known.to_string().as_bytes())
    }
}

/// The tarball with the digest from the matrix or, for a row without one, from GitHub. If both have one, they must be
/// equal.
fn tarball(matrix: &CompatMatrix, zfs: &ZfsRelease) -> Result<Tarball, PartialInputsError> {
    let expected =
        matrix.release(zfs.version).and_then(|row| row.sha256()).map(|sha256| sha256.as_str().to_owned());
    let sha256 = match (expected, zfs.tarball_digest.clone()) {
        (Some(expected), Some(found)) if expected != found => {
            return Err(PartialInputsError::OtherTarball { zfs: zfs.version, expected, found });
        }
        (Some(sha256), _) | (None, Some(sha256)) => sha256,
        (None, None) => return Err(PartialInputsError::NoChecksum(zfs.version)),
    };
    let digest =
        format!("sha256:{sha256}").parse().map_err(|_| PartialInputsError::NoChecksum(zfs.version))?;
    Ok(Tarball { url: zfs.tarball_url.clone(), digest })
}
