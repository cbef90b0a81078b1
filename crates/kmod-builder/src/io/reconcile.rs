//! Gathers the desired and the observed state, and plans.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use futures_util::future::{join_all, try_join_all};
use jiff::Timestamp;
use kmod_compat::{Arch, CompatMatrix, KernelRelease, ZfsLine, ZfsVersion};
use kmod_query::{QueryError, Upstream, ZfsRelease, error_chain};

use super::published_images::PublishedImages;
use super::resolve::{self, ResolveError};
use crate::model::inputs::{
    BuildInputs, Declaration, InputsPolicy, InputsUse, PartialInputs, PartialInputsError,
    inputs_are_acceptable,
};
use crate::model::plan::{NotBuilt, Plan, UnresolvedSource};
use crate::model::reconcile::{
    DesiredState, DesiredTarget, FollowedSource, MissingInput, ObservedState, ReconcileOptions,
    ReconcilePlan, Source, SourceOrigin, SourceState, reconcile,
};
use crate::model::tags::Channel;
use crate::model::{Compression, Target};

/// Which releases of OpenZFS may be chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReleaseChoice {
    /// The first one is the default line.
    Lines(Vec<ZfsLine>),
    Exactly(ZfsVersion),
}

pub struct Planner<'a> {
    pub upstream: &'a Upstream,
    pub cache: &'a Path,
    pub published: Option<&'a PublishedImages>,
    /// That names the images' own tags.
    pub channel: Channel,
    pub now: Timestamp,
    pub force: bool,
}

/// Releases that exist, and what is known about those without a row.
struct Releases {
    versions: Vec<ZfsVersion>,
    found: BTreeMap<ZfsVersion, ZfsRelease>,
    declarations: BTreeMap<ZfsVersion, Declaration>,
    /// Why nothing is known about a release, in a sentence.
    unknown: BTreeMap<ZfsVersion, String>,
}

/// Asks for all sources at the same time; one that does not answer does not stop the others.
pub async fn observe_sources(
    upstream: &Upstream,
    sources: &[Source],
    arches: &[Arch],
) -> (Vec<FollowedSource>, Vec<UnresolvedSource>) {
    let asked = sources.iter().flat_map(|source| arches.iter().map(move |arch| (source, *arch)));
    let answers = asked.map(async |(source, arch)| {
        let answer = match &source.origin {
            SourceOrigin::Stream(stream) => resolve::stream(upstream, *stream, arch).await,
            SourceOrigin::Image(reference) => resolve::image(upstream, reference, arch).await,
        };
        (source, arch, answer)
    });
    let (mut followed, mut unresolved) = (Vec::new(), Vec::new());
    let mut reported = BTreeSet::new();
    for (source, arch, answer) in join_all(answers).await {
        let name = source.origin.to_string();
        let state = match answer {
            Ok(found) => {
                if reported.insert(name.clone()) {
                    resolve::report_skipped(&name, &found.skipped);
                }
                SourceState::from(found)
            }
            Err(error) => {
                let (is_gone, reason) = (error.is_gone(), sentence(&error));
                unresolved.push(UnresolvedSource {
                    source: format!("{name} ({arch})"),
                    gone: is_gone,
                    reason: reason.clone(),
                });
                if is_gone { SourceState::Gone { reason } } else { SourceState::Unknown { reason } }
            }
        };
        followed.push(FollowedSource { name, channel: source.channel.clone(), arch, state });
    }
    (followed, unresolved)
}

impl Planner<'_> {
    /// The matrix of the policy gets the rows of declared releases.
    pub async fn plan(
        &self,
        sources: &[FollowedSource],
        choice: &ReleaseChoice,
        mut policy: InputsPolicy,
        unresolved: Vec<UnresolvedSource>,
    ) -> Result<Plan, QueryError> {
        let lines = match choice {
            ReleaseChoice::Exactly(version) => vec![version.line()],
            ReleaseChoice::Lines(lines) => lines.clone(),
        };
        let mut releases = self.releases(choice, &mut policy).await?;
        let (policy, matrix) = (&policy, &policy.matrix);
        // A tag is pushed before its release is published: such a version is left out, and the next one is chosen.
        let desired = loop {
            let verdict = |zfs, kernel: &KernelRelease| match releases.unknown.get(&zfs) {
                Some(reason) => Err(reason.clone()),
                None => Ok(matrix.verdict(zfs, kernel)),
            };
            let desired = DesiredState::new(sources, &lines, &releases.versions, verdict);
            if self.fetch(&desired, &mut releases).await? {
                break desired;
            }
        };
        let known = releases.partial_inputs(&desired, matrix);
        let usable = known.iter().filter_map(|(target, known)| Some((target.clone(), known.clone().ok()?)));
        let usable: BTreeMap<Target, PartialInputs> = usable.collect();
        let verdict = |zfs, kernel: &KernelRelease| matrix.verdict(zfs, kernel);
        let observed = match self.published {
            Some(published) => published.observe(&desired, &usable, &self.channel, policy).await,
            None => ObservedState::nothing_published(&desired),
        };
        let options = ReconcileOptions { now: self.now, force: self.force };
        let mut reconciled = reconcile(&desired, &observed, verdict, options);
        let inputs = self.build_inputs(&mut reconciled, &known, policy).await;
        Ok(Plan::of_reconciliation(&desired, reconciled, inputs, unresolved))
    }

    async fn releases(
        &self,
        choice: &ReleaseChoice,
        policy: &mut InputsPolicy,
    ) -> Result<Releases, QueryError> {
        let mut releases = Releases {
            versions: Vec::new(),
            found: BTreeMap::new(),
            declarations: BTreeMap::new(),
            unknown: BTreeMap::new(),
        };
        let versions = match choice {
            ReleaseChoice::Exactly(version) => {
                // One that was asked for by name and does not exist is an error.
                releases.found.insert(*version, self.upstream.openzfs.fetch_version(*version).await?);
                vec![*version]
            }
            ReleaseChoice::Lines(lines) => {
                let answers = lines.iter().map(|line| self.upstream.openzfs.fetch_versions(*line));
                try_join_all(answers).await?.concat()
            }
        };
        let mut complete = BTreeSet::new();
        for version in versions {
            // The newest come first: releases older than one with a row are not asked about.
            let is_new = !complete.contains(&version.line()) && policy.matrix.wants_declaration(version);
            if !is_new {
                complete.insert(version.line());
                releases.versions.push(version);
                continue;
            }
            match self.declare(version, &mut releases, policy).await {
                Ok(true) => {}
                Ok(false) => continue,
                Err(error) => drop(releases.unknown.insert(version, sentence(&error))),
            }
            releases.versions.push(version);
        }
        Ok(releases)
    }

    /// Returns whether the release is published.
    async fn declare(
        &self,
        version: ZfsVersion,
        releases: &mut Releases,
        policy: &mut InputsPolicy,
    ) -> Result<bool, ResolveError> {
        if !self.find(version, releases).await? {
            return Ok(false);
        }
        let release = &releases.found[&version];
        let InputsPolicy { release_keys, matrix, .. } = policy;
        let declaration = resolve::declare(self.upstream, release_keys, matrix, release, self.cache).await?;
        releases.declarations.extend(declaration.map(|declaration| (version, declaration)));
        Ok(true)
    }

    /// Returns whether every desired release is published. Those that are not are removed from the list.
    async fn fetch(&self, desired: &DesiredState, releases: &mut Releases) -> Result<bool, QueryError> {
        for version in desired.targets.iter().map(|desired| desired.target.zfs).collect::<BTreeSet<_>>() {
            if !self.find(version, releases).await? {
                releases.versions.retain(|known| *known != version);
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Returns whether the release is published.
    async fn find(&self, version: ZfsVersion, releases: &mut Releases) -> Result<bool, QueryError> {
        if releases.found.contains_key(&version) {
            return Ok(true);
        }
        match self.upstream.openzfs.fetch_version(version).await {
            Ok(release) => drop(releases.found.insert(version, release)),
            Err(QueryError::NotFound { .. } | QueryError::NoRelease { .. }) => return Ok(false),
            Err(error) => return Err(error),
        }
        Ok(true)
    }

    /// Packages and images are looked up only for a build. A target whose packages are missing waits.
    async fn build_inputs(
        &self,
        reconciled: &mut ReconcilePlan,
        known: &BTreeMap<Target, Result<PartialInputs, PartialInputsError>>,
        policy: &InputsPolicy,
    ) -> BTreeMap<Target, BuildInputs> {
        let built = reconciled.targets.iter().filter(|planned| planned.is_built());
        let built: Vec<Target> = built.map(|planned| planned.target.clone()).collect();
        let answers = join_all(built.into_iter().filter_map(|target| {
            let known = known.get(&target)?.clone();
            Some(async move {
                let inputs = match known {
                    Ok(known) => Ok(self.resolve(known, policy).await),
                    Err(error) => Err(error),
                };
                (target, inputs)
            })
        }));
        let mut inputs = BTreeMap::new();
        for (target, answer) in answers.await {
            match answer {
                Ok(Ok(found)) => match inputs_are_acceptable(&found, policy, InputsUse::FirstPromotion) {
                    Err(unacceptable) if !self.channel.is_of_branch() => {
                        reconciled.reject(&target, &NotBuilt::unacceptable(&unacceptable));
                    }
                    Ok(()) | Err(_) => drop(inputs.insert(target, found)),
                },
                Ok(Err(error)) => match error.missing_input() {
                    Some(missing) => reconciled.wait(&target, missing, &sentence(&error)),
                    None if error.is_untrusted() => {
                        reconciled.reject(&target, &NotBuilt::unverified(&sentence(&error)));
                    }
                    None => reconciled.fail(&target, &sentence(&error)),
                },
                Err(error) => reconciled.reject(&target, &NotBuilt::from(&error)),
            }
        }
        inputs
    }

    /// A package that upstream deleted may be kept in the repository.
    async fn resolve(
        &self,
        known: PartialInputs,
        policy: &InputsPolicy,
    ) -> Result<BuildInputs, ResolveError> {
        let resolved = resolve::inputs(self.upstream, known.clone(), &policy.packages, self.cache).await;
        let (Err(error), Some(published)) = (&resolved, self.published) else { return resolved };
        if error.missing_input() != Some(MissingInput::KernelDevel) {
            return resolved;
        }
        match published.kept_kernel_devel(&known.target.kernel).await {
            Ok(Some(kept)) => resolve::inputs_with(self.upstream, known, kept).await,
            Ok(None) | Err(_) => resolved,
        }
    }
}

impl Releases {
    /// The inputs of today, as far as they are known without asking for packages.
    fn partial_inputs(
        &self,
        desired: &DesiredState,
        matrix: &CompatMatrix,
    ) -> BTreeMap<Target, Result<PartialInputs, PartialInputsError>> {
        let of = |DesiredTarget { target, fedora, image, .. }: &DesiredTarget| {
            let release = self.found.get(&target.zfs)?;
            let image = Some(image.clone());
            let known =
                PartialInputs::new(matrix, release, &target.kernel, *fedora, Compression::default(), image);
            let declared = self.declarations.get(&target.zfs).cloned();
            Some((target.clone(), known.map(|known| PartialInputs { declared, ..known })))
        };
        desired.targets.iter().filter_map(of).collect()
    }
}

/// The error, its causes and its help text.
fn sentence(error: &(impl miette::Diagnostic + 'static)) -> String {
    let help = error.help().map(|help| format!("\nhelp: {help}"));
    error_chain(error) + &help.unwrap_or_default()
}
