//! What should exist: each target once, with what is to be done about it and why.

use std::collections::BTreeMap;

use kmod_compat::{Incompatibility, KernelRelease, ZfsVersion};
use serde::{Serialize, Serializer};

use super::inputs::{BaseImage, BuildInputs, PartialInputs};
use super::{Digest, Target};

/// A kernel that hosts run, and where that was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The stream of Fedora CoreOS, or the image that was named.
    pub place: String,
    /// The kernel.
    pub kernel: KernelRelease,
    /// The bootable image with it.
    pub base: BaseImage,
}

/// A target, and every place where its kernel was seen; never none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// What an image should exist for.
    pub target: Target,
    /// In the order in which they were asked for.
    pub seen: Vec<Seen>,
}

/// One target a kernel, however many places it was seen in; in order of first sight.
pub fn wanted(zfs: ZfsVersion, seen: Vec<Seen>) -> Vec<Wanted> {
    let mut positions = BTreeMap::new();
    let mut all: Vec<Wanted> = Vec::new();
    for sight in seen {
        let position = *positions.entry(sight.kernel.clone()).or_insert(all.len());
        match all.get_mut(position) {
            Some(wanted) => wanted.seen.push(sight),
            None => {
                all.push(Wanted { target: Target { zfs, kernel: sight.kernel.clone() }, seen: vec![sight] });
            }
        }
    }
    all
}

/// What is to be done about a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Build it, from exactly these inputs.
    Build {
        /// What determines the build.
        inputs: Box<BuildInputs>,
        /// Why what exists does not do, in words.
        reason: String,
    },
    /// The image exists and was made from the same inputs.
    UpToDate(Digest),
    /// It is not built: an expected answer, not an error.
    Held(Incompatibility),
    /// It could not be found out what to do; nothing is built over what is not known.
    Unknown {
        /// What went wrong, in words.
        reason: String,
    },
}

impl Decision {
    /// The word for it in tables and JSON.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Build { .. } => "build",
            Self::UpToDate(_) => "up-to-date",
            Self::Held(_) => "held",
            Self::Unknown { .. } => "unknown",
        }
    }

    /// Why, in a sentence.
    pub fn reason(&self) -> String {
        match self {
            Self::Build { reason, .. } | Self::Unknown { reason } => reason.clone(),
            Self::UpToDate(digest) => format!("{digest} was made from the same inputs"),
            Self::Held(held) => held.to_string(),
        }
    }
}

/// What a repository has under a target's tag. That it could not be found out is no value of this type: nothing is
/// built over what is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Existing {
    /// No image.
    Nothing,
    /// An image without evidence that holds, and why it does not.
    Unproven {
        /// The image.
        digest: Digest,
        /// In words.
        why: String,
    },
    /// An image whose evidence holds.
    Proven {
        /// The image.
        digest: Digest,
        /// What it was built from, by its provenance.
        inputs: Box<BuildInputs>,
    },
}

/// The image that is up to date, or why one has to be built, given what there is already.
pub fn needed(known: &PartialInputs, existing: Existing, force: bool) -> Result<Digest, String> {
    match existing {
        _ if force => Err("asked for with --force".to_owned()),
        Existing::Nothing => Err("there is no such image yet".to_owned()),
        Existing::Unproven { digest, why } => Err(format!("{digest} has no evidence that holds: {why}")),
        Existing::Proven { digest, inputs } if inputs.is_build_of(known) => Ok(digest),
        Existing::Proven { digest, inputs } => {
            Err(format!("{digest} was made from other inputs ({})", inputs.digest()))
        }
    }
}

/// A target with its decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What for.
    pub target: Target,
    /// Where its kernel was seen.
    pub places: Vec<String>,
    /// What to do.
    pub decision: Decision,
}

/// A place about which nothing could be found out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UnresolvedSource {
    /// The stream or image.
    pub place: String,
    /// What went wrong, in words.
    pub reason: String,
}

/// What should exist. A dry run, the matrix of a workflow and the log are this value, printed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Plan {
    targets: Vec<Entry>,
    unknown: Vec<UnresolvedSource>,
}

impl Plan {
    /// A plan of these entries. A target that comes twice is an error of the program's own making and counts once.
    pub fn new(entries: Vec<Entry>, unknown: Vec<UnresolvedSource>) -> Self {
        let mut targets: Vec<Entry> = Vec::new();
        for entry in entries {
            if !targets.iter().any(|other| other.target == entry.target) {
                targets.push(entry);
            }
        }
        Self { targets, unknown }
    }

    /// Each target once.
    pub fn targets(&self) -> &[Entry] {
        &self.targets
    }

    /// Every place about which nothing could be found out.
    pub fn unknown(&self) -> &[UnresolvedSource] {
        &self.unknown
    }

    /// Whether every place was seen and every decision could be made.
    pub fn is_complete(&self) -> bool {
        self.unknown.is_empty()
            && !self.targets.iter().any(|entry| matches!(entry.decision, Decision::Unknown { .. }))
    }
}

/// Flat, so that a workflow's matrix needs no path expressions.
impl Serialize for Entry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Shape<'a> {
            zfs: ZfsVersion,
            kernel: &'a KernelRelease,
            arch: kmod_compat::Arch,
            tag: String,
            streams: &'a [String],
            decision: &'static str,
            reason: String,
            #[serde(skip_serializing_if = "Option::is_none")]
            held: Option<&'a Incompatibility>,
            #[serde(skip_serializing_if = "Option::is_none")]
            image: Option<&'a Digest>,
            #[serde(skip_serializing_if = "Option::is_none")]
            inputs_digest: Option<Digest>,
            #[serde(skip_serializing_if = "Option::is_none")]
            inputs: Option<&'a BuildInputs>,
        }
        let (inputs, held, image) = match &self.decision {
            Decision::Build { inputs, .. } => (Some(&**inputs), None, None),
            Decision::Held(held) => (None, Some(held), None),
            Decision::UpToDate(digest) => (None, None, Some(digest)),
            Decision::Unknown { .. } => (None, None, None),
        };
        Shape {
            zfs: self.target.zfs,
            kernel: &self.target.kernel,
            arch: self.target.arch(),
            tag: self.target.tag().to_string(),
            streams: &self.places,
            decision: self.decision.word(),
            reason: self.decision.reason(),
            held,
            image,
            inputs_digest: inputs.map(BuildInputs::digest),
            inputs,
        }
        .serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::inputs::tests::{inputs, known};

    fn seen(place: &str, kernel: &str) -> Seen {
        let image = format!("quay.io/fedora/fedora-coreos@{}", Digest::of(place.as_bytes())).parse().unwrap();
        Seen {
            place: place.into(),
            kernel: kernel.parse().unwrap(),
            base: BaseImage { image, version: None },
        }
    }

    #[test]
    fn a_kernel_of_two_streams_is_one_target() {
        let kernels = ["6.17.9-300.fc43.x86_64", "6.17.8-300.fc43.x86_64"];
        let zfs = "2.4.3".parse().unwrap();
        let all = wanted(
            zfs,
            vec![seen("testing", kernels[0]), seen("stable", kernels[1]), seen("next", kernels[0])],
        );
        let summary: Vec<_> = all
            .iter()
            .map(|wanted| {
                (
                    wanted.target.kernel.to_string(),
                    wanted.seen.iter().map(|seen| &*seen.place).collect::<Vec<_>>(),
                )
            })
            .collect();
        assert_eq!(
            summary,
            [(kernels[0].to_owned(), vec!["testing", "next"]), (kernels[1].to_owned(), vec!["stable"])]
        );
    }

    #[test]
    fn only_a_proven_image_of_the_same_inputs_is_up_to_date() {
        let (planned, known) = (inputs(), known());
        let digest = Digest::of(b"image");
        let proven = |inputs: &BuildInputs| Existing::Proven {
            digest: digest.clone(),
            inputs: Box::new(inputs.clone()),
        };
        let up_to_date = |existing, force| needed(&known, existing, force) == Ok(digest.clone());
        assert!(up_to_date(proven(&planned), false));
        assert!(!up_to_date(proven(&planned), true));
        assert!(!up_to_date(Existing::Nothing, false));
        let unproven = Existing::Unproven { digest: digest.clone(), why: "nothing is attached".into() };
        let reason = needed(&known, unproven, false).unwrap_err();
        assert!(reason.contains("nothing is attached"), "{reason}");
        let mut other = planned.clone();
        other.builder_image =
            format!("registry.example.org/fedora@{}", Digest::of(b"newer")).parse().unwrap();
        other.kernel_devel.url = "https://example.org/archive/kernel-devel.rpm".into();
        assert!(up_to_date(proven(&other), false));
        other.source_date_epoch = 1;
        assert!(!up_to_date(proven(&other), false));
    }

    #[test]
    fn what_is_not_known_makes_a_plan_incomplete() {
        let entry = Entry {
            target: Target {
                zfs: "2.4.3".parse().unwrap(),
                kernel: "6.17.8-300.fc43.x86_64".parse().unwrap(),
            },
            places: vec!["stable".into()],
            decision: Decision::UpToDate(Digest::of(b"")),
        };
        assert!(Plan::new(vec![entry.clone(), entry.clone()], vec![]).is_complete());
        assert_eq!(Plan::new(vec![entry.clone(), entry.clone()], vec![]).targets().len(), 1);
        let blind = UnresolvedSource { place: "next".into(), reason: "no network".into() };
        assert!(!Plan::new(vec![entry.clone()], vec![blind]).is_complete());
        let unknown = Entry { decision: Decision::Unknown { reason: "no network".into() }, ..entry };
        assert!(!Plan::new(vec![unknown], vec![]).is_complete());
    }
}
