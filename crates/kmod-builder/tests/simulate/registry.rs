//! A repository in memory: what the engine observes, and what the commands write.

use std::collections::BTreeMap;

use jiff::Timestamp;
use kmod_builder::model::image::Tag;
use kmod_builder::model::promote::TaggedImage;
use kmod_builder::model::reconcile::{
    BootTestFact, DesiredState, EvidenceTrust, FailedAttempt, ObservedImage, ObservedState, ObservedTarget,
    RollbackNote,
};
use kmod_builder::model::{Digest, Target};

/// The inputs of a build beside its target.
pub(crate) type Recipe = u32;

#[derive(Clone)]
pub(crate) struct Image {
    pub(crate) target: Target,
    pub(crate) recipe: Recipe,
    pub(crate) boot_tests: Vec<BootTestFact>,
    pub(crate) is_promoted: bool,
    pub(crate) withdrawn: Option<String>,
    pub(crate) rollbacks: BTreeMap<Tag, RollbackNote>,
}

impl Image {
    pub(crate) fn passed_last(&self) -> bool {
        self.boot_tests.iter().max_by_key(|test| test.finished).is_some_and(|test| test.failure.is_none())
    }
}

#[derive(Default)]
pub(crate) struct Registry {
    pub(crate) images: BTreeMap<Digest, Image>,
    pub(crate) tags: BTreeMap<Tag, Digest>,
    pub(crate) failed_builds: BTreeMap<(Target, Recipe), Vec<FailedAttempt>>,
    /// Successful builds. One whose run is killed before the candidate has its tag does not count.
    pub(crate) builds: BTreeMap<(Target, Recipe), usize>,
}

pub(crate) fn candidate_tag(target: &Target) -> Tag {
    format!("candidate-{}", target.tag()).parse().unwrap()
}

impl Registry {
    pub(crate) fn at(&self, tag: &Tag) -> Option<(&Digest, &Image)> {
        let digest = self.tags.get(tag)?;
        Some((digest, self.images.get(digest)?))
    }

    pub(crate) fn add(&mut self, target: &Target, recipe: Recipe) -> Digest {
        let digest = Digest::of(format!("{target} {recipe}").as_bytes());
        self.images.entry(digest.clone()).or_insert_with(|| Image {
            target: target.clone(),
            recipe,
            boot_tests: Vec::new(),
            is_promoted: false,
            withdrawn: None,
            rollbacks: BTreeMap::new(),
        });
        digest
    }

    /// `counts`: not by a second publisher at the same time.
    pub(crate) fn set_candidate(&mut self, target: &Target, recipe: Recipe, digest: &Digest, counts: bool) {
        *self.builds.entry((target.clone(), recipe)).or_default() += usize::from(counts);
        self.tags.insert(candidate_tag(target), digest.clone());
    }

    pub(crate) fn fail_build(&mut self, target: &Target, recipe: Recipe, at: Timestamp) {
        let attempt = FailedAttempt { at, reason: "error: unknown type name".into() };
        self.failed_builds.entry((target.clone(), recipe)).or_default().push(attempt);
    }

    /// `is_recalled` says of which published images the matrix has an exclusion.
    pub(crate) fn observe(
        &self,
        desired: &DesiredState,
        recipe: Recipe,
        is_recalled: impl Fn(&Target) -> bool,
    ) -> ObservedState {
        let mut observed = ObservedState::default();
        let published =
            self.images.values().filter(|image| is_recalled(&image.target) || image.withdrawn.is_some());
        let wanted = desired.targets.iter().map(|desired| &desired.target);
        for target in wanted.chain(published.map(|image| &image.target)) {
            observed.targets.insert(target.clone(), Ok(self.target(target, recipe)));
        }
        for channel in &desired.channels {
            for tag in channel.wanted.iter().flat_map(|target| channel.tags(target)) {
                let there = self.at(&tag);
                if let Some(note) = there.and_then(|(_, image)| image.rollbacks.get(&tag)) {
                    observed.rollbacks.insert(tag.clone(), note.clone());
                }
                let there = there.map(|(digest, image)| TaggedImage {
                    digest: digest.clone(),
                    target: Ok(image.target.clone()),
                });
                observed.tags.insert(tag, Ok(there));
            }
        }
        observed
    }

    fn target(&self, target: &Target, recipe: Recipe) -> ObservedTarget {
        let image = |tag: &Tag| {
            self.at(tag).map(|(digest, image)| ObservedImage {
                digest: digest.clone(),
                evidence: EvidenceTrust::Trusted,
                is_current: image.recipe == recipe,
                unacceptable: None,
                boot_tests: image.boot_tests.clone(),
                is_promoted: image.is_promoted,
                withdrawn: image.withdrawn.clone(),
                noted: image.rollbacks.keys().cloned().collect(),
            })
        };
        ObservedTarget {
            own: image(&target.tag()),
            candidate: image(&candidate_tag(target)),
            failed_builds: self.failed_builds.get(&(target.clone(), recipe)).cloned().unwrap_or_default(),
        }
    }
}
