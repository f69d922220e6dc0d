//! Checks of events that came over AMQP: a store may drop the encoded message, and nothing else.

use bytes::Bytes;

use crate::dead_letter::{Acted, DeadLetterStatus};
use crate::event::{EncodedMessage, EventData, PropertyValue};
use crate::parking::UnparkedEnd;
use crate::ports::{DeadLetters, Parking};

use super::StoreFactory;
use super::samples::*;

fn of_message(like: &EventData) -> EventData {
    let bytes = Bytes::from([&[7; 30][..], &like.body, b"the end"].concat());
    let message = EncodedMessage::new(bytes, 30..30 + like.body.len()).expect("the body is inside");
    EventData {
        partition_key: like.partition_key.clone(),
        properties: [("n", PropertyValue::Long(1))].into_iter().collect(),
        system_properties: [("message-id", PropertyValue::from("m"))].into_iter().collect(),
        ..EventData::of_message(message)
    }
}

fn without_message(data: &EventData) -> EventData {
    EventData { amqp: None, ..data.clone() }
}

/// What a function is given of the event stays as it was, and so does what it counts for, from setting it aside to the end
/// of its redrive.
pub async fn an_encoded_message_changes_nothing<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let epoch = begin(&store, 0, 0).await;
    let (mut letter, mut waiting) = (letter(0, 0), parked(0, 1, Some("key")));
    letter.event.data = of_message(&letter.event.data);
    waiting.event.data = of_message(&waiting.event.data);
    let ids = set_letters_aside(&store, epoch, 0, vec![letter.clone()]).await;
    park_events(&store, epoch, 1, vec![waiting.clone()]).await;

    let store = factory.reopen(store).await;
    let place = store.parking_place(&lane(0)).await.unwrap();
    assert_eq!((place.events, place.bytes), (1, waiting.size()));
    let kept = stored_parked(&store, 1).await.parked;
    assert_eq!(kept.size(), waiting.size());
    assert_eq!(without_message(&kept.event.data), without_message(&waiting.event.data));

    let set_aside = dead_letter(&store, ids[0]).await.letter.event.data;
    assert_eq!(without_message(&set_aside), without_message(&letter.event.data));
    assert_eq!(store.redrive(&ids, false, &act("ann", 50)).await, Ok(vec![Acted::Done]));
    let redriven = stored_parked(&store, 0).await.parked;
    assert_eq!(without_message(&redriven.event.data), without_message(&letter.event.data));
    end_parked(&store, epoch, 2, 0, UnparkedEnd::Applied).await;
    end_parked(&store, epoch, 2, 1, UnparkedEnd::Applied).await;
    assert_eq!(status(&store, ids[0]).await, DeadLetterStatus::Redriven);
    let place = store.parking_place(&lane(0)).await.unwrap();
    assert_eq!((place.events, place.bytes), (0, 0));
}
