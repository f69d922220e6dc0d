//! Checks of dead letters.

use bytes::Bytes;

use crate::attempt::{Attempt, FailureClass};
use crate::clock::Timestamp;
use crate::dead_letter::{DeadLetterId, DocumentSnapshot, StoredDeadLetter};
use crate::event::{EventData, HubName, PropertyValue};
use crate::outcome::OutcomeCounts;
use crate::ports::{Commits, DeadLetterFilter, DeadLetters};

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
    };
    full.attempts =
        vec![Attempt { at: at(3), error: "first\n".to_owned() }, Attempt { at: at(5), error: String::new() }];
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
                let filter = DeadLetterFilter { function: function.clone(), hub: hub.clone(), class };
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
