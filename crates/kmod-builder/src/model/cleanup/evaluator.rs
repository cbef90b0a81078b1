use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use kmod_compat::{Arch, ZfsLine};

use super::graph::Graph;
use super::reason::Details;
use super::{
    Age, Inventory, KEEP_RULES, ManifestKind, RetentionPolicy, RetentionReason, StoredManifest, TagClass,
};
use crate::model::Target;

/// Longer than the longest distance between two attempts.
const FAILED_BUILDS: Age = Age::days(30);

/// Evaluates each manifest alone; [`Graph::closure`] adds what other manifests need.
pub(super) struct RetentionEvaluator<'a> {
    pub(super) policy: &'a RetentionPolicy,
    now: Timestamp,
    inventory: &'a Inventory,
    graph: &'a Graph,
    /// Positions of the newest images.
    pub(super) newest: BTreeMap<(ZfsLine, Arch), BTreeSet<usize>>,
}

/// The input of a [`KeepRule`](super::KeepRule).
pub(super) struct Evaluated<'a> {
    pub(super) evaluator: &'a RetentionEvaluator<'a>,
    pub(super) position: usize,
    pub(super) manifest: &'a StoredManifest,
    classes: &'a [TagClass],
    pub(super) lifetimes: Vec<Lifetime>,
}

/// The age at which a manifest is deleted, if no rule keeps it.
pub(super) struct Lifetime {
    pub(super) kind: LifetimeKind,
    limit: Age,
}

/// In the order of reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum LifetimeKind {
    Released,
    Candidate,
    Branch,
    Untagged,
    /// A record of failed builds, or the index that lists it.
    FailedBuilds,
    Orphan,
    Superseded,
    /// Evidence, or listed by an index: deleted together with its image or index.
    Attached,
}

/// Id and sentence, with the names of the details in braces.
pub const DELETE_REASONS: [(&str, &str); 8] = [
    ("old", "it is older than {after} and no host runs its kernel"),
    ("old-candidate", "it is a candidate older than {after}"),
    ("old-branch", "it was built from a branch and is older than {after}"),
    ("untagged", "no tag or index points to it and it is older than {after}"),
    ("old-failed-builds", "it records failed builds and is older than {after}"),
    ("orphan", "its subject {subject} does not exist"),
    ("superseded", "newer evidence has replaced it"),
    ("with", "it belongs to {image}, which is deleted"),
];

impl<'a> RetentionEvaluator<'a> {
    pub(super) fn new(
        policy: &'a RetentionPolicy,
        now: Timestamp,
        inventory: &'a Inventory,
        graph: &'a Graph,
    ) -> Self {
        Self { policy, now, inventory, graph, newest: newest(policy.keep_newest, inventory, graph) }
    }

    /// The reason to keep the manifest, or to delete it if nothing else needs it.
    pub(super) fn evaluate(&self, position: usize) -> Result<RetentionReason, RetentionReason> {
        let manifest = &self.inventory.all()[position];
        let evaluated = Evaluated {
            evaluator: self,
            position,
            manifest,
            classes: self.inventory.classes(position),
            lifetimes: self.lifetimes(position, manifest),
        };
        let kept = KEEP_RULES.iter().find_map(|rule| {
            let details = rule.applies?(&evaluated)?;
            Some(RetentionReason::new(rule.id, rule.text, details))
        });
        kept.map_or_else(|| Err(self.delete_reason(&evaluated)), Ok)
    }

    fn delete_reason(&self, evaluated: &Evaluated<'_>) -> RetentionReason {
        let lifetime = evaluated.lifetimes.iter().min_by_key(|lifetime| lifetime.kind);
        let (position, kind) =
            (evaluated.position, lifetime.map_or(LifetimeKind::Attached, |lifetime| lifetime.kind));
        let detail = match kind {
            LifetimeKind::Superseded => None,
            LifetimeKind::Orphan => {
                self.graph.orphan_of(position).map(|subject| ("subject", subject.to_string()))
            }
            LifetimeKind::Attached => {
                let image = self.graph.belongs_to(position).map(|image| &self.inventory.all()[image].digest);
                let image = image.or_else(|| self.inventory.former_index(&evaluated.manifest.digest));
                image.map(|digest| ("image", digest.to_string()))
            }
            _ => lifetime.map(|lifetime| ("after", lifetime.limit.to_string())),
        };
        let kind = if detail.is_some() { kind } else { LifetimeKind::Superseded };
        let (id, mut text) = DELETE_REASONS[kind as usize];
        if kind == LifetimeKind::Released && self.policy.keep_kernels.is_empty() {
            text = "it is older than {after}";
        }
        RetentionReason::new(id, text, detail.into_iter().collect())
    }

    /// One per tag that names an image. Evidence and manifests without such a tag also have one for their relation to
    /// other manifests: young evidence indicates an upload or a promotion in progress.
    fn lifetimes(&self, position: usize, manifest: &StoredManifest) -> Vec<Lifetime> {
        let Self { policy, graph, .. } = self;
        let classes = self.inventory.classes(position);
        let by_tag = classes.iter().filter_map(|class| match class {
            TagClass::Version(_) => Some((LifetimeKind::Released, policy.older_than)),
            TagClass::Candidate => Some((LifetimeKind::Candidate, policy.candidates_older_than)),
            TagClass::Branch => Some((LifetimeKind::Branch, policy.branches_older_than)),
            _ => None,
        });
        let mut lifetimes: Vec<Lifetime> = by_tag.map(|(kind, limit)| Lifetime { kind, limit }).collect();
        let is_own = |class: &TagClass| !matches!(class, TagClass::Referrers(_) | TagClass::Signature(_));
        let is_evidence = graph.is_evidence(position);
        if is_evidence || !classes.iter().any(is_own) {
            let grace = policy.orphans_older_than;
            let records = |manifest: &StoredManifest| manifest.info.records_failed_builds;
            let lists_records =
                || manifest.info.children.iter().any(|child| self.inventory.find(child).is_some_and(records));
            let (kind, limit) = if records(manifest) || lists_records() {
                (LifetimeKind::FailedBuilds, FAILED_BUILDS)
            } else if graph.orphan_of(position).is_some() {
                (LifetimeKind::Orphan, grace)
            } else if is_evidence
                || graph.is_listed(position)
                || self.inventory.former_index(&manifest.digest).is_some()
            {
                (LifetimeKind::Attached, grace)
            } else if manifest.info.kind == ManifestKind::Signature
                || graph.is_superseded_index(position, manifest)
            {
                (LifetimeKind::Superseded, grace)
            } else {
                (LifetimeKind::Untagged, policy.older_than.max(grace))
            };
            lifetimes.push(Lifetime { kind, limit });
        }
        lifetimes
    }
}

impl Evaluated<'_> {
    pub(super) fn tag_of(&self, class: &TagClass) -> Option<Details> {
        let channels = &self.evaluator.policy.channels;
        let is = |tag: &str, known: &TagClass| match known {
            TagClass::Unknown => TagClass::with_channels(tag, channels) == *class,
            known => known == class,
        };
        let mut tags = self.manifest.tags.iter().zip(self.classes);
        tags.find(|(tag, known)| is(tag, known)).map(|(tag, _)| vec![("tag", tag.clone())])
    }

    pub(super) fn targets(&self) -> impl Iterator<Item = &Target> {
        self.classes.iter().filter_map(|class| match class {
            TagClass::Version(target) => Some(target),
            _ => None,
        })
    }

    pub(super) fn younger_than(&self, kinds: &[LifetimeKind]) -> Option<Details> {
        let since = self.manifest.since()?;
        let mut of_kind = self.lifetimes.iter().filter(|lifetime| kinds.contains(&lifetime.kind));
        let young = of_kind.find(|lifetime| !lifetime.limit.has_passed(since, self.evaluator.now))?;
        Some(vec![("until", young.limit.to_string())])
    }
}

/// Positions of the newest images per line and architecture, counted by digest. Ties are decided by GitHub's number, then OpenZFS
/// and kernel versions (outside GitHub, images have only OpenZFS's release date), then the digest
/// (actions/delete-package-versions#97).
fn newest(count: usize, inventory: &Inventory, graph: &Graph) -> BTreeMap<(ZfsLine, Arch), BTreeSet<usize>> {
    let mut groups: BTreeMap<_, BTreeMap<usize, _>> = BTreeMap::new();
    for (position, stored) in inventory.all().iter().enumerate() {
        if graph.is_evidence(position) || stored.info.kind == ManifestKind::Signature {
            continue;
        }
        for class in inventory.classes(position) {
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
