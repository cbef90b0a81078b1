use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use kmod_compat::{Arch, KernelRelease, ZfsLine};

use super::TagClass;
use super::graph::Graph;
use super::inventory::{Inventory, StoredManifest};
use super::{Age, DeleteReason, KeepReason, ManifestKind, RetentionPolicy};
use crate::model::Target;

/// Says of each manifest alone whether it must stay; what others need is the graph's business.
pub(super) struct RetentionEvaluator<'a> {
    policy: &'a RetentionPolicy,
    now: Timestamp,
    kernels: BTreeMap<Kernel<'a>, &'a str>,
    newest: BTreeMap<(ZfsLine, Arch), BTreeSet<usize>>,
}

/// A kernel without its variant: a host that runs the debug build today may run the plain one tomorrow.
type Kernel<'a> = (&'a str, &'a str, Arch);

fn plain(kernel: &KernelRelease) -> Kernel<'_> {
    (kernel.version(), kernel.release(), kernel.arch())
}

impl<'a> RetentionEvaluator<'a> {
    pub(super) fn new(
        policy: &'a RetentionPolicy,
        now: Timestamp,
        inventory: &Inventory,
        classes: &[Vec<TagClass>],
    ) -> Self {
        let kernels = policy.keep_kernels.iter().map(|host| (plain(&host.kernel), &*host.seen)).collect();
        Self { policy, now, kernels, newest: newest(policy.keep_newest, inventory, classes) }
    }

    /// Stays for its own sake, or would go if nothing else needs it. No reason to go means: with what it belongs to.
    pub(super) fn evaluator(
        &self,
        position: usize,
        stored: &StoredManifest,
        classes: &[TagClass],
        graph: &Graph,
    ) -> Result<KeepReason, Option<DeleteReason>> {
        let mut keep = Vec::new();
        let mut delete = Vec::new();
        if stored.info.kind == ManifestKind::Unknown {
            keep.push(KeepReason::UnknownKind { media_type: stored.info.media_type.clone() });
        }
        for (tag, class) in stored.tags.iter().zip(classes) {
            match self.by_tag(position, stored, tag, class) {
                Some(Ok(reason)) => keep.push(reason),
                Some(Err(reason)) => delete.push(reason),
                None => {}
            }
        }
        // Evidence lives with its image, whatever else it may be; young evidence shows that somebody is at work there.
        if graph.is_evidence(position) || (keep.is_empty() && delete.is_empty()) {
            match self.by_place(position, stored, graph) {
                Ok(reason) => keep.push(reason),
                Err(reason) => delete.extend(reason),
            }
        }
        keep.into_iter().min().ok_or_else(|| delete.into_iter().min())
    }

    fn by_tag(
        &self,
        position: usize,
        stored: &StoredManifest,
        tag: &str,
        class: &TagClass,
    ) -> Option<Result<KeepReason, DeleteReason>> {
        let tag = || tag.to_owned();
        Some(match class {
            TagClass::Channel => Ok(KeepReason::Channel { tag: tag() }),
            TagClass::Audit => Ok(KeepReason::Audit { tag: tag() }),
            TagClass::Unknown => Ok(KeepReason::UnknownTag { tag: tag() }),
            TagClass::Candidate => {
                let limit = self.policy.candidates_older_than;
                self.by_age(
                    stored,
                    limit,
                    KeepReason::YoungCandidate { until: limit },
                    DeleteReason::OldCandidate { after: limit },
                )
            }
            TagClass::Branch => {
                let limit = self.policy.branches_older_than;
                self.by_age(
                    stored,
                    limit,
                    KeepReason::YoungBranch { until: limit },
                    DeleteReason::OldBranch { after: limit },
                )
            }
            TagClass::Version(target) => self.by_target(position, stored, target),
            TagClass::Referrers(_) | TagClass::Signature(_) => return None,
        })
    }

    fn by_target(
        &self,
        position: usize,
        stored: &StoredManifest,
        target: &Target,
    ) -> Result<KeepReason, DeleteReason> {
        if let Some(seen) = self.kernels.get(&plain(&target.kernel)) {
            return Ok(KeepReason::HostKernel { kernel: target.kernel.clone(), seen: (*seen).to_owned() });
        }
        let (line, arch, of) = (target.zfs.line(), target.arch(), self.policy.keep_newest);
        if self.newest.get(&(line, arch)).is_some_and(|newest| newest.contains(&position)) {
            return Ok(KeepReason::Newest { line, arch, of });
        }
        let limit = self.policy.older_than;
        self.by_age(stored, limit, KeepReason::Young { until: limit }, DeleteReason::Old { after: limit })
    }

    fn by_place(
        &self,
        position: usize,
        stored: &StoredManifest,
        graph: &Graph,
    ) -> Result<KeepReason, Option<DeleteReason>> {
        let grace = self.policy.orphans_older_than;
        let in_grace = KeepReason::Grace { until: grace };
        if let Some(subject) = graph.orphan_of(position) {
            let orphan = DeleteReason::Orphan { subject: subject.clone() };
            return self.by_age(stored, grace, in_grace, orphan).map_err(Some);
        }
        if graph.is_evidence(position) || graph.is_listed(position) {
            // Of unknown age it follows what it belongs to: that has an age, or stays for the lack of it.
            return match stored.since() {
                Some(since) if !grace.has_passed(since, self.now) => Ok(in_grace),
                _ => Err(None),
            };
        }
        if stored.info.kind == ManifestKind::Signature || graph.is_superseded_index(position, stored) {
            return self.by_age(stored, grace, in_grace, DeleteReason::Superseded).map_err(Some);
        }
        let limit = self.policy.older_than.max(grace);
        self.by_age(
            stored,
            limit,
            KeepReason::Young { until: limit },
            DeleteReason::Untagged { after: limit },
        )
        .map_err(Some)
    }

    fn by_age(
        &self,
        stored: &StoredManifest,
        limit: Age,
        young: KeepReason,
        old: DeleteReason,
    ) -> Result<KeepReason, DeleteReason> {
        match stored.since() {
            None => Ok(KeepReason::AgeUnknown),
            Some(since) if limit.has_passed(since, self.now) => Err(old),
            Some(_) => Ok(young),
        }
    }
}

/// The newest images per line and architecture: distinct digests, however many tags each has. Of those that came at
/// the same moment, GitHub's number tells, then OpenZFS and kernel (outside GitHub an image says only when its OpenZFS
/// was released), then the digest, so that there is always one answer (actions/delete-package-versions#97).
fn newest(
    count: usize,
    inventory: &Inventory,
    classes: &[Vec<TagClass>],
) -> BTreeMap<(ZfsLine, Arch), BTreeSet<usize>> {
    let mut groups: BTreeMap<_, BTreeMap<usize, _>> = BTreeMap::new();
    for (position, (stored, classes)) in inventory.all().iter().zip(classes).enumerate() {
        for class in classes {
            if let TagClass::Version(target) = class {
                let group = groups.entry((target.zfs.line(), target.arch())).or_default();
                let rank = (stored.created, stored.id, target.zfs, &target.kernel);
                let highest = group.entry(position).or_insert(rank);
                *highest = rank.max(*highest);
            }
        }
    }
    let last = |group: BTreeMap<usize, _>| {
        let ranked: BTreeSet<_> = group.into_iter().map(|(position, rank)| (rank, position)).collect();
        ranked.into_iter().rev().take(count).map(|(_, position)| position).collect()
    };
    groups.into_iter().map(|(key, group)| (key, last(group))).collect()
}
