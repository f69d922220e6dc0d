//! Every way the numbers can agree or disagree.

use tidegate_model::clock::Timestamp;
use tidegate_model::outcome::OutcomeCounts;
use tidegate_model::position::Incarnation;

use super::*;

const LIFE: Incarnation = Incarnation(uuid::Uuid::from_u128(1));
const OTHER_LIFE: Incarnation = Incarnation(uuid::Uuid::from_u128(2));

fn hub(name: &str) -> HubName {
    HubName::new(name).unwrap()
}

fn lane(function: &str, partition: u32) -> Lane {
    Lane {
        function: FunctionName::new(function).unwrap(),
        hub: hub("flights"),
        partition: PartitionId(partition),
    }
}

fn partition(number: u32, head: u64, tail: u64) -> PartitionObservation {
    PartitionObservation {
        partition: PartitionId(number),
        head: SequenceNumber(head),
        tail: SequenceNumber(tail),
        damage: None,
        lost: Vec::new(),
    }
}

fn checkpoint(lane: Lane, start: u64, position: u64, counts: [u64; 4]) -> Checkpoint {
    let [applied, filtered, dead_lettered, parked] = counts;
    Checkpoint {
        lane,
        incarnation: LIFE,
        start: SequenceNumber(start),
        position: SequenceNumber(position),
        counts: OutcomeCounts { applied, filtered, dead_lettered, parked, ..OutcomeCounts::default() },
        updated_at: Timestamp::from_millis(0),
    }
}

/// One hub `flights` with one partition (head 0, tail 100) and the function `f` at 90 of it: 80 applied, 5 filtered, 3
/// dead-lettered, 2 parked.
fn sound() -> Observation {
    let at_90 = checkpoint(lane("f", 0), 0, 90, [80, 5, 3, 2]);
    Observation {
        hubs: vec![HubObservation {
            name: hub("flights"),
            incarnation: LIFE,
            is_sparse: false,
            partitions: vec![partition(0, 0, 100)],
        }],
        away: Vec::new(),
        configured: vec![(FunctionName::new("f").unwrap(), hub("flights"))],
        checkpoints_before: vec![at_90.clone()],
        dead_letters: vec![(lane("f", 0), 3)],
        parked: vec![(lane("f", 0), 2)],
        parts: vec![(lane("f", 0), Parts { quarantined: 1, held: 1, redriving: 1 })],
        checkpoints_after: vec![at_90],
    }
}

/// The gaps of the only partition of the only function, held to `ok` everywhere.
fn gaps(seen: &Observation) -> Vec<Gap> {
    let all = audit(seen);
    assert_eq!(all.len(), 1);
    let [partition] = all[0].partitions.as_slice() else { panic!("{all:?}") };
    assert_eq!(partition.ok, partition.gaps.is_empty());
    assert_eq!(all[0].ok, partition.ok && all[0].gaps.is_empty());
    partition.gaps.clone()
}

fn both(seen: &mut Observation, change: impl Fn(&mut Checkpoint)) {
    change(&mut seen.checkpoints_before[0]);
    change(&mut seen.checkpoints_after[0]);
}

#[test]
fn a_sound_account_adds_up() {
    let all = audit(&sound());
    assert_eq!(gaps(&sound()), []);
    let totals = all[0].totals;
    assert_eq!(
        totals,
        AuditAccount {
            published: 100,
            applied: 80,
            filtered: 5,
            dead_lettered: 3,
            quarantined: 1,
            parked: 2,
            held: 1,
            redriving: 1,
            discarded: 0,
            absent: 0,
            lost: 0,
            pending: 10
        }
    );
    let resolved = totals.applied + totals.filtered + totals.dead_lettered + totals.parked;
    assert_eq!(totals.published, resolved + totals.pending);
}

#[test]
fn a_function_that_began_late_answers_for_nothing_before() {
    let mut seen = sound();
    both(&mut seen, |checkpoint| *checkpoint = super::tests::checkpoint(lane("f", 0), 40, 90, [40, 5, 3, 2]));
    assert_eq!(gaps(&seen), []);
    assert_eq!(audit(&seen)[0].totals.published, 60);
}

#[test]
fn a_configured_function_without_checkpoint_has_everything_pending() {
    let mut seen = sound();
    seen.checkpoints_before.clear();
    seen.checkpoints_after.clear();
    seen.dead_letters.clear();
    seen.parked.clear();
    seen.parts.clear();
    seen.hubs[0].partitions = vec![partition(0, 10, 100), partition(1, 0, 0)];
    let all = audit(&seen);
    assert!(all[0].ok);
    assert_eq!(all[0].totals, AuditAccount { published: 90, pending: 90, ..AuditAccount::default() });
}

#[test]
fn a_function_that_is_no_longer_configured_keeps_its_account() {
    let mut seen = sound();
    seen.configured.clear();
    // Retention does not wait for it any more.
    seen.hubs[0].partitions[0].head = SequenceNumber(95);
    assert_eq!(gaps(&seen), []);
}

#[test]
fn every_event_behind_the_checkpoint_is_counted() {
    for wrong in [[79, 5, 3, 2], [81, 5, 3, 2], [80, 4, 3, 2], [80, 5, 3, 3], [u64::MAX, u64::MAX, 3, 0]] {
        let mut seen = sound();
        both(&mut seen, |checkpoint| *checkpoint = super::tests::checkpoint(lane("f", 0), 0, 90, wrong));
        seen.parked = vec![(lane("f", 0), wrong[3])];
        assert!(matches!(gaps(&seen)[..], [Gap::Miscounted { resolved: 90, .. }]), "{wrong:?}");
    }
}

#[test]
fn a_checkpoint_before_its_start_is_named() {
    let mut seen = sound();
    both(&mut seen, |checkpoint| checkpoint.start = SequenceNumber(95));
    assert_eq!(gaps(&seen), [Gap::BeforeStart { start: SequenceNumber(95), position: SequenceNumber(90) }]);
}

#[test]
fn dead_letters_are_counted_one_by_one() {
    for (rows, expected) in [(2, Some(2)), (3, None), (4, Some(4))] {
        let mut seen = sound();
        seen.dead_letters = vec![(lane("f", 0), rows)];
        let found: Vec<_> =
            expected.map(|found| Gap::DeadLetters { counted: 3, found }).into_iter().collect();
        assert_eq!(gaps(&seen), found);
    }
    let mut seen = sound();
    seen.dead_letters.clear();
    assert_eq!(gaps(&seen), [Gap::DeadLetters { counted: 3, found: 0 }]);
}

#[test]
fn dead_letters_of_a_lane_without_checkpoint_are_named() {
    let mut seen = sound();
    seen.checkpoints_before.clear();
    seen.checkpoints_after.clear();
    assert_eq!(
        gaps(&seen),
        [Gap::DeadLetters { counted: 0, found: 3 }, Gap::Parked { counted: 0, found: 2 }]
    );
}

#[test]
fn parked_events_are_counted_one_by_one() {
    for rows in [0, 1, 3] {
        let mut seen = sound();
        seen.parked = vec![(lane("f", 0), rows)];
        assert_eq!(gaps(&seen), [Gap::Parked { counted: 2, found: rows }]);
    }
}

#[test]
fn a_discarded_dead_letter_is_accounted_for() {
    let mut seen = sound();
    both(&mut seen, |checkpoint| {
        checkpoint.counts.dead_lettered -= 1;
        checkpoint.counts.discarded = 1;
    });
    seen.dead_letters = vec![(lane("f", 0), 2)];
    assert_eq!(gaps(&seen), []);
    let account = audit(&seen)[0].totals;
    assert_eq!((account.dead_lettered, account.discarded), (2, 1));
}

#[test]
fn a_redrive_between_the_two_readings_is_no_gap() {
    for (rows, parked) in [(3, 2), (2, 3), (1, 4), (3, 4)] {
        let mut seen = sound();
        seen.checkpoints_after[0] = checkpoint(lane("f", 0), 0, 90, [80, 5, 1, 4]);
        seen.dead_letters = vec![(lane("f", 0), rows)];
        seen.parked = vec![(lane("f", 0), parked)];
        assert_eq!(gaps(&seen), [], "{rows} and {parked} rows");
    }
}

#[test]
fn a_commit_between_the_two_readings_is_no_gap() {
    for rows in 3..=5 {
        let mut seen = sound();
        seen.checkpoints_after[0] = checkpoint(lane("f", 0), 0, 92, [80, 5, 5, 2]);
        seen.dead_letters = vec![(lane("f", 0), rows)];
        assert_eq!(gaps(&seen), [], "{rows} rows");
    }
}

#[test]
fn events_dropped_before_they_were_resolved_are_named() {
    let mut seen = sound();
    seen.hubs[0].partitions[0].head = SequenceNumber(90);
    assert_eq!(gaps(&seen), []);
    seen.hubs[0].partitions[0].head = SequenceNumber(93);
    assert_eq!(gaps(&seen), [Gap::Dropped { from: SequenceNumber(90), to: SequenceNumber(93) }]);
    assert!(gaps(&seen)[0].to_string().starts_with("events 90 to 92 were dropped"));
}

#[test]
fn a_log_that_lost_acknowledged_events_is_named() {
    let mut seen = sound();
    seen.hubs[0].partitions[0].tail = SequenceNumber(90);
    assert_eq!(gaps(&seen), []);
    seen.hubs[0].partitions[0].tail = SequenceNumber(89);
    assert_eq!(gaps(&seen), [Gap::BeyondTail { position: SequenceNumber(90), tail: SequenceNumber(89) }]);
}

#[test]
fn ranges_that_a_repair_gave_up_are_named_unless_they_were_processed_before() {
    let range = |from, to| SequenceNumber(from)..SequenceNumber(to);
    let mut seen = sound();
    seen.hubs[0].partitions[0].lost = vec![range(10, 40)];
    assert_eq!(gaps(&seen), []);
    seen.hubs[0].partitions[0].lost = vec![range(30, 50), range(85, 92), range(95, 97)];
    assert_eq!(
        gaps(&seen),
        [
            Gap::Lost { from: SequenceNumber(90), to: SequenceNumber(92) },
            Gap::Lost { from: SequenceNumber(95), to: SequenceNumber(97) }
        ]
    );
}

#[test]
fn events_that_were_given_up_before_they_were_processed_are_accounted_for_and_named() {
    let mut seen = sound();
    both(&mut seen, |checkpoint| {
        checkpoint.counts.applied -= 4;
        checkpoint.counts.lost = 4;
    });
    assert_eq!(gaps(&seen), [Gap::GivenUp { events: 4 }]);
}

#[test]
fn numbers_that_a_hub_of_somebody_else_gave_to_no_event_are_no_loss() {
    let mut seen = sound();
    seen.hubs[0].is_sparse = true;
    both(&mut seen, |checkpoint| {
        checkpoint.counts.applied -= 4;
        checkpoint.counts.lost = 4;
    });
    assert_eq!(gaps(&seen), []);
    let account = &audit(&seen)[0];
    assert!(account.ok);
    assert_eq!((account.totals.absent, account.totals.lost, account.totals.published), (4, 0, 100));
}

#[test]
fn a_source_that_is_away_is_accounted_for_up_to_its_checkpoints_and_named() {
    use tidegate_api::SourceState;
    let mut seen = sound();
    seen.hubs.clear();
    let status = SourceStatus {
        state: SourceState::Away,
        since: Some(Timestamp::from_millis(7)),
        problem: Some("no route".to_owned()),
    };
    seen.away = vec![(hub("flights"), status.clone())];
    let account = &audit(&seen)[0];
    assert!(account.ok && account.gaps.is_empty());
    assert_eq!(account.source, Some(status));
    assert_eq!((account.totals.published, account.totals.applied, account.totals.pending), (90, 80, 0));
    // What the store says of itself is checked all the same.
    seen.dead_letters[0].1 = 2;
    assert_eq!(gaps(&seen), [Gap::DeadLetters { counted: 3, found: 2 }]);
    // One of which nothing is known is named too.
    seen.checkpoints_before.clear();
    seen.checkpoints_after.clear();
    let account = &audit(&seen)[0];
    assert!(account.source.is_some() && account.partitions.is_empty() && account.ok);
}

#[test]
fn a_damaged_partition_is_named() {
    let mut seen = sound();
    seen.hubs[0].partitions[0].damage = Some("000.seg, byte 17".to_owned());
    assert_eq!(gaps(&seen), [Gap::Damaged { detail: "000.seg, byte 17".to_owned() }]);
}

#[test]
fn a_checkpoint_of_another_life_of_the_hub_is_named() {
    let mut seen = sound();
    seen.hubs[0].incarnation = OTHER_LIFE;
    assert_eq!(gaps(&seen), [Gap::OtherIncarnation { log: OTHER_LIFE, checkpoint: LIFE }]);
}

#[test]
fn checkpoints_of_partitions_and_hubs_that_do_not_exist_are_named() {
    let mut seen = sound();
    let stray = checkpoint(lane("f", 7), 0, 5, [5, 0, 0, 0]);
    seen.checkpoints_before.push(stray.clone());
    seen.checkpoints_after.push(stray);
    let all = audit(&seen);
    assert!(!all[0].ok);
    assert_eq!(all[0].gaps, [Gap::NoPartition { partition: PartitionId(7), position: SequenceNumber(5) }]);

    let mut seen = sound();
    seen.hubs.clear();
    let all = audit(&seen);
    assert!(!all[0].ok);
    assert_eq!(all[0].gaps, [Gap::NoHub { hub: hub("flights") }]);
}

#[test]
fn several_things_can_be_wrong_at_once() {
    let mut seen = sound();
    seen.dead_letters.clear();
    both(&mut seen, |checkpoint| checkpoint.counts.applied = 1);
    seen.hubs[0].partitions[0].damage = Some("x".to_owned());
    assert_eq!(
        gaps(&seen).iter().map(Gap::kind).collect::<Vec<_>>(),
        ["damaged", "miscounted", "dead-letters"]
    );
}

#[test]
fn each_function_has_its_own_account() {
    let mut seen = sound();
    let g = checkpoint(lane("g", 0), 50, 100, [49, 0, 1, 0]);
    seen.checkpoints_before.push(g.clone());
    seen.checkpoints_after.push(g);
    seen.dead_letters = vec![(lane("f", 0), 3), (lane("g", 0), 2)];
    let all = audit(&seen);
    assert_eq!(
        all.iter().map(|one| (one.function.as_str(), one.ok)).collect::<Vec<_>>(),
        [("f", true), ("g", false)]
    );
    assert_eq!(all[1].totals.published, 50);
}

#[test]
fn the_json_has_the_fields_that_others_rely_on() {
    let json = serde_json::to_value(&audit(&sound())[0]).unwrap();
    for (field, value) in [
        ("hub", serde_json::json!("flights")),
        ("function", serde_json::json!("f")),
        ("ok", serde_json::json!(true)),
        ("published", serde_json::json!(100)),
        ("applied", serde_json::json!(80)),
        ("filtered", serde_json::json!(5)),
        ("dead_lettered", serde_json::json!(3)),
        ("parked", serde_json::json!(2)),
        ("discarded", serde_json::json!(0)),
        ("held", serde_json::json!(1)),
        ("quarantined", serde_json::json!(1)),
        ("redriving", serde_json::json!(1)),
        ("pending", serde_json::json!(10)),
    ] {
        assert_eq!(json[field], value, "{field}");
    }
    assert_eq!(json["partitions"][0]["position"], 90);
}
