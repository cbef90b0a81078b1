//! Reads what a repository has, for reconciliation.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use futures_util::{StreamExt as _, stream};
use jiff::Timestamp;
use kmod_compat::KernelRelease;
use kmod_query::error_chain;

use super::registry::{self, Access, ContentCache, Registries, Registry, RequestStats};
use super::store::ImageStore;
use super::{evidence, inspect};
use crate::model::evidence::lifecycle::{self, ImageHistory};
use crate::model::evidence::verify::{TrustPolicy, proven_inputs};
use crate::model::image::{ImageLocation, ParseImageRefError, Tag, TagOrDigest};
use crate::model::inputs::{
    BuildInputs, InputsPolicy, InputsUse, KernelDevel, PartialInputs, inputs_are_acceptable,
};
use crate::model::promote::TaggedImage;
use crate::model::reconcile::{
    BootTestFact, DesiredState, EvidenceTrust, FailedAttempt, Observation, ObservedImage, ObservedState,
    ObservedTarget, RollbackNote,
};
use crate::model::tags::{Channel, TagClass};
use crate::model::verify::CheckStatus;
use crate::model::{Digest, Target};

const CONCURRENT: usize = 4;

/// A repository of published images, with its trusted signers.
pub struct PublishedImages {
    registries: Registries,
    registry: Registry,
    trust: TrustPolicy,
    now: Timestamp,
}

/// An image with what trusted signers state about it.
struct Read {
    trust: EvidenceTrust,
    /// If it is trusted.
    inputs: Option<BuildInputs>,
    history: ImageHistory,
}

/// What is known without the repository.
#[derive(Clone, Copy)]
struct Known<'a> {
    inputs: Option<&'a PartialInputs>,
    policy: &'a InputsPolicy,
    /// Whether the images are for users.
    is_for_users: bool,
}

impl PublishedImages {
    /// Keeps evidence in `cache`, so that an unchanged image costs three small requests.
    pub async fn open(
        store: &ImageLocation,
        trust: TrustPolicy,
        cache: &Path,
        now: Timestamp,
    ) -> miette::Result<Self> {
        let ImageLocation::Registry(repository) = store else {
            return Err(miette::miette!(
                help = "name a repository in a registry: --repository docker://HOST/NAME",
                "{store} is a directory, and directories store no evidence"
            ));
        };
        let registries = registry::connect();
        let registry = registries.open(repository, Access::Pull).await?;
        let registry = registry.cached_by(ContentCache::new(cache.join("evidence")));
        Ok(Self { registries, registry, trust, now })
    }

    pub fn stats(&self) -> RequestStats {
        self.registries.stats()
    }

    /// `known` are the inputs of today of each desired target. `channel` names the images' own tags.
    ///
    /// A failed request makes what it asked for unknown, and nothing else.
    pub async fn observe(
        &self,
        desired: &DesiredState,
        known: &BTreeMap<Target, PartialInputs>,
        channel: &Channel,
        policy: &InputsPolicy,
    ) -> ObservedState {
        let matrix = &policy.matrix;
        let is_for_users = !channel.is_of_branch();
        let tags = match self.registry.tags().await {
            Ok(tags) => tags.into_iter().collect::<BTreeSet<_>>(),
            Err(error) => {
                let reason = error_chain(&error);
                let unknown = |desired: &crate::model::reconcile::DesiredTarget| {
                    (desired.target.clone(), Err(reason.clone()))
                };
                let targets = desired.targets.iter().map(unknown).collect();
                return ObservedState { targets, ..ObservedState::default() };
            }
        };
        let is_recalled = |target: &Target| matrix.verdict(target.zfs, &target.kernel).exclusion().is_some();
        let recalled = tags.iter().filter_map(|tag| match TagClass::of(tag.as_str()) {
            TagClass::Version(target) if is_recalled(&target) => Some(target),
            TagClass::Withdrawn(target) => Some(target),
            _ => None,
        });
        let targets: BTreeSet<Target> =
            desired.targets.iter().map(|desired| desired.target.clone()).chain(recalled).collect();
        let targets: BTreeMap<Target, Observation<ObservedTarget>> = stream::iter(targets)
            .map(async |target| {
                let known = Known { inputs: known.get(&target), policy, is_for_users };
                let observed = self.target(&target, known, channel, &tags).await;
                (target, observed)
            })
            .buffered(CONCURRENT)
            .collect()
            .await;
        let mut observed = ObservedState { targets, ..ObservedState::default() };
        let wanted: Vec<(Tag, Target)> = desired
            .channels
            .iter()
            .flat_map(|channel| channel.wanted.iter().map(move |target| (channel, target)))
            .flat_map(|(channel, target)| channel.tags(target).into_iter().map(|tag| (tag, target.clone())))
            .collect();
        let answers: Vec<_> = stream::iter(wanted)
            .map(async |(tag, target)| {
                let answer = self.tag(&tag, observed.targets.get(&target)).await;
                (tag, answer)
            })
            .buffered(CONCURRENT)
            .collect()
            .await;
        for (tag, answer) in answers {
            let there = answer.map(|(there, note)| {
                if let Some(note) = note {
                    observed.rollbacks.insert(tag.clone(), note);
                }
                there
            });
            observed.tags.insert(tag, there);
        }
        observed
    }

    /// The kernel-devel package that an image for the kernel was built with, if the repository still has it.
    pub async fn kept_kernel_devel(&self, kernel: &KernelRelease) -> Observation<Option<KernelDevel>> {
        let tags = self.registry.tags().await.map_err(|error| error_chain(&error))?;
        let is_of_kernel = |tag: &&Tag| match TagClass::of(tag.as_str()) {
            TagClass::Version(target) | TagClass::Withdrawn(target) => target.kernel == *kernel,
            _ => false,
        };
        for tag in tags.iter().filter(is_of_kernel) {
            let Some(image) = self.resolve(tag).await? else { continue };
            let Some(inputs) = self.read(&image).await?.inputs else { continue };
            let Some(digest) = &inputs.kernel_devel.digest else { continue };
            if self.registry.has_blob(digest).await.map_err(|error| error_chain(&error))? {
                return Ok(Some(inputs.kernel_devel));
            }
        }
        Ok(None)
    }

    async fn target(
        &self,
        target: &Target,
        known: Known<'_>,
        channel: &Channel,
        tags: &BTreeSet<Tag>,
    ) -> Observation<ObservedTarget> {
        let tag = |tag: Result<Tag, ParseImageRefError>| tag.map_err(|error| error.to_string());
        let own = self.image(&tag(channel.image_tag(target))?, known, false).await?;
        let is_done = own.as_ref().is_some_and(ObservedImage::is_proven);
        let candidate = tag(channel.candidate_tag(target))?;
        let candidate = if is_done || !tags.contains(&candidate) {
            None
        } else {
            self.image(&candidate, known, true).await?
        };
        let failed_builds = match known.inputs {
            Some(known) if !is_done && candidate.is_none() => self.failed_builds(&known.identity()).await?,
            _ => Vec::new(),
        };
        Ok(ObservedTarget { own, candidate, failed_builds })
    }

    async fn image(
        &self,
        tag: &Tag,
        known: Known<'_>,
        is_candidate: bool,
    ) -> Observation<Option<ObservedImage>> {
        let Some(digest) = self.resolve(tag).await? else { return Ok(None) };
        let Read { trust, inputs, history } = self.read(&digest).await?;
        let inputs = inputs.as_ref();
        let missing = match inputs {
            Some(inputs) => self.missing_boot_tests(&digest, &inputs.digest(), &history).await?,
            None => Vec::new(),
        };
        let missing =
            missing.into_iter().map(|test| BootTestFact { finished: test.at, failure: Some(test.reason) });
        let is_current = |inputs: &BuildInputs| known.inputs.is_some_and(|known| inputs.is_build_of(known));
        let is_first = known.is_for_users && !history.is_promoted && is_candidate;
        let purpose = if is_first { InputsUse::FirstPromotion } else { InputsUse::Published };
        let fault = |inputs: &BuildInputs| inputs_are_acceptable(inputs, known.policy, purpose).err();
        let boot_tests = history.boot_tests.into_iter();
        Ok(Some(ObservedImage {
            digest,
            evidence: trust,
            is_current: inputs.is_some_and(is_current),
            unacceptable: inputs.and_then(fault).map(|fault| fault.to_string()),
            boot_tests: boot_tests
                .map(|test| BootTestFact { finished: test.finished, failure: test.failure })
                .chain(missing)
                .collect(),
            is_promoted: history.is_promoted,
            withdrawn: history.withdrawn.map(|withdrawal| withdrawal.reason),
            noted: history.rollbacks.into_keys().collect(),
        }))
    }

    /// Failed boot tests that are stated about the inputs only.
    async fn missing_boot_tests(
        &self,
        image: &Digest,
        inputs: &Digest,
        history: &ImageHistory,
    ) -> Observation<Vec<FailedAttempt>> {
        let evidence = evidence::stored_statements(&self.registry, inputs).await;
        lifecycle::missing_boot_tests(inputs, image, &evidence, history, &self.trust, self.now)
    }

    async fn read(&self, digest: &Digest) -> Observation<Read> {
        let evidence = evidence::stored_statements(&self.registry, digest).await;
        let (trust, inputs) = match proven_inputs(digest, &evidence, &self.trust) {
            Ok(inputs) => {
                let newest = self.trust.newest_of_several();
                let is_rotated =
                    newest.is_some_and(|newest| proven_inputs(digest, &evidence, &newest).is_err());
                let trust = if is_rotated { EvidenceTrust::Rotated } else { EvidenceTrust::Trusted };
                (trust, Some(inputs))
            }
            Err(CheckStatus::Unknown(reason)) => return Err(reason),
            Err(outcome) => {
                let why = outcome.reason().unwrap_or("it is not valid").to_owned();
                (EvidenceTrust::Untrusted(why), None)
            }
        };
        let history = lifecycle::image_history(digest, &evidence, &self.trust, self.now)?;
        Ok(Read { trust, inputs, history })
    }

    /// The image that the tag points to, and the rollback that is noted there.
    async fn tag(
        &self,
        tag: &Tag,
        wanted: Option<&Observation<ObservedTarget>>,
    ) -> Observation<(Option<TaggedImage>, Option<RollbackNote>)> {
        let Some(digest) = self.resolve(tag).await? else { return Ok((None, None)) };
        let own = wanted.and_then(|wanted| wanted.as_ref().ok()).and_then(|wanted| wanted.own.as_ref());
        if own.is_some_and(|own| own.digest == digest) {
            // Its target is not needed: the tag stays.
            return Ok((Some(TaggedImage { digest, target: Err("not read".to_owned()) }), None));
        }
        let images = ImageStore::Registry(self.registry.clone());
        let target = inspect::labelled_target(&images, &digest).await.map_err(|error| error_chain(&error))?;
        let history = self.read(&digest).await?.history;
        let note = history.rollbacks.get(tag).cloned();
        Ok((Some(TaggedImage { digest, target }), note))
    }

    /// They are attached to the identity of the inputs, which is no manifest.
    async fn failed_builds(&self, identity: &Digest) -> Observation<Vec<FailedAttempt>> {
        let evidence = evidence::stored_statements(&self.registry, identity).await;
        lifecycle::failed_attempts(identity, &evidence, &self.trust)
    }

    async fn resolve(&self, tag: &Tag) -> Observation<Option<Digest>> {
        self.registry.resolve(&TagOrDigest::Tag(tag.clone())).await.map_err(|error| error_chain(&error))
    }
}
