//! A hub that ends: what waits in its lanes is settled, and then the lanes are forgotten.

use tidegate_model::checkpoint::Checkpoint;
use tidegate_model::clock::Timestamp;
use tidegate_model::dead_letter::{DeadLetterFilter, DeadLetterStatus};
use tidegate_model::ports::{
    Checkpoints as _, DeadLetters as _, Ownerships as _, Parking as _, RegisterChange, Registers as _,
    StoreError,
};
use tidegate_model::position::SequenceNumber;
use tidegate_model::register::{RegisterKey, Version};
use tidegate_store::check::check;
use tidegate_store::{Settled, SqliteStore};

use crate::acts;
use crate::load::Place;

const NOW: Timestamp = Timestamp::from_millis(10_000_000_000_000);

fn change() -> RegisterChange {
    RegisterChange {
        key: RegisterKey::new("hub", "any"),
        from: Version::NONE,
        value: Some(serde_json::json!({ "state": "gone" })),
        at: NOW,
        notices: Vec::new(),
        trail: Vec::new(),
    }
}

async fn unsettled(store: &SqliteStore) -> usize {
    let status = DeadLetterStatus::ALL
        .into_iter()
        .filter(|status| status.is_unsettled() || *status == DeadLetterStatus::Redriving);
    let filter = DeadLetterFilter { status: status.collect(), ..DeadLetterFilter::default() };
    store.list_dead_letters(&filter, None, 10_000).await.unwrap().len()
}

#[tokio::test]
async fn what_waits_is_settled_in_steps_and_the_lanes_are_forgotten_with_the_register() {
    let place = Place::new();
    let store = place.open();
    acts::begin(&store).await;
    for n in 0..acts::STEPS_TO_EVERY_TABLE {
        acts::step(&store, n).await.unwrap();
    }
    let before: Vec<Checkpoint> = store.checkpoints().await.unwrap();
    let hub = before[0].lane.hub.clone();
    assert!(before.iter().all(|checkpoint| checkpoint.lane.hub == hub), "the steps are on one hub");
    let parked: u64 = store.count_parked().await.unwrap().iter().map(|(_, count)| count).sum();
    let open = unsettled(&store).await as u64;
    assert!(parked > 3 && open > 3, "{parked} parked, {open} dead letters wait");
    let letters = store.list_dead_letters(&DeadLetterFilter::default(), None, 10_000).await.unwrap().len();
    let epochs = store.ownerships().await.unwrap();

    let refused = store.forget_hub(&hub, change()).await.unwrap_err();
    assert!(matches!(refused, StoreError::Refused { .. }), "{refused}");
    assert_eq!(store.register(&change().key).await.unwrap(), None, "nothing of it happened");
    assert_eq!(unsettled(&store).await as u64, open);

    let mut settled = Settled::default();
    loop {
        let step = store.settle_hub(&hub, NOW, 2).await.unwrap();
        if step == Settled::default() {
            break;
        }
        assert!(step.parked <= 2 && step.dead_letters <= 2, "{step:?}");
        // A crash between two steps leaves a store that adds up.
        settled.parked += step.parked;
        settled.dead_letters += step.dead_letters;
    }
    assert!(settled.parked >= parked, "also those before the start of a lane: {settled:?}");
    assert_eq!(unsettled(&store).await, 0);
    let after = store.list_dead_letters(&DeadLetterFilter::default(), None, 10_000).await.unwrap().len();
    assert!(after > letters, "parked events became dead letters, and none is gone");

    assert_eq!(store.forget_hub(&hub, change()).await.unwrap(), before.len() as u64);
    assert_eq!(store.checkpoints().await.unwrap(), []);
    assert!(store.register(&change().key).await.unwrap().is_some());
    for checkpoint in &before {
        assert_eq!(store.attempts(&checkpoint.lane).await.unwrap(), []);
        assert_eq!(store.list_parked(&checkpoint.lane, SequenceNumber::ZERO, 10).await.unwrap(), []);
    }
    for (before, after) in epochs.iter().zip(store.ownerships().await.unwrap()) {
        assert_eq!((&before.lane, after.owner.as_str()), (&after.lane, ""));
        assert!(after.epoch > before.epoch, "whoever owned {} is fenced", after.lane);
    }

    // The name begins anew, and counts from zero.
    let lane = &before[0].lane;
    let anew = store.begin(lane, before[0].incarnation, SequenceNumber::ZERO, NOW).await.unwrap();
    assert_eq!(anew.counts.total(), 0);
    assert!(store.count_dead_letters().await.unwrap().is_empty());
    store.close().await.unwrap();
    assert_eq!(check(&place.path()).unwrap().problems, [""; 0]);
}
