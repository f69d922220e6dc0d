//! What goes first after an outage: what is parked, or the events behind it in the log (pure).
//!
//! While many keys wait, most of what is read only joins their queues: it is written down and taken out again, and the
//! younger the events that are read, the longer the older ones wait. So a lane whose queues are being worked off holds its
//! reading back, until most keys flow again. Neither one bad key nor many that make no progress hold anything back: then
//! the events of other keys would wait for what may take for ever.

use hashbrown::HashSet;
use tidegate_model::parking::OrderKey;

/// How many of the next events are looked at.
pub(super) const LOOKS_AHEAD: usize = 256;

/// Fewer keys that wait never hold a lane back.
pub(super) const FEW_KEYS: usize = 4;

/// How the keys of the next events in the log stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ahead {
    /// How many different keys have events parked.
    waiting: usize,
    /// How many have none. Events without a key wait for nothing, and count one by one.
    flowing: usize,
}

impl Ahead {
    /// What is ahead: the key of each event, and whether events of that key are parked.
    pub(super) fn of<'a>(
        keys: impl Iterator<Item = Option<&'a OrderKey>>,
        is_parked: impl Fn(&OrderKey) -> bool,
    ) -> Self {
        let mut known: HashSet<&OrderKey> = HashSet::new();
        let mut ahead = Self::default();
        for key in keys.take(LOOKS_AHEAD) {
            match key {
                None => ahead.flowing += 1,
                Some(key) if !known.insert(key) => {}
                Some(key) if is_parked(key) => ahead.waiting += 1,
                Some(_) => ahead.flowing += 1,
            }
        }
        ahead
    }

    /// Whether what is parked goes first, given that it is being worked off. A key counts once, however many events it has: one
    /// with millions of them is one key.
    pub(super) fn comes_after_what_is_parked(self) -> bool {
        self.waiting >= FEW_KEYS && self.waiting >= self.flowing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(keys: &[&str], parked: &[&str]) -> bool {
        let keys: Vec<Option<OrderKey>> =
            keys.iter().map(|text| Some(OrderKey::from(*text)).filter(|key| !key.is_empty())).collect();
        Ahead::of(keys.iter().map(Option::as_ref), |key| parked.contains(&&**key))
            .comes_after_what_is_parked()
    }

    #[test]
    fn when_most_keys_wait_what_is_parked_goes_first() {
        let parked = ["a", "b", "c", "d"];
        assert!(waits(&["a", "b", "c", "d", "e"], &parked));
        assert!(waits(&["a", "b", "c", "d", "e", "f", "g", "h"], &parked));
        assert!(!waits(&["a", "b", "c", "d", "e", "f", "g", "h", "i"], &parked), "most flow");
        assert!(!waits(&["a", "b", "c", "e"], &parked), "those are few");
        assert!(
            !waits(&["a", "b", "c", "d", "", "", "", "", ""], &parked),
            "events without key wait for nothing"
        );
        assert!(!waits(&[], &parked));
    }

    #[test]
    fn one_bad_key_holds_nobody_back_however_many_events_it_has() {
        let mut keys = vec!["bad"; 250];
        keys.push("good");
        assert!(!waits(&keys, &["bad"]));
        assert!(!waits(&["bad"; 256], &["bad"]));
    }

    #[test]
    fn no_more_than_the_next_events_are_looked_at() {
        let names: Vec<OrderKey> = (0..2 * LOOKS_AHEAD).map(|number| number.to_string().into()).collect();
        let looked_at = std::cell::Cell::new(0);
        let ahead = Ahead::of(names.iter().map(Some), |_| {
            looked_at.set(looked_at.get() + 1);
            true
        });
        assert_eq!((ahead.waiting, looked_at.get()), (LOOKS_AHEAD, LOOKS_AHEAD));
    }
}
