use kmod_compat::{Arch, Incompatibility, KernelRelease, Verdict, ZfsLine, ZfsVersion};

use crate::model::Target;
use crate::model::image::Tag;
use crate::model::inputs::SourceImageRef;
use crate::model::plan::{NotBuilt, ObservedKernel};
use crate::model::tags::Channel;

/// A stream or a bootable image, on one architecture, and the channel of its hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FollowedSource {
    /// As shown: `stable`, `quay.io/fedora/fedora-bootc:43`.
    pub name: String,
    pub channel: Channel,
    pub arch: Arch,
    pub state: SourceState,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceState {
    Kernel {
        kernel: KernelRelease,
        image: SourceImageRef,
    },
    /// The source answered that it does not exist any more. Its tags stay.
    Gone {
        reason: String,
    },
    /// The source did not answer.
    Unknown {
        reason: String,
    },
}

impl From<ObservedKernel> for SourceState {
    fn from(observed: ObservedKernel) -> Self {
        Self::Kernel { kernel: observed.kernel, image: observed.image }
    }
}

/// What the repository should have. Every target once, in the order of the sources.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DesiredState {
    pub targets: Vec<DesiredTarget>,
    pub channels: Vec<DesiredChannel>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredTarget {
    pub target: Target,
    /// Of the kernel.
    pub sources: Vec<String>,
    /// The bootable image of the first source.
    pub image: SourceImageRef,
}

/// The moving tags of one source for one line of OpenZFS and one architecture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredChannel {
    pub channel: Channel,
    pub source: String,
    pub line: ZfsLine,
    pub arch: Arch,
    /// The first line owns the tags without a line: `stable`, `fedora-44_stable`.
    pub is_default_line: bool,
    pub wanted: Result<Target, BlockedChannel>,
}

/// Why a channel stays where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlockedChannel {
    /// No release of the line may be built for the kernel. The reason is that of the newest release.
    NotBuilt {
        kernel: KernelRelease,
        not_built: Box<NotBuilt>,
    },
    SourceGone {
        reason: String,
    },
    SourceUnknown {
        reason: String,
    },
}

impl DesiredChannel {
    /// From the most general to the most specific.
    pub fn tags(&self, target: &Target) -> Vec<Tag> {
        self.channel.moving_tags_of_line(target, self.is_default_line)
    }

    /// `stable`, for another line than the first `zfs-2.3_stable`.
    pub fn name(&self) -> String {
        let followed = self.channel.followed_on(self.arch);
        if self.is_default_line { followed } else { format!("zfs-{}_{followed}", self.line) }
    }
}

impl DesiredState {
    /// For each kernel and line, the newest release that exists and supports the kernel.
    ///
    /// `releases` are in any order. A release that may not be used does not stop an older one. Of several sources with
    /// one channel and architecture the first counts; a configuration with such sources is rejected when it is read.
    pub fn new(
        sources: &[FollowedSource],
        lines: &[ZfsLine],
        releases: &[ZfsVersion],
        verdict: impl Fn(ZfsVersion, &KernelRelease) -> Verdict,
    ) -> Self {
        let mut newest_first = releases.to_vec();
        newest_first.sort_unstable_by(|one, other| other.cmp(one));
        let mut desired = Self::default();
        for source in sources {
            for (position, line) in lines.iter().enumerate() {
                let of_line = newest_first.iter().filter(|zfs| zfs.line() == *line);
                let wanted = match &source.state {
                    SourceState::Gone { reason } => {
                        Err(BlockedChannel::SourceGone { reason: reason.clone() })
                    }
                    SourceState::Unknown { reason } => {
                        Err(BlockedChannel::SourceUnknown { reason: reason.clone() })
                    }
                    SourceState::Kernel { kernel, .. } => newest_usable(of_line, kernel, &verdict),
                };
                if let (Ok(target), SourceState::Kernel { image, .. }) = (&wanted, &source.state) {
                    desired.add(target, source, image);
                }
                desired.channels.push(DesiredChannel {
                    channel: source.channel.clone(),
                    source: source.name.clone(),
                    line: *line,
                    arch: source.arch,
                    is_default_line: position == 0,
                    wanted,
                });
            }
        }
        desired
    }

    fn add(&mut self, target: &Target, source: &FollowedSource, image: &SourceImageRef) {
        if let Some(known) = self.targets.iter_mut().find(|known| known.target == *target) {
            known.sources.push(source.name.clone());
        } else {
            self.targets.push(DesiredTarget {
                target: target.clone(),
                sources: vec![source.name.clone()],
                image: image.clone(),
            });
        }
    }
}

fn newest_usable<'a>(
    releases: impl Iterator<Item = &'a ZfsVersion>,
    kernel: &KernelRelease,
    verdict: &impl Fn(ZfsVersion, &KernelRelease) -> Verdict,
) -> Result<Target, BlockedChannel> {
    let mut newest: Option<Incompatibility> = None;
    for zfs in releases {
        match verdict(*zfs, kernel) {
            Verdict::Compatible => return Ok(Target { zfs: *zfs, kernel: kernel.clone() }),
            Verdict::Incompatible(reason) => drop(newest.get_or_insert(reason)),
        }
    }
    let not_built = Box::new(newest.as_ref().map_or_else(NotBuilt::without_a_release, NotBuilt::from));
    Err(BlockedChannel::NotBuilt { kernel: kernel.clone(), not_built })
}
