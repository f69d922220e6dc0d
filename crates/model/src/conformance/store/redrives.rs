//! Checks of what becomes of dead letters: redriven, closed, reopened, quarantined, discarded, edited.

use crate::checkpoint::Epoch;
use crate::dead_letter::{Acted, DeadLetterFilter, DeadLetterId, DeadLetterStatus, Fingerprint, MAX_RETURNS};
use crate::document::Precondition;
use crate::event::{EventData, PropertyValue};
use crate::outcome::OutcomeCounts;
use crate::parking::{ParkedEvent, Turn, UnparkedEnd};
use crate::ports::{Commits, DeadLetters, Parking, Store, StoreError};
use crate::position::SequenceNumber;
use crate::trail::action;

use super::StoreFactory;
use super::samples::*;

/// A redriven dead letter is parked with its event, to be tried at once and without the attempts that were used up; it
/// moves from one count to the other.
pub async fn a_redriven_dead_letter_is_parked<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let epoch = begin(&store, 0, 0).await;
    let ids = set_aside(&store, epoch, 0, 2).await;
    let before = dead_letter(&store, ids[0]).await;
    assert_eq!(store.redrive(&ids[..1], false, &act("ann", 50)).await, Ok(vec![Acted::Done]));

    let store = factory.reopen(store).await;
    let after = dead_letter(&store, ids[0]).await;
    assert_eq!((after.status, after.changed_at), (DeadLetterStatus::Redriving, at(50)));
    assert_eq!((after.redrives, after.returns), (1, 0));
    assert_eq!(after.letter, before.letter);
    let expected = ParkedEvent {
        lane: lane(0),
        incarnation: incarnation(1),
        event: before.letter.event.clone(),
        turn: Turn::At(at(50)),
        attempts: Vec::new(),
        parked_at: at(50),
        redrive_of: Some(ids[0]),
    };
    assert_eq!(stored_parked(&store, 0).await.parked, expected);
    let place = store.parking_place(&lane(0)).await.unwrap();
    assert_eq!(
        place.heads.iter().map(|head| (head.queued, head.is_redrive)).collect::<Vec<_>>(),
        [(1, true)]
    );
    assert_eq!(
        counts(&store).await,
        OutcomeCounts { dead_lettered: 1, parked: 1, ..OutcomeCounts::default() }
    );
    assert_eq!(not_zero(store.count_dead_letters().await.unwrap()), [(lane(0), 1)]);
    assert_eq!(not_zero(store.count_parked().await.unwrap()), [(lane(0), 1)]);
}

/// A redriven event takes its place in the queue of its key: before the later ones, behind the earlier ones.
pub async fn a_redriven_event_keeps_the_order_of_its_key<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let epoch = begin(&store, 0, 0).await;
    // All of them have the key of the sample dead letters.
    let ids = set_aside(&store, epoch, 0, 1).await;
    park(&store, epoch, 1, &[Some("key"), Some("key")]).await;
    let late = set_aside(&store, epoch, 3, 1).await;
    park(&store, epoch, 4, &[Some("key"), Some("other")]).await;
    store.redrive(&[late[0], ids[0]], false, &act("ann", 50)).await.unwrap();

    let queue =
        store.parked_of_key(&lane(0), &"key".into(), SequenceNumber::ZERO, 10, usize::MAX).await.unwrap();
    let numbers: Vec<_> = queue.iter().map(|stored| stored.parked.event.sequence_number.0).collect();
    assert_eq!(numbers, [0, 1, 2, 3, 4]);
    let place = store.parking_place(&lane(0)).await.unwrap();
    let heads: Vec<_> =
        place.heads.iter().map(|head| (head.sequence_number.0, head.queued, head.is_redrive)).collect();
    assert_eq!(heads, [(0, 5, true), (5, 1, false)]);
}

/// The commit that applies or filters a redriven event closes its dead letter, and counts it anew.
pub async fn a_resolved_redrive_closes_its_dead_letter<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let epoch = begin(&store, 0, 0).await;
    let ids = set_aside(&store, epoch, 0, 3).await;
    store.redrive(&ids[..2], false, &act("ann", 50)).await.unwrap();
    let before = dead_letter(&store, ids[0]).await;

    let mut commit = step(0, epoch, 3, 4);
    commit.lanes[0].unparked = vec![
        unparked(0, version(&store, 0).await, UnparkedEnd::Applied),
        unparked(1, version(&store, 1).await, UnparkedEnd::Filtered),
    ];
    commit.documents = vec![write("a", "{}", Precondition::Absent)];
    store.commit(&commit).await.unwrap();
    let store = factory.reopen(store).await;
    for id in &ids[..2] {
        assert_eq!(status(&store, *id).await, DeadLetterStatus::Redriven);
    }
    let after = dead_letter(&store, ids[0]).await;
    assert_eq!(after.changed_at, commit.at);
    assert_eq!((after.letter, after.redrives, after.returns), (before.letter, 1, 0));
    assert_eq!(status(&store, ids[2]).await, DeadLetterStatus::Open);
    let expected = OutcomeCounts { applied: 2, filtered: 1, dead_lettered: 1, ..OutcomeCounts::default() };
    assert_eq!(counts(&store).await, expected);
    assert_eq!(not_zero(store.count_dead_letters().await.unwrap()), [(lane(0), 1)]);
}

/// A redrive that fails reopens the dead letter under its number, with the new story, the event as it was read, and every
/// attempt there ever was.
pub async fn a_failed_redrive_comes_back_with_its_new_story<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let epoch = begin(&store, 0, 0).await;
    let ids = set_aside(&store, epoch, 0, 1).await;
    let edited = EventData { body: "{}".into(), ..letter(0, 0).event.data };
    store.edit(ids[0], 0, &edited, line("dead-letter.edit", "1", act("ann", 40))).await.unwrap();
    let before = dead_letter(&store, ids[0]).await;
    store.redrive(&ids, false, &act("ann", 50)).await.unwrap();

    let UnparkedEnd::DeadLettered(mut story) = failed_again(0, "timed out after 7 s") else { unreachable!() };
    story.event.data = edited.clone();
    end_parked(&store, epoch, 1, 0, UnparkedEnd::DeadLettered(story.clone())).await;
    let store = factory.reopen(store).await;
    let after = dead_letter(&store, ids[0]).await;
    assert_eq!((after.status, after.redrives, after.returns), (DeadLetterStatus::Open, 1, 1));
    assert_eq!(after.letter.event, before.letter.event, "the event is never changed");
    assert_eq!((after.edited.as_ref(), after.revision), (Some(&edited), 1));
    assert_eq!(after.letter.attempts, [before.letter.attempts, story.attempts].concat());
    assert_eq!(after.letter.function_version, story.function_version);
    assert_eq!((after.letter.class, &after.letter.reason), (story.class, &story.reason));
    assert_eq!(
        (after.letter.dead_lettered_at, &after.letter.document),
        (story.dead_lettered_at, &story.document)
    );
    assert_eq!(after.fingerprint, Fingerprint::of(&lane(0).function, story.class, &story.reason));
    assert_ne!(after.fingerprint, before.fingerprint);
    assert_eq!(store.find_dead_letters(&DeadLetterFilter::default(), None, 10).await, Ok(ids));
    assert_eq!(counts(&store).await, OutcomeCounts { dead_lettered: 1, ..OutcomeCounts::default() });
}

/// A dead letter that keeps coming back is quarantined: it is redriven only by force, and quarantined again after.
pub async fn a_dead_letter_that_keeps_coming_back_is_quarantined<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let epoch = begin(&store, 0, 0).await;
    let ids = set_aside(&store, epoch, 0, 1).await;
    for round in 1..=MAX_RETURNS {
        assert_eq!(store.redrive(&ids, false, &act("ann", 50)).await, Ok(vec![Acted::Done]), "round {round}");
        end_parked(&store, epoch, 1, 0, failed_again(0, "timed out")).await;
        let expected =
            if round == MAX_RETURNS { DeadLetterStatus::Quarantined } else { DeadLetterStatus::Open };
        let after = dead_letter(&store, ids[0]).await;
        assert_eq!((after.status, after.redrives, after.returns), (expected, round, round));
    }
    assert_eq!(not_zero(store.count_dead_letters().await.unwrap()), [(lane(0), 1)]);
    let refused = Acted::WrongStatus(DeadLetterStatus::Quarantined);
    assert_eq!(store.redrive(&ids, false, &act("ann", 51)).await, Ok(vec![refused]));

    assert_eq!(store.redrive(&ids, true, &act("ann", 52)).await, Ok(vec![Acted::Done]));
    assert_eq!(status(&store, ids[0]).await, DeadLetterStatus::Redriving);
    end_parked(&store, epoch, 1, 0, failed_again(0, "timed out")).await;
    assert_eq!(status(&store, ids[0]).await, DeadLetterStatus::Quarantined);

    store.redrive(&ids, true, &act("ann", 53)).await.unwrap();
    end_parked(&store, epoch, 1, 0, UnparkedEnd::Applied).await;
    assert_eq!(status(&store, ids[0]).await, DeadLetterStatus::Redriven);
    assert_eq!(counts(&store).await, OutcomeCounts { applied: 1, ..OutcomeCounts::default() });
}

/// A discarded dead letter is kept, and counted as discarded.
pub async fn a_discarded_dead_letter_is_counted_as_such<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let epoch = begin(&store, 0, 0).await;
    let ids = set_aside(&store, epoch, 0, 2).await;
    let before = dead_letter(&store, ids[1]).await;
    assert_eq!(store.discard(&ids[1..], &act("ann", 50)).await, Ok(vec![Acted::Done]));
    let store = factory.reopen(store).await;
    let after = dead_letter(&store, ids[1]).await;
    assert_eq!((after.status, after.changed_at), (DeadLetterStatus::Discarded, at(50)));
    assert_eq!(after.letter, before.letter);
    let counts = counts(&store).await;
    assert_eq!(counts, OutcomeCounts { dead_lettered: 1, discarded: 1, ..OutcomeCounts::default() });
    assert_eq!(counts.total(), position(&store, 0).await);
    assert_eq!(not_zero(store.count_dead_letters().await.unwrap()), [(lane(0), 1)]);
    assert_eq!(store.parking_place(&lane(0)).await.unwrap().events, 0);
}

/// What the status of a dead letter does not allow changes nothing, and the answer says which status it is.
pub async fn acts_are_allowed_by_status<F: StoreFactory>(factory: &F) {
    use DeadLetterStatus::{Discarded, Open, Quarantined, Redriven, Redriving, Replayed};
    // Status; whether redriving, redriving by force, and discarding and editing are allowed.
    let table = [
        (Open, true, true, true),
        (Redriving, false, false, false),
        (Redriven, false, false, false),
        (Discarded, false, false, false),
        (Quarantined, false, true, true),
        (Replayed, false, false, false),
    ];
    assert_eq!(table.map(|row| row.0), DeadLetterStatus::ALL);
    let store = factory.open().await;
    let mut epoch = begin(&store, 0, 0).await;
    for (status, redrive, force, settle) in table {
        for allowed_act in 0..4 {
            let (id, after) = one_that_is(&store, epoch, status).await;
            epoch = after;
            assert_eq!(dead_letter(&store, id).await.status, status);
            let before = Everything::of(&store).await;
            let ann = act("ann", 60);
            let (allowed, answer) = match allowed_act {
                0 => (redrive, store.redrive(&[id], false, &ann).await.unwrap()[0]),
                1 => (force, store.redrive(&[id], true, &ann).await.unwrap()[0]),
                2 => (settle, store.discard(&[id], &ann).await.unwrap()[0]),
                _ => {
                    let data = letter(0, 0).event.data;
                    (settle, store.edit(id, 0, &data, line("dead-letter.edit", "1", ann)).await.unwrap())
                }
            };
            if allowed {
                assert_eq!(answer, Acted::Done, "act {allowed_act} on {status:?}");
                assert_ne!(Everything::of(&store).await, before);
            } else {
                assert_eq!(answer, Acted::WrongStatus(status), "act {allowed_act} on {status:?}");
                assert_eq!(Everything::of(&store).await, before);
            }
        }
    }
}

/// An act on many dead letters answers for each in the order given; those that cannot be acted on hold up no other.
pub async fn an_act_on_many_answers_for_each<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let epoch = begin(&store, 0, 0).await;
    let ids = set_aside(&store, epoch, 0, 3).await;
    store.discard(&ids[1..2], &act("ann", 40)).await.unwrap();
    let missing = DeadLetterId(99);
    let lines = trail_len(&store).await;
    let answers = store.redrive(&[ids[2], missing, ids[1], ids[0], ids[2]], false, &act("ann", 50)).await;
    let expected = [
        Acted::Done,
        Acted::NotFound,
        Acted::WrongStatus(DeadLetterStatus::Discarded),
        Acted::Done,
        Acted::WrongStatus(DeadLetterStatus::Redriving),
    ];
    assert_eq!(answers, Ok(expected.to_vec()));
    let subjects: Vec<_> =
        store.trail(None, lines, 10).await.unwrap().into_iter().map(|line| line.subject).collect();
    assert_eq!(subjects, [ids[2].to_string(), ids[0].to_string()], "a line for each that was done");
    assert_eq!(store.redrive(&[], false, &act("ann", 51)).await, Ok(Vec::new()));
    assert_eq!(store.discard(&[missing, ids[1]], &act("ann", 52)).await, Ok(expected[1..3].to_vec()));
    assert_eq!(counts(&store).await, OutcomeCounts { parked: 2, discarded: 1, ..OutcomeCounts::default() });
}

/// Of two redrives at the same time, one is done; the event is parked once.
pub async fn of_two_redrives_at_once_one_is_done<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let epoch = begin(&store, 0, 0).await;
    let ids = set_aside(&store, epoch, 0, 10).await;
    let (ann, bob) = (act("ann", 50), act("bob", 50));
    for id in &ids {
        let one = std::slice::from_ref(id);
        let (one, other) = tokio::join!(store.redrive(one, false, &ann), store.redrive(one, false, &bob));
        let refused = Ok(vec![Acted::WrongStatus(DeadLetterStatus::Redriving)]);
        let answers = [one, other];
        assert!(answers.contains(&Ok(vec![Acted::Done])) && answers.contains(&refused), "{answers:?}");
    }
    assert_eq!(counts(&store).await, OutcomeCounts { parked: 10, ..OutcomeCounts::default() });
    assert_eq!(trail_len(&store).await, 10);
}

/// Thousands of dead letters are redriven in one act.
pub async fn many_dead_letters_are_redriven_at_once<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let epoch = begin(&store, 0, 0).await;
    let ids = set_aside(&store, epoch, 0, 3_000).await;
    assert_eq!(store.redrive(&ids, false, &act("ann", 50)).await, Ok(vec![Acted::Done; 3_000]));
    assert_eq!(store.parking_place(&lane(0)).await.unwrap().heads[0].queued, 3_000);
    assert_eq!(counts(&store).await, OutcomeCounts { parked: 3_000, ..OutcomeCounts::default() });
}

/// An edit is kept beside the event as its newest revision; the next must be made on that. A redrive gives the function
/// the newest.
pub async fn edits_are_revisions_beside_the_event<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let epoch = begin(&store, 0, 0).await;
    let ids = set_aside(&store, epoch, 0, 1).await;
    let original = dead_letter(&store, ids[0]).await;
    assert_eq!((original.revision, &original.edited), (0, &None));
    let revision = |n: u32| EventData {
        body: (0..=255_u8).cycle().take(300 * n as usize).collect::<Vec<u8>>().into(),
        properties: [("n", PropertyValue::Long(i64::from(n)))].into_iter().collect(),
        ..original.letter.event.data.clone()
    };
    let entry = |ms| line("dead-letter.edit", "1", act("ann", ms));
    for n in 1..=3 {
        assert_eq!(store.edit(ids[0], n - 1, &revision(n), entry(40)).await, Ok(Acted::Done));
        let unchanged = Everything::of(&store).await;
        for stale in [0, n - 1, n + 1].into_iter().filter(|stale| *stale != n) {
            let refused = store.edit(ids[0], stale, &revision(9), entry(41)).await;
            assert_eq!(refused, Ok(Acted::OtherRevision(n)));
        }
        assert_eq!(Everything::of(&store).await, unchanged);
    }
    assert_eq!(store.edit(DeadLetterId(99), 0, &revision(1), entry(42)).await, Ok(Acted::NotFound));

    let store = factory.reopen(store).await;
    let after = dead_letter(&store, ids[0]).await;
    assert_eq!((after.revision, after.edited.as_ref()), (3, Some(&revision(3))));
    assert_eq!((after.status, &after.letter), (DeadLetterStatus::Open, &original.letter));
    store.redrive(&ids, false, &act("ann", 50)).await.unwrap();
    let redriven = stored_parked(&store, 0).await.parked.event;
    assert_eq!(redriven.data, revision(3));
    assert_eq!(redriven.sequence_number, original.letter.event.sequence_number);
    assert_eq!(redriven.enqueued_at, original.letter.event.enqueued_at);
}

/// An edit of the partition key would move the event to another place in the order: it is refused.
pub async fn an_edit_of_the_partition_key_is_refused<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let epoch = begin(&store, 0, 0).await;
    let mut without = letter(0, 1);
    without.event.data.partition_key = None;
    let ids = set_letters_aside(&store, epoch, 0, vec![letter(0, 0), without.clone()]).await;
    let unchanged = Everything::of(&store).await;
    let entry = || line("dead-letter.edit", "1", act("ann", 40));
    let key = |key: Option<&str>| EventData { partition_key: key.map(Into::into), ..EventData::new("{}") };
    for (id, other) in [(ids[0], Some("Key")), (ids[0], None), (ids[1], Some("")), (ids[1], Some("key"))] {
        let refused = store.edit(id, 0, &key(other), entry()).await.unwrap_err();
        assert!(matches!(refused, StoreError::Refused { .. }), "{other:?}: {refused:?}");
    }
    assert_eq!(Everything::of(&store).await, unchanged);
    assert_eq!(store.edit(ids[0], 0, &key(Some("key")), entry()).await, Ok(Acted::Done));
    assert_eq!(store.edit(ids[1], 0, &key(None), entry()).await, Ok(Acted::Done));
}

/// The place of an event in another life of its hub means nothing: it cannot be redriven, only discarded.
pub async fn a_dead_letter_of_another_incarnation_is_not_redriven<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let epoch = begin(&store, 0, 0).await;
    let mut old = letter(0, 0);
    old.incarnation = incarnation(2);
    let ids = set_letters_aside(&store, epoch, 0, vec![old, letter(0, 1)]).await;
    let unchanged = Everything::of(&store).await;
    for force in [false, true] {
        let answers = store.redrive(&ids[..1], force, &act("ann", 50)).await;
        assert_eq!(answers, Ok(vec![Acted::OtherIncarnation]));
        assert_eq!(Everything::of(&store).await, unchanged);
    }
    let answers = store.redrive(&ids, false, &act("ann", 50)).await;
    assert_eq!(answers, Ok(vec![Acted::OtherIncarnation, Acted::Done]));
    assert_eq!(store.discard(&ids[..1], &act("ann", 51)).await, Ok(vec![Acted::Done]));
    assert_eq!(status(&store, ids[0]).await, DeadLetterStatus::Discarded);
}

/// Each act writes its line of the audit trail, which says who, why, when, what and to what.
pub async fn acts_on_dead_letters_are_in_the_audit_trail<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let epoch = begin(&store, 0, 0).await;
    let ids = set_aside(&store, epoch, 0, 3).await;
    assert_eq!(trail_len(&store).await, 0, "what the function does is not an act of a person");
    let filter = DeadLetterFilter::default();

    let edit = line("dead-letter.edit", "1", act("eve", 41));
    store.edit(ids[0], 0, &letter(0, 0).event.data, edit.clone()).await.unwrap();
    let mut expected = vec![edit.numbered(1)];
    let leased = store.lease_dead_letters(&filter, 1, at(100), &act("ann", 42)).await.unwrap();
    assert_eq!(leased[0].id, ids[0]);
    store.extend_lease(&ids[..1], at(200), &act("ann", 43)).await.unwrap();
    store.redrive(&ids[..1], false, &act("ann", 44)).await.unwrap();
    store.discard(&ids[1..], &act("bob", 45)).await.unwrap();
    let written = store.trail(None, 0, 100).await.unwrap();
    for (number, action, id, act) in [
        (2, action::LEASE, ids[0], act("ann", 42)),
        (3, action::EXTEND_LEASE, ids[0], act("ann", 43)),
        (4, action::REDRIVE, ids[0], act("ann", 44)),
        (5, action::DISCARD, ids[1], act("bob", 45)),
        (6, action::DISCARD, ids[2], act("bob", 45)),
    ] {
        let detail = written.get(number as usize - 1).map(|line| line.detail.clone()).unwrap_or_default();
        expected.push(crate::trail::TrailEntry {
            number,
            action: action.to_owned(),
            subject: id.to_string(),
            act,
            detail,
        });
    }
    assert_eq!(written, expected);
    let store = factory.reopen(store).await;
    assert_eq!(store.trail(None, 0, 100).await, Ok(expected));
}

/// The trail is read page by page, all of it or that of one subject; numbers have no gaps.
pub async fn the_audit_trail_is_read_page_by_page<F: StoreFactory>(factory: &F) {
    let mut store = factory.open().await;
    let epoch = begin(&store, 0, 0).await;
    let ids = set_aside(&store, epoch, 0, 2).await;
    let data = letter(0, 0).event.data;
    let mut expected = Vec::new();
    for round in 0..6_u32 {
        for (id, subject) in ids.iter().zip(["1", "one \"more\" é"]) {
            let entry = line("dead-letter.edit", subject, act("ann", i64::from(round)));
            store.edit(*id, round, &data, entry.clone()).await.unwrap();
            expected.push(entry.numbered(expected.len() as u64 + 1));
        }
        store = factory.reopen(store).await;
    }
    for limit in [1, 5, 12, 100] {
        for subject in [None, Some("1"), Some("one \"more\" é"), Some("2")] {
            let mut read = Vec::new();
            loop {
                let after = read.last().map_or(0, |last: &crate::trail::TrailEntry| last.number);
                let page = store.trail(subject, after, limit).await.unwrap();
                assert!(page.len() <= limit);
                if page.is_empty() {
                    break;
                }
                read.extend(page);
            }
            let of_subject: Vec<_> = expected
                .iter()
                .filter(|line| subject.is_none_or(|subject| line.subject == subject))
                .cloned()
                .collect();
            assert_eq!(read, of_subject, "{subject:?}, pages of {limit}");
        }
    }
}

/// Makes a dead letter of lane 0 that has this status. Seeking takes a new epoch, so it says which one is current after.
async fn one_that_is(store: &impl Store, epoch: Epoch, wanted: DeadLetterStatus) -> (DeadLetterId, Epoch) {
    let from = position(store, 0).await;
    let id = set_aside(store, epoch, from, 1).await[0];
    let after = position(store, 0).await;
    let ann = act("ann", 45);
    match wanted {
        DeadLetterStatus::Open => {}
        DeadLetterStatus::Redriving => {
            store.redrive(&[id], false, &ann).await.unwrap();
        }
        DeadLetterStatus::Redriven => {
            store.redrive(&[id], false, &ann).await.unwrap();
            end_parked(store, epoch, after, from, UnparkedEnd::Applied).await;
        }
        DeadLetterStatus::Discarded => {
            store.discard(&[id], &ann).await.unwrap();
        }
        DeadLetterStatus::Quarantined => {
            for _ in 0..MAX_RETURNS {
                store.redrive(&[id], false, &ann).await.unwrap();
                end_parked(store, epoch, after, from, failed_again(from, "timed out")).await;
            }
        }
        DeadLetterStatus::Replayed => {
            let (back, forth) = (SequenceNumber(from), SequenceNumber(after));
            let entry = || line("checkpoint.seek", "a lane", act("ann", 46));
            store.seek(&lane(0), forth, back, entry()).await.unwrap();
            store.seek(&lane(0), back, forth, entry()).await.unwrap();
            return (id, store.claim(&lane(0), "a", at(47)).await.unwrap().epoch);
        }
    }
    (id, epoch)
}
