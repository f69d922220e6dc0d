//! Checks of notices on their way.

use std::time::Duration;

use serde_json::json;

use crate::notice::{Delivery, DeliveryState, KEPT_FOR, NewNotice, Notice, NoticeId};
use crate::ports::{Outbox, RegisterChange, Registers};
use crate::register::Version;

use super::StoreFactory;
use super::samples::*;

/// No notice.
const NONE: [u64; 0] = [];

/// A notice is due for every target that has not been tried yet, in the order the notices were made.
pub async fn a_new_notice_is_due_for_every_target<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    assert_eq!(due(&store, &["mail"], 0).await, NONE);
    tell(&store, 3).await;
    assert_eq!(due(&store, &["mail"], 0).await, [1, 2, 3]);
    assert_eq!(due(&store, &["mail", "hook"], 0).await, [1, 2, 3]);
    assert_eq!(due(&store, &[], 0).await, NONE, "without a target there is nothing to do");
    let targets = ["mail".to_owned()];
    for limit in [0, 1, 2, 3] {
        assert_eq!(store.due_notices(&targets, at(0), limit).await.unwrap().len(), limit);
    }
    let store = factory.reopen(store).await;
    assert_eq!(due(&store, &["mail"], 0).await, [1, 2, 3]);
}

/// Each target has its own delivery: what one has, the other may still be waiting for.
pub async fn deliveries_are_each_targets_own<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    tell(&store, 3).await;
    let delivered = DeliveryState::Delivered(at(50));
    store.record_delivery(NoticeId(1), "mail", delivered, None).await.unwrap();
    store.record_delivery(NoticeId(2), "hook", delivered, None).await.unwrap();
    assert_eq!(due(&store, &["mail"], 60).await, [2, 3]);
    assert_eq!(due(&store, &["hook"], 60).await, [1, 3]);
    assert_eq!(due(&store, &["mail", "hook"], 60).await, [1, 2, 3]);
    assert_eq!(due(&store, &["Mail"], 60).await, [1, 2, 3], "another name is another target");
    store.record_delivery(NoticeId(1), "hook", delivered, None).await.unwrap();
    assert_eq!(due(&store, &["mail", "hook"], 60).await, [2, 3]);
    let store = factory.reopen(store).await;
    assert_eq!(due(&store, &["mail", "hook"], 60).await, [2, 3]);
}

/// A delivery that failed is due again at its time, and tells how often it was tried and what the last try said.
pub async fn a_failed_delivery_is_due_again<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    tell(&store, 1).await;
    for (tries, ms) in [(1, 100), (2, 200), (3, 400)] {
        let error = format!("try {tries} failed");
        let state = DeliveryState::Due(at(ms));
        store.record_delivery(NoticeId(1), "mail", state, Some(&error)).await.unwrap();
        assert_eq!(due(&store, &["mail"], ms - 1).await, NONE);
        assert_eq!(due(&store, &["mail"], ms).await, [1]);
        assert_eq!(due(&store, &["mail"], ms + 1000).await, [1]);
        let expected = Delivery { target: "mail".to_owned(), tries, state, error: Some(error) };
        assert_eq!(notice(&store, 1).await.deliveries, [expected]);
    }
    let state = DeliveryState::Delivered(at(500));
    store.record_delivery(NoticeId(1), "mail", state, None).await.unwrap();
    let store = factory.reopen(store).await;
    let expected = Delivery { target: "mail".to_owned(), tries: 4, state, error: None };
    assert_eq!(notice(&store, 1).await.deliveries, [expected]);
    assert_eq!(due(&store, &["mail"], 1_000_000).await, NONE);
}

/// A delivery that was given up is never due again, and keeps what the target said.
pub async fn a_delivery_that_was_given_up_is_not_due<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    tell(&store, 2).await;
    let state = DeliveryState::GivenUp(at(100));
    store.record_delivery(NoticeId(1), "mail", state, Some("550 no such user")).await.unwrap();
    assert_eq!(due(&store, &["mail"], 1_000_000).await, [2]);
    let [delivery] = &notice(&store, 1).await.deliveries[..] else { panic!("one was recorded") };
    assert_eq!((delivery.state, delivery.error.as_deref()), (state, Some("550 no such user")));
}

/// The newest notices come newest first, whatever became of them.
pub async fn recent_notices_come_newest_first<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    assert_eq!(store.recent_notices(5).await, Ok(Vec::new()));
    tell(&store, 4).await;
    store.record_delivery(NoticeId(3), "mail", DeliveryState::Delivered(at(1)), None).await.unwrap();
    for (limit, expected) in [(0, &[][..]), (1, &[4]), (3, &[4, 3, 2]), (9, &[4, 3, 2, 1])] {
        assert_eq!(ids(&store.recent_notices(limit).await.unwrap()), expected);
    }
}

/// A notice is kept until all its deliveries are made or given up, and for a day after; then it is forgotten, and its
/// number is not given again.
pub async fn notices_are_kept_for_a_day_after_the_last_delivery<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    tell(&store, 4).await;
    let day = i64::try_from(KEPT_FOR.as_millis()).unwrap();
    assert_eq!(KEPT_FOR, Duration::from_secs(86_400));
    for (notice, target, state) in [
        (1, "mail", DeliveryState::Delivered(at(100))),
        (1, "hook", DeliveryState::GivenUp(at(300))),
        (2, "mail", DeliveryState::Delivered(at(500))),
        (3, "mail", DeliveryState::Delivered(at(100))),
        (3, "hook", DeliveryState::Due(at(100))),
        (4, "mail", DeliveryState::Due(at(100))),
    ] {
        store.record_delivery(NoticeId(notice), target, state, None).await.unwrap();
    }
    for (ms, expected) in [
        (0, &[4, 3, 2, 1][..]),
        (300 + day - 1, &[4, 3, 2, 1]),
        (300 + day + 1, &[4, 3, 2]),
        (500 + day + 1, &[4, 3]),
        (90 * day, &[4, 3]),
    ] {
        store.prune_notices(at(ms)).await.unwrap();
        assert_eq!(ids(&store.recent_notices(10).await.unwrap()), expected, "at {ms}");
    }
    for notice in [3, 4] {
        for target in ["mail", "hook"] {
            let state = DeliveryState::GivenUp(at(91 * day));
            store.record_delivery(NoticeId(notice), target, state, None).await.unwrap();
        }
    }
    store.prune_notices(at(93 * day)).await.unwrap();
    assert_eq!(store.recent_notices(10).await, Ok(Vec::new()));
    let store = factory.reopen(store).await;
    tell_from(&store, 4, 1).await;
    assert_eq!(ids(&store.recent_notices(10).await.unwrap()), [5]);
}

/// A notice that no target was ever tried with is kept for a day after it was made: without targets the outbox must not
/// grow for ever.
pub async fn notices_without_targets_are_forgotten<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    tell(&store, 1).await;
    let made = notice(&store, 1).await.notice.at;
    store.prune_notices(made.plus(KEPT_FOR).minus(Duration::from_millis(1))).await.unwrap();
    assert_eq!(ids(&store.recent_notices(10).await.unwrap()), [1]);
    store.prune_notices(made.plus(KEPT_FOR).plus(Duration::from_millis(1))).await.unwrap();
    assert_eq!(store.recent_notices(10).await, Ok(Vec::new()));
}

/// A delivery of a notice that was forgotten meanwhile changes nothing.
pub async fn a_delivery_of_a_forgotten_notice_changes_nothing<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    tell(&store, 1).await;
    let unchanged = Everything::of(&store).await;
    // Whether that is an error is the store's business.
    let _ = store.record_delivery(NoticeId(9), "mail", DeliveryState::Delivered(at(1)), None).await;
    assert_eq!(Everything::of(&store).await, unchanged);
}

/// Makes this many notices, the first ones of the store.
async fn tell(store: &(impl Registers + Outbox), count: usize) {
    tell_from(store, 0, count).await;
}

/// Makes this many notices after `before` others.
async fn tell_from(store: &(impl Registers + Outbox), before: usize, count: usize) {
    for n in before..before + count {
        let notice = NewNotice {
            kind: "circuit.opened".to_owned(),
            subject: "track".to_owned(),
            at: at(i64::try_from(n).expect("a few")),
            data: json!(n),
        };
        let change =
            RegisterChange { notices: vec![notice], ..change(&n.to_string(), Version::NONE, Some(json!(n))) };
        store.change_register(change).await.unwrap();
    }
}

async fn due(store: &impl Outbox, targets: &[&str], ms: i64) -> Vec<u64> {
    let targets: Vec<_> = targets.iter().map(|target| (*target).to_owned()).collect();
    ids(&store.due_notices(&targets, at(ms), 100).await.unwrap())
}

async fn notice(store: &impl Outbox, id: u64) -> Notice {
    let notices = store.recent_notices(100).await.unwrap();
    notices.into_iter().find(|notice| notice.id == NoticeId(id)).expect("it is kept")
}

fn ids(notices: &[Notice]) -> Vec<u64> {
    notices.iter().map(|notice| notice.id.0).collect()
}
