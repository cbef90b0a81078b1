use std::collections::{BTreeSet, HashSet, VecDeque};

use super::TagClass;
use super::inventory::{Inventory, StoredManifest};
use super::keep_rules::needed_by;
use super::{ManifestKind, RetentionReason};
use crate::model::Digest;

/// Dependencies between manifests, by position in the inventory.
pub struct Graph {
    nodes: Vec<Node>,
}

#[derive(Default)]
struct Node {
    /// The stored manifests that it lists.
    children: Vec<usize>,
    /// The first index that lists it and is not evidence.
    listed_by: Option<usize>,
    evidence: BTreeSet<(Relation, usize)>,
    /// Its stored subjects.
    subjects: BTreeSet<usize>,
    /// Its subjects that are not stored.
    absent: BTreeSet<Digest>,
}

impl Graph {
    pub fn new(inventory: &Inventory) -> Self {
        let all = inventory.all();
        let mut nodes: Vec<Node> = all.iter().map(|_| Node::default()).collect();
        for (position, stored) in all.iter().enumerate() {
            for digest in &stored.info.children {
                if let Some(child) = inventory.position(digest).filter(|child| *child != position) {
                    nodes[position].children.push(child);
                }
            }
            for (relation, digest) in subjects(stored, inventory.classes(position)) {
                let Some(subject) = inventory.position(digest) else {
                    nodes[position].absent.insert(digest.clone());
                    continue;
                };
                nodes[position].subjects.insert(subject);
                nodes[subject].evidence.insert((relation, position));
            }
        }
        for position in 0..nodes.len() {
            if nodes[position].is_evidence() {
                continue;
            }
            for child in nodes[position].children.clone() {
                nodes[child].listed_by.get_or_insert(position);
            }
        }
        Self { nodes }
    }

    /// Whether it has a subject, stored or not.
    pub(super) fn is_evidence(&self, position: usize) -> bool {
        self.nodes[position].is_evidence()
    }

    /// Whether an index that is not evidence lists it. If so, both are deleted together.
    pub(super) fn is_listed(&self, position: usize) -> bool {
        self.nodes[position].listed_by.is_some()
    }

    /// A subject, if none of its subjects is stored.
    pub(super) fn orphan_of(&self, position: usize) -> Option<&Digest> {
        let node = &self.nodes[position];
        node.absent.first().filter(|_| node.subjects.is_empty())
    }

    /// The manifests that are its subjects and not stored.
    pub fn absent_subjects(&self, inventory: &Inventory, digest: &Digest) -> Vec<Digest> {
        let Some(position) = inventory.position(digest) else { return Vec::new() };
        let absent = self.nodes[position].absent.iter();
        absent.filter(|subject| !inventory.is_of_inputs(subject)).cloned().collect()
    }

    /// Whether it is an old referrers index: clients that write a new one leave the previous one untagged
    /// (oras-project/oras#1228).
    pub(super) fn is_superseded_index(&self, position: usize, stored: &StoredManifest) -> bool {
        let node = &self.nodes[position];
        stored.tags.is_empty()
            && stored.info.kind == ManifestKind::Index
            && !node.is_evidence()
            && node.listed_by.is_none()
            && !node.children.is_empty()
            && node.children.len() == stored.info.children.len()
            && node.children.iter().all(|child| self.nodes[*child].is_evidence())
    }

    /// Its stored subjects, then the index that lists it.
    pub(super) fn belongs_to(&self, position: usize) -> Option<usize> {
        let node = &self.nodes[position];
        node.subjects.first().copied().or(node.listed_by)
    }

    /// The manifests that this one needs to be complete and proven, in reverse order of deletion.
    fn needs(&self, position: usize) -> impl Iterator<Item = usize> {
        let node = &self.nodes[position];
        node.children.iter().chain(node.evidence.iter().map(|(_, position)| position)).copied()
    }

    /// Includes the subjects: evidence that is kept needs its subject.
    fn needs_and_subjects(&self, position: usize) -> impl Iterator<Item = usize> {
        self.needs(position).chain(self.nodes[position].subjects.iter().copied())
    }

    /// Adds the digests and everything that they need.
    pub fn protect(
        &self,
        inventory: &Inventory,
        protected: &mut HashSet<Digest>,
        digests: impl IntoIterator<Item = Digest>,
    ) {
        let mut queue: Vec<Digest> = digests.into_iter().collect();
        while let Some(digest) = queue.pop() {
            if let Some(position) = inventory.position(&digest).filter(|_| protected.insert(digest)) {
                let needed = self.needs_and_subjects(position);
                queue.extend(needed.map(|position| inventory.all()[position].digest.clone()));
            }
        }
    }

    /// Everything that must be kept because of the roots, each with its reason.
    pub(super) fn closure(
        &self,
        inventory: &Inventory,
        roots: Vec<Option<RetentionReason>>,
    ) -> Vec<Option<RetentionReason>> {
        let mut kept = roots;
        let mut queue: VecDeque<usize> =
            (0..kept.len()).filter(|position| kept[*position].is_some()).collect();
        while let Some(position) = queue.pop_front() {
            for needed in self.needs_and_subjects(position) {
                if kept[needed].is_none() {
                    kept[needed] = Some(needed_by(&inventory.all()[position].digest));
                    queue.push_back(needed);
                }
            }
        }
        kept
    }

    /// A topological order: each manifest before those it needs, otherwise in the order of the list.
    pub(super) fn order(&self, positions: &[usize]) -> Vec<usize> {
        let mut waiting = vec![false; self.nodes.len()];
        for position in positions {
            waiting[*position] = true;
        }
        let mut order = Vec::with_capacity(positions.len());
        // The reverse of a depth-first post-order. The explicit stack allows long chains. Cycles are cut; digests
        // cannot form one.
        for root in positions.iter().rev() {
            let mut stack = Vec::new();
            if std::mem::take(&mut waiting[*root]) {
                stack.push((*root, self.needs(*root)));
            }
            while let Some((position, needs)) = stack.last_mut() {
                match needs.next() {
                    Some(needed) if std::mem::take(&mut waiting[needed]) => {
                        stack.push((needed, self.needs(needed)));
                    }
                    Some(_) => {}
                    None => {
                        order.push(*position);
                        stack.pop();
                    }
                }
            }
        }
        order.reverse();
        order
    }
}

impl Node {
    fn is_evidence(&self) -> bool {
        !self.subjects.is_empty() || !self.absent.is_empty()
    }
}

/// The order is the reverse of the order of deletion.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Relation {
    /// At a `.sig`, `.att` or `.sbom` tag of the subject.
    Signs,
    /// By its `subject`.
    Refers,
    /// The referrers index at the fallback tag of the subject.
    Index,
}

/// What a manifest says, by `subject` and by its tags, that it belongs to.
fn subjects<'a>(
    stored: &'a StoredManifest,
    classes: &'a [TagClass],
) -> impl Iterator<Item = (Relation, &'a Digest)> {
    let by_tag = classes.iter().filter_map(|class| match class {
        TagClass::Referrers(digest) => Some((Relation::Index, digest)),
        TagClass::Signature(digest) => Some((Relation::Signs, digest)),
        _ => None,
    });
    let by_itself = stored.info.subject.iter().map(|digest| (Relation::Refers, digest));
    // GitLab treats the tag as the digest and returns the image itself (oras-project/oras-go#1396).
    by_itself.chain(by_tag).filter(|(_, digest)| **digest != stored.digest)
}
