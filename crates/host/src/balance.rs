//! Which instance processes which lane (pure).
//!
//! Every instance looks at the same three facts, the instances that are there, what each of them takes, and who owns
//! which lane, and decides the same; each then does only its own part. Nobody takes a lane from an owner that is there: one
//! that has too many gives some up, and whoever has too few claims them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tidegate_model::checkpoint::{FunctionName, Lane};
use tidegate_model::register::Version;

/// An instance that is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Instance {
    /// Its name.
    pub name: String,
    /// The functions whose lanes it takes. One that steps aside or drains leaves them out.
    pub functions: BTreeSet<FunctionName>,
    /// Single lanes that it does not take for now, by [`Lane`] as text. A lane that everybody refuses is refused by
    /// nobody.
    pub refuses: BTreeSet<String>,
}

/// A lane and who owns it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneOwner {
    /// The lane.
    pub lane: Lane,
    /// Its owner, if it has one.
    pub owner: Option<String>,
}

/// What an instance does about its lanes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// Lanes that nobody owns, or whose owner is gone, and that fall to this instance.
    pub claim: Vec<Lane>,
    /// Its own lanes that others are to take, or that it must not keep.
    pub give_up: Vec<Lane>,
}

/// Decides what `me` does. `alive` are all instances that are there, `me` among them; `lanes` are all lanes.
///
/// The lanes of a function are shared out fairly: the numbers of two instances that take it differ by one at most, unless
/// lanes are [refused](Instance::refuses). Who has a lane keeps it as long as that is fair. A surplus lane is given up only
/// if there is somebody to take it.
pub fn decide(me: &str, alive: &[Instance], lanes: &[LaneOwner]) -> Decision {
    let mut by_function: BTreeMap<&FunctionName, Vec<&LaneOwner>> = BTreeMap::new();
    for lane in lanes {
        by_function.entry(&lane.lane.function).or_default().push(lane);
    }
    let mut decision = Decision::default();
    for (function, mut lanes) in by_function {
        lanes.sort_by(|a, b| a.lane.cmp(&b.lane));
        share_out(me, alive, function, &lanes, &mut decision);
    }
    decision
}

/// An instance that takes lanes of the function.
struct Taker<'a> {
    instance: &'a Instance,
    /// The lanes that it has and may keep, in order.
    kept: Vec<&'a Lane>,
    /// How many lanes it has with those that fall to it.
    has: usize,
    /// How many it should have.
    quota: usize,
}

fn share_out(
    me: &str,
    alive: &[Instance],
    function: &FunctionName,
    lanes: &[&LaneOwner],
    decision: &mut Decision,
) {
    let mut takers: Vec<Taker<'_>> = alive
        .iter()
        .filter(|instance| instance.functions.contains(function))
        .map(|instance| Taker { instance, kept: Vec::new(), has: 0, quota: 0 })
        .collect();
    let refusers: Vec<BTreeSet<&str>> = lanes
        .iter()
        .map(|lane| {
            let text = lane.lane.to_string();
            let refusing = takers.iter().filter(|taker| taker.instance.refuses.contains(&text));
            let names: BTreeSet<&str> = refusing.map(|taker| taker.instance.name.as_str()).collect();
            if names.len() == takers.len() { BTreeSet::new() } else { names }
        })
        .collect();
    let refusers: BTreeMap<&Lane, BTreeSet<&str>> =
        lanes.iter().map(|lane| &lane.lane).zip(refusers).collect();
    let takes = |taker: &Taker<'_>, lane: &Lane| !refusers[lane].contains(taker.instance.name.as_str());

    let mut orphans = Vec::new();
    for LaneOwner { lane, owner } in lanes {
        let owner = owner.as_deref().filter(|owner| alive.iter().any(|instance| instance.name == *owner));
        let Some(owner) = owner else {
            orphans.push(lane);
            continue;
        };
        match takers.iter_mut().find(|taker| taker.instance.name == owner) {
            Some(taker) if takes(taker, lane) => taker.kept.push(lane),
            // Its owner gives it up; until then it is nobody else's.
            _ if owner == me => decision.give_up.push(lane.clone()),
            _ => {}
        }
    }
    if takers.is_empty() {
        return;
    }

    // Those who have the most get the odd ones, so that nothing moves for them. The order among equals differs from
    // function to function: else one instance would get the odd lane of each.
    let name_of = |taker: &Taker<'_>| taker.instance.name.clone();
    takers.sort_by_cached_key(|taker| {
        (Reverse(taker.kept.len()), spread(function, &taker.instance.name), name_of(taker))
    });
    let (each, odd) = (lanes.len() / takers.len(), lanes.len() % takers.len());
    for (index, taker) in takers.iter_mut().enumerate() {
        taker.has = taker.kept.len();
        taker.quota = each + usize::from(index < odd);
    }

    for lane in orphans {
        let least_served = takers
            .iter_mut()
            .filter(|taker| takes(taker, lane))
            .min_by_key(|taker| taker.has.cast_signed() - taker.quota.cast_signed());
        let Some(taker) = least_served else { continue };
        taker.has += 1;
        if taker.instance.name == me {
            decision.claim.push(lane.clone());
        }
    }

    for giver in 0..takers.len() {
        for lane in std::mem::take(&mut takers[giver].kept).into_iter().rev() {
            if takers[giver].has <= takers[giver].quota {
                break;
            }
            let receiver = takers.iter_mut().find(|taker| taker.has < taker.quota && takes(taker, lane));
            let Some(receiver) = receiver else { continue };
            receiver.has += 1;
            takers[giver].has -= 1;
            if takers[giver].instance.name == me {
                decision.give_up.push(lane.clone());
            }
        }
    }
}

/// An order of instances that is another one for each function: FNV-1a, which is the same in every program.
fn spread(function: &FunctionName, name: &str) -> u64 {
    let bytes = function.as_str().bytes().chain([0]).chain(name.bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// What this instance knows about the others' signs of life. Only its own steady clock counts.
///
/// An instance is there while its register changes. The first sight counts as a sign of life; time in which this instance
/// did not look, since it stalled or the store was away, counts as silence of nobody.
#[derive(Debug, Default)]
pub struct Peers {
    known: BTreeMap<String, Peer>,
    looked_at: Option<Duration>,
}

#[derive(Debug)]
struct Peer {
    version: Version,
    silent_for: Duration,
}

impl Peers {
    /// Takes in what a look at `now` saw: all registers with their versions. At most `longest_gap` of the time since the
    /// last look counts.
    pub fn look(
        &mut self,
        now: Duration,
        longest_gap: Duration,
        seen: impl IntoIterator<Item = (String, Version)>,
    ) {
        let gap = self.looked_at.map_or(Duration::ZERO, |at| now.saturating_sub(at)).min(longest_gap);
        self.looked_at = Some(now);
        let mut before = std::mem::take(&mut self.known);
        for (name, version) in seen {
            let silent_for = match before.remove(&name) {
                Some(known) if known.version == version => known.silent_for.saturating_add(gap),
                _ => Duration::ZERO,
            };
            self.known.insert(name, Peer { version, silent_for });
        }
    }

    /// How long an instance was silent; `None` if it has no register.
    pub fn silent_for(&self, name: &str) -> Option<Duration> {
        self.known.get(name).map(|peer| peer.silent_for)
    }

    /// Whether an instance is there.
    pub fn is_alive(&self, name: &str, expires_after: Duration) -> bool {
        self.silent_for(name).is_some_and(|silent_for| silent_for < expires_after)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tidegate_model::event::HubName;
    use tidegate_model::position::PartitionId;

    use super::*;

    fn function(name: &str) -> FunctionName {
        FunctionName::new(name).unwrap()
    }

    fn lane(function_name: &str, partition: u32) -> Lane {
        let hub = HubName::new("hub").unwrap();
        Lane { function: function(function_name), hub, partition: PartitionId(partition) }
    }

    fn instance(name: &str) -> Instance {
        Instance {
            name: name.to_owned(),
            functions: [function("f"), function("g")].into(),
            refuses: BTreeSet::new(),
        }
    }

    fn lanes(owners: &[Option<&str>]) -> Vec<LaneOwner> {
        let lane = |(partition, owner): (u32, &Option<&str>)| LaneOwner {
            lane: lane("f", partition),
            owner: owner.map(str::to_owned),
        };
        (0..).zip(owners).map(lane).collect()
    }

    fn numbers(lanes: &[Lane]) -> Vec<u32> {
        lanes.iter().map(|lane| lane.partition.0).collect()
    }

    #[test]
    fn one_that_joins_gets_what_others_give_up_and_nothing_before() {
        let alive = [instance("a"), instance("b")];
        let owned = lanes(&[Some("a"); 4]);
        let a = decide("a", &alive, &owned);
        assert_eq!((numbers(&a.claim), numbers(&a.give_up)), (vec![], vec![3, 2]));
        assert_eq!(decide("b", &alive, &owned), Decision::default(), "they are still a's");
        let released = lanes(&[Some("a"), Some("a"), None, None]);
        assert_eq!(numbers(&decide("b", &alive, &released).claim), [2, 3]);
        assert_eq!(decide("a", &alive, &released), Decision::default());
    }

    #[test]
    fn lanes_of_an_owner_that_is_gone_go_to_those_with_the_fewest() {
        let alive = [instance("a"), instance("b")];
        let owned = lanes(&[Some("a"), Some("gone"), Some("gone"), Some("a")]);
        assert_eq!(decide("a", &alive, &owned), Decision::default());
        assert_eq!(numbers(&decide("b", &alive, &owned).claim), [1, 2]);
    }

    #[test]
    fn one_that_takes_no_lanes_of_a_function_gives_them_up_also_when_nobody_is_there_to_take_them() {
        let mut aside = instance("a");
        aside.functions.remove(&function("f"));
        let owned = lanes(&[Some("a"), None]);
        let decision = decide("a", std::slice::from_ref(&aside), &owned);
        assert_eq!((numbers(&decision.claim), numbers(&decision.give_up)), (vec![], vec![0]));
        let decision = decide("b", &[aside, instance("b")], &owned);
        assert_eq!(numbers(&decision.claim), [1], "the other one is a's until it is released");
    }

    #[test]
    fn a_lane_that_everybody_refuses_is_refused_by_nobody() {
        let mut a = instance("a");
        a.refuses.insert(lane("f", 0).to_string());
        let owned = lanes(&[Some("a")]);
        assert_eq!(decide("a", std::slice::from_ref(&a), &owned), Decision::default());
        let alive = [a, instance("b")];
        assert_eq!(numbers(&decide("a", &alive, &owned).give_up), [0]);
        assert_eq!(numbers(&decide("b", &alive, &lanes(&[None])).claim), [0]);
    }

    #[test]
    fn the_odd_lanes_of_many_functions_do_not_all_go_to_one() {
        let names: Vec<String> = (0..40).map(|number| format!("f{number}")).collect();
        let both = |name: &str| Instance {
            name: name.to_owned(),
            functions: names.iter().map(|name| function(name)).collect(),
            refuses: BTreeSet::new(),
        };
        let lanes: Vec<_> = names.iter().map(|name| LaneOwner { lane: lane(name, 0), owner: None }).collect();
        let claimed = decide("a", &[both("a"), both("b")], &lanes).claim.len();
        assert!((8..=32).contains(&claimed), "{claimed} of 40");
    }

    #[test]
    fn silence_counts_only_while_somebody_listens() {
        let second = Duration::from_secs(1);
        let gap = 2 * second;
        let mut peers = Peers::default();
        let beat = |version| [("a".to_owned(), Version(version))];
        peers.look(100 * second, gap, beat(1));
        assert!(peers.is_alive("a", second), "the first sight");
        peers.look(101 * second, gap, beat(1));
        assert_eq!(peers.silent_for("a"), Some(second));
        peers.look(200 * second, gap, beat(1));
        assert_eq!(peers.silent_for("a"), Some(3 * second), "nobody looked meanwhile");
        assert!(!peers.is_alive("a", 3 * second) && peers.is_alive("a", 4 * second));
        peers.look(201 * second, gap, beat(2));
        assert_eq!(peers.silent_for("a"), Some(Duration::ZERO));
        peers.look(202 * second, gap, []);
        assert!(!peers.is_alive("a", 4 * second), "it signed off");
    }

    /// Instances and lanes as they may be found: some instances are gone, some step aside, some lanes are refused.
    #[derive(Clone, Debug)]
    struct Scene {
        alive: Vec<Instance>,
        lanes: Vec<LaneOwner>,
        has_refusals: bool,
    }

    const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

    fn scenes(with_refusals: bool) -> impl Strategy<Value = Scene> {
        let instances = proptest::sample::subsequence(NAMES.to_vec(), 1..=5);
        let owners = proptest::collection::vec(proptest::option::of(0..NAMES.len()), 0..20);
        let refusals = proptest::collection::vec(any::<u32>(), NAMES.len()).prop_map(move |mut masks| {
            // Not too many: each lane has somebody who takes it nearly always.
            for mask in &mut masks {
                *mask = if with_refusals { *mask & (*mask >> 3) & (*mask >> 7) } else { 0 };
            }
            masks
        });
        (instances, owners, refusals).prop_map(move |(names, owners, masks)| {
            let alive = names.into_iter().zip(masks).map(|(name, mask)| {
                let refused = (0..20).filter(|number| mask & (1 << number) != 0);
                let refuses = refused.map(|partition| lane("f", partition).to_string()).collect();
                Instance { refuses, ..instance(name) }
            });
            let owners: Vec<_> = owners.into_iter().map(|owner| owner.map(|index| NAMES[index])).collect();
            Scene { alive: alive.collect(), lanes: lanes(&owners), has_refusals: with_refusals }
        })
    }

    impl Scene {
        fn is_alive(&self, name: Option<&String>) -> bool {
            name.is_some_and(|name| self.alive.iter().any(|instance| instance.name == *name))
        }

        /// Does what one instance decided on what it saw. What it claims it gets.
        fn act(&mut self, me: &str, decision: &Decision) {
            for lane in &mut self.lanes {
                if decision.claim.contains(&lane.lane) {
                    lane.owner = Some(me.to_owned());
                } else if decision.give_up.contains(&lane.lane) && lane.owner.as_deref() == Some(me) {
                    lane.owner = None;
                }
            }
        }

        /// All decide on what they see at the same moment, or one after the other; true if anything was done.
        fn round(&mut self, at_once: bool) -> bool {
            let before = self.lanes.clone();
            let names: Vec<String> = self.alive.iter().map(|instance| instance.name.clone()).collect();
            for name in names {
                let seen = if at_once { &before } else { &self.lanes };
                let decision = decide(&name, &self.alive, seen);
                for claimed in &decision.claim {
                    let owner = seen.iter().find(|lane| lane.lane == *claimed).unwrap().owner.clone();
                    assert!(!self.is_alive(owner.as_ref()), "{claimed} was stolen from {owner:?}");
                }
                self.act(&name, &decision);
            }
            self.lanes != before
        }

        fn check_settled(&self) {
            for lane in &self.lanes {
                assert!(self.is_alive(lane.owner.as_ref()), "{} is not owned: {self:?}", lane.lane);
            }
            for instance in &self.alive {
                let decision = decide(&instance.name, &self.alive, &self.lanes);
                assert_eq!(decision, Decision::default(), "{} never rests", instance.name);
                let all_refuse = |text: &String| self.alive.iter().all(|other| other.refuses.contains(text));
                for lane in self.lanes.iter().filter(|lane| lane.owner.as_ref() == Some(&instance.name)) {
                    let text = lane.lane.to_string();
                    assert!(!instance.refuses.contains(&text) || all_refuse(&text), "{text} was refused");
                }
            }
            if !self.has_refusals {
                let mut counts: Vec<usize> = Vec::new();
                for instance in &self.alive {
                    let mine = self.lanes.iter().filter(|lane| lane.owner.as_ref() == Some(&instance.name));
                    counts.push(mine.count());
                }
                let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
                assert!(most - least <= 1, "{counts:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn it_settles_fairly_and_then_rests(mut scene in scenes(false), at_once: bool) {
            let mut rounds = 0;
            let before = scene.lanes.clone();
            while scene.round(at_once) {
                rounds += 1;
                prop_assert!(rounds <= 4, "it does not settle: {scene:?}");
            }
            scene.check_settled();
            // Who has no more than its share keeps it all.
            let fair = scene.lanes.len() / scene.alive.len();
            for instance in &scene.alive {
                let had: Vec<_> = before.iter().filter(|lane| lane.owner.as_ref() == Some(&instance.name)).collect();
                let kept = had.iter().filter(|lane| scene.lanes.contains(lane)).count();
                prop_assert!(kept >= had.len().min(fair), "{} had to give up too much", instance.name);
            }
        }

        #[test]
        fn it_settles_also_when_lanes_are_refused(mut scene in scenes(true), at_once: bool) {
            let mut rounds = 0;
            while scene.round(at_once) {
                rounds += 1;
                prop_assert!(rounds <= 2 + 2 * scene.lanes.len(), "it does not settle: {scene:?}");
            }
            scene.check_settled();
        }

        /// Each acts on a look that may be older than what the others did meanwhile; when looks are fresh again, it settles.
        #[test]
        fn it_settles_after_decisions_on_old_looks(
            mut scene in scenes(false),
            acts in proptest::collection::vec((0..5_usize, any::<bool>()), 0..40),
        ) {
            let mut looks: Vec<Vec<LaneOwner>> = vec![scene.lanes.clone(); scene.alive.len()];
            for (index, looks_again) in acts {
                let index = index % scene.alive.len();
                if looks_again {
                    looks[index].clone_from(&scene.lanes);
                }
                let name = scene.alive[index].name.clone();
                let decision = decide(&name, &scene.alive, &looks[index]);
                scene.act(&name, &decision);
            }
            let mut rounds = 0;
            while scene.round(true) {
                rounds += 1;
                prop_assert!(rounds <= 4, "it does not settle: {scene:?}");
            }
            scene.check_settled();
        }
    }
}
