//! Cleanup of a repository with six targets, two of them promoted, and failed candidates. libfaketime sets the clock.

use std::{collections::BTreeSet, fs, path::PathBuf};

use crate::error::{Context, Result};
use crate::lab::apt::Apt;
use crate::lab::cache::{CacheKey, LabCache};
use crate::lab::make::kernel::Kernels;
use crate::lab::play::building;
use crate::lab::play::derived_images::BuiltImage;
use crate::lab::play::program::{Output, Program};
use crate::lab::play::promotion::BY_HAND;
use crate::lab::play::publisher::Publisher;
use crate::lab::play::verifiers::Verifiers;
use crate::lab::play::workflow_scenario::FakeClock;
use crate::report::Report;

/// Releases of kernels that were never compiled, oldest first. The last one is among the newest three of all.
const OLDER: [&str; 4] = ["-150", "-151", "-152", "-153"];
/// Offset of the clock in hours.
const LATER: u32 = 200 * 24;
const LIBRARY: &str = "libfaketime";

/// In the repository with the promoted images.
pub(crate) fn all(
    report: &mut Report,
    program: &Program,
    cache: &LabCache,
    verifiers: &Verifiers,
    publisher: &Publisher,
    kernels: &Kernels,
) {
    let mut scenario = None;
    report.step("six targets", || {
        let faketime = faketime(cache)?;
        let mut begun = RetentionScenario { program, verifiers, publisher, faketime, targets: Vec::new() };
        let remark = begun.publish(kernels)?;
        scenario = Some(begun);
        Ok(remark)
    });
    let Some(scenario) = scenario else { return };
    let mut gone = None;
    report.step("clean up", || {
        let (remark, digests) = scenario.clean_up()?;
        gone = Some(digests);
        Ok(remark)
    });
    let Some(gone) = gone else { return };
    report.step("nothing left of them", || scenario.again(&gone));
    report.step("restore", || scenario.restore());
}

struct RetentionScenario<'a> {
    program: &'a Program,
    verifiers: &'a Verifiers,
    publisher: &'a Publisher,
    faketime: PathBuf,
    /// Kernel and digest of each target, oldest kernel first.
    targets: Vec<(String, String)>,
}

impl RetentionScenario<'_> {
    /// Publishes images for older kernels. The two newest targets exist already.
    fn publish(&mut self, kernels: &Kernels) -> Result<String> {
        let original = BuiltImage::extract(self.program, &kernels.current)?;
        let (version, rest) = kernels.current.split_once('-').context("the kernel has no release")?;
        let rest = rest.split_once('.').context("the release has no distribution")?.1;
        for release in OLDER {
            let kernel = format!("{version}{release}.{rest}");
            let image = original.for_kernel(&kernel)?;
            let arguments =
                ["publish", "--from", &image, "--to", &self.publisher.store(), "--format", "json"];
            let published = self.program.run_with(&arguments, &self.publisher.environment())?.expect(0)?;
            let digest = building::digest_in(&published)?;
            // As if they had been promoted once.
            self.verifiers
                .tag(&format!("{}@{digest}", self.publisher.repository), &building::tag(&kernel))?;
            self.targets.push((kernel, digest));
        }
        let tags = self.verifiers.tags(&self.publisher.repository)?;
        for kernel in [&kernels.current, &kernels.newer] {
            let digest = tags.get(&building::tag(kernel)).cloned();
            self.targets.push((kernel.clone(), digest.context(format_args!("{kernel} was not promoted"))?));
        }
        Ok(format!("{} published with evidence, two of them promoted", self.targets.len()))
    }

    /// Cleans up half a year later. Returns the digests of deleted images and of their evidence.
    fn clean_up(&self) -> Result<(String, BTreeSet<String>)> {
        let tags = self.verifiers.tags(&self.publisher.repository)?;
        let kept: BTreeSet<_> = self.targets.iter().skip(OLDER.len() - 1).map(|(_, digest)| digest).collect();
        let (strange, going): (Vec<_>, Vec<_>) = tags
            .iter()
            .filter(|(tag, digest)| !tag.starts_with("sha256-") && !kept.contains(digest))
            .partition(|(tag, _)| *tag == BY_HAND);
        let going: BTreeSet<_> = going.into_iter().map(|(_, digest)| digest.clone()).collect();
        let mut all = going.clone();
        for digest in &going {
            all.extend(self.verifiers.referrers(&self.publisher.image(digest))?);
            let evidence = digest.replace(':', "-");
            all.extend(tags.iter().filter(|(tag, _)| tag.starts_with(&evidence)).map(|(_, it)| it.clone()));
        }
        let dry = self.cleanup(&["--dry-run", "--plan", "plan.json"])?.expect(0)?;
        dry.mentions(&going.iter().map(|digest| &digest["sha256:".len()..][..12]).collect::<Vec<_>>())?;
        if self.verifiers.tags(&self.publisher.repository)? != tags {
            return Err("a dry run changed something".into());
        }
        self.cleanup(&["--journal", "journal.jsonl"])?.expect(0)?;
        for (kernel, digest) in self.targets.iter().skip(OLDER.len() - 1) {
            self.is_whole(digest).context(kernel)?;
        }
        self.are_gone(&going)?;
        for (tag, digest) in strange {
            if !self.verifiers.is_there(&self.publisher.image(digest))? {
                return Err(format!("the tag {tag}, which the program did not write, was deleted").into());
            }
        }
        Ok((format!("{} images are gone, {} stay whole", going.len(), kept.len()), all))
    }

    /// A second run deletes nothing, and no evidence of deleted images exists.
    fn again(&self, gone: &BTreeSet<String>) -> Result<String> {
        self.cleanup(&["--journal", "journal-2.jsonl"])?.expect(0)?;
        self.are_gone(gone)?;
        Ok(format!("{} manifests", gone.len()))
    }

    /// A restored image has its evidence, and the verifiers accept it.
    fn restore(&self) -> Result<String> {
        let (kernel, digest) = self.targets.first().context("no target")?;
        self.program.done(&["cleanup", "restore", "journal.jsonl", digest])?;
        self.is_whole(digest)?;
        self.are_gone(&BTreeSet::from([self.targets[1].1.clone()]))?;
        Ok(format!("{kernel} is restored, and all verifiers accept it"))
    }

    fn cleanup(&self, more: &[&str]) -> Result<Output> {
        let time = FakeClock { library: self.faketime.clone(), hours: LATER }.variables();
        // Two thirds of this repository are old; in a real one it is less.
        let arguments = ["cleanup", &self.publisher.store(), "--max-delete", "90%"];
        self.program.run_with(&[&arguments[..], more].concat(), &time)
    }

    /// The program and the other verifiers accept an image.
    fn is_whole(&self, digest: &str) -> Result {
        let key = self.publisher.key.public.to_string_lossy();
        self.program.done(&["verify", &self.publisher.pinned(digest), "--public-key", &key])?;
        self.verifiers.accept(&self.publisher.image(digest), &self.publisher.key).map(drop)
    }

    fn are_gone(&self, digests: &BTreeSet<String>) -> Result {
        for digest in digests {
            if self.verifiers.is_there(&self.publisher.image(digest))? {
                return Err(format!("{digest} still exists").into());
            }
        }
        Ok(())
    }
}

/// From this machine's own Debian release: it needs its C library.
pub(crate) fn faketime(cache: &LabCache) -> Result<PathBuf> {
    let release = fs::read_to_string("/etc/os-release")?;
    let suite = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    let suite = suite.context("/etc/os-release names no release of Debian")?.trim_matches('"');
    let key = CacheKey::new().with(LIBRARY).with(suite);
    let entry = cache.entry(LIBRARY, key, |directory| Apt::of(cache, suite)?.unpack(LIBRARY, directory))?;
    let architecture = std::env::consts::ARCH;
    Ok(entry.join(format!("usr/lib/{architecture}-linux-gnu/faketime/libfaketime.so.1")))
}
