//! The documents of a batch, each once.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};
use tidegate_model::document::DocumentId;

/// Document ids in the order they were first named. The place of an id is its *slot*.
#[derive(Default)]
pub(crate) struct DocumentSet {
    ids: Vec<DocumentId>,
    slots: HashTable<usize>,
    hasher: DefaultHashBuilder,
}

impl DocumentSet {
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self {
            ids: Vec::with_capacity(capacity),
            slots: HashTable::with_capacity(capacity),
            hasher: DefaultHashBuilder::default(),
        }
    }

    /// The slot of `id`, which is added if it is new.
    pub(crate) fn insert(&mut self, id: DocumentId) -> usize {
        let Self { ids, slots, hasher } = self;
        let entry =
            slots.entry(hasher.hash_one(&id), |&slot| ids[slot] == id, |&slot| hasher.hash_one(&ids[slot]));
        match entry {
            hashbrown::hash_table::Entry::Occupied(entry) => *entry.get(),
            hashbrown::hash_table::Entry::Vacant(entry) => {
                let slot = *entry.insert(ids.len()).get();
                ids.push(id);
                slot
            }
        }
    }

    /// The slot of `id`, if it is in the set.
    pub(crate) fn slot(&self, id: &DocumentId) -> Option<usize> {
        self.slots.find(self.hasher.hash_one(id), |&slot| self.ids[slot] == *id).copied()
    }

    /// The ids by slot.
    pub(crate) fn ids(&self) -> &[DocumentId] {
        &self.ids
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_keeps_the_slot_of_its_first_mention() {
        let mut set = DocumentSet::default();
        let id = |number: usize| DocumentId::new(&format!("document-{}", number % 100)).expect("an id");
        for number in 0..1000 {
            assert_eq!(set.insert(id(number)), number % 100);
        }
        assert_eq!(set.ids().len(), 100);
        assert_eq!(set.slot(&id(42)), Some(42));
        assert_eq!(set.slot(&DocumentId::new("another").expect("an id")), None);
    }
}
