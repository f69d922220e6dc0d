//! The documents at hand: a table with stable places and bounded memory.
//!
//! Places are plain numbers, so that a batch finds its documents by hashing their ids once. Documents that are leased
//! or have uncommitted state are pinned; of the others the table forgets those not used lately, by the CLOCK
//! algorithm: a hand goes round and takes what was not touched since it last passed.

use hashbrown::{Equivalent, HashMap};
use tidegate_model::answer::Body;
use tidegate_model::document::{DocumentId, ETag};

/// The number of a collection within the workspace.
pub(super) type CollectionIndex = u32;

/// Where a document is in the table. Valid as long as the document is pinned.
pub(super) type Place = u32;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct DocumentKey {
    pub(super) collection: CollectionIndex,
    pub(super) id: DocumentId,
}

/// A [`DocumentKey`] that is not owned, to look one up.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct DocumentRef<'id> {
    pub(super) collection: CollectionIndex,
    pub(super) id: &'id DocumentId,
}

impl Equivalent<DocumentKey> for DocumentRef<'_> {
    fn equivalent(&self, key: &DocumentKey) -> bool {
        self.collection == key.collection && *self.id == key.id
    }
}

/// A document at hand.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) key: DocumentKey,
    /// Its version in the store, as far as known; `None` when the store has no such document.
    pub(super) stored: Option<ETag>,
    /// Its newest state, committed or not; `None` when there is no such document.
    pub(super) body: Option<Body>,
    /// True while an invocation works with it.
    pub(super) leased: bool,
    /// How many decided batches wrote it that are not committed.
    pub(super) uncommitted: u32,
    touched: bool,
    cost: usize,
}

impl Held {
    fn is_pinned(&self) -> bool {
        self.leased || self.uncommitted > 0
    }
}

/// Bytes that a document at hand takes besides its body: entry, key and share of the index, roughly.
const HELD_OVERHEAD: usize = 192;

#[derive(Debug, Default)]
pub(super) struct Table {
    places: HashMap<DocumentKey, Place>,
    held: Vec<Option<Held>>,
    free: Vec<Place>,
    hand: usize,
    cost: usize,
}

impl Table {
    /// The place of a document, made if there is none. True when it was made: its state is not known yet.
    pub(super) fn find_or_insert(&mut self, key: DocumentRef<'_>) -> (Place, bool) {
        if let Some(&place) = self.places.get(&key) {
            return (place, false);
        }
        let place = self.free.pop().unwrap_or_else(|| {
            self.held.push(None);
            Place::try_from(self.held.len() - 1)
                .expect("the memory limit keeps the table far below 2^32 documents")
        });
        let key = DocumentKey { collection: key.collection, id: key.id.clone() };
        self.places.insert(key.clone(), place);
        self.held[place as usize] = Some(Held {
            key,
            stored: None,
            body: None,
            leased: false,
            uncommitted: 0,
            touched: true,
            cost: HELD_OVERHEAD,
        });
        self.cost += HELD_OVERHEAD;
        (place, true)
    }

    /// A pinned document.
    pub(super) fn get(&mut self, place: Place) -> &mut Held {
        let held = self.held[place as usize].as_mut().expect("a pinned document stays in its place");
        held.touched = true;
        held
    }

    /// Sets the newest state of a pinned document. `encoded` is the size of its JSON text.
    pub(super) fn set_body(&mut self, place: Place, body: Option<Body>, encoded: usize) {
        let held = self.get(place);
        // A value beside its text takes about as much again.
        let factor = if matches!(body, Some(Body::Value(_))) { 2 } else { 1 };
        held.body = body;
        let cost = HELD_OVERHEAD + encoded * factor;
        let before = std::mem::replace(&mut held.cost, cost);
        self.cost = self.cost - before + cost;
    }

    pub(super) fn remove(&mut self, place: Place) {
        if let Some(held) = self.held[place as usize].take() {
            self.places.remove(&held.key);
            self.cost -= held.cost;
            self.free.push(place);
        }
    }

    /// Forgets unpinned documents until the table takes at most `limit` bytes, or all that is left is pinned.
    pub(super) fn evict(&mut self, limit: usize) {
        // Two rounds: the first may only clear the marks.
        let mut steps = self.held.len() * 2;
        while self.cost > limit && steps > 0 {
            steps -= 1;
            self.hand = (self.hand + 1) % self.held.len();
            let Some(held) = &mut self.held[self.hand] else { continue };
            if held.is_pinned() {
                continue;
            }
            if std::mem::take(&mut held.touched) {
                continue;
            }
            let place = Place::try_from(self.hand).expect("a place is a u32");
            self.remove(place);
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: usize) -> DocumentId {
        DocumentId::new(&format!("d{number}")).unwrap()
    }

    fn key(id: &DocumentId) -> DocumentRef<'_> {
        DocumentRef { collection: 0, id }
    }

    #[test]
    fn memory_is_bounded_and_what_is_in_use_stays() {
        let mut table = Table::default();
        let (pinned, _) = table.find_or_insert(key(&id(0)));
        table.get(pinned).leased = true;
        for number in 1..1000 {
            let (place, fresh) = table.find_or_insert(key(&id(number)));
            assert!(fresh);
            table.set_body(place, None, 100);
            table.evict(10 * (HELD_OVERHEAD + 100));
            assert!(table.len() <= 11, "{} documents are held", table.len());
        }
        assert_eq!(table.find_or_insert(key(&id(0))), (pinned, false));
        assert_eq!(table.get(pinned).key.id, id(0));
    }

    #[test]
    fn places_are_used_again() {
        let mut table = Table::default();
        let (place, _) = table.find_or_insert(key(&id(1)));
        table.remove(place);
        assert_eq!(table.find_or_insert(key(&id(2))), (place, true));
        assert_eq!(table.cost, HELD_OVERHEAD);
    }
}
