//! The deliveries a session has received and not settled yet, in the order they came.
//!
//! Deliveries are numbered per session, so the numbers of its links are mixed. A disposition names a range of them:
//! settling some deliveries of one link must not settle what another link has in between.

use std::collections::VecDeque;

use super::serial::before;

#[derive(Debug, Default)]
pub(super) struct Unsettled {
    /// Ids ascend (serially), gaps are allowed: some clients count the frames of a delivery.
    entries: VecDeque<Entry>,
    open: usize,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    id: u32,
    link: u32,
    open: bool,
}

impl Unsettled {
    /// Whether the id can be put behind those that are here, so that they stay in order.
    pub(super) fn fits(&self, id: u32) -> bool {
        match (self.entries.front(), self.entries.back()) {
            (Some(first), Some(last)) => before(last.id, id) && before(first.id, id),
            _ => true,
        }
    }

    /// Whether a delivery of `link` is here.
    pub(super) fn has(&self, link: u32, id: u32) -> bool {
        let at = self.entries.partition_point(|entry| before(entry.id, id));
        self.entries.get(at).is_some_and(|entry| entry.id == id && entry.link == link && entry.open)
    }

    /// Adds a delivery of a link. Its id must [fit](Self::fits).
    pub(super) fn push(&mut self, id: u32, link: u32) {
        self.entries.push_back(Entry { id, link, open: true });
        self.open += 1;
    }

    /// Settles the deliveries of `link` from `first` to `last`, and calls `run` with each range of ids that says so and
    /// touches no other delivery. Answers how many were settled.
    pub(super) fn settle(&mut self, link: u32, first: u32, last: u32, mut run: impl FnMut(u32, u32)) -> u32 {
        let from = self.entries.partition_point(|entry| before(entry.id, first));
        let mut current: Option<(u32, u32)> = None;
        let mut settled = 0;
        for entry in self.entries.range_mut(from..) {
            if before(last, entry.id) {
                break;
            }
            if entry.open && entry.link == link {
                entry.open = false;
                settled += 1;
                // A range has no gaps either: what was there may be settled, with another state.
                current = match current {
                    Some((first, last)) if last.wrapping_add(1) == entry.id => Some((first, entry.id)),
                    done => {
                        if let Some((first, last)) = done {
                            run(first, last);
                        }
                        Some((entry.id, entry.id))
                    }
                };
            } else if let Some((first, last)) = current.take() {
                run(first, last);
            }
        }
        if let Some((first, last)) = current {
            run(first, last);
        }
        self.closed(settled as usize);
        settled
    }

    /// Forgets deliveries that their sender has settled by itself, and calls `of_link` for each.
    pub(super) fn settled_by_sender(&mut self, first: u32, last: u32, mut of_link: impl FnMut(u32)) {
        let from = self.entries.partition_point(|entry| before(entry.id, first));
        let mut closed = 0;
        for entry in self.entries.range_mut(from..) {
            if before(last, entry.id) {
                break;
            }
            if entry.open {
                entry.open = false;
                closed += 1;
                of_link(entry.link);
            }
        }
        self.closed(closed);
    }

    /// Forgets the deliveries of a link that is gone.
    pub(super) fn forget(&mut self, link: u32) {
        let mut closed = 0;
        for entry in &mut self.entries {
            if entry.open && entry.link == link {
                entry.open = false;
                closed += 1;
            }
        }
        self.closed(closed);
    }

    /// Drops what is closed: at the front always, in the middle when it is more than half.
    fn closed(&mut self, count: usize) {
        self.open -= count;
        while self.entries.front().is_some_and(|entry| !entry.open) {
            self.entries.pop_front();
        }
        if self.entries.len() > 2 * self.open + 16 {
            self.entries.retain(|entry| entry.open);
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settle(unsettled: &mut Unsettled, link: u32, first: u32, last: u32) -> Vec<(u32, u32)> {
        let mut runs = Vec::new();
        unsettled.settle(link, first, last, |first, last| runs.push((first, last)));
        runs
    }

    #[test]
    fn a_range_never_covers_what_another_link_has_open() {
        let mut unsettled = Unsettled::default();
        for (id, link) in [(1, 7), (2, 7), (3, 8), (4, 7), (5, 7)] {
            unsettled.push(id, link);
        }
        assert_eq!(settle(&mut unsettled, 7, 1, 4), [(1, 2), (4, 4)]);
        assert_eq!(settle(&mut unsettled, 7, 1, 5), [(5, 5)]);
        assert_eq!(settle(&mut unsettled, 7, 1, 5), []);
        assert_eq!(settle(&mut unsettled, 8, 0, u32::MAX / 2), [(3, 3)]);
        assert_eq!(unsettled.len(), 0);
    }

    #[test]
    fn gaps_end_a_range_and_wrapping_does_not() {
        let mut unsettled = Unsettled::default();
        for id in [u32::MAX - 2, u32::MAX, 0, 4] {
            assert!(unsettled.fits(id));
            unsettled.push(id, 1);
        }
        assert!(!unsettled.fits(4) && !unsettled.fits(0) && unsettled.fits(5));
        let runs = [(u32::MAX - 2, u32::MAX - 2), (u32::MAX, 0), (4, 4)];
        assert_eq!(settle(&mut unsettled, 1, u32::MAX - 5, 9), runs);
    }

    #[test]
    fn what_is_settled_in_the_middle_does_not_pile_up() {
        let mut unsettled = Unsettled::default();
        unsettled.push(0, 1);
        for id in 1..10_000 {
            unsettled.push(id, 2);
            assert_eq!(settle(&mut unsettled, 2, id, id), [(id, id)]);
            assert!(unsettled.len() <= 20);
        }
        assert_eq!(settle(&mut unsettled, 1, 0, 0), [(0, 0)]);
    }

    #[test]
    fn the_sender_may_settle_and_links_may_go() {
        let mut unsettled = Unsettled::default();
        for id in 0..6 {
            unsettled.push(id, id % 2);
        }
        let mut of = Vec::new();
        unsettled.settled_by_sender(1, 2, |link| of.push(link));
        assert_eq!(of, [1, 0]);
        unsettled.forget(1);
        assert_eq!(settle(&mut unsettled, 1, 0, 9), []);
        assert_eq!(settle(&mut unsettled, 0, 0, 9), [(0, 0), (4, 4)]);
    }
}
