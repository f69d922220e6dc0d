//! Checks of what people do with parked events.

use crate::attempt::FailureClass;
use crate::dead_letter::{Acted, DeadLetterFilter, DeadLetterId, DeadLetterStatus};
use crate::outcome::OutcomeCounts;
use crate::parking::{ParkedEvent, ParkedVersion, Turn, UnparkedEnd};
use crate::ports::{Commits, DeadLetters, Parking, StoreError};
use crate::position::SequenceNumber;
use crate::trail::action;

use super::StoreFactory;
use super::samples::*;

/// A parked event that is tried now has its turn, held or not; the audit trail says who asked.
pub async fn a_parked_event_can_be_tried_now<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let epoch = begin(&store, 0, 0).await;
    let mut events = vec![held(0, "a"), parked(0, 1, Some("b")), parked(0, 2, Some("b"))];
    events[1].turn = Turn::At(at(1_000_000));
    park_events(&store, epoch, 0, events.clone()).await;
    for (event, ms) in [(0, 51), (1, 52)] {
        let lines = trail_len(&store).await;
        let ann = act("ann", ms);
        assert_eq!(store.try_parked_now(&lane(0), SequenceNumber(event), &ann).await, Ok(Acted::Done));
        let expected = ParkedEvent { turn: Turn::At(at(ms)), ..events[event as usize].clone() };
        assert_eq!(stored_parked(&store, event).await.parked, expected);
        let line = only_line_after(&store, lines).await;
        assert_eq!((line.action.as_str(), line.subject), (action::TRY_NOW, lane(0).to_string()));
        assert_eq!((line.act, &line.detail["sequence_number"]), (ann, &serde_json::json!(event)));
    }
    assert_eq!(stored_parked(&store, 2).await.parked, events[2]);

    let unchanged = Everything::of(&store).await;
    for (lane, event) in [(lane(0), 3), (lane(1), 0), (other_function(lane(0)), 0)] {
        let missing = store.try_parked_now(&lane, SequenceNumber(event), &act("ann", 60)).await;
        assert_eq!(missing, Ok(Acted::NotFound));
    }
    assert_eq!(Everything::of(&store).await, unchanged);
}

/// The held events of a function, and only they, are released in all its lanes.
pub async fn held_events_are_released_function_by_function<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let lanes = [lane(0), lane(1), other_hub(lane(0)), other_function(lane(0))];
    for lane in &lanes {
        let epoch = begin_lane(&store, lane, 0).await;
        let mut commit = step_of(lane, epoch, 0, 3);
        commit.lanes[0].counts = OutcomeCounts { parked: 3, ..OutcomeCounts::default() };
        commit.lanes[0].parked = vec![held(0, "a"), parked(0, 1, Some("a")), held(2, "b")];
        for parked in &mut commit.lanes[0].parked {
            parked.lane = lane.clone();
        }
        store.commit(&commit).await.unwrap();
    }
    let waiting = stored_parked(&store, 1).await;
    assert_eq!(store.release_held(&lane(0).function, at(70)).await, Ok(6));
    for lane in &lanes[..3] {
        let parked = store.list_parked(lane, SequenceNumber(0), 10).await.unwrap();
        let turns: Vec<_> = parked.into_iter().map(|stored| stored.parked.turn).collect();
        assert_eq!(turns, [Turn::At(at(70)), Turn::At(at(10)), Turn::At(at(70))]);
    }
    assert_eq!(stored_parked(&store, 1).await, waiting, "one that was not held keeps its turn and version");
    let others = store.list_parked(&lanes[3], SequenceNumber(0), 10).await.unwrap();
    assert_eq!(others[0].parked.turn, held(0, "a").turn);
    assert_eq!(store.release_held(&lane(0).function, at(80)).await, Ok(0));
    assert_eq!(stored_parked(&store, 0).await.parked.turn, Turn::At(at(70)));
}

/// A parked event that is set aside becomes an open dead letter with its attempts, in one transaction with the line that
/// says who did it; what waits behind it goes on, and whoever was about to resolve it is refused.
pub async fn a_parked_event_can_be_set_aside<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let epoch = begin(&store, 0, 0).await;
    let mut head = held(0, "a");
    head.attempts = attempts(0, 3).attempts;
    park_events(&store, epoch, 0, vec![head.clone(), parked(0, 1, Some("a"))]).await;
    let version = version(&store, 0).await;

    let ann = act("ann", 50);
    assert_eq!(store.set_aside(&lane(0), SequenceNumber(0), &ann).await, Ok(Acted::Done));
    assert_eq!(store.set_aside(&lane(0), SequenceNumber(0), &ann).await, Ok(Acted::NotFound));
    assert_eq!(store.set_aside(&lane(1), SequenceNumber(1), &ann).await, Ok(Acted::NotFound));

    let store = factory.reopen(store).await;
    assert_eq!(store.parked(&lane(0), SequenceNumber(0)).await, Ok(None));
    let place = store.parking_place(&lane(0)).await.unwrap();
    assert_eq!((place.events, place.heads[0].sequence_number), (1, SequenceNumber(1)));
    assert_eq!(
        counts(&store).await,
        OutcomeCounts { dead_lettered: 1, parked: 1, ..OutcomeCounts::default() }
    );
    assert_eq!(not_zero(store.count_dead_letters().await.unwrap()), [(lane(0), 1)]);
    assert_eq!(not_zero(store.count_parked().await.unwrap()), [(lane(0), 1)]);

    let letters = store.list_dead_letters(&DeadLetterFilter::default(), None, 10).await.unwrap();
    let [stored] = &letters[..] else { panic!("{letters:?}") };
    assert_eq!((stored.status, stored.changed_at), (DeadLetterStatus::Open, at(50)));
    assert_eq!((stored.redrives, stored.returns, stored.revision), (0, 0, 0));
    assert_eq!(stored.letter, head.clone().set_aside(at(50)));
    assert_eq!((&stored.letter.event, &stored.letter.attempts), (&head.event, &head.attempts));
    assert_eq!((&stored.letter.lane, stored.letter.class), (&lane(0), FailureClass::Exhausted));

    let line = only_line_after(&store, 0).await;
    assert_eq!((line.action.as_str(), line.subject), (action::SET_ASIDE, lane(0).to_string()));
    assert_eq!((line.act, &line.detail["sequence_number"]), (ann, &serde_json::json!(0)));

    let mut late = step(0, epoch, 2, 2);
    late.lanes[0].unparked = vec![unparked(0, version, UnparkedEnd::Applied)];
    let moved = StoreError::ParkedMoved { lane: lane(0), sequence_number: SequenceNumber(0) };
    assert_eq!(store.commit(&late).await, Err(moved));
}

/// When a person sets an event aside while a commit resolves it, one of the two happens.
pub async fn of_an_act_and_a_commit_at_once_one_happens<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let epoch = begin(&store, 0, 0).await;
    park(&store, epoch, 0, &[None; 10]).await;
    let ann = act("ann", 50);
    let mut aside = 0;
    for event in 0..10 {
        let mut commit = step(0, epoch, 10, 10);
        commit.lanes[0].unparked = vec![unparked(event, version(&store, event).await, UnparkedEnd::Applied)];
        let (number, lane) = (SequenceNumber(event), lane(0));
        let (acted, committed) = tokio::join!(store.set_aside(&lane, number, &ann), store.commit(&commit));
        match acted.unwrap() {
            Acted::Done => {
                aside += 1;
                let moved = StoreError::ParkedMoved { lane, sequence_number: number };
                assert_eq!(committed, Err(moved));
            }
            acted => {
                assert_eq!(acted, Acted::NotFound);
                committed.unwrap();
            }
        }
    }
    let expected = OutcomeCounts { applied: 10 - aside, dead_lettered: aside, ..OutcomeCounts::default() };
    assert_eq!(counts(&store).await, expected);
    assert_eq!(trail_len(&store).await, aside);
}

/// A redrive that is set aside goes back to its dead letter. It did not fail, so it does not count as having come back.
pub async fn a_redrive_that_is_set_aside_goes_back_to_its_dead_letter<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let epoch = begin(&store, 0, 0).await;
    let ids = super::samples::set_aside(&store, epoch, 0, 2).await;
    let before = dead_letter(&store, ids[0]).await;
    store.redrive(&ids, false, &act("ann", 40)).await.unwrap();

    // Not tried yet: its story is the old one.
    assert_eq!(store.set_aside(&lane(0), SequenceNumber(0), &act("ann", 50)).await, Ok(Acted::Done));
    let after = dead_letter(&store, ids[0]).await;
    assert_eq!(after.letter, before.letter);
    assert_eq!((after.status, after.changed_at), (DeadLetterStatus::Open, at(50)));
    assert_eq!((after.redrives, after.returns), (1, 0));
    assert_eq!(status(&store, ids[1]).await, DeadLetterStatus::Redriving);
    assert_eq!(
        counts(&store).await,
        OutcomeCounts { dead_lettered: 1, parked: 1, ..OutcomeCounts::default() }
    );

    // Tried once: the attempt is part of the story.
    let mut commit = step(0, epoch, 2, 2);
    commit.lanes[0].reparked = vec![crate::parking::Reparked {
        sequence_number: SequenceNumber(1),
        version: version(&store, 1).await,
        turn: Turn::At(at(90)),
        attempts: attempts(1, 1).attempts,
    }];
    store.commit(&commit).await.unwrap();
    let before = dead_letter(&store, ids[1]).await;
    store.set_aside(&lane(0), SequenceNumber(1), &act("ann", 51)).await.unwrap();
    let after = dead_letter(&store, ids[1]).await;
    assert_eq!((after.status, after.returns), (DeadLetterStatus::Open, 0));
    assert_eq!(after.letter.event, before.letter.event);
    let attempts: Vec<_> = [before.letter.attempts, attempts(1, 1).attempts].concat();
    assert_eq!(after.letter.attempts, attempts);

    let all = store.find_dead_letters(&DeadLetterFilter::default(), None, 10).await.unwrap();
    assert_eq!(all, ids, "no new dead letter was made");
    assert_eq!(store.dead_letter(DeadLetterId(3)).await, Ok(None));
}

/// An event of lane 0 to park, held for a person.
fn held(event: u64, key: &str) -> ParkedEvent {
    let attempts = attempts(event, 1).attempts;
    ParkedEvent {
        turn: Turn::Held { reason: "attempt 0".to_owned() },
        attempts,
        ..parked(0, event, Some(key))
    }
}

/// Whoever owns a lane sees by the mark that somebody acted on what is parked.
pub async fn acts_on_parked_events_move_the_mark_and_commits_do_not<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let mark = async || store.parked_version().await.unwrap();
    assert_eq!(mark().await, ParkedVersion(0));
    let epoch = begin(&store, 0, 0).await;
    park_events(&store, epoch, 0, vec![held(0, "a"), held(1, "b"), held(2, "c")]).await;
    assert_eq!(mark().await, ParkedVersion(0), "a commit is no act");
    let mut before = mark().await;
    let mut has_moved = async || {
        let now = mark().await;
        let has_moved = now > before;
        assert!(has_moved || now == before, "it went back");
        before = now;
        has_moved
    };

    let (ann, number) = (act("ann", 50), SequenceNumber);
    assert_eq!(store.try_parked_now(&lane(0), number(0), &ann).await, Ok(Acted::Done));
    assert!(has_moved().await);
    assert_eq!(store.try_parked_now(&lane(0), number(9), &ann).await, Ok(Acted::NotFound));
    assert!(!has_moved().await, "nothing was done");
    assert_eq!(store.release_held(&lane(0).function, at(60)).await, Ok(2));
    assert!(has_moved().await);
    assert_eq!(store.release_held(&lane(0).function, at(60)).await, Ok(0));
    assert!(!has_moved().await);
    assert_eq!(store.set_aside(&lane(0), number(1), &ann).await, Ok(Acted::Done));
    assert!(has_moved().await);
    let letters = store.find_dead_letters(&DeadLetterFilter::default(), None, 9).await.unwrap();
    assert_eq!(store.redrive(&letters, false, &ann).await, Ok(vec![Acted::Done]));
    assert!(has_moved().await);
    assert!(!has_moved().await);
}
