//! Checks of dead letters.

use bytes::Bytes;

use crate::attempt::{Attempt, FailureClass, FailureKind};
use crate::checkpoint::Lane;
use crate::clock::Timestamp;
use crate::dead_letter::{
    DeadLetterFilter, DeadLetterGroup, DeadLetterId, DeadLetterStatus, DocumentSnapshot, Fingerprint,
    StoredDeadLetter,
};
use crate::event::{EventData, HubName, PropertyValue};
use crate::outcome::OutcomeCounts;
use crate::ports::{Commits, DeadLetters};
use crate::position::{PartitionId, SequenceNumber};

use super::StoreFactory;
use super::samples::*;

/// A dead letter comes back as it was: body, every type of property, attempts, document.
pub async fn dead_letters_keep_every_byte<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let epoch = begin(&store, 0, 0).await;
    let every_value = [
        PropertyValue::Null,
        PropertyValue::Bool(true),
        PropertyValue::Bool(false),
        PropertyValue::Long(i64::MIN),
        PropertyValue::Long(i64::MAX),
        PropertyValue::Double(0.1),
        PropertyValue::Double(-0.0),
        PropertyValue::Double(3.0),
        PropertyValue::Double(f64::MAX),
        PropertyValue::Double(f64::MIN_POSITIVE),
        PropertyValue::Double(f64::INFINITY),
        PropertyValue::Double(f64::NEG_INFINITY),
        PropertyValue::String(String::new()),
        PropertyValue::String("2026-01-31T12:00:00Z \u{0} \"é".to_owned()),
        PropertyValue::Timestamp(Timestamp::from_millis(-1)),
        PropertyValue::Timestamp(Timestamp::from_millis(i64::MAX)),
        PropertyValue::Binary(Vec::new()),
        PropertyValue::Binary((0..=255).collect()),
        PropertyValue::Uuid(uuid::Uuid::from_u128(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef)),
    ];
    let mut full = letter(0, 0);
    full.incarnation = incarnation(1);
    full.event.enqueued_at = Timestamp::from_millis(1_234_567_890_123);
    full.event.data = EventData {
        partition_key: Some("key \u{0} é".into()),
        properties: every_value
            .iter()
            .enumerate()
            .map(|(n, value)| (format!("p{n}"), value.clone()))
            .collect(),
        system_properties: [
            ("twice", PropertyValue::Long(1)),
            ("twice", PropertyValue::Long(2)),
            ("", PropertyValue::Null),
        ]
        .into_iter()
        .collect(),
        body: (0..=255_u8).cycle().take(70_000).collect::<Vec<u8>>().into(),
        amqp: None,
    };
    full.attempts = vec![
        Attempt { at: at(3), kind: FailureKind::Transient, error: "first\n".to_owned() },
        Attempt { at: at(5), kind: FailureKind::Transient, error: String::new() },
    ];
    full.class = FailureClass::Exhausted;
    let snapshot = |body: Option<&'static [u8]>| DocumentSnapshot {
        collection: collection("planes"),
        id: id("plane 'x'"),
        body: body.map(Bytes::from_static),
    };
    full.document = Some(snapshot(Some(b"{\"a\":1}")));

    let mut bare = letter(0, 1);
    bare.event.data = EventData::default();
    bare.event.data.partition_key = Some("".into());
    bare.attempts = Vec::new();
    bare.reason = String::new();
    bare.function_version = String::new();
    bare.document = None;
    let mut no_document = letter(0, 2);
    no_document.document = Some(snapshot(None));
    let mut no_text = letter(0, 3);
    no_text.document = Some(snapshot(Some(b"\xff\x00 not text")));
    let mut nan = letter(0, 4);
    nan.event.data.properties = [("nan", PropertyValue::Double(f64::NAN))].into_iter().collect();

    let letters = vec![full, bare, no_document, no_text, nan];
    let mut commit = step(0, epoch, 0, letters.len() as u64);
    commit.lanes[0].counts =
        OutcomeCounts { dead_lettered: letters.len() as u64, ..OutcomeCounts::default() };
    commit.lanes[0].dead_letters = letters.clone();
    store.commit(&commit).await.unwrap();

    let store = factory.reopen(store).await;
    let listed = store.list_dead_letters(&DeadLetterFilter::default(), None, 100).await.unwrap();
    assert_eq!(listed.len(), letters.len());
    for (index, (given, kept)) in letters.iter().zip(&listed).enumerate() {
        assert_eq!(kept.id, DeadLetterId(index as u64 + 1));
        // NaN is not equal to itself; the bits of all numbers are compared by their text.
        assert_eq!(format!("{:?}", kept.letter), format!("{given:?}"));
        let one = store.dead_letter(kept.id).await.unwrap().expect("it is listed");
        assert_eq!(format!("{one:?}"), format!("{kept:?}"));
    }
    assert_eq!(store.dead_letter(DeadLetterId(0)).await, Ok(None));
    assert_eq!(store.dead_letter(DeadLetterId(99)).await, Ok(None));
    assert_eq!(store.dead_letter(DeadLetterId(u64::MAX)).await, Ok(None));
}

/// Listings of dead letters apply every condition, join page by page, and the counts are the rows'.
pub async fn dead_letters_are_filtered_paged_and_counted<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let lanes = [lane(0), lane(1), other_function(lane(0)), other_hub(lane(0))];
    let mut epochs = Vec::new();
    for lane in &lanes {
        epochs.push(begin_lane(&store, lane, 0).await);
    }
    let mut given = Vec::new();
    for round in 0..3_u64 {
        for (lane, epoch) in lanes.iter().zip(&epochs) {
            let mut commit = step_of(lane, *epoch, round * 2, round * 2 + 2);
            let letters = [0, 1].map(|n| {
                let mut letter = letter(0, round * 2 + n);
                letter.lane = lane.clone();
                letter.class = if n == 0 { FailureClass::Permanent } else { FailureClass::Exhausted };
                letter
            });
            given.extend(letters.clone());
            commit.lanes[0].dead_letters = letters.to_vec();
            commit.lanes[0].counts = OutcomeCounts { dead_lettered: 2, ..OutcomeCounts::default() };
            store.commit(&commit).await.unwrap();
        }
    }

    let functions = [None, Some(lanes[0].function.clone()), Some(lanes[2].function.clone())];
    let hubs = [None, Some(lanes[0].hub.clone()), Some(HubName::new("unknown").unwrap())];
    let classes = [None, Some(FailureClass::Permanent), Some(FailureClass::Exhausted)];
    for function in &functions {
        for hub in &hubs {
            for class in classes {
                let filter = DeadLetterFilter {
                    function: function.clone(),
                    hub: hub.clone(),
                    class,
                    ..DeadLetterFilter::default()
                };
                let expected: Vec<_> = given
                    .iter()
                    .filter(|letter| {
                        function.as_ref().is_none_or(|function| letter.lane.function == *function)
                    })
                    .filter(|letter| hub.as_ref().is_none_or(|hub| letter.lane.hub == *hub))
                    .filter(|letter| class.is_none_or(|class| letter.class == class))
                    .cloned()
                    .collect();
                let mut listed: Vec<StoredDeadLetter> = Vec::new();
                loop {
                    let after = listed.last().map(|last| last.id);
                    let page = store.list_dead_letters(&filter, after, 5).await.unwrap();
                    assert!(page.len() <= 5);
                    if page.is_empty() {
                        break;
                    }
                    listed.extend(page);
                }
                assert!(listed.is_sorted_by(|one, next| one.id < next.id));
                let listed: Vec<_> = listed.into_iter().map(|stored| stored.letter).collect();
                assert_eq!(listed, expected, "{filter:?}");
            }
        }
    }
    let mut expected: Vec<_> = lanes.iter().map(|lane| (lane.clone(), 6)).collect();
    expected.sort();
    assert_eq!(store.count_dead_letters().await, Ok(expected));
}

/// Each condition of a filter holds for itself; several hold together; ids and letters are found alike.
pub async fn dead_letters_are_found_by_each_condition<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let (first, second) = (begin(&store, 0, 0).await, begin(&store, 1, 0).await);
    let mut letters: Vec<_> = (0..6).map(|event| letter(0, event)).collect();
    for (n, letter) in (0..).zip(&mut letters) {
        letter.dead_lettered_at = at(100 * n);
        letter.event.data.partition_key = [Some("a"), Some("A"), Some(""), None, Some("a"), Some("a%")]
            [usize::try_from(n).unwrap()]
        .map(Into::into);
    }
    letters[4].class = FailureClass::Exhausted;
    letters[5].reason = "another cause".to_owned();
    let mut ids = set_letters_aside(&store, first, 0, letters).await;
    ids.extend(set_letters_aside(&store, second, 0, vec![letter(1, 0)]).await);
    store.discard(&ids[1..2], &act("ann", 700)).await.unwrap();
    store.redrive(&ids[2..3], false, &act("ann", 700)).await.unwrap();

    let any = DeadLetterFilter::default;
    let number = |n| Some(SequenceNumber(n));
    let cases: Vec<(DeadLetterFilter, &[usize])> = vec![
        (any(), &[0, 1, 2, 3, 4, 5, 6]),
        (DeadLetterFilter { function: Some(lane(0).function), ..any() }, &[0, 1, 2, 3, 4, 5, 6]),
        (DeadLetterFilter { function: Some(other_function(lane(0)).function), ..any() }, &[]),
        (DeadLetterFilter { hub: Some(other_hub(lane(0)).hub), ..any() }, &[]),
        (DeadLetterFilter { partition: Some(PartitionId(1)), ..any() }, &[6]),
        (DeadLetterFilter { partition: Some(PartitionId(0)), ..any() }, &[0, 1, 2, 3, 4, 5]),
        (DeadLetterFilter { from_sequence_number: number(3), ..any() }, &[3, 4, 5]),
        (DeadLetterFilter { before_sequence_number: number(3), ..any() }, &[0, 1, 2, 6]),
        (DeadLetterFilter { before_sequence_number: number(0), ..any() }, &[]),
        (DeadLetterFilter { from_sequence_number: number(u64::MAX), ..any() }, &[]),
        (DeadLetterFilter { before_sequence_number: number(u64::MAX), ..any() }, &[0, 1, 2, 3, 4, 5, 6]),
        (
            DeadLetterFilter { from_sequence_number: number(1), before_sequence_number: number(4), ..any() },
            &[1, 2, 3],
        ),
        (DeadLetterFilter { partition_key: Some("a".to_owned()), ..any() }, &[0, 4]),
        (DeadLetterFilter { partition_key: Some(String::new()), ..any() }, &[2]),
        (DeadLetterFilter { partition_key: Some("a%".to_owned()), ..any() }, &[5]),
        (DeadLetterFilter { class: Some(FailureClass::Exhausted), ..any() }, &[4]),
        (
            DeadLetterFilter {
                fingerprint: Some(Fingerprint::of(
                    &lane(0).function,
                    FailureClass::Permanent,
                    "another cause",
                )),
                ..any()
            },
            &[5],
        ),
        (DeadLetterFilter { fingerprint: Some(Fingerprint(u64::MAX)), ..any() }, &[]),
        (DeadLetterFilter { since: Some(at(300)), ..any() }, &[3, 4, 5]),
        (DeadLetterFilter { until: Some(at(300)), ..any() }, &[0, 1, 2, 6]),
        (DeadLetterFilter { since: Some(at(100)), until: Some(at(101)), ..any() }, &[1]),
        (DeadLetterFilter { status: vec![DeadLetterStatus::Open], ..any() }, &[0, 3, 4, 5, 6]),
        (
            DeadLetterFilter {
                status: vec![DeadLetterStatus::Redriving, DeadLetterStatus::Discarded],
                ..any()
            },
            &[1, 2],
        ),
        (DeadLetterFilter { status: DeadLetterStatus::ALL.to_vec(), ..any() }, &[0, 1, 2, 3, 4, 5, 6]),
        (DeadLetterFilter { status: vec![DeadLetterStatus::Replayed], ..any() }, &[]),
        (
            DeadLetterFilter {
                partition: Some(PartitionId(0)),
                partition_key: Some("a".to_owned()),
                class: Some(FailureClass::Permanent),
                status: vec![DeadLetterStatus::Open],
                since: Some(at(0)),
                ..any()
            },
            &[0],
        ),
    ];
    for (filter, expected) in cases {
        let expected: Vec<_> = expected.iter().map(|index| ids[*index]).collect();
        let listed = store.list_dead_letters(&filter, None, 100).await.unwrap();
        assert_eq!(listed.iter().map(|stored| stored.id).collect::<Vec<_>>(), expected, "{filter:?}");
        assert_eq!(store.find_dead_letters(&filter, None, 100).await, Ok(expected.clone()), "{filter:?}");
        let after = expected.first().copied();
        let rest: Vec<_> = expected.iter().skip(1).take(2).copied().collect();
        if after.is_some() {
            assert_eq!(store.find_dead_letters(&filter, after, 2).await, Ok(rest), "{filter:?}");
        }
        let groups = store.group_dead_letters(&filter).await.unwrap();
        assert_eq!(groups.iter().map(|group| group.count).sum::<u64>(), expected.len() as u64, "{filter:?}");
    }
    assert_eq!(store.find_dead_letters(&any(), None, 0).await, Ok(Vec::new()));
}

/// Dead letters with one cause are a group: function, class, and reason without what differs from event to event. The
/// most frequent come first; the newest speaks for its group.
pub async fn dead_letters_are_grouped_by_cause<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let (epoch, other) = (begin(&store, 0, 0).await, begin_lane(&store, &other_function(lane(0)), 0).await);
    assert_eq!(store.group_dead_letters(&DeadLetterFilter::default()).await, Ok(Vec::new()));
    let with = |event: u64, class, reason: &str| {
        let mut letter = letter(0, event);
        (letter.class, letter.reason) = (class, reason.to_owned());
        letter.dead_lettered_at = at(i64::try_from(event).unwrap() * 10);
        letter
    };
    use FailureClass::{Exhausted, Permanent};
    let letters = vec![
        with(0, Permanent, "line 1 of \"a\""),
        with(1, Exhausted, "line 2 of \"b\""),
        with(2, Permanent, "line 33 of \"c\""),
        with(3, Permanent, "something else"),
        with(4, Exhausted, "line 5 of \"d\""),
        with(5, Permanent, "line 6 of \"e\""),
    ];
    let ids = set_letters_aside(&store, epoch, 0, letters).await;
    let mut elsewhere = (0..4).map(|event| with(event, Permanent, "line 1 of \"a\"")).collect::<Vec<_>>();
    for letter in &mut elsewhere {
        letter.lane = other_function(lane(0));
    }
    let others = set_letters_aside(&store, other, 0, elsewhere).await;
    let store = factory.reopen(store).await;

    let group = |function: &Lane, class, reason: &str, count, first, last, newest| DeadLetterGroup {
        fingerprint: Fingerprint::of(&function.function, class, reason),
        function: function.function.clone(),
        class,
        reason: reason.to_owned(),
        count,
        first_at: at(first),
        last_at: at(last),
        newest,
    };
    let expected = [
        group(&other_function(lane(0)), Permanent, "line 1 of \"a\"", 4, 0, 30, others[3]),
        group(&lane(0), Permanent, "line 6 of \"e\"", 3, 0, 50, ids[5]),
        group(&lane(0), Exhausted, "line 5 of \"d\"", 2, 10, 40, ids[4]),
        group(&lane(0), Permanent, "something else", 1, 30, 30, ids[3]),
    ];
    assert_eq!(store.group_dead_letters(&DeadLetterFilter::default()).await, Ok(expected.to_vec()));

    let some = DeadLetterFilter {
        function: Some(lane(0).function),
        before_sequence_number: Some(SequenceNumber(3)),
        class: Some(Permanent),
        ..DeadLetterFilter::default()
    };
    let expected = group(&lane(0), Permanent, "line 33 of \"c\"", 2, 0, 20, ids[2]);
    assert_eq!(store.group_dead_letters(&some).await, Ok(vec![expected]));
}

/// A new dead letter is open, nobody has it, and nobody has touched it.
pub async fn a_new_dead_letter_is_open<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let epoch = begin(&store, 0, 0).await;
    let ids = set_aside(&store, epoch, 0, 1).await;
    let stored = dead_letter(&store, ids[0]).await;
    let expected = StoredDeadLetter {
        id: DeadLetterId(1),
        letter: letter(0, 0),
        status: DeadLetterStatus::Open,
        changed_at: step(0, epoch, 0, 1).at,
        fingerprint: Fingerprint::of(&lane(0).function, FailureClass::Permanent, "not JSON"),
        edited: None,
        revision: 0,
        redrives: 0,
        returns: 0,
        lease: None,
        leases: 0,
    };
    assert_eq!(stored, expected);
}
