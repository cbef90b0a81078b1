use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use kmod_compat::{Arch, KernelRelease, ZfsLine};

use super::TagClass;
use super::graph::Graph;
use super::inventory::{Inventory, Stored};
use super::{Age, Delete, Keep, Kind, Policy};
use crate::model::Target;

/// Says of each manifest alone whether it must stay; what others need is the graph's business.
pub(super) struct Judge<'a> {
    policy: &'a Policy,
    now: Timestamp,
    kernels: BTreeMap<Kernel<'a>, &'a str>,
    newest: BTreeMap<(ZfsLine, Arch), BTreeSet<usize>>,
}

/// A kernel without its variant: a host that runs the debug build today may run the plain one tomorrow.
type Kernel<'a> = (&'a str, &'a str, Arch);

fn plain(kernel: &KernelRelease) -> Kernel<'_> {
    (kernel.version(), kernel.release(), kernel.arch())
}

impl<'a> Judge<'a> {
    pub(super) fn new(
        policy: &'a Policy,
        now: Timestamp,
        inventory: &Inventory,
        classes: &[Vec<TagClass>],
    ) -> Self {
        let kernels = policy.keep_kernels.iter().map(|host| (plain(&host.kernel), &*host.seen)).collect();
        Self { policy, now, kernels, newest: newest(policy.keep_newest, inventory, classes) }
    }

    /// Stays for its own sake, or would go if nothing else needs it. No reason to go means: with what it belongs to.
    pub(super) fn judge(
        &self,
        position: usize,
        stored: &Stored,
        classes: &[TagClass],
        graph: &Graph,
    ) -> Result<Keep, Option<Delete>> {
        let mut keep = Vec::new();
        let mut delete = Vec::new();
        if stored.contents.kind == Kind::Unknown {
            keep.push(Keep::UnknownKind { media_type: stored.contents.media_type.clone() });
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
        stored: &Stored,
        tag: &str,
        class: &TagClass,
    ) -> Option<Result<Keep, Delete>> {
        let tag = || tag.to_owned();
        Some(match class {
            TagClass::Channel => Ok(Keep::Channel { tag: tag() }),
            TagClass::Audit => Ok(Keep::Audit { tag: tag() }),
            TagClass::Unknown => Ok(Keep::UnknownTag { tag: tag() }),
            TagClass::Candidate => {
                let limit = self.policy.candidates_older_than;
                self.by_age(
                    stored,
                    limit,
                    Keep::YoungCandidate { until: limit },
                    Delete::OldCandidate { after: limit },
                )
            }
            TagClass::Branch => {
                let limit = self.policy.betas_older_than;
                self.by_age(stored, limit, Keep::YoungBeta { until: limit }, Delete::OldBeta { after: limit })
            }
            TagClass::Version(target) => self.by_target(position, stored, target),
            TagClass::Referrers(_) | TagClass::Signature(_) => return None,
        })
    }

    fn by_target(&self, position: usize, stored: &Stored, target: &Target) -> Result<Keep, Delete> {
        if let Some(seen) = self.kernels.get(&plain(&target.kernel)) {
            return Ok(Keep::HostKernel { kernel: target.kernel.clone(), seen: (*seen).to_owned() });
        }
        let (line, arch, of) = (target.zfs.line(), target.arch(), self.policy.keep_newest);
        if self.newest.get(&(line, arch)).is_some_and(|newest| newest.contains(&position)) {
            return Ok(Keep::Newest { line, arch, of });
        }
        let limit = self.policy.older_than;
        self.by_age(stored, limit, Keep::Young { until: limit }, Delete::Old { after: limit })
    }

    fn by_place(&self, position: usize, stored: &Stored, graph: &Graph) -> Result<Keep, Option<Delete>> {
        let grace = self.policy.orphans_older_than;
        let in_grace = Keep::Grace { until: grace };
        if let Some(subject) = graph.orphan_of(position) {
            let orphan = Delete::Orphan { subject: subject.clone() };
            return self.by_age(stored, grace, in_grace, orphan).map_err(Some);
        }
        if graph.is_evidence(position) || graph.is_listed(position) {
            // Of unknown age it follows what it belongs to: that has an age, or stays for the lack of it.
            return match stored.since() {
                Some(since) if !grace.has_passed(since, self.now) => Ok(in_grace),
                _ => Err(None),
            };
        }
        if stored.contents.kind == Kind::Signature || graph.is_superseded_index(position, stored) {
            return self.by_age(stored, grace, in_grace, Delete::Superseded).map_err(Some);
        }
        let limit = self.policy.older_than.max(grace);
        self.by_age(stored, limit, Keep::Young { until: limit }, Delete::Untagged { after: limit })
            .map_err(Some)
    }

    fn by_age(&self, stored: &Stored, limit: Age, young: Keep, old: Delete) -> Result<Keep, Delete> {
        match stored.since() {
            None => Ok(Keep::AgeUnknown),
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
