use std::collections::{BTreeSet, VecDeque};

use super::TagClass;
use super::inventory::{Inventory, StoredManifest};
use super::keep_rules::needed_by;
use super::{ManifestKind, RetentionReason};
use crate::model::Digest;

/// What needs what, by position in the inventory.
pub(super) struct Graph {
    nodes: Vec<Node>,
}

#[derive(Default)]
struct Node {
    /// The manifests that it lists, as far as they are stored.
    children: Vec<usize>,
    /// The first that lists it and is no evidence.
    listed_by: Option<usize>,
    /// What refers to it and says so itself.
    referrers: Vec<usize>,
    /// The indexes of those, under its fallback tag.
    indexes: Vec<usize>,
    /// Its `.sig`, `.att` and `.sbom`.
    signatures: Vec<usize>,
    /// What it speaks about, as far as that is stored.
    subjects: BTreeSet<usize>,
    /// What it speaks about and is not stored.
    absent: BTreeSet<Digest>,
}

impl Graph {
    pub(super) fn new(inventory: &Inventory, classes: &[Vec<TagClass>]) -> Self {
        let all = inventory.all();
        let mut nodes: Vec<Node> = all.iter().map(|_| Node::default()).collect();
        for (position, (stored, classes)) in all.iter().zip(classes).enumerate() {
            for digest in &stored.info.children {
                if let Some(child) = inventory.position(digest).filter(|child| *child != position) {
                    nodes[position].children.push(child);
                }
            }
            for (relation, digest) in spoken_about(stored, classes) {
                let Some(subject) = inventory.position(digest) else {
                    nodes[position].absent.insert(digest.clone());
                    continue;
                };
                nodes[position].subjects.insert(subject);
                let node = &mut nodes[subject];
                match relation {
                    Relation::Refers => node.referrers.push(position),
                    Relation::Index => node.indexes.push(position),
                    Relation::Signs => node.signatures.push(position),
                }
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

    /// Whether it speaks about something else, there or not.
    pub(super) fn is_evidence(&self, position: usize) -> bool {
        self.nodes[position].is_evidence()
    }

    /// Whether something that is no evidence lists it: then it lives as long as that.
    pub(super) fn is_listed(&self, position: usize) -> bool {
        self.nodes[position].listed_by.is_some()
    }

    /// What it speaks about, if nothing of that is stored.
    pub(super) fn orphan_of(&self, position: usize) -> Option<&Digest> {
        let node = &self.nodes[position];
        node.absent.first().filter(|_| node.subjects.is_empty())
    }

    /// Whether it is an old state of the index of what refers to some image: a client that writes such an index leaves
    /// the one before without a tag (oras-project/oras#1228).
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

    /// What it speaks about, as far as stored, then what lists it: with one of these it goes.
    pub(super) fn belongs_to(&self, position: usize) -> Option<usize> {
        let node = &self.nodes[position];
        node.subjects.first().copied().or(node.listed_by)
    }

    /// Without these, what is at the position would be broken or unproven.
    ///
    /// In reverse of the order in which they are deleted after it: the images it lists come last, before them its
    /// `.sig` and its like, before those what refers to it, and its index of those first.
    fn needs(&self, position: usize) -> impl Iterator<Item = usize> {
        let node = &self.nodes[position];
        [&node.children, &node.signatures, &node.referrers, &node.indexes].into_iter().flatten().copied()
    }

    /// The same, and what it speaks about: evidence that stays is nothing without it.
    pub(super) fn needs_and_subjects(&self, position: usize) -> impl Iterator<Item = usize> {
        self.needs(position).chain(self.nodes[position].subjects.iter().copied())
    }

    /// Everything that must stay because of the roots, each with its reason.
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

    /// An order of these in which everything comes before what it needs; those that come earlier in the list come
    /// earlier in the order as far as that allows.
    pub(super) fn order(&self, positions: &[usize]) -> Vec<usize> {
        let mut waiting = vec![false; self.nodes.len()];
        for position in positions {
            waiting[*position] = true;
        }
        let mut order = Vec::with_capacity(positions.len());
        // The reverse of a depth-first post-order, with a stack of our own: chains may be long. A circle cannot come
        // from honest digests; it would be broken somewhere.
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

enum Relation {
    Refers,
    Index,
    Signs,
}

fn spoken_about<'a>(
    stored: &'a StoredManifest,
    classes: &'a [TagClass],
) -> impl Iterator<Item = (Relation, &'a Digest)> {
    let by_tag = classes.iter().filter_map(|class| match class {
        TagClass::Referrers(digest) => Some((Relation::Index, digest)),
        TagClass::Signature(digest) => Some((Relation::Signs, digest)),
        _ => None,
    });
    let by_itself = stored.info.subject.iter().map(|digest| (Relation::Refers, digest));
    // GitLab takes the tag for the digest and answers with the image itself (oras-project/oras-go#1396).
    by_itself.chain(by_tag).filter(|(_, digest)| **digest != stored.digest)
}
