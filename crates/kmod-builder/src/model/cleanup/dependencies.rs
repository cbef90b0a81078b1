use std::collections::HashSet;

use super::TagClass;
use super::graph::Graph;
use super::inventory::Inventory;
use crate::model::Digest;

/// Adds dependencies to manifests that are kept during deletion, because they changed or could not be deleted.
pub struct Dependencies<'a> {
    inventory: &'a Inventory,
    graph: Graph,
}

impl<'a> Dependencies<'a> {
    pub fn of(inventory: &'a Inventory) -> Self {
        let classes: Vec<Vec<TagClass>> = inventory
            .all()
            .iter()
            .map(|stored| stored.tags.iter().map(|tag| TagClass::of(tag)).collect())
            .collect();
        Self { inventory, graph: Graph::new(inventory, &classes) }
    }

    /// Adds the digests and everything that they need.
    pub fn protect(&self, protected: &mut HashSet<Digest>, digests: impl IntoIterator<Item = Digest>) {
        let mut queue: Vec<Digest> = digests.into_iter().collect();
        while let Some(digest) = queue.pop() {
            if let Some(position) = self.inventory.position(&digest).filter(|_| protected.insert(digest)) {
                let needed = self.graph.needs_and_subjects(position);
                queue.extend(needed.map(|position| self.inventory.all()[position].digest.clone()));
            }
        }
    }
}
