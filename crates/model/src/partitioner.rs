//! Which partition an event goes to, by Event Hubs' own rule.
//!
//! With a key: Bob Jenkins' lookup3 `hashlittle2` over the key's UTF-8 bytes with both seeds 0; the low 16 bits of
//! `c ^ b` as a signed number, modulo the number of partitions with C's truncating remainder, without its sign.
//! Source: `PartitionResolver` of Azure.Messaging.EventHubs, which describes itself as matching the service. Without a
//! key: round robin.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::position::PartitionId;

/// Where a producer wants an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route<'a> {
    /// The partition of this key.
    Key(&'a str),
    /// This partition.
    Partition(PartitionId),
    /// Any partition: each in turn.
    Any,
}

/// Chooses partitions for one hub.
#[derive(Debug)]
pub struct Partitioner {
    partition_count: u32,
    next: AtomicU32,
}

impl Partitioner {
    /// Chooses among `partition_count` partitions, which must be at least one.
    pub fn new(partition_count: u32) -> Self {
        assert!(partition_count > 0, "a hub has at least one partition");
        Self { partition_count, next: AtomicU32::new(0) }
    }

    /// The partition for a route; `None` when an explicit partition does not exist.
    pub fn choose(&self, route: Route<'_>) -> Option<PartitionId> {
        match route {
            Route::Key(key) => Some(partition_of_key(key, self.partition_count)),
            Route::Partition(partition) => (partition.0 < self.partition_count).then_some(partition),
            Route::Any => Some(PartitionId(self.next.fetch_add(1, Ordering::Relaxed) % self.partition_count)),
        }
    }
}

/// The partition of a key among `partition_count` partitions.
pub fn partition_of_key(key: &str, partition_count: u32) -> PartitionId {
    let remainder = i64::from(hash_of_key(key)) % i64::from(partition_count);
    PartitionId(u32::try_from(remainder.abs()).expect("a remainder is below its divisor, a u32"))
}

/// The 16-bit hash of a key.
#[expect(clippy::cast_possible_truncation, reason = "the low 16 bits are what the rule asks for")]
fn hash_of_key(key: &str) -> i16 {
    let (c, b) = hashlittle2(key.as_bytes());
    (c ^ b) as u16 as i16
}

/// lookup3's `hashlittle2` with both seeds 0 (public domain, burtleburtle.net/bob/c/lookup3.c). Returns `(c, b)`.
fn hashlittle2(key: &[u8]) -> (u32, u32) {
    let length = u32::try_from(key.len()).unwrap_or(u32::MAX);
    let start = 0xdead_beef_u32.wrapping_add(length);
    let (mut a, mut b, mut c) = (start, start, start);

    let mut rest = key;
    while rest.len() > 12 {
        let (block, after) = rest.split_at(12);
        a = a.wrapping_add(word(&block[0..4]));
        b = b.wrapping_add(word(&block[4..8]));
        c = c.wrapping_add(word(&block[8..12]));
        mix(&mut a, &mut b, &mut c);
        rest = after;
    }
    if rest.is_empty() {
        return (c, b);
    }
    let mut block = [0; 12];
    block[..rest.len()].copy_from_slice(rest);
    a = a.wrapping_add(word(&block[0..4]));
    b = b.wrapping_add(word(&block[4..8]));
    c = c.wrapping_add(word(&block[8..12]));
    finish(&mut a, &mut b, &mut c);
    (c, b)
}

fn word(bytes: &[u8]) -> u32 {
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

fn mix(a: &mut u32, b: &mut u32, c: &mut u32) {
    *a = a.wrapping_sub(*c) ^ c.rotate_left(4);
    *c = c.wrapping_add(*b);
    *b = b.wrapping_sub(*a) ^ a.rotate_left(6);
    *a = a.wrapping_add(*c);
    *c = c.wrapping_sub(*b) ^ b.rotate_left(8);
    *b = b.wrapping_add(*a);
    *a = a.wrapping_sub(*c) ^ c.rotate_left(16);
    *c = c.wrapping_add(*b);
    *b = b.wrapping_sub(*a) ^ a.rotate_left(19);
    *a = a.wrapping_add(*c);
    *c = c.wrapping_sub(*b) ^ b.rotate_left(4);
    *b = b.wrapping_add(*a);
}

fn finish(a: &mut u32, b: &mut u32, c: &mut u32) {
    *c = (*c ^ *b).wrapping_sub(b.rotate_left(14));
    *a = (*a ^ *c).wrapping_sub(c.rotate_left(11));
    *b = (*b ^ *a).wrapping_sub(a.rotate_left(25));
    *c = (*c ^ *b).wrapping_sub(b.rotate_left(16));
    *a = (*a ^ *c).wrapping_sub(c.rotate_left(4));
    *b = (*b ^ *a).wrapping_sub(a.rotate_left(14));
    *c = (*c ^ *b).wrapping_sub(b.rotate_left(24));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of `PartitionResolverTests` in Azure.Messaging.EventHubs, and a few of our own keys.
    #[test]
    fn keys_hash_as_the_service_hashes_them() {
        for (key, hash) in [
            ("7", -15263),
            ("131", 30562),
            ("7149583486996073602", 12977),
            ("FWfAT", -22341),
            ("sOdeEAsyQoEuEFPGerWO", -6503),
            ("!c*_!I@1^c", 15372),
            ("p4*!jioeO/z-!-;w:dh", -3104),
            ("$0cb", 26269),
            ("-4189260826195535198", 453),
            (
                "FAyAIctPeCgmiwLKbJcyswoHglHVjQdvtBowLACDNORsYvOcLddNJYDmhAVkbyLOrHTKLneMNcbgWVlasVywOByANjs",
                5226,
            ),
            ("", 0),
            ("a", -16220),
            ("drone-0", 14306),
            ("device001", -4159),
        ] {
            assert_eq!(hash_of_key(key), hash, "{key:?}");
        }
    }

    #[test]
    fn a_negative_hash_takes_the_truncating_remainder_without_its_sign() {
        for (key, of_4, of_8, of_32) in
            [("drone-0", 2, 2, 2), ("drone-1", 0, 4, 28), ("drone-3", 1, 1, 17), ("device001", 3, 7, 31)]
        {
            let places = [4, 8, 32].map(|count| partition_of_key(key, count).0);
            assert_eq!(places, [of_4, of_8, of_32], "{key:?}");
        }
    }

    #[test]
    fn events_without_a_key_take_turns() {
        let partitioner = Partitioner::new(3);
        let places: Vec<_> =
            (0..6).map(|_| partitioner.choose(Route::Any).expect("any partition").0).collect();
        assert_eq!(places, [0, 1, 2, 0, 1, 2]);
        assert_eq!(partitioner.choose(Route::Partition(PartitionId(2))), Some(PartitionId(2)));
        assert_eq!(partitioner.choose(Route::Partition(PartitionId(3))), None);
    }
}
