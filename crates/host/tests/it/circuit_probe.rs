//! A half-open circuit lets one event of the fleet through, whatever happens to clocks, replies and instances.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tidegate_host::circuit::controller::PROBE_OFFER;
use tidegate_host::circuit::{CircuitBreaker, Flow, ProbeEnd, acts};
use tidegate_model::circuit::CircuitState;
use tidegate_model::clock::{Clock, TestClock, Timestamp};
use tidegate_model::ports::Registers;
use tokio::task::JoinSet;

use crate::circuit_fleet::{Fleet, POLL, circuit, flows, is_open, outage, probes, unavailable, until};
use crate::harness::NOW;

fn enqueued(ms: i64) -> Timestamp {
    NOW.minus(Duration::from_secs(100)).plus(Duration::from_millis(ms.unsigned_abs()))
}

/// A fleet with an open circuit.
async fn opened(fleet: &Fleet) -> CircuitBreaker {
    let instance = fleet.instance("first");
    until(&instance, flows).await;
    fleet.record("first", outage()).await;
    until(&instance, is_open).await;
    instance
}

#[tokio::test(start_paused = true)]
async fn of_twenty_instances_the_one_with_the_oldest_event_probes_and_no_other() {
    for seed in 0..20_u64 {
        let fleet = Fleet::new();
        let _first = opened(&fleet).await;
        let chance = TestClock::new(NOW, seed);
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let mut instances = JoinSet::new();
        for number in 0..20_i64 {
            // They began at different times, so they look at the store at different times.
            fleet.pass(Duration::from_millis(chance.random() % 300)).await;
            let instance = fleet.instance(&format!("i{number}"));
            // The seventh has the oldest, and a younger one in another lane.
            let oldest = enqueued((number - 7).abs());
            let (running, most) = (Arc::clone(&running), Arc::clone(&most));
            let clock = fleet.clock.clone();
            instances.spawn(async move {
                until(&instance, probes).await;
                let name = circuit();
                let turns = [oldest, oldest.plus(Duration::from_millis(1))]
                    .map(|oldest| instance.probe_turn(&name, oldest));
                let leases: Vec<_> = futures_util::future::join_all(turns.map(|turn| async {
                    let lease = turn.await?;
                    most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    clock.sleep(lease.time_left() / 2).await;
                    running.fetch_sub(1, Ordering::SeqCst);
                    Some(lease.succeeded().await)
                }))
                .await;
                until(&instance, flows).await;
                (number, leases)
            });
        }
        let mut ends = instances.join_all().await;
        ends.sort_by_key(|(number, _)| *number);
        let probed: Vec<_> =
            ends.into_iter().filter(|(_, leases)| leases.iter().any(Option::is_some)).collect();
        assert_eq!(probed, [(7, vec![Some(ProbeEnd::Counted), None])], "seed {seed}");
        assert_eq!(most.load(Ordering::SeqCst), 1);
        assert_eq!(fleet.notices().await, ["circuit.opened", "circuit.half-open", "circuit.closed"]);
    }
}

#[tokio::test(start_paused = true)]
async fn probes_that_fail_come_one_at_a_time_and_further_and_further_apart() {
    let fleet = Fleet::new();
    let first = opened(&fleet).await;
    let second = fleet.instance("second");
    let mut waits = Vec::new();
    for failed in 1..=5 {
        let open = fleet.status().await;
        waits.push(open.next_probe_at.unwrap().since(open.since.unwrap()).as_secs());
        until(&first, probes).await;
        until(&second, probes).await;
        let (one, other) = tokio::join!(
            async {
                let lease = first.probe_turn(&circuit(), enqueued(1)).await?;
                Some(lease.failed("refused").await)
            },
            async {
                let lease = second.probe_turn(&circuit(), enqueued(1)).await?;
                Some(lease.failed("refused").await)
            }
        );
        let ends: Vec<_> = [one, other].into_iter().flatten().collect();
        assert_eq!(ends, [ProbeEnd::Counted]);
        let circuit = fleet.stored().await;
        assert_eq!((circuit.state, circuit.failed_probes), (CircuitState::Open, failed));
        assert!(circuit.reason.contains("refused"), "{}", circuit.reason);
    }
    assert_eq!(waits, [30, 60, 120, 240, 300]);
    assert_eq!(fleet.stored().await.opened_at, Some(fleet.notice_time("circuit.opened").await));
}

impl Fleet {
    /// When the first notice of this kind was made.
    async fn notice_time(&self, kind: &str) -> Timestamp {
        let notices = tidegate_model::ports::Outbox::recent_notices(&self.store, usize::MAX).await.unwrap();
        notices.iter().rev().find(|notice| notice.notice.kind == kind).unwrap().notice.at
    }
}

#[tokio::test(start_paused = true)]
async fn the_probe_of_an_instance_that_died_is_taken_over_when_its_time_is_up() {
    let fleet = Fleet::new();
    let first = opened(&fleet).await;
    let second = fleet.instance("second");
    let lease = first.probe_turn(&circuit(), enqueued(1)).await;
    assert!(lease.is_none(), "it is not half-open yet");
    until(&first, probes).await;
    let lease = first.probe_turn(&circuit(), enqueued(1)).await.unwrap();
    let probe = fleet.stored().await.probe.unwrap();
    assert_eq!(probe.holder, "first");
    // Its program ends: nobody is left to give the probe back.
    drop(first);
    std::mem::forget(lease);

    let lease = second.probe_turn(&circuit(), enqueued(2)).await.unwrap();
    assert!(fleet.clock.now() >= probe.until);
    assert_eq!(fleet.stored().await.probe.unwrap().holder, "second");
    assert_eq!(lease.succeeded().await, ProbeEnd::Counted);
    until(&second, flows).await;
    // The announcement of the dead instance is cleared away as well.
    fleet.pass(10 * POLL).await;
    assert!(fleet.store.registers(PROBE_OFFER).await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_is_dropped_or_abandoned_is_somebody_elses_at_once() {
    for is_dropped in [true, false] {
        let fleet = Fleet::new();
        let first = opened(&fleet).await;
        let second = fleet.instance("second");
        until(&first, probes).await;
        let lease = first.probe_turn(&circuit(), enqueued(1)).await.unwrap();
        let until_then = fleet.stored().await.probe.unwrap().until;
        if is_dropped {
            drop(lease);
        } else {
            assert_eq!(lease.abandoned().await, ProbeEnd::Counted);
        }
        until(&second, probes).await;
        let lease = second.probe_turn(&circuit(), enqueued(2)).await.unwrap();
        assert!(fleet.clock.now() < until_then);
        assert_eq!(fleet.stored().await.failed_probes, 0);
        lease.succeeded().await;
        until(&first, flows).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_is_late_does_not_count_and_does_not_disturb_the_next() {
    let fleet = Fleet::new();
    let first = opened(&fleet).await;
    let second = fleet.instance("second");
    until(&first, probes).await;
    let late = first.probe_turn(&circuit(), enqueued(1)).await.unwrap();
    until(&second, probes).await;
    let lease = second.probe_turn(&circuit(), enqueued(2)).await.unwrap();
    assert_eq!(late.time_left(), Duration::ZERO);
    assert_eq!(late.succeeded().await, ProbeEnd::Lost);
    assert_eq!(fleet.stored().await.probe.unwrap().holder, "second");
    assert_eq!(lease.failed("refused").await, ProbeEnd::Counted);
    until(&first, is_open).await;
}

/// The other instance's clock is a year ahead: by the time of day the probe ran out long ago.
#[tokio::test(start_paused = true)]
async fn clocks_that_differ_do_not_make_two_probes() {
    let fleet = Fleet::new();
    let first = opened(&fleet).await;
    let ahead = TestClock::new(NOW.plus(Duration::from_secs(365 * 24 * 3600)), 1);
    let second = fleet.instance_by("second", ahead);
    until(&second, probes).await;
    until(&first, probes).await;
    let lease = first.probe_turn(&circuit(), enqueued(1)).await.unwrap();
    let theirs = tokio::spawn(async move { second.probe_turn(&circuit(), enqueued(2)).await });
    fleet.pass(lease.time_left().saturating_sub(POLL)).await;
    assert!(!theirs.is_finished());
    assert_eq!(lease.succeeded().await, ProbeEnd::Counted);
    assert!(theirs.await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn lost_answers_are_looked_up() {
    let fleet = Fleet::new();
    let first = opened(&fleet).await;
    until(&first, probes).await;
    // Of the claim. It is the next act after the announcements.
    let lease = loop {
        fleet.store.lose_next_act_reply(unavailable());
        if let Some(lease) = first.try_probe(&circuit(), enqueued(1)).await {
            break lease;
        }
        fleet.pass(POLL).await;
    };
    assert_eq!(fleet.stored().await.probe.unwrap().holder, "first");
    // Of its end.
    fleet.store.lose_next_act_reply(unavailable());
    assert_eq!(lease.failed("refused").await, ProbeEnd::Counted);
    assert_eq!(fleet.stored().await.failed_probes, 1);

    // An answer that is lost with the store gone for good measure: the probe is nobody's and is given back.
    until(&first, probes).await;
    let mut announced = false;
    while !announced {
        assert!(first.try_probe(&circuit(), enqueued(1)).await.is_none());
        announced = !fleet.store.registers(PROBE_OFFER).await.unwrap().is_empty();
        fleet.pass(POLL / 5).await;
    }
    fleet.pass(POLL).await;
    assert!(first.try_probe(&circuit(), enqueued(1)).await.is_none());
    fleet.pass(POLL).await;
    fleet.store.lose_next_act_reply(unavailable());
    fleet.store.fail_next_read(unavailable());
    assert!(first.try_probe(&circuit(), enqueued(1)).await.is_none());
    let unknown = fleet.stored().await.probe.unwrap();
    assert_eq!(unknown.holder, "first");
    let lease = first.probe_turn(&circuit(), enqueued(1)).await.unwrap();
    assert!(fleet.clock.now() < unknown.until);

    // Writes that do not go through are tried again, as often as it takes.
    for _ in 0..5 {
        fleet.store.fail_next_act(unavailable());
    }
    assert_eq!(lease.succeeded().await, ProbeEnd::Counted);
    assert_eq!(fleet.stored().await.state, CircuitState::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_person_who_decides_during_a_probe_has_the_last_word() {
    let fleet = Fleet::new();
    let first = opened(&fleet).await;
    until(&first, probes).await;
    let lease = first.probe_turn(&circuit(), enqueued(1)).await.unwrap();
    acts::open(&fleet.store, &circuit(), &fleet.act("no more probes")).await.unwrap();
    assert_eq!(lease.succeeded().await, ProbeEnd::Lost);
    until(&first, is_open).await;
    assert_eq!(fleet.stored().await.by, "ann");

    acts::probe_now(&fleet.store, &circuit(), &fleet.act("look")).await.unwrap();
    until(&first, probes).await;
    let lease = first.probe_turn(&circuit(), enqueued(1)).await.unwrap();
    acts::close(&fleet.store, &circuit(), &fleet.act("it is well")).await.unwrap();
    assert_eq!(lease.failed("refused").await, ProbeEnd::Lost);
    let state = until(&first, flows).await;
    assert_eq!(state.flow, Flow::Flowing { max_batch: Some(1) });
}

#[tokio::test(start_paused = true)]
async fn a_paused_function_is_not_probed() {
    let fleet = Fleet::new();
    let first = opened(&fleet).await;
    let target = acts::PauseTarget::Function(circuit());
    acts::pause(&fleet.store, &target, &fleet.act("release night")).await.unwrap();
    until(&first, |state| probes(state) && state.paused.is_some()).await;
    assert!(first.probe_turn(&circuit(), enqueued(1)).await.is_none());
    acts::resume(&fleet.store, &target, &fleet.act("")).await.unwrap();
    until(&first, |state| state.paused.is_none()).await;
    assert!(first.probe_turn(&circuit(), enqueued(1)).await.is_some());
}

/// Instances come and go, probes end in every way, replies and reads are lost: there is never a second probe, and in the
/// end the circuit closes.
#[tokio::test(start_paused = true)]
async fn in_chaos_there_is_one_probe_at_a_time() {
    for seed in 0..60 {
        let mut fleet = Fleet::new();
        fleet.settings.probe_timeout = 8 * POLL;
        let fleet = Arc::new(fleet);
        opened(&fleet).await;
        let chance = TestClock::new(NOW, seed);
        let running = Arc::new(AtomicUsize::new(0));
        let mut programs = JoinSet::new();
        for number in 0..5 {
            programs.spawn(run_programs(
                Arc::clone(&fleet),
                number,
                Arc::clone(&chance),
                Arc::clone(&running),
            ));
        }
        for _ in 0..400 {
            match chance.random() % 4 {
                0 => fleet.store.fail_next_act(unavailable()),
                1 => fleet.store.lose_next_act_reply(unavailable()),
                _ => fleet.store.fail_next_read(unavailable()),
            }
            fleet.pass(Duration::from_millis(chance.random() % 2000)).await;
        }
        let probes: usize = programs.join_all().await.into_iter().sum();
        assert!(probes > 0, "seed {seed}");
        loop {
            if fleet.store.registers(PROBE_OFFER).await.is_ok()
                && fleet.stored().await.state == CircuitState::Closed
            {
                break;
            }
            fleet.pass(POLL).await;
        }
    }
}

/// One program after the other, each under a name of its own, until the circuit is closed. How many probes they made.
async fn run_programs(
    fleet: Arc<Fleet>,
    number: u64,
    chance: Arc<TestClock>,
    running: Arc<AtomicUsize>,
) -> usize {
    let mut probes_made = 0;
    for life in 0.. {
        fleet.pass(Duration::from_millis(chance.random() % 5000)).await;
        let clock = TestClock::new(NOW.plus(Duration::from_secs(chance.random() % 100_000)), chance.random());
        let instance = fleet.instance_by(&format!("{number}.{life}"), clock);
        loop {
            let state = until(&instance, |state| probes(state) || flows(state)).await;
            if flows(&state) {
                return probes_made;
            }
            let oldest = enqueued(i64::try_from(chance.random() % 5).unwrap());
            let Some(lease) = instance.probe_turn(&circuit(), oldest).await else { continue };
            assert_eq!(running.fetch_add(1, Ordering::SeqCst), 0, "a second probe");
            probes_made += 1;
            let time = lease.time_left().mul_f64((chance.random() % 100) as f64 / 100.0);
            fleet.pass(time).await;
            running.fetch_sub(1, Ordering::SeqCst);
            match chance.random() % 8 {
                0 => {
                    lease.succeeded().await;
                }
                1 | 2 => {
                    lease.failed("refused").await;
                }
                3 => {
                    lease.abandoned().await;
                }
                4 | 5 => drop(lease),
                _ => {
                    // The program dies.
                    std::mem::forget(lease);
                    break;
                }
            }
        }
    }
    unreachable!("programs are started for ever")
}

/// A pump waits for the probe and the gate at once. If the gate moved whenever the probe can be had, the pump would drop its
/// own claim on the way to the store.
#[tokio::test(start_paused = true)]
async fn the_gate_does_not_move_when_the_probe_is_to_be_had_or_taken() {
    let fleet = Fleet::new();
    let first = opened(&fleet).await;
    until(&first, probes).await;
    let mut gate = first.gate(&circuit()).unwrap().watch();
    gate.borrow_and_update();
    let lease = first.probe_turn(&circuit(), enqueued(1)).await.unwrap();
    fleet.pass(3 * POLL).await;
    assert!(!gate.has_changed().unwrap());
    assert_eq!(lease.succeeded().await, ProbeEnd::Counted);
    assert!(gate.has_changed().unwrap());
}
