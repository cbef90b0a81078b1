use std::collections::BTreeMap;
use std::str::FromStr;

use clap::Args;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use kmod_compat::Arch;
use kmod_query::coreos::{self, ParseStreamError, ReleaseIndex};
use kmod_query::{CoreOsVersion, Stream};
use miette::{Result, WrapErr as _};

use crate::commands::args::upstream::UpstreamArgs;
use crate::model::cleanup::{HostKernel, releases_in_use};

/// Concurrent release lookups.
const CONCURRENT: usize = 8;

#[derive(Debug, Args)]
pub(super) struct KernelArgs {
    /// Keep images for every kernel that hosts of these streams can still run, or `none`
    #[arg(long, value_delimiter = ',', value_name = "STREAMS", default_values = Stream::with_channel().map(Stream::name))]
    keep_kernels_of: Vec<FollowedStream>,

    /// So many of the last releases of each of these streams; beyond them, all that upstream itself still keeps
    #[arg(long, value_name = "NUMBER", default_value_t = 6)]
    keep_releases: usize,
}

#[derive(Clone, Copy, Debug)]
enum FollowedStream {
    Stream(Stream),
    None,
}

impl FromStr for FollowedStream {
    type Err = ParseStreamError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "none" => Ok(Self::None),
            text => text.parse().map(Self::Stream),
        }
    }
}

impl KernelArgs {
    /// The kernels, each with the releases that have it. An unresolved kernel is an error, because its images would be
    /// deleted.
    pub(super) async fn find(&self, upstream: &UpstreamArgs, now: Timestamp) -> Result<Vec<HostKernel>> {
        let streams: Vec<Stream> = self
            .keep_kernels_of
            .iter()
            .filter_map(|followed| match followed {
                FollowedStream::Stream(stream) => Some(*stream),
                FollowedStream::None => None,
            })
            .collect();
        if streams.is_empty() {
            return Ok(Vec::new());
        }
        let upstream = upstream.connect()?;
        let mut wanted: Vec<(ReleaseIndex, Arch)> = Vec::new();
        for stream in streams {
            let index = upstream.coreos_index(stream).await?;
            crate::commands::args::upstream::report_skipped(stream.name(), &index.skipped);
            let versions: Vec<CoreOsVersion> = index.releases.iter().map(|release| release.version).collect();
            let used = releases_in_use(&versions, self.keep_releases, now);
            for release in index.releases.iter().filter(|release| used.contains(&release.version)) {
                // One index per release, because the lookup always takes the newest entry.
                let mut alone = index.clone();
                alone.releases = vec![release.clone()];
                let arches = Arch::ALL.into_iter().filter(|arch| release.image(*arch).is_some());
                wanted.extend(arches.map(|arch| (alone.clone(), arch)));
            }
        }
        let asked = wanted.len();
        let kernels =
            stream::iter(wanted).map(async |(index, arch)| upstream.coreos_newest(&index, arch).await);
        let releases: Vec<coreos::CoreOsRelease> =
            kernels.buffered(CONCURRENT).try_collect().await.wrap_err(
                "it is not known which kernels hosts can still run, and without that nothing is deleted",
            )?;
        let mut seen: BTreeMap<_, Vec<String>> = BTreeMap::new();
        for release in releases {
            seen.entry(release.kernel).or_default().push(format!("{} {}", release.stream, release.version));
        }
        crate::commands::args::upstream::report_usage(&upstream);
        tracing::info!(asked, kernels = seen.len(), "kernels that hosts can still run");
        Ok(seen
            .into_iter()
            .map(|(kernel, mut places)| {
                places.dedup();
                HostKernel { kernel, seen: places.join(", ") }
            })
            .collect())
    }
}
