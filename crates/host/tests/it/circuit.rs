//! The circuit opens when it should, stays as it is when the store does not answer, and obeys people.

use std::sync::Arc;
use std::time::Duration;

use tidegate_host::circuit::acts::{self, CircuitActed, PauseTarget};
use tidegate_host::circuit::controller::STEP_ASIDE;
use tidegate_host::circuit::{CircuitBreaker, CircuitSetup, Flow, ProbePolicy};
use tidegate_model::checkpoint::FunctionName;
use tidegate_model::circuit::{CIRCUIT, CircuitState};
use tidegate_model::clock::{Clock, Timestamp};
use tidegate_model::health::HealthCounts;
use tidegate_model::ports::{Outbox, RegisterChange, Registers};
use tidegate_model::register::{RegisterKey, Version};

use crate::circuit_fleet::{
    Fleet, POLL, circuit, flows, is_open, outage, probes, succeeded, unavailable, until,
};
use crate::harness::lane;

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test(start_paused = true)]
async fn failures_at_all_instances_together_open_it_everywhere_once() {
    let fleet = Fleet::new();
    let instances = ["a", "b", "c"].map(|name| fleet.instance(name));
    for instance in &instances {
        until(instance, flows).await;
    }
    let third = HealthCounts { failing: 50, failed_attempts: 250, failed: 50, failed_lanes: 1, succeeded: 1 };
    fleet.record("a", third).await;
    fleet.record("b", third).await;
    fleet.pass(3 * POLL).await;
    assert!(
        instances.iter().all(|instance| flows(&instance.gate(&circuit()).unwrap().state())),
        "100 are not more"
    );

    fleet.record("c", third).await;
    for instance in &instances {
        let state = until(instance, is_open).await;
        let Flow::Stopped { why } = state.flow else { unreachable!() };
        assert!(why.contains("150 events used up their attempts within 30 s"), "{why}");
    }
    assert_eq!(fleet.notices().await, ["circuit.opened"]);
    let notice = fleet.store.recent_notices(1).await.unwrap().remove(0).notice;
    assert_eq!(notice.subject, "journal");
    let data = &notice.data;
    assert_eq!(
        (&data["failures"], &data["succeeded"], &data["threshold"]),
        (&150.into(), &3.into(), &100.into())
    );
    assert_eq!((&data["window_s"], &data["rule"]), (&30.into(), &"final-failures".into()));
    assert_eq!(data["since"], fleet.stored().await.since.to_string());

    let status = fleet.status().await;
    assert_eq!((status.state, status.failures_in_window, status.threshold), (CircuitState::Open, 150, 100));
    assert_eq!((status.by.as_str(), status.manual), ("tidegate", false));
    assert_eq!(status.next_probe_at, status.since.map(|since| since.plus(Duration::from_secs(30))));
}

#[tokio::test(start_paused = true)]
async fn each_sign_of_an_outage_opens_it_and_no_bad_event_does() {
    let cases = [
        (HealthCounts { failed: 101, ..succeeded(101) }, "final-failures"),
        (HealthCounts { failing: 101, ..succeeded(3) }, "failing-events"),
        (HealthCounts { failing: 4, failed: 4, failed_lanes: 4, ..succeeded(0) }, "every-lane"),
        // One event, one key among many, a failing lane, nothing at all.
        (HealthCounts { failing: 1, failed: 1, failed_lanes: 1, ..succeeded(0) }, ""),
        (HealthCounts { failing: 200, failed: 200, failed_lanes: 1, ..succeeded(300) }, ""),
        (HealthCounts { failing: 9, failed: 9, failed_lanes: 1, ..succeeded(0) }, ""),
        (succeeded(0), ""),
    ];
    for (counts, expected) in cases {
        let fleet = Fleet::new();
        let instance = fleet.instance("a");
        until(&instance, flows).await;
        fleet.record("a", counts).await;
        fleet.pass(5 * POLL).await;
        let notices = fleet.store.recent_notices(9).await.unwrap();
        let rules: Vec<_> =
            notices.iter().map(|notice| notice.notice.data["rule"].as_str().unwrap()).collect();
        let expected: Vec<_> = Some(expected).into_iter().filter(|rule| !rule.is_empty()).collect();
        assert_eq!(rules, expected, "{counts:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn opening_does_not_wait_for_the_poll_when_a_check_is_asked_for() {
    let mut fleet = Fleet::new();
    fleet.settings.poll_interval = HOUR;
    fleet.settings.window = HOUR;
    let instance = fleet.instance("a");
    until(&instance, flows).await;
    fleet.record("a", outage()).await;
    instance.request_check();
    until(&instance, is_open).await;
    let next_poll = crate::harness::NOW.plus(HOUR);
    assert!(fleet.stored().await.since < next_poll);
}

#[tokio::test(start_paused = true)]
async fn a_circuit_that_is_switched_off_opens_only_by_hand() {
    let mut fleet = Fleet::new();
    fleet.settings.enabled = false;
    let instance = fleet.instance("a");
    until(&instance, flows).await;
    fleet.record("a", outage()).await;
    fleet.pass(5 * POLL).await;
    assert!(flows(&instance.gate(&circuit()).unwrap().state()));
    acts::open(&fleet.store, &circuit(), &fleet.act("maintenance")).await.unwrap();
    until(&instance, is_open).await;
}

#[tokio::test(start_paused = true)]
async fn an_open_circuit_survives_a_restart_and_nothing_slips_through_meanwhile() {
    let fleet = Fleet::new();
    let first = fleet.instance("a");
    until(&first, flows).await;
    fleet.record("a", outage()).await;
    until(&first, is_open).await;
    drop(first);

    fleet.store.fail_next_read(unavailable());
    let second = fleet.instance("b");
    let mut gate = second.gate(&circuit()).unwrap().watch();
    assert!(matches!(&gate.borrow_and_update().flow, Flow::Stopped { why } if why.contains("not said yet")));
    gate.changed().await.unwrap();
    assert!(is_open(&gate.borrow_and_update()));
    assert_eq!(fleet.notices().await, ["circuit.opened"]);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_does_not_answer_changes_nothing() {
    let fleet = Fleet::new();
    let instance = fleet.instance("a");
    until(&instance, flows).await;
    let mut gate = instance.gate(&circuit()).unwrap().watch();
    gate.borrow_and_update();
    fleet.record("a", outage()).await;
    for _ in 0..100 {
        fleet.store.fail_next_read(unavailable());
    }
    fleet.pass(20 * POLL).await;
    assert!(!gate.has_changed().unwrap());
    assert!(flows(&gate.borrow()));
    // It comes back, and so does what it knows.
    for _ in 0..100 {
        if fleet.store.registers(CIRCUIT).await.is_ok() {
            break;
        }
    }
    until(&instance, is_open).await;

    for _ in 0..1000 {
        fleet.store.fail_next_read(unavailable());
    }
    fleet.pass(100 * POLL).await;
    assert!(is_open(&instance.gate(&circuit()).unwrap().state()), "its probe was due long ago");
}

#[tokio::test(start_paused = true)]
async fn an_opening_whose_answer_is_lost_is_one_opening() {
    let fleet = Fleet::new();
    let instance = fleet.instance("a");
    until(&instance, flows).await;
    fleet.store.lose_next_act_reply(unavailable());
    fleet.record("a", outage()).await;
    until(&instance, is_open).await;
    fleet.pass(5 * POLL).await;
    assert_eq!(fleet.notices().await, ["circuit.opened"]);

    fleet.store.lose_next_act_reply(unavailable());
    let open = acts::open(&fleet.store, &circuit(), &fleet.act("stay")).await.unwrap();
    assert!(matches!(open, CircuitActed::Changed(_)));
    assert_eq!(fleet.trail().await, ["circuit.open journal by ann"]);

    let target = PauseTarget::Function(circuit());
    fleet.store.fail_next_act(unavailable());
    assert_eq!(acts::pause(&fleet.store, &target, &fleet.act("")).await, Err(unavailable()));
    fleet.store.lose_next_act_reply(unavailable());
    assert_eq!(acts::pause(&fleet.store, &target, &fleet.act("")).await, Ok(true));
    fleet.store.lose_next_act_reply(unavailable());
    assert_eq!(acts::resume(&fleet.store, &target, &fleet.act("")).await, Ok(true));
}

#[tokio::test(start_paused = true)]
async fn what_a_person_opened_stays_open_until_a_person_closes_it_and_then_ramps() {
    let fleet = Fleet::new();
    let instance = fleet.instance("a");
    until(&instance, flows).await;
    let opened = acts::open(&fleet.store, &circuit(), &fleet.act("maintenance")).await.unwrap();
    assert!(opened.circuit().manual);
    let state = until(&instance, is_open).await;
    let Flow::Stopped { why } = state.flow else { unreachable!() };
    assert!(
        why.contains("ann") && why.contains("maintenance") && why.contains("waits for a person"),
        "{why}"
    );
    fleet.pass(24 * HOUR).await;
    assert!(is_open(&instance.gate(&circuit()).unwrap().state()));
    let again = acts::open(&fleet.store, &circuit(), &fleet.act("again")).await.unwrap();
    assert!(matches!(again, CircuitActed::Unchanged(circuit) if circuit.reason == "maintenance"));

    acts::close(&fleet.store, &circuit(), &fleet.act("done")).await.unwrap();
    let mut gate = instance.gate(&circuit()).unwrap().watch();
    let mut limits = Vec::new();
    loop {
        gate.changed().await.unwrap();
        match gate.borrow_and_update().flow {
            Flow::Flowing { max_batch } => limits.push(max_batch),
            ref other => panic!("{other:?}"),
        }
        if limits.last() == Some(&None) {
            break;
        }
    }
    assert_eq!(limits.first(), Some(&Some(1)));
    let sizes: Vec<usize> = limits.iter().map_while(|limit| *limit).collect();
    assert_eq!(sizes.len(), limits.len() - 1);
    assert!(sizes.len() > 3 && sizes.is_sorted(), "{sizes:?}");

    assert_eq!(fleet.notices().await, ["circuit.opened", "circuit.closed"]);
    assert_eq!(fleet.trail().await, ["circuit.open journal by ann", "circuit.close journal by ann"]);
    let closed = &fleet.store.recent_notices(1).await.unwrap()[0].notice.data;
    let outage = fleet.stored().await.since.since(opened.circuit().since);
    assert_eq!(closed["outage_s"].as_u64(), Some(outage.as_secs()));
    let again = acts::close(&fleet.store, &circuit(), &fleet.act("")).await.unwrap();
    assert!(matches!(again, CircuitActed::Unchanged(_)));
}

#[tokio::test(start_paused = true)]
async fn a_person_makes_an_opening_their_own_and_it_is_not_probed_any_more() {
    let fleet = Fleet::new();
    let instance = fleet.instance("a");
    until(&instance, flows).await;
    fleet.record("a", outage()).await;
    until(&instance, is_open).await;
    let before = fleet.stored().await;
    acts::open(&fleet.store, &circuit(), &fleet.act("hands off")).await.unwrap();
    fleet.pass(HOUR).await;
    assert!(is_open(&instance.gate(&circuit()).unwrap().state()));
    let after = fleet.stored().await;
    assert_eq!((after.since, after.opened_at), (before.since, before.opened_at));
    assert_eq!(fleet.notices().await, ["circuit.opened"]);

    acts::probe_now(&fleet.store, &circuit(), &fleet.act("look")).await.unwrap();
    until(&instance, probes).await;
    let lease = instance.probe_turn(&circuit(), Timestamp::from_millis(1)).await.unwrap();
    lease.failed("still down").await;
    fleet.pass(HOUR).await;
    let state = instance.gate(&circuit()).unwrap().state();
    assert!(is_open(&state), "it waits for a person again: {state:?}");
}

#[tokio::test(start_paused = true)]
async fn with_manual_probing_an_outage_waits_for_a_person() {
    let mut fleet = Fleet::new();
    fleet.settings.probe = ProbePolicy::Manual;
    let instance = fleet.instance("a");
    until(&instance, flows).await;
    fleet.record("a", outage()).await;
    until(&instance, is_open).await;
    fleet.pass(HOUR).await;
    assert!(is_open(&instance.gate(&circuit()).unwrap().state()));
    let status = fleet.status().await;
    assert_eq!((status.manual, status.next_probe_at), (true, None));
    acts::close(&fleet.store, &circuit(), &fleet.act("fixed")).await.unwrap();
    until(&instance, flows).await;
}

#[tokio::test(start_paused = true)]
async fn what_was_before_it_closed_does_not_open_it_again() {
    let fleet = Fleet::new();
    let instance = fleet.instance("a");
    until(&instance, flows).await;
    fleet.record("a", outage()).await;
    until(&instance, is_open).await;
    acts::close(&fleet.store, &circuit(), &fleet.act("fixed")).await.unwrap();
    until(&instance, flows).await;
    fleet.pass(10 * POLL).await;
    assert!(flows(&instance.gate(&circuit()).unwrap().state()));
    fleet.record("a", outage()).await;
    until(&instance, is_open).await;
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_goes_back_neither_opens_nor_blinds_nor_holds_it() {
    let fleet = Fleet::new();
    let instance = fleet.instance("a");
    until(&instance, flows).await;
    fleet.record("a", outage()).await;
    until(&instance, is_open).await;
    let go_back = || fleet.clock.set_now(fleet.clock.now().minus(HOUR).minus(fleet.clock.monotonic()));

    // By the time of day it would have to wait for more than an hour.
    let opened_at = fleet.stored().await.since;
    go_back();
    until(&instance, probes).await;
    assert!(fleet.clock.now() < opened_at);
    let lease = instance.probe_turn(&circuit(), Timestamp::from_millis(1)).await.unwrap();
    lease.succeeded().await;
    until(&instance, |state| state.flow == Flow::Flowing { max_batch: None }).await;

    // The failures of before are ahead now.
    fleet.pass(20 * POLL).await;
    assert!(flows(&instance.gate(&circuit()).unwrap().state()));
    go_back();
    fleet.pass(20 * POLL).await;
    assert!(flows(&instance.gate(&circuit()).unwrap().state()));
    fleet.record("a", outage()).await;
    until(&instance, is_open).await;
}

#[tokio::test(start_paused = true)]
async fn a_pause_stops_a_function_or_a_lane_and_survives_a_restart() {
    let fleet = Fleet::new();
    let first = fleet.instance("a");
    until(&first, flows).await;
    let (function, one) = (PauseTarget::Function(circuit()), PauseTarget::Lane(lane(3)));
    assert!(acts::pause(&fleet.store, &one, &fleet.act("bad partition")).await.unwrap());
    let state = until(&first, |state| !state.paused_lanes.is_empty()).await;
    assert_eq!(state.pause_of(&lane(3)).unwrap().reason, "bad partition");
    assert_eq!(state.pause_of(&lane(4)), None);

    assert!(acts::pause(&fleet.store, &function, &fleet.act("release night")).await.unwrap());
    assert!(!acts::pause(&fleet.store, &function, &fleet.act("again")).await.unwrap());
    drop(first);
    let second = fleet.instance("b");
    let state = until(&second, |state| state.paused.is_some()).await;
    assert_eq!(state.pause_of(&lane(4)).unwrap().reason, "release night");
    let status = fleet.status().await;
    assert_eq!(status.paused.unwrap().by, "ann");
    assert_eq!(status.paused_lanes.into_keys().collect::<Vec<_>>(), [lane(3).to_string()]);

    assert!(acts::resume(&fleet.store, &function, &fleet.act("")).await.unwrap());
    assert!(!acts::resume(&fleet.store, &function, &fleet.act("")).await.unwrap());
    let state = until(&second, |state| state.paused.is_none()).await;
    assert!(state.pause_of(&lane(3)).is_some() && state.pause_of(&lane(4)).is_none());
    assert!(acts::resume(&fleet.store, &one, &fleet.act("")).await.unwrap());
    until(&second, |state| state.paused_lanes.is_empty()).await;

    assert_eq!(fleet.notices().await, ["lane.paused", "function.paused", "function.resumed", "lane.resumed"]);
    assert_eq!(
        fleet.trail().await,
        [
            "pause journal/hub/3 by ann",
            "pause journal by ann",
            "resume journal by ann",
            "resume journal/hub/3 by ann"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_lone_sick_instance_steps_aside_and_comes_back_and_the_others_go_on() {
    let fleet = Fleet::new();
    let [sick, well] = ["sick", "well"].map(|name| fleet.instance(name));
    sick.set_others(["well".to_owned()]);
    well.set_others(["sick".to_owned()]);
    until(&sick, flows).await;
    until(&well, flows).await;
    let mut gate = well.gate(&circuit()).unwrap().watch();
    gate.borrow_and_update();
    fleet.record("well", succeeded(200)).await;
    fleet.record("sick", outage()).await;
    let state = until(&sick, |state| state.step_aside.is_some()).await;
    assert!(matches!(state.flow, Flow::Stopped { .. }));
    assert!(state.step_aside.unwrap().reason.contains("150 events"));
    assert_eq!(fleet.store.registers(STEP_ASIDE).await.unwrap().len(), 1);

    until(&sick, |state| state.step_aside.is_none() && flows(state)).await;
    assert!(!gate.has_changed().unwrap(), "the fleet went on");
    assert!(fleet.store.registers(STEP_ASIDE).await.unwrap().is_empty());
    assert_eq!(fleet.notices().await, ["instance.stepped-aside"]);
}

#[tokio::test(start_paused = true)]
async fn a_second_sick_instance_opens_the_circuit_because_the_illness_moves() {
    let fleet = Fleet::new();
    let names = ["first", "second", "well"];
    let [first, second, well] = names.map(|name| fleet.instance(name));
    for instance in [&first, &second, &well] {
        instance.set_others(names.map(str::to_owned));
    }
    for instance in [&first, &second, &well] {
        until(instance, flows).await;
    }
    fleet.record("well", succeeded(100)).await;
    fleet.record("first", outage()).await;
    until(&first, |state| state.step_aside.is_some()).await;
    fleet.pass(40 * POLL).await;
    fleet.record("well", succeeded(100)).await;
    fleet.record("second", outage()).await;
    until(&second, is_open).await;
    until(&well, is_open).await;
    assert_eq!(fleet.notices().await, ["instance.stepped-aside", "circuit.opened"]);
}

/// A program that was replaced by a sick one: its successes are still in the window, but nobody is left to take over.
#[tokio::test(start_paused = true)]
async fn an_instance_does_not_step_aside_for_others_that_are_gone() {
    let fleet = Fleet::new();
    fleet.record("old", succeeded(200)).await;
    let sick = fleet.instance("new");
    until(&sick, flows).await;
    fleet.record("new", HealthCounts { failed: 300, ..outage() }).await;
    until(&sick, is_open).await;
    assert_eq!(fleet.notices().await, ["circuit.opened"]);
}

#[tokio::test(start_paused = true)]
async fn held_events_are_released_when_it_closes_by_hand_or_by_a_probe() {
    for by_hand in [true, false] {
        let fleet = Fleet::new();
        let instance = fleet.instance("a");
        until(&instance, flows).await;
        let lane = fleet.hold_an_event().await;
        fleet.record("a", outage()).await;
        until(&instance, is_open).await;
        assert!(fleet.is_held(&lane).await);
        if by_hand {
            drop(instance);
            acts::close(&fleet.store, &circuit(), &fleet.act("fixed")).await.unwrap();
        } else {
            until(&instance, probes).await;
            assert!(fleet.is_held(&lane).await);
            instance.probe_turn(&circuit(), Timestamp::from_millis(1)).await.unwrap().succeeded().await;
        }
        assert!(!fleet.is_held(&lane).await);
    }
}

#[tokio::test(start_paused = true)]
async fn the_circuit_of_a_dependency_stops_by_itself_and_releases_what_its_functions_hold() {
    let fleet = Fleet::new();
    let database = FunctionName::new("database").unwrap();
    let setup = CircuitSetup {
        name: database.clone(),
        settings: fleet.settings,
        lanes: 16,
        max_batch: 10,
        functions: vec![circuit()],
    };
    let store = Arc::new(fleet.store.clone());
    let instance = CircuitBreaker::start(store, fleet.clock.clone(), "a".to_owned(), vec![setup]);
    assert!(instance.gate(&circuit()).is_none());
    let mut gate = instance.gate(&database).unwrap().watch();
    gate.wait_for(flows).await.unwrap();
    let lane = fleet.hold_an_event().await;
    fleet.record_for(&database, "a", outage()).await;
    gate.wait_for(is_open).await.unwrap();
    // Whoever closes it need not know who depends on it.
    acts::close(&fleet.store, &database, &fleet.act("fixed")).await.unwrap();
    gate.wait_for(flows).await.unwrap();
    fleet.pass(2 * POLL).await;
    assert!(!fleet.is_held(&lane).await);
}

#[tokio::test(start_paused = true)]
async fn registers_that_hold_nonsense_are_survived() {
    let fleet = Fleet::new();
    let write = |kind, name: &str, from| RegisterChange {
        key: RegisterKey::new(kind, name),
        from,
        value: Some(serde_json::json!({ "nonsense": true })),
        at: fleet.clock.now(),
        notices: Vec::new(),
        trail: Vec::new(),
    };
    let instance = fleet.instance("a");
    until(&instance, flows).await;
    fleet.store.change_register(write(CIRCUIT, "journal", Version::NONE)).await.unwrap();
    fleet
        .store
        .change_register(write(tidegate_model::circuit::PAUSE, "journal", Version::NONE))
        .await
        .unwrap();
    let state = until(&instance, |state| state.paused.is_some()).await;
    assert!(flows(&state), "the circuit stays as it is known");
    assert!(state.paused.unwrap().reason.contains("cannot be read"));
    acts::open(&fleet.store, &circuit(), &fleet.act("")).await.unwrap();
    until(&instance, is_open).await;
    assert!(acts::resume(&fleet.store, &PauseTarget::Function(circuit()), &fleet.act("")).await.unwrap());
}
