use std::collections::BTreeSet;
use std::fmt;

use kmod_compat::{Arch, FedoraVersion, Incompatibility, KernelRelease, Verdict, ZfsLine, ZfsVersion};

use kmod_query::Stream;

use crate::model::Target;
use crate::model::image::Tag;
use crate::model::inputs::SourceImageRef;
use crate::model::plan::NotBuilt;
use crate::model::tags::{Channel, LineChannel};

/// A source of kernels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    pub origin: SourceOrigin,
    /// `None`: its images get their own tags only.
    pub channel: Option<Channel>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SourceOrigin {
    Stream(Stream),
    /// A bootable image: `quay.io/fedora/fedora-bootc:43`.
    Image(String),
}

impl fmt::Display for SourceOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stream(stream) => f.pad(&stream.to_string()),
            Self::Image(reference) => f.pad(reference),
        }
    }
}

impl From<Stream> for Source {
    fn from(stream: Stream) -> Self {
        let channel = stream.has_channel().then_some(Channel::Stream(stream));
        Self { origin: SourceOrigin::Stream(stream), channel }
    }
}

/// A stream or a bootable image, on one architecture, and the channel of its hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FollowedSource {
    /// As shown: `stable`, `quay.io/fedora/fedora-bootc:43`.
    pub name: String,
    /// `None`: images get their own tags only.
    pub channel: Option<Channel>,
    pub arch: Arch,
    pub state: SourceState,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceState {
    Kernel {
        kernel: KernelRelease,
        /// Of the image, if the kernel names none.
        fedora: Option<FedoraVersion>,
        image: SourceImageRef,
    },
    /// The source answered that it does not exist any more. Its tags stay.
    Gone { reason: String },
    /// The source did not answer.
    Unknown { reason: String },
}

/// A branch, or a channel that was asked for, has one channel for each architecture: that of the first source. The images
/// of the other sources get their own tags only, as do those of a release that was asked for.
pub fn assign_channels(sources: &mut [FollowedSource], asked: Option<&Channel>, only_own_tags: bool) {
    let mut taken = BTreeSet::new();
    for source in sources {
        match asked {
            _ if only_own_tags => source.channel = None,
            Some(channel) => source.channel = Some(channel.clone()).filter(|_| taken.insert(source.arch)),
            None => {}
        }
    }
}

/// What the repository should have. Every target once, in the order of the sources.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DesiredState {
    pub targets: Vec<DesiredTarget>,
    pub channels: Vec<DesiredChannel>,
    /// Kernels of sources that no release of a line may be built for.
    pub blocked: Vec<BlockedTarget>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockedTarget {
    /// With the newest release of the line.
    pub target: Target,
    pub source: String,
    pub not_built: NotBuilt,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredTarget {
    pub target: Target,
    /// Of the kernel.
    pub sources: Vec<String>,
    /// Of the image of the first source, if the kernel names none.
    pub fedora: Option<FedoraVersion>,
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
        /// `None` if the line has no release.
        zfs: Option<ZfsVersion>,
        kernel: KernelRelease,
        not_built: Box<NotBuilt>,
    },
    SourceGone {
        reason: String,
    },
    SourceUnknown {
        reason: String,
    },
    /// Whether a release may be built could not be found out.
    VerdictUnknown {
        reason: String,
    },
}

impl DesiredChannel {
    /// From the most general to the most specific.
    pub fn tags(&self, target: &Target) -> Vec<Tag> {
        self.channel.moving_tags_of_line(target, self.is_default_line)
    }

    /// The argument of a promotion.
    pub fn line_channel(&self) -> LineChannel {
        let line = (!self.is_default_line).then_some(self.line);
        LineChannel { channel: self.channel.clone(), line }
    }

    /// As shown: `stable`, `zfs-2.3_stable_aarch64`.
    pub fn name(&self) -> String {
        self.line_channel().followed_on(self.arch)
    }
}

impl DesiredState {
    /// For each kernel and line, the newest release that exists and supports the kernel.
    ///
    /// `releases` are in any order. A release that may not be used does not stop an older one. Of several sources with
    /// one channel and architecture the first counts; a configuration with such sources is rejected when it is read.
    /// The error of `verdict` is a sentence: why it is not known. Nothing is then desired for the kernel and line.
    pub fn new(
        sources: &[FollowedSource],
        lines: &[ZfsLine],
        releases: &[ZfsVersion],
        verdict: impl Fn(ZfsVersion, &KernelRelease) -> Result<Verdict, String>,
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
                    SourceState::Kernel { kernel, .. } => {
                        newest_usable(of_line, kernel, &verdict).map_err(|blocked| *blocked)
                    }
                };
                if let (Ok(target), SourceState::Kernel { image, fedora, .. }) = (&wanted, &source.state) {
                    desired.add(target, source, *fedora, image);
                }
                if let Err(BlockedChannel::NotBuilt { zfs: Some(zfs), kernel, not_built }) = &wanted {
                    desired.blocked.push(BlockedTarget {
                        target: Target { zfs: *zfs, kernel: kernel.clone() },
                        source: source.name.clone(),
                        not_built: (**not_built).clone(),
                    });
                }
                desired.channels.extend(source.channel.clone().map(|channel| DesiredChannel {
                    channel,
                    source: source.name.clone(),
                    line: *line,
                    arch: source.arch,
                    is_default_line: position == 0,
                    wanted,
                }));
            }
        }
        desired
    }

    fn add(
        &mut self,
        target: &Target,
        source: &FollowedSource,
        fedora: Option<FedoraVersion>,
        image: &SourceImageRef,
    ) {
        if let Some(known) = self.targets.iter_mut().find(|known| known.target == *target) {
            known.sources.push(source.name.clone());
        } else {
            self.targets.push(DesiredTarget {
                target: target.clone(),
                sources: vec![source.name.clone()],
                fedora,
                image: image.clone(),
            });
        }
    }
}

fn newest_usable<'a>(
    releases: impl Iterator<Item = &'a ZfsVersion>,
    kernel: &KernelRelease,
    verdict: &impl Fn(ZfsVersion, &KernelRelease) -> Result<Verdict, String>,
) -> Result<Target, Box<BlockedChannel>> {
    let mut newest: Option<Incompatibility> = None;
    for zfs in releases {
        match verdict(*zfs, kernel).map_err(|reason| Box::new(BlockedChannel::VerdictUnknown { reason }))? {
            Verdict::Compatible => return Ok(Target { zfs: *zfs, kernel: kernel.clone() }),
            Verdict::Incompatible(reason) => drop(newest.get_or_insert(reason)),
        }
    }
    let not_built = Box::new(newest.as_ref().map_or_else(NotBuilt::without_a_release, NotBuilt::from));
    let zfs = newest.map(|reason| reason.zfs);
    Err(Box::new(BlockedChannel::NotBuilt { zfs, kernel: kernel.clone(), not_built }))
}
