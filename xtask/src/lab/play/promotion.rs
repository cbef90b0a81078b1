//! Boot test and promotion: a good image is promoted; images with faults are stopped by the check for their fault, and
//! the users' tags do not move.

use std::{collections::BTreeMap, process::Command};

use crate::error::{Context, Result};
use crate::lab::make::kernel::Kernels;
use crate::lab::make::openzfs;
use crate::lab::play::building;
use crate::lab::play::derived_images::{BuiltImage, InjectedFault};
use crate::lab::play::program::{Output, Program};
use crate::lab::play::publisher::Publisher;
use crate::lab::play::verifiers::Verifiers;
use crate::report::Report;
use crate::tools;

/// Limit for an emulated boot test, in seconds.
const BOOT: u64 = 60;

/// A tag that the program did not write.
pub(crate) const BY_HAND: &str = "candidate-by-hand";

pub(crate) fn all(
    report: &mut Report,
    program: &Program,
    verifiers: &Verifiers,
    publisher: &Publisher,
    kernels: &Kernels,
) {
    let scenario = PromotionScenario { program, verifiers, publisher, kernels };
    let mut digest = None;
    let proven = report.step("boot test", || {
        tools::need(&[("qemu-system-x86_64", "qemu-system-x86")])?;
        let candidate = scenario.candidate(&building::image(&kernels.current))?;
        let remark = scenario.passes(&candidate)?;
        digest = Some(candidate);
        Ok(remark)
    });
    let Some(digest) = digest.filter(|_| proven) else { return };
    report.step("promote", || scenario.promote(&digest));
    report.step("promote again", || {
        let before = scenario.tags()?;
        scenario.promotion(&digest, &[])?.expect(0)?;
        scenario.unmoved(&before)?;
        Ok("nothing to do".to_owned())
    });
    report.step("no downgrade", || scenario.rejects_downgrade(&digest));
    report.step("changed evidence", || scenario.tampered(&digest));
    let mut originals = None;
    report.step("images with faults", || {
        let extract = |kernel| BuiltImage::extract(program, kernel);
        originals = Some((extract(&kernels.current)?, extract(&kernels.newer)?));
        Ok(String::new())
    });
    let Some((original, newer)) = originals else { return };
    report.step("modules of another kernel", || {
        let image = original.with(InjectedFault::ForeignModule(&newer))?;
        scenario.breaks_contract(&image, &format!("zfs.ko was built for {}", kernels.newer))
    });
    report.step("a BUG at load", || {
        scenario.fails(&original.with(InjectedFault::Bug)?, "the kernel oopsed while")
    });
    report.step("a lost pool", || {
        let image = original.with(InjectedFault::LostPool)?;
        scenario.fails(&image, "the pool did not come back after the reboot")
    });
    report.step("a kernel without output", || {
        let silent = original.silent_kernel(&kernels.rpm("kernel-core", &kernels.current))?;
        let (image, silent) = (publisher.pinned(&digest), silent.to_string_lossy());
        let arguments = ["boot-test", &image, "--no-sign", "--timeout", "20s", "--kernel-core", &silent];
        let tested = program.run(&[&arguments[..], &["--format", "json"]].concat())?.expect(3)?;
        says(&tested, "the kernel never spoke within 20 s")
    });
}

struct PromotionScenario<'a> {
    program: &'a Program,
    verifiers: &'a Verifiers,
    publisher: &'a Publisher,
    kernels: &'a Kernels,
}

impl PromotionScenario<'_> {
    fn run(&self, arguments: &[&str]) -> Result<Output> {
        self.program.run_with(arguments, &self.publisher.environment())
    }

    /// Publishes an image as a candidate. Returns its digest.
    fn candidate(&self, image: &str) -> Result<String> {
        building::digest_in(&self.publish(image)?.expect(0)?)
    }

    fn publish(&self, image: &str) -> Result<Output> {
        let to = self.publisher.store();
        self.run(&["publish", "--from", image, "--to", &to, "--replace", "--format", "json"])
    }

    fn boot_test(&self, digest: &str) -> Result<Output> {
        self.run(&["boot-test", &self.publisher.pinned(digest), "--accel", "tcg", "--format", "json"])
    }

    fn passes(&self, digest: &str) -> Result<String> {
        let begun = std::time::Instant::now();
        self.boot_test(digest)?.expect(0)?;
        let (seconds, time) = (begun.elapsed().as_secs(), tools::duration(begun.elapsed()));
        if seconds > BOOT {
            return Err(format!("the boot test took {time}").into());
        }
        Ok(format!("a pool was made, and came back after the reboot; {time}, emulated"))
    }

    /// Promotes a digest to stable.
    fn promotion(&self, digest: &str, more: &[&str]) -> Result<Output> {
        let (image, key) = (self.publisher.pinned(digest), self.publisher.key.public.to_string_lossy());
        let arguments = ["promote", &image, "--channel", "stable", "--public-key", &key];
        let audit = ["--audit-tag", "stable-1-abcdef0"];
        self.run(&[&arguments[..], if more.is_empty() { &audit } else { more }].concat())
    }

    fn promote(&self, digest: &str) -> Result<String> {
        self.promotion(digest, &[])?.expect(0)?;
        let tags = self.tags()?;
        let line = openzfs::VERSION.rsplit_once('.').map_or("", |(line, _)| line);
        let tag = building::tag(&self.kernels.current);
        let wanted = [&*tag, "stable", &format!("zfs-{line}_stable"), "fedora-43_stable", "stable-1-abcdef0"];
        if let Some(missing) = wanted.iter().find(|tag| tags.get(**tag).map(String::as_str) != Some(digest)) {
            return Err(format!("{missing} does not point to {digest}: {tags:?}").into());
        }
        let kinds = self.verifiers.discover(&self.publisher.image(digest))?;
        if !kinds.iter().any(|kind| kind.contains("test-result")) {
            return Err(format!("oras finds no test result among {kinds:?}").into());
        }
        Ok(format!("{} tags", wanted.len()))
    }

    /// An older kernel becomes stable again only with `--allow-downgrade`.
    fn rejects_downgrade(&self, older: &str) -> Result<String> {
        let newer = self.candidate(&building::image(&self.kernels.newer))?;
        self.boot_test(&newer)?.expect(0)?;
        self.promotion(&newer, &["--audit-tag", "stable-2-abcdef0"])?.expect(0)?;
        let before = self.tags()?;
        self.promotion(older, &["--audit-tag", "stable-3-abcdef0"])?.expect(3)?;
        self.unmoved(&before)?;
        self.promotion(older, &["--audit-tag", "stable-3-abcdef0", "--allow-downgrade"])?.expect(0)?;
        if self.tags()?.get("stable").map(String::as_str) != Some(older) {
            return Err("--allow-downgrade did not move stable".into());
        }
        Ok("rejected, and done with --allow-downgrade".to_owned())
    }

    /// An image with changed evidence is not promoted.
    fn tampered(&self, digest: &str) -> Result<String> {
        let before = self.tags()?;
        let image = self.publisher.image(digest);
        self.verifiers.while_changed(&image, || self.promotion(digest, &[])?.expect(3).map(drop))?;
        self.unmoved(&before)?;
        Ok("rejected, no tag moved".to_owned())
    }

    /// The RPM contract stops an image before it is published. Published by another program, it is not promoted.
    fn breaks_contract(&self, image: &str, sentence: &str) -> Result<String> {
        let before = self.tags()?;
        let remark = says(&self.publish(image)?.expect(3)?, sentence)?;
        self.unmoved(&before)?;
        let mut copy = Command::new("skopeo");
        copy.args(["copy", "--quiet", "--dest-tls-verify=false", image]);
        copy.arg(format!("{}:{BY_HAND}", self.publisher.store()));
        tools::tied(&copy).status().context("skopeo")?;
        let before = self.tags()?;
        let digest = before.get(BY_HAND).context("skopeo did not push it")?;
        self.promotion(digest, &[])?.expect(3)?;
        self.unmoved(&before)?;
        Ok(remark)
    }

    /// The boot test fails with this message, and the image is not promoted.
    fn fails(&self, image: &str, sentence: &str) -> Result<String> {
        let digest = self.candidate(image)?;
        let before = self.tags()?;
        let remark = says(&self.boot_test(&digest)?.expect(3)?, sentence)?;
        self.promotion(&digest, &[])?.expect(3)?;
        self.unmoved(&before)?;
        Ok(remark)
    }

    /// Every tag with its digest.
    fn tags(&self) -> Result<BTreeMap<String, String>> {
        self.verifiers.tags(&self.publisher.repository)
    }

    fn unmoved(&self, before: &BTreeMap<String, String>) -> Result {
        let after = self.tags()?;
        // Tags that hold evidence may move.
        let for_users = |tag: &str| !tag.starts_with("sha256-");
        match after.iter().find(|(tag, digest)| for_users(tag) && before.get(*tag) != Some(digest)) {
            Some((tag, _)) => Err(format!("the tag {tag} was moved").into()),
            None if after.len() < before.len() => Err("a tag was deleted".into()),
            None => Ok(()),
        }
    }
}

/// Finds a sentence in the output. Returns it with the rest of its line.
fn says(output: &Output, sentence: &str) -> Result<String> {
    let begin = output.text.find(sentence);
    let begin = begin.context(format_args!("the output does not contain `{sentence}`:\n{}", output.text))?;
    let line = output.text[begin..].lines().next().unwrap_or_default();
    Ok(line.trim_end_matches(['"', ',']).to_owned())
}
