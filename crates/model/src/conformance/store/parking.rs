//! Checks of parked events: queues, versions, and what commits make of them.

use crate::attempt::{Attempt, FailureKind};
use crate::dead_letter::{DeadLetterFilter, DeadLetterStatus};
use crate::document::Precondition;
use crate::error::ErrorKind;
use crate::event::{Event, EventData, PropertyValue};
use crate::outcome::OutcomeCounts;
use crate::parking::{
    OrderKey, ParkedHead, ParkedVersion, ParkingPlace, Reparked, StoredParked, Turn, UnparkedEnd,
};
use crate::ports::{Commits, DeadLetters, Documents, Parking, StoreError};
use crate::position::SequenceNumber;

use super::StoreFactory;
use super::samples::*;

/// A parked event comes back as it was: event, turn, attempts.
pub async fn parked_events_keep_every_byte<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let epoch = begin(&store, 0, 0).await;
    let mut full = parked(0, 0, Some("key \u{0} é"));
    full.event = Event {
        enqueued_at: at(-77),
        data: EventData {
            properties: [("a", PropertyValue::Double(-0.5)), ("a", PropertyValue::Binary(vec![0, 255]))]
                .into_iter()
                .collect(),
            system_properties: [("message-id", PropertyValue::from("7"))].into_iter().collect(),
            body: (0..=255_u8).cycle().take(70_000).collect::<Vec<u8>>().into(),
            ..full.event.data
        },
        ..full.event
    };
    full.turn = Turn::Held { reason: "the account \"a\nb\" is closed".to_owned() };
    full.parked_at = at(-3);
    let kinds = [
        FailureKind::Transient,
        FailureKind::Throttled,
        FailureKind::TimedOut,
        FailureKind::Panicked,
        FailureKind::Interrupted,
        FailureKind::Rejected,
    ];
    full.attempts = (0..)
        .zip(kinds)
        .map(|(n, kind)| Attempt { at: at(n), kind, error: format!("attempt {n}\n") })
        .collect();
    let mut bare = parked(0, 1, None);
    bare.event.data = EventData::default();
    bare.turn = Turn::At(at(1_000_000));
    let given = vec![full, bare, parked(0, 2, Some(""))];
    park_events(&store, epoch, 0, given.clone()).await;

    let store = factory.reopen(store).await;
    let listed = store.list_parked(&lane(0), SequenceNumber(0), 10).await.unwrap();
    assert_eq!(listed.iter().map(|stored| stored.parked.clone()).collect::<Vec<_>>(), given);
    for stored in &listed {
        let number = stored.parked.event.sequence_number;
        assert_eq!(store.parked(&lane(0), number).await, Ok(Some(stored.clone())));
        for elsewhere in [lane(1), other_function(lane(0)), other_hub(lane(0))] {
            assert_eq!(store.parked(&elsewhere, number).await, Ok(None));
        }
    }
    for missing in [3, u64::MAX] {
        assert_eq!(store.parked(&lane(0), SequenceNumber(missing)).await, Ok(None));
    }
}

/// The events of a key come in the order of their numbers, whatever order they were parked in, and the head of each key
/// says how many wait.
pub async fn the_parked_events_of_a_key_are_a_queue<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let epoch = begin(&store, 0, 10).await;
    let keys = ["a", "b", "a", "c", "b", "a"];
    let mut events: Vec<_> = (10..).zip(keys).map(|(event, key)| parked(0, event, Some(key))).collect();
    events.reverse();
    park_events(&store, epoch, 10, events).await;
    park(&store, epoch, 16, &[Some("c"), Some("d"), Some("a")]).await;

    let heads = heads(&store.parking_place(&lane(0)).await.unwrap());
    assert_eq!(
        heads,
        [(10, Some("a"), 4), (11, Some("b"), 2), (13, Some("c"), 2), (17, Some("d"), 1)].map(owned)
    );
    for (key, queue) in [
        ("a", &[10, 12, 15, 18][..]),
        ("b", &[11, 14]),
        ("c", &[13, 16]),
        ("d", &[17]),
        ("e", &[]),
        ("A", &[]),
    ] {
        assert_eq!(numbers(&of_key(&store, key).await), queue, "of {key}");
    }
    for elsewhere in [lane(1), other_function(lane(0)), other_hub(lane(0))] {
        let found =
            store.parked_of_key(&elsewhere, &OrderKey::from("a"), SequenceNumber::ZERO, 10, usize::MAX).await;
        assert_eq!(found, Ok(Vec::new()));
    }

    // The head leaves, and one from the middle: the next is the head.
    end_parked(&store, epoch, 19, 10, UnparkedEnd::Applied).await;
    end_parked(&store, epoch, 19, 15, UnparkedEnd::Filtered).await;
    let store = factory.reopen(store).await;
    assert_eq!(numbers(&of_key(&store, "a").await), [12, 18]);
    let heads = self::heads(&store.parking_place(&lane(0)).await.unwrap());
    assert_eq!(
        heads,
        [(11, Some("b"), 2), (12, Some("a"), 2), (13, Some("c"), 2), (17, Some("d"), 1)].map(owned)
    );
}

/// An event without key has no order to keep: each is a head. An empty key is a key.
pub async fn parked_events_without_key_are_queues_of_their_own<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let epoch = begin(&store, 0, 0).await;
    park(&store, epoch, 0, &[None, Some(""), None, Some(""), Some("a"), None]).await;
    let place = store.parking_place(&lane(0)).await.unwrap();
    assert_eq!(
        heads(&place),
        [(0, None, 1), (1, Some(""), 2), (2, None, 1), (4, Some("a"), 1), (5, None, 1)].map(owned)
    );
    assert_eq!(numbers(&of_key(&store, "").await), [1, 3]);
    end_parked(&store, epoch, 6, 0, UnparkedEnd::Applied).await;
    end_parked(&store, epoch, 6, 1, UnparkedEnd::Applied).await;
    let place = store.parking_place(&lane(0)).await.unwrap();
    assert_eq!(heads(&place), [(2, None, 1), (3, Some(""), 1), (4, Some("a"), 1), (5, None, 1)].map(owned));
}

/// A parking place tells how much is in it, and since when; and of each head what is needed to know its turn.
pub async fn a_parking_place_tells_what_is_in_it<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let epoch = begin(&store, 0, 0).await;
    let nothing = |version| ParkingPlace { version: ParkedVersion(version), ..ParkingPlace::default() };
    assert_eq!(store.parking_place(&lane(0)).await, Ok(nothing(0)));
    assert_eq!(store.parking_place(&lane(9)).await, Ok(nothing(0)));

    let mut events = vec![parked(0, 0, Some("a")), parked(0, 1, Some("a")), parked(0, 2, None)];
    events[0].turn = Turn::Held { reason: "down".to_owned() };
    events[0].event.enqueued_at = at(-9);
    events[1].parked_at = at(4);
    events[2].turn = Turn::At(at(500));
    let bytes = events.iter().map(|parked| parked.event.data.size() as u64).sum();
    park_events(&store, epoch, 0, events.clone()).await;
    let head = |event: usize, queued| ParkedHead {
        sequence_number: events[event].event.sequence_number,
        key: events[event].event.data.partition_key.clone(),
        turn: events[event].turn.clone(),
        queued,
        is_redrive: false,
        enqueued_at: events[event].event.enqueued_at,
    };
    let version = store.parked(&lane(0), SequenceNumber(2)).await.unwrap().expect("it is parked").version;
    let expected =
        ParkingPlace { heads: vec![head(0, 2), head(2, 1)], events: 3, bytes, oldest: Some(at(4)), version };
    assert_eq!(store.parking_place(&lane(0)).await, Ok(expected.clone()));
    assert_eq!(store.parking_place(&other_function(lane(0))).await, Ok(nothing(version.0)));
    let store = factory.reopen(store).await;
    assert_eq!(store.parking_place(&lane(0)).await, Ok(expected));

    for event in 0..3 {
        end_parked(&store, epoch, 3, event, UnparkedEnd::Applied).await;
    }
    assert_eq!(store.parking_place(&lane(0)).await, Ok(nothing(version.0)));
}

/// What is read of a queue is limited by number and by bytes, but never to nothing for the bytes alone.
pub async fn what_is_read_of_a_queue_is_limited<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let epoch = begin(&store, 0, 0).await;
    let mut events: Vec<_> = (0..5).map(|event| parked(0, event, Some("key"))).collect();
    for (parked, len) in events.iter_mut().zip([100, 50, 200, 1, 1]) {
        parked.event.data.body = vec![b'x'; len].into();
    }
    let sizes: Vec<_> = events.iter().map(|parked| parked.event.data.size()).collect();
    park_events(&store, epoch, 0, events).await;
    let of_key_from = |from: u64, limit, max_bytes| {
        let (store, key, from) = (&store, OrderKey::from("key"), SequenceNumber(from));
        async move { numbers(&store.parked_of_key(&lane(0), &key, from, limit, max_bytes).await.unwrap()) }
    };
    let of_key = |limit, max_bytes| of_key_from(0, limit, max_bytes);
    assert_eq!(of_key(0, usize::MAX).await, Vec::<u64>::new());
    assert_eq!(of_key(2, usize::MAX).await, [0, 1]);
    assert_eq!(of_key(5, usize::MAX).await, [0, 1, 2, 3, 4]);
    assert_eq!(of_key(usize::MAX, usize::MAX).await, [0, 1, 2, 3, 4]);
    assert_eq!(of_key(5, 0).await, [0], "there is always one");
    assert_eq!(of_key(5, sizes[0] + sizes[1] - 1).await, [0]);
    assert_eq!(of_key(5, sizes[0] + sizes[1]).await, [0, 1]);
    // A small one after one that does not fit must not overtake it.
    assert_eq!(of_key(5, sizes[0] + sizes[1] + sizes[3] + 1).await, [0, 1]);
    assert_eq!(of_key(5, sizes.iter().sum()).await, [0, 1, 2, 3, 4]);
    // The middle of a queue is found as its head is.
    assert_eq!(of_key_from(2, 2, usize::MAX).await, [2, 3]);
    assert_eq!(of_key_from(3, 5, 0).await, [3], "there is always one");
    assert_eq!(of_key_from(5, 5, usize::MAX).await, Vec::<u64>::new());
}

/// Listings of a lane go on from a number, and join page by page.
pub async fn parked_events_are_listed_page_by_page<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let epoch = begin(&store, 0, 0).await;
    let keys = [Some("a"), None, Some("b"), Some("a"), None, Some("c"), Some("b")];
    park(&store, epoch, 0, &keys).await;
    end_parked(&store, epoch, 7, 2, UnparkedEnd::Applied).await;
    let left = [0, 1, 3, 4, 5, 6];
    for limit in [1, 2, 4, 100] {
        let (mut listed, mut from) = (Vec::new(), SequenceNumber(0));
        loop {
            let page = store.list_parked(&lane(0), from, limit).await.unwrap();
            assert!(page.len() <= limit);
            let Some(last) = page.last() else { break };
            from = last.parked.event.sequence_number.next();
            listed.extend(numbers(&page));
        }
        assert_eq!(listed, left, "pages of {limit}");
    }
    assert_eq!(store.list_parked(&lane(0), SequenceNumber(0), 0).await, Ok(Vec::new()));
    assert_eq!(store.list_parked(&lane(1), SequenceNumber(0), 10).await, Ok(Vec::new()));
    let rest = store.list_parked(&lane(0), SequenceNumber(2), usize::MAX).await.unwrap();
    assert_eq!(numbers(&rest), [3, 4, 5, 6]);
}

/// A long queue is worked off from its head, batch by batch, without losing or turning round any.
pub async fn a_long_queue_is_worked_off_in_order<F: StoreFactory>(factory: &F) {
    const LENGTH: u64 = 5_000;
    let store = factory.open().await;
    let epoch = begin(&store, 0, 0).await;
    park(&store, epoch, 0, &[Some("key"); LENGTH as usize]).await;
    let mut next = 0;
    while next < LENGTH {
        let batch = store
            .parked_of_key(&lane(0), &OrderKey::from("key"), SequenceNumber::ZERO, 500, usize::MAX)
            .await
            .unwrap();
        let mut commit = step(0, epoch, LENGTH, LENGTH);
        for stored in &batch {
            assert_eq!(stored.parked.event.sequence_number.0, next);
            next += 1;
            let number = stored.parked.event.sequence_number.0;
            commit.lanes[0].unparked.push(unparked(number, stored.version, UnparkedEnd::Applied));
        }
        assert!(!batch.is_empty(), "{next} events came, and no more");
        store.commit(&commit).await.unwrap();
    }
    let place = store.parking_place(&lane(0)).await.unwrap();
    assert_eq!((place.heads.len(), place.events, place.bytes), (0, 0, 0));
    assert_eq!(counts(&store).await, OutcomeCounts { applied: LENGTH, ..OutcomeCounts::default() });
}

/// Whatever changes a parked event, its version is greater than every version before, also than those of other events,
/// of events that are gone, and of times before a restart.
pub async fn each_change_of_a_parked_event_gives_a_greater_version<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let epoch = begin(&store, 0, 0).await;
    let mut last = ParkedVersion(0);
    let mut grows = |version: ParkedVersion, what: &str| {
        assert!(version > last, "{what}: {version:?} after {last:?}");
        last = version;
    };
    park(&store, epoch, 0, &[Some("a")]).await;
    grows(version(&store, 0).await, "parked");
    park(&store, epoch, 1, &[Some("b")]).await;
    grows(version(&store, 1).await, "another is parked");

    let held = Turn::Held { reason: "down".to_owned() };
    repark(&store, epoch, 2, 0, held.clone(), 1).await;
    grows(version(&store, 0).await, "stays parked");
    repark(&store, epoch, 2, 0, held, 1).await;
    grows(version(&store, 0).await, "stays parked as it was");
    store.release_held(&lane(0).function, at(40)).await.unwrap();
    grows(version(&store, 0).await, "is released");
    store.try_parked_now(&lane(0), SequenceNumber(0), &act("ann", 41)).await.unwrap();
    grows(version(&store, 0).await, "is tried now");

    let store = factory.reopen(store).await;
    store.try_parked_now(&lane(0), SequenceNumber(1), &act("ann", 42)).await.unwrap();
    grows(version(&store, 1).await, "after reopening");

    for event in [0, 1] {
        store.set_aside(&lane(0), SequenceNumber(event), &act("ann", 43)).await.unwrap();
    }
    let store = factory.reopen(store).await;
    let ids = store.find_dead_letters(&DeadLetterFilter::default(), None, 10).await.unwrap();
    store.redrive(&ids[..1], false, &act("ann", 44)).await.unwrap();
    grows(version(&store, 0).await, "is redriven, with the parking place empty before");
}

/// A commit on another version of a parked event than the stored one is refused as a whole.
pub async fn a_commit_on_another_version_of_a_parked_event_is_refused<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let epoch = begin(&store, 0, 0).await;
    let other_epoch = begin(&store, 1, 5).await;
    park(&store, epoch, 0, &[Some("a"), Some("a"), None]).await;
    let before = version(&store, 0).await;
    store.try_parked_now(&lane(0), SequenceNumber(0), &act("ann", 11)).await.unwrap();
    let current = version(&store, 0).await;
    let unchanged = Everything::of(&store).await;

    let good = || {
        let mut commit = step(0, epoch, 3, 4);
        commit.lanes.push(step(1, other_epoch, 5, 6).lanes.remove(0));
        commit.documents = vec![write("a", "{}", Precondition::Absent)];
        commit
    };
    let cases = [(0, before), (0, ParkedVersion(current.0 + 1)), (3, current), (1, current)];
    for (event, version) in cases {
        for stays in [false, true] {
            let mut commit = good();
            // The step goes over event 3, so that it is before the checkpoint.
            if stays {
                commit.lanes[0].reparked = vec![reparked(event, version, Turn::At(at(50)), 1)];
            } else {
                commit.lanes[0].unparked = vec![unparked(event, version, UnparkedEnd::Applied)];
            }
            let refused = store.commit(&commit).await.unwrap_err();
            let moved = StoreError::ParkedMoved { lane: lane(0), sequence_number: SequenceNumber(event) };
            assert_eq!(refused, moved, "of event {event}, stays: {stays}");
            assert_eq!(refused.kind(), ErrorKind::Conflict);
            assert_eq!(Everything::of(&store).await, unchanged);
        }
    }
    // In another lane it is not parked at all.
    let mut commit = good();
    commit.lanes[1].unparked = vec![unparked(0, current, UnparkedEnd::Applied)];
    let moved = StoreError::ParkedMoved { lane: lane(1), sequence_number: SequenceNumber(0) };
    assert_eq!(store.commit(&commit).await, Err(moved));
    assert_eq!(Everything::of(&store).await, unchanged);

    let mut commit = good();
    commit.lanes[0].unparked = vec![unparked(0, current, UnparkedEnd::Applied)];
    store.commit(&commit).await.unwrap();
}

/// A parked event that is resolved moves from the count of parked events to that of its outcome; one that is set aside
/// becomes a dead letter.
pub async fn a_resolved_parked_event_is_counted_as_its_outcome<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let epoch = begin(&store, 0, 0).await;
    park(&store, epoch, 0, &[Some("a"), Some("b"), Some("a"), None]).await;
    assert_eq!(counts(&store).await, OutcomeCounts { parked: 4, ..OutcomeCounts::default() });

    let mut commit = step(0, epoch, 4, 5);
    let set_aside = letter(0, 2);
    commit.lanes[0].unparked = vec![
        unparked(0, version(&store, 0).await, UnparkedEnd::Applied),
        unparked(1, version(&store, 1).await, UnparkedEnd::Filtered),
        unparked(2, version(&store, 2).await, UnparkedEnd::DeadLettered(Box::new(set_aside.clone()))),
    ];
    commit.documents = vec![write("a", "{}", Precondition::Absent)];
    store.commit(&commit).await.unwrap();

    let store = factory.reopen(store).await;
    let expected =
        OutcomeCounts { applied: 2, filtered: 1, dead_lettered: 1, parked: 1, ..OutcomeCounts::default() };
    assert_eq!(counts(&store).await, expected);
    assert_eq!(expected.total(), position(&store, 0).await);
    assert_eq!(numbers(&store.list_parked(&lane(0), SequenceNumber(0), 10).await.unwrap()), [3]);
    assert_eq!(store.collections().await, Ok(vec![(collection("planes"), 1)]));
    let letters = store.list_dead_letters(&DeadLetterFilter::default(), None, 10).await.unwrap();
    assert_eq!(letters.len(), 1);
    assert_eq!((&letters[0].letter, letters[0].status), (&set_aside, DeadLetterStatus::Open));
    assert_eq!((letters[0].redrives, letters[0].returns), (0, 0));
}

/// A parked event that was tried once more takes its new turn and attempts, and keeps everything else.
pub async fn an_event_that_stays_parked_keeps_its_place<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let epoch = begin(&store, 0, 0).await;
    park(&store, epoch, 0, &[Some("a"), Some("a")]).await;
    let before = stored_parked(&store, 0).await;
    let behind = stored_parked(&store, 1).await;

    let mut expected = before.parked.clone();
    for (turn, tries) in [
        (Turn::At(at(99)), 1),
        (Turn::Held { reason: "down".to_owned() }, 2),
        (Turn::Held { reason: "still down".to_owned() }, 3),
        (Turn::At(at(7)), 2),
    ] {
        repark(&store, epoch, 2, 0, turn.clone(), tries).await;
        expected.turn = turn;
        expected.attempts = attempts(0, tries).attempts;
        assert_eq!(stored_parked(&store, 0).await.parked, expected);
    }
    let store = factory.reopen(store).await;
    assert_eq!(stored_parked(&store, 0).await.parked, expected);
    assert_eq!(stored_parked(&store, 1).await, behind);
    assert_eq!(counts(&store).await, OutcomeCounts { parked: 2, ..OutcomeCounts::default() });
    assert_eq!(numbers(&of_key(&store, "a").await), [0, 1]);
}

/// After a lost reply, a commit that also changed parked events is answered like any other: its checkpoint is there
/// already.
pub async fn a_commit_of_parked_events_again_says_that_it_happened<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let epoch = begin(&store, 0, 0).await;
    park(&store, epoch, 0, &[Some("a"), Some("b")]).await;
    let mut commit = step(0, epoch, 2, 4);
    commit.lanes[0].counts = OutcomeCounts { applied: 1, parked: 1, ..OutcomeCounts::default() };
    commit.lanes[0].parked = vec![parked(0, 2, Some("b"))];
    commit.lanes[0].unparked = vec![unparked(0, version(&store, 0).await, UnparkedEnd::Applied)];
    commit.lanes[0].reparked = vec![reparked(1, version(&store, 1).await, Turn::At(at(60)), 1)];
    store.commit(&commit).await.unwrap();
    let happened = Everything::of(&store).await;
    let moved =
        StoreError::CheckpointMoved { lane: lane(0), from: SequenceNumber(2), stored: SequenceNumber(4) };
    assert_eq!(store.commit(&commit).await, Err(moved));
    assert_eq!(Everything::of(&store).await, happened);
}

/// Of two commits at the same time that resolve the same parked event, one goes through.
pub async fn of_two_commits_of_a_parked_event_one_goes_through<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let epoch = begin(&store, 0, 0).await;
    park(&store, epoch, 0, &[None; 20]).await;
    for event in 0..20 {
        let mut commit = step(0, epoch, 20, 20);
        commit.lanes[0].unparked = vec![unparked(event, version(&store, event).await, UnparkedEnd::Applied)];
        let (one, other) = tokio::join!(store.commit(&commit), store.commit(&commit));
        assert_ne!(one.is_ok(), other.is_ok(), "event {event}: {one:?} and {other:?}");
    }
    assert_eq!(counts(&store).await, OutcomeCounts { applied: 20, ..OutcomeCounts::default() });
}

/// The parked events of each lane are counted one by one, and agree with the checkpoints.
pub async fn parked_events_are_counted_one_by_one<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    assert_eq!(store.count_parked().await, Ok(Vec::new()));
    let mut expected = Vec::new();
    for (count, lane) in (1..).zip([lane(10), lane(2), other_function(lane(0)), other_hub(lane(0))]) {
        let epoch = begin_lane(&store, &lane, 0).await;
        let mut commit = step_of(&lane, epoch, 0, count);
        commit.lanes[0].counts = OutcomeCounts { parked: count, ..OutcomeCounts::default() };
        for event in 0..count {
            let mut parked = parked(0, event, Some("a"));
            parked.lane = lane.clone();
            commit.lanes[0].parked.push(parked);
        }
        store.commit(&commit).await.unwrap();
        expected.push((lane, count));
    }
    begin(&store, 5, 0).await;
    expected.sort();
    assert_eq!(not_zero(store.count_parked().await.unwrap()), expected);
}

/// The heads of a parking place: number, key, and how many are parked of it.
fn heads(place: &ParkingPlace) -> Vec<(u64, Option<String>, u64)> {
    let heads = place.heads.iter();
    heads
        .map(|head| (head.sequence_number.0, head.key.as_ref().map(ToString::to_string), head.queued))
        .collect()
}

fn owned((event, key, queued): (u64, Option<&str>, u64)) -> (u64, Option<String>, u64) {
    (event, key.map(str::to_owned), queued)
}

fn numbers(events: &[StoredParked]) -> Vec<u64> {
    events.iter().map(|stored| stored.parked.event.sequence_number.0).collect()
}

async fn of_key(store: &impl Parking, key: &str) -> Vec<StoredParked> {
    store.parked_of_key(&lane(0), &OrderKey::from(key), SequenceNumber::ZERO, 100, usize::MAX).await.unwrap()
}

fn reparked(event: u64, version: ParkedVersion, turn: Turn, tries: i64) -> Reparked {
    Reparked {
        sequence_number: SequenceNumber(event),
        version,
        turn,
        attempts: attempts(event, tries).attempts,
    }
}

/// Records another attempt at a parked event of lane 0, whose checkpoint stays at `position`.
async fn repark(
    store: &(impl Commits + Parking),
    epoch: crate::checkpoint::Epoch,
    position: u64,
    event: u64,
    turn: Turn,
    tries: i64,
) {
    let mut commit = step(0, epoch, position, position);
    commit.lanes[0].reparked = vec![reparked(event, version(store, event).await, turn, tries)];
    store.commit(&commit).await.unwrap();
}
