use kmod_compat::{Arch, FedoraVersion, KernelRelease, KeyFingerprint, Nevra, ZfsVersion};
use kmod_query::PinnedImage;
use serde::{Deserialize, Serialize};

use super::{Compression, Digest, Target};

mod acceptance;
mod check;
mod declaration;
mod partial;

pub use acceptance::{InputsFault, InputsPolicy, InputsUse, UnacceptableInputs, inputs_are_acceptable};
pub use declaration::Declaration;
pub use partial::{PartialInputs, PartialInputsError};

/// Without the digest of the kernel's package.
const SCHEMA_1: u32 = 1;
const SCHEMA: u32 = 2;

/// Everything that determines a build, pinned: the replay lock and, by its digest, the build's identity.
///
/// Canonical JSON: members sorted by name, no white space, no floating point; equal to RFC 8785 for these values. An
/// image with an equal [`BuildInputs::digest`] is not built again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BuildInputs {
    #[serde(deserialize_with = "supported_schema")]
    schema: u32,
    pub tool: String,
    pub template: Digest,
    pub zfs: ZfsVersion,
    pub tarball: Tarball,
    pub kernel: KernelRelease,
    /// Always that of `kernel`; for readers of the JSON.
    pub arch: Arch,
    pub kernel_devel: KernelDevel,
    /// The image in which the build runs: `quay.io/fedora/fedora@sha256:…`.
    pub builder_image: PinnedImage,
    pub fedora: FedoraVersion,
    /// Seconds since 1970; the upper limit of every time in the output.
    pub source_date_epoch: i64,
    pub compression: Compression,
    /// The bootable image with the kernel; `None` if the kernel was named. Schema 1 calls it `base`.
    ///
    /// Not part of the digest: nothing is built from it, and a kernel that moves from the testing to the stable
    /// stream comes in another image but needs the same modules.
    #[serde(rename = "base", default, skip_serializing_if = "Option::is_none")]
    pub source_image: Option<SourceImageRef>,
    /// `None` for a release with a row in the compatibility matrix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub declared: Option<Declaration>,
    /// The URL of the publisher's repository; the image's label `org.opencontainers.image.source`.
    ///
    /// Not part of the digest: the packages are the same for every publisher. [`crate::io::inputs::of`] reads it back
    /// from the image's label, so that the image can be reproduced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_repository: Option<String>,
}

/// Rejects other schema numbers.
fn supported_schema<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    match u32::deserialize(deserializer)? {
        schema @ SCHEMA_1..=SCHEMA => Ok(schema),
        other => Err(serde::de::Error::custom(format!(
            "these inputs have schema {other}, this program reads schemas {SCHEMA_1} to {SCHEMA}: use the version of zfs-kmods that wrote them"
        ))),
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tarball {
    /// The release asset, not GitHub's generated archive (which has another digest).
    pub url: String,
    pub digest: Digest,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KernelDevel {
    /// Always that of the kernel.
    pub nevra: Nevra,
    pub url: String,
    /// `None` in schema 1 only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// The key that signed the header; `None` in schema 1, and for a package that Fedora did not sign.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signer: Option<KeyFingerprint>,
}

impl KernelDevel {
    /// Whether the package is known to have no signature by Fedora.
    pub const fn is_unsigned(&self) -> bool {
        self.digest.is_some() && self.signer.is_none()
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceImageRef {
    /// `quay.io/fedora/fedora-coreos@sha256:…`.
    pub image: PinnedImage,
    /// `43.20261101.3.0`; other images than Fedora CoreOS may have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum ParseInputsError {
    #[error("invalid build inputs: {0}")]
    Malformed(#[from] serde_json::Error),
    #[error("`arch` is {arch}, but the kernel {kernel} is for another architecture")]
    OtherArch { arch: Arch, kernel: KernelRelease },
    #[error("`kernel_devel.nevra` is {nevra}, but the kernel's package is {expected}")]
    OtherPackage { nevra: Nevra, expected: Nevra },
    #[error("invalid `{member}`: {text:?}")]
    Text { member: &'static str, text: String },
    #[error(
        "`schema` is {0}, which does not fit `kernel_devel`: `digest` is a member since schema 2, and required"
    )]
    Schema(u32),
    #[error("`source_date_epoch` is {0}, which is not a time between the years 1970 and 9999")]
    Time(i64),
}

impl BuildInputs {
    pub fn new(known: PartialInputs, kernel_devel: KernelDevel, builder_image: PinnedImage) -> Self {
        let PartialInputs {
            template,
            target,
            tarball,
            fedora,
            source_date_epoch,
            compression,
            source_image,
            declared,
        } = known;
        Self {
            schema: if kernel_devel.digest.is_some() { SCHEMA } else { SCHEMA_1 },
            tool: env!("CARGO_PKG_VERSION").to_owned(),
            template,
            zfs: target.zfs,
            tarball,
            arch: target.arch(),
            kernel: target.kernel,
            kernel_devel,
            builder_image,
            fedora,
            source_date_epoch,
            compression,
            source_image,
            declared,
            source_repository: None,
        }
    }

    /// Reads [`BuildInputs::canonical_json`], in any layout.
    pub fn parse(text: &str) -> Result<Self, ParseInputsError> {
        let inputs: Self = serde_json::from_str(text)?;
        check::check(&inputs)?;
        Ok(inputs)
    }

    /// Whether a build of these partial inputs would be this one, except for the locations of packages, the builder
    /// image, and how the release was verified.
    ///
    /// Distributions rebuild their images every few days and move older packages to archives, and a release gets its
    /// row later, which does not require another build.
    pub fn is_build_of(&self, known: &PartialInputs) -> bool {
        let known = PartialInputs { declared: self.declared.clone(), ..known.clone() };
        let adopted = Self::new(known, self.kernel_devel.clone(), self.builder_image.clone());
        adopted.digest() == self.digest()
    }

    /// The [identity](PartialInputs::identity) of the partial inputs that this is a build of.
    pub fn partial_identity(&self) -> Digest {
        PartialInputs {
            template: self.template.clone(),
            target: self.target(),
            tarball: self.tarball.clone(),
            fedora: self.fedora,
            source_date_epoch: self.source_date_epoch,
            compression: self.compression,
            source_image: None,
            declared: None,
        }
        .identity_with(&self.tool)
    }

    pub fn target(&self) -> Target {
        Target { zfs: self.zfs, kernel: self.kernel.clone() }
    }

    /// All members, canonical.
    pub fn canonical_json(&self) -> String {
        self.to_value().to_string()
    }

    /// All members but `base` and `source_repository`, canonical: the source of the digest, attached to images.
    pub fn identity_json(&self) -> String {
        self.json_without(&["base", "source_repository"])
    }

    /// The build's identity: the digest of [`BuildInputs::identity_json`].
    pub fn digest(&self) -> Digest {
        Digest::of(self.identity_json().as_bytes())
    }

    /// The identity of the userland packages, which do not depend on the kernel.
    pub fn userland_digest(&self) -> Digest {
        Digest::of(
            self.json_without(&["base", "declared", "kernel", "kernel_devel", "source_repository"])
                .as_bytes(),
        )
    }

    fn json_without(&self, left_out: &[&str]) -> String {
        let mut value = self.to_value();
        if let Some(members) = value.as_object_mut() {
            members.retain(|name, _| !left_out.contains(&name.as_str()));
        }
        value.to_string()
    }

    fn to_value(&self) -> serde_json::Value {
        let mut value = serde_json::to_value(self).expect("inputs are text and whole numbers");
        // Sorted already, unless a dependency enables serde_json's `preserve_order`.
        value.sort_all_objects();
        value
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn inputs() -> BuildInputs {
        let kernel_devel = KernelDevel {
            nevra: "kernel-devel-6.17.8-300.fc43.x86_64".parse().unwrap(),
            url: "https://example.org/kernel-devel.rpm".into(),
            digest: None,
            signer: None,
        };
        let builder_image = format!("registry.example.org/fedora@{}", Digest::of(b"builder"));
        BuildInputs::new(known(), kernel_devel, builder_image.parse().unwrap())
    }

    pub(crate) fn known() -> PartialInputs {
        PartialInputs {
            template: Digest::of(b"template"),
            target: Target {
                zfs: "2.4.3".parse().unwrap(),
                kernel: "6.17.8-300.fc43.x86_64".parse().unwrap(),
            },
            tarball: Tarball {
                url: "https://example.org/zfs-2.4.3.tar.gz".into(),
                digest: Digest::of(b"tarball"),
            },
            fedora: "43".parse().unwrap(),
            source_date_epoch: 1_790_000_000,
            compression: Compression::Zstd,
            source_image: Some(SourceImageRef {
                image: format!("quay.io/fedora/fedora-coreos@{}", Digest::of(b"base")).parse().unwrap(),
                version: Some("43.20261101.3.0".into()),
            }),
            declared: None,
        }
    }

    #[test]
    fn canonical_json_is_sorted_and_read_back() {
        let text = inputs().canonical_json();
        assert_eq!(BuildInputs::parse(&text).unwrap(), inputs());
        let mut names: Vec<_> =
            text.match_indices("\":").map(|(end, _)| text[..end].rsplit('"').next().unwrap()).collect();
        names.retain(|name| !["image", "version", "nevra", "url", "digest"].contains(name));
        assert!(names.is_sorted(), "{names:?}");
    }

    #[test]
    fn only_the_source_image_and_the_publisher_leave_the_identity_alone() {
        let text = inputs().canonical_json();
        let other = |from: &str, to: &str| BuildInputs::parse(&text.replace(from, to)).unwrap();
        assert_eq!(other("43.20261101.3.0", "43.20261115.3.0").digest(), inputs().digest());
        let repository = Some("https://github.com/owner/zfs-kmods".to_owned());
        let published = BuildInputs { source_repository: repository, ..inputs() };
        assert_eq!(BuildInputs::parse(&published.canonical_json()).unwrap(), published);
        assert_eq!(published.digest(), inputs().digest());
        assert_eq!(published.userland_digest(), inputs().userland_digest());
        for (from, to) in [
            ("2.4.3", "2.4.4"),
            ("6.17.8", "6.17.9"),
            ("registry.example.org", "mirror.example.org"),
            ("1790000000", "1790000001"),
        ] {
            assert_ne!(other(from, to).digest(), inputs().digest(), "{from}");
        }
    }

    #[test]
    fn userland_is_the_same_for_the_next_kernel() {
        let bump =
            BuildInputs::parse(&inputs().canonical_json().replace("6.17.8-300", "6.17.9-300")).unwrap();
        assert_eq!(bump.userland_digest(), inputs().userland_digest());
        assert_ne!(bump.digest(), inputs().digest());
    }

    fn with_digest() -> BuildInputs {
        let BuildInputs { mut kernel_devel, builder_image, .. } = inputs();
        kernel_devel.digest = Some(Digest::of(b"kernel-devel"));
        kernel_devel.signer = Some("4F".repeat(20).parse().unwrap());
        BuildInputs::new(known(), kernel_devel, builder_image)
    }

    /// Stored images carry this digest.
    #[test]
    fn schema_1_keeps_its_digest() {
        let text = inputs().canonical_json();
        assert!(text.contains("\"schema\":1"), "{text}");
        assert!(!text.contains("signer"), "{text}");
        let identity = inputs().identity_json().replace(env!("CARGO_PKG_VERSION"), "0.1.0");
        let read = BuildInputs::parse(&identity).unwrap();
        insta::assert_snapshot!(read.digest(), @"sha256:e6573012dcfc766190ae13e30d6af38b03694e8ffcf2f69c9983b8903f7bf51c");
    }

    #[test]
    fn schema_2_has_the_digest_and_the_signer_of_the_kernel_s_package() {
        let text = with_digest().canonical_json();
        assert!(text.contains("\"schema\":2"), "{text}");
        let read = BuildInputs::parse(&text).unwrap();
        assert_eq!(read, with_digest());
        assert!(!read.kernel_devel.is_unsigned() && !inputs().kernel_devel.is_unsigned());
        assert!(read.is_build_of(&known()) && inputs().is_build_of(&known()));
        let one = text.replace("\"schema\":2", "\"schema\":1");
        BuildInputs::parse(&one).unwrap_err();
        let mut unsigned = read;
        unsigned.kernel_devel.signer = None;
        let unsigned = BuildInputs::parse(&unsigned.canonical_json()).unwrap();
        assert!(unsigned.kernel_devel.is_unsigned());
        assert_ne!(unsigned.digest(), with_digest().digest());
    }

    #[test]
    fn contradictions_and_unknown_members_are_refused() {
        let text = inputs().canonical_json();
        for (from, to) in [
            ("\"arch\":\"x86_64\"", "\"arch\":\"aarch64\""),
            ("\"schema\":1", "\"schema\":2"),
            ("\"schema\":1", "\"schema\":1,\"extra\":1"),
            ("fedora@sha256:", "fedora:"),
        ] {
            assert_ne!(text, text.replacen(from, to, 1), "{from}");
            assert!(BuildInputs::parse(&text.replacen(from, to, 1)).is_err(), "{to}");
        }
    }
}
