use std::collections::BTreeMap;

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use kmod_compat::Arch;
use kmod_query::coreos::{CoreOsRelease, ReleaseIndex};
use kmod_query::{CoreOsVersion, QueryError, Stream, Upstream};

use super::CONCURRENT;
use crate::io::resolve;
use crate::model::cleanup::{HostKernel, releases_in_use};

/// The kernels that hosts of these streams can still run, each with the releases that have it.
///
/// An unresolved kernel is an error, because its images would be deleted.
pub async fn host_kernels(
    upstream: &Upstream,
    streams: &[Stream],
    keep_releases: usize,
    now: Timestamp,
) -> Result<Vec<HostKernel>, QueryError> {
    let mut lookups: Vec<(ReleaseIndex, Arch)> = Vec::new();
    for stream in streams {
        let index = upstream.coreos_index(*stream).await?;
        resolve::report_skipped(stream.name(), &index.skipped);
        let versions: Vec<CoreOsVersion> = index.releases.iter().map(|release| release.version).collect();
        let used = releases_in_use(&versions, keep_releases, now);
        for release in index.releases.iter().filter(|release| used.contains(&release.version)) {
            // One index per release, because the lookup always takes the newest entry.
            let mut alone = index.clone();
            alone.releases = vec![release.clone()];
            let arches = Arch::ALL.into_iter().filter(|arch| release.image(*arch).is_some());
            lookups.extend(arches.map(|arch| (alone.clone(), arch)));
        }
    }
    let asked = lookups.len();
    let releases =
        stream::iter(lookups).map(async |(index, arch)| upstream.coreos_newest(&index, arch).await);
    let releases: Vec<CoreOsRelease> = releases.buffered(CONCURRENT).try_collect().await?;
    let mut seen: BTreeMap<_, Vec<String>> = BTreeMap::new();
    for release in releases {
        seen.entry(release.kernel).or_default().push(format!("{} {}", release.stream, release.version));
    }
    tracing::info!(asked, kernels = seen.len(), "kernels that hosts can still run");
    let kernels = seen.into_iter().map(|(kernel, mut seen)| {
        seen.dedup();
        HostKernel { kernel, seen: seen.join(", ") }
    });
    Ok(kernels.collect())
}
