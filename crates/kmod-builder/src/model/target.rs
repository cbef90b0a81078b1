use std::fmt;

use kmod_compat::{Arch, KernelRelease, ZfsVersion};
use serde::{Deserialize, Serialize};

use super::image::Tag;

/// An OpenZFS version and the exact kernel that an image is for; the kernel release includes the architecture.
///
/// As JSON `{"zfs", "kernel", "arch"}`; `arch` may be missing in documents of earlier versions.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "TargetDocument", into = "TargetDocument")]
pub struct Target {
    pub zfs: ZfsVersion,
    pub kernel: KernelRelease,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TargetDocument {
    zfs: ZfsVersion,
    kernel: KernelRelease,
    arch: Option<Arch>,
}

impl From<Target> for TargetDocument {
    fn from(target: Target) -> Self {
        Self { arch: Some(target.arch()), zfs: target.zfs, kernel: target.kernel }
    }
}

impl TryFrom<TargetDocument> for Target {
    type Error = String;

    fn try_from(document: TargetDocument) -> Result<Self, Self::Error> {
        let TargetDocument { zfs, kernel, arch } = document;
        match arch {
            Some(arch) if arch != kernel.arch() => {
                Err(format!("`arch` is {arch}, but the kernel {kernel} is for another architecture"))
            }
            _ => Ok(Self { zfs, kernel }),
        }
    }
}

/// Characters of kernel releases that tags cannot have, and their replacements.
const ESCAPES: [(&str, &str); 3] = [("+", "_plus_"), ("~", "_tilde_"), ("^", "_caret_")];

impl Target {
    pub const fn arch(&self) -> Arch {
        self.kernel.arch()
    }

    /// The public tag of the image: `zfs-2.4.3_kernel-6.17.8-300.fc43.x86_64`.
    pub fn tag(&self) -> Tag {
        let kernel = ESCAPES.iter().fold(self.kernel.to_string(), |text, (from, to)| text.replace(from, to));
        format!("zfs-{}_kernel-{kernel}", self.zfs)
            .parse()
            .expect("every other character of the two is allowed in tags")
    }

    /// `None` for tags that [`Target::tag`] does not produce.
    pub fn from_tag(tag: &Tag) -> Option<Self> {
        let (zfs, kernel) = tag.as_str().strip_prefix("zfs-")?.split_once("_kernel-")?;
        let kernel = ESCAPES.iter().fold(kernel.to_owned(), |text, (from, to)| text.replace(to, from));
        let target = Self { zfs: zfs.parse().ok()?, kernel: kernel.parse().ok()? };
        (target.tag() == *tag).then_some(target)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OpenZFS {} for {}", self.zfs, self.kernel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_name_their_target() {
        for (kernel, tag) in [
            ("6.17.8-300.fc43.x86_64", "zfs-2.4.3_kernel-6.17.8-300.fc43.x86_64"),
            ("6.17.8-300.fc43.aarch64+debug", "zfs-2.4.3_kernel-6.17.8-300.fc43.aarch64_plus_debug"),
            ("6.17.8-0.rc1~2^3.fc43.x86_64", "zfs-2.4.3_kernel-6.17.8-0.rc1_tilde_2_caret_3.fc43.x86_64"),
        ] {
            let target = Target { zfs: "2.4.3".parse().unwrap(), kernel: kernel.parse().unwrap() };
            assert_eq!(target.tag().as_str(), tag);
            assert_eq!(Target::from_tag(&target.tag()), Some(target));
        }
    }

    #[test]
    fn every_target_has_a_tag() {
        let zfs = "4294967295.4294967295.4294967295";
        for kernel in ["6.17.8-300~LONG.fc43.x86_64+debug", "6.17.8-300.LONG.fc43.x86_64"] {
            for length in 0..100 {
                for character in ["~", "a", "^"] {
                    let kernel = kernel.replace("LONG", &character.repeat(length));
                    let (Ok(zfs), Ok(kernel)) = (zfs.parse(), kernel.parse()) else { continue };
                    let target = Target { zfs, kernel };
                    assert_eq!(Target::from_tag(&target.tag()), Some(target));
                }
            }
        }
        assert!(format!("6.17.8-300{}.x86_64", "~".repeat(25)).parse::<KernelRelease>().is_err());
    }

    #[test]
    fn other_tags_name_no_target() {
        for tag in [
            "stable",
            "candidate-zfs-2.4.3_kernel-6.17.8-300.fc43.x86_64",
            "zfs-2.4_kernel-6.17.8-300.fc43.x86_64",
            "zfs-2.4.3_kernel-6.17",
        ] {
            assert_eq!(Target::from_tag(&tag.parse().unwrap()), None, "{tag}");
        }
    }
}
