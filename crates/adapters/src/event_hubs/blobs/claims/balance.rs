//! Which partitions a processor takes (pure): the rule of Event Hubs' own processors, so that theirs and ours agree.
//!
//! Each looks at the same blobs. Whoever has fewer partitions than its share takes free ones; when none are free it takes
//! one from who has the most, one at a time, until nobody has two more than another. Nobody gives any up by itself.

use std::collections::BTreeMap;
use std::time::Duration;

use tidegate_model::position::PartitionId;

/// A partition, and who has it. `None`: nobody, any more.
pub type Seen<'s> = (PartitionId, Option<&'s str>);

/// Who else has a partition that `me` does not hold, and whose blob names `named` and was written `age` ago.
///
/// What names `me` there is from an earlier life, or the answer to a claim or a renewal was lost. It is mine to take: all
/// others wait until it has expired, and so long nobody would read the partition.
pub(super) fn other_owner<'n>(
    me: &str,
    named: Option<&'n str>,
    age: Duration,
    expires_after: Duration,
) -> Option<&'n str> {
    named.filter(|named| *named != me && age < expires_after)
}

/// The partitions that `me` takes now: free ones up to its share, or one of somebody else.
pub fn to_take(me: &str, seen: &[Seen<'_>]) -> Vec<PartitionId> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::from([(me, 0)]);
    for owner in seen.iter().filter_map(|(_, owner)| *owner) {
        *counts.entry(owner).or_default() += 1;
    }
    let mine = counts[me];
    let share = seen.len().div_ceil(counts.len());
    // Those who come at the same time begin at different places, so that they seldom want the same.
    let begin = spread(me) % seen.len().max(1);
    let around = || seen.iter().cycle().skip(begin).take(seen.len());
    let free = around().filter(|(_, owner)| owner.is_none());
    let taken: Vec<PartitionId> =
        free.take(share.saturating_sub(mine)).map(|(partition, _)| *partition).collect();
    if !taken.is_empty() || seen.iter().any(|(_, owner)| owner.is_none()) {
        return taken;
    }
    let Some((richest, most)) = counts.into_iter().max_by_key(|(_, count)| *count) else { return taken };
    if most < mine + 2 {
        return taken;
    }
    around().find(|(_, owner)| *owner == Some(richest)).map(|(partition, _)| *partition).into_iter().collect()
}

/// A number that is another one for each name: FNV-1a.
fn spread(name: &str) -> usize {
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    usize::try_from(hash % 65_536).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Has all act in turn until nobody takes anything more; how many partitions each has then.
    fn settled(names: &[&str], mut owners: Vec<Option<String>>) -> BTreeMap<String, usize> {
        for _ in 0..1000 {
            let mut moved = false;
            for name in names {
                let seen: Vec<Seen<'_>> =
                    (0..).map(PartitionId).zip(owners.iter().map(Option::as_deref)).collect();
                for partition in to_take(name, &seen) {
                    owners[partition.0 as usize] = Some((*name).to_owned());
                    moved = true;
                }
            }
            if !moved {
                let mut counts = BTreeMap::new();
                for owner in owners {
                    *counts.entry(owner.expect("all are taken")).or_default() += 1;
                }
                return counts;
            }
        }
        panic!("they never agree: {owners:?}");
    }

    #[test]
    fn what_names_me_and_is_not_held_is_free_for_me_at_once() {
        let (second, minute) = (Duration::from_secs(1), Duration::from_secs(60));
        assert_eq!(other_owner("me", Some("other"), second, minute), Some("other"));
        assert_eq!(other_owner("me", Some("other"), minute, minute), None, "it has expired");
        assert_eq!(other_owner("me", None, second, minute), None, "it was released");
        assert_eq!(other_owner("me", Some("me"), second, minute), None);
    }

    #[test]
    fn one_alone_takes_all_at_once() {
        let seen: Vec<Seen<'_>> = (0..7).map(|number| (PartitionId(number), None)).collect();
        assert_eq!(to_take("me", &seen).len(), 7);
        assert!(to_take("me", &[]).is_empty());
    }

    #[test]
    fn however_it_begins_the_numbers_differ_by_one_at_most_and_nothing_moves_then() {
        for partitions in 1..20_usize {
            for processors in 1..8_usize {
                let all = ["a", "b", "c", "d", "e", "f", "g"];
                let names = &all[..processors];
                for first in [None, Some("a"), Some("gone")] {
                    if first == Some("gone") && processors == 1 {
                        continue;
                    }
                    // One who has everything, and is there or not: of who is gone the ownerships have expired.
                    let owner = first.filter(|name| *name != "gone").map(str::to_owned);
                    let counts = settled(names, vec![owner; partitions]);
                    let (least, most) = (counts.values().min().unwrap(), counts.values().max().unwrap());
                    assert_eq!(counts.values().sum::<usize>(), partitions);
                    if partitions >= processors {
                        assert_eq!(counts.len(), processors, "{counts:?}");
                        assert!(most - least <= 1, "{partitions} of {processors}: {counts:?}");
                    } else {
                        assert_eq!(*most, 1, "{counts:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_newcomer_takes_one_at_a_time() {
        let seen: Vec<Seen<'_>> = (0..8).map(|number| (PartitionId(number), Some("old"))).collect();
        assert_eq!(to_take("new", &seen).len(), 1);
        assert!(to_take("old", &seen).is_empty(), "who has all takes nothing");
    }
}
