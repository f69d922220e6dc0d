//! Incidents over a store.

use std::time::Duration;

use tidegate_alerts::incident::{self, CLOSED_KEPT, CLOSED_KEPT_FOR, Stage};
use tidegate_model::circuit::{Circuit, CircuitState};
use tidegate_model::memory::MemoryStore;
use tidegate_model::notice::{DeliveryState, NoticeId};
use tidegate_model::ports::Outbox;

use crate::clock::ManualClock;
use crate::setup::{now, open_circuit, set_circuit};

async fn stage(memory: &MemoryStore) -> Stage {
    incident::list(memory).await.unwrap()[0].stage
}

#[tokio::test]
async fn an_incident_follows_the_circuit_and_the_deliveries() {
    let (memory, clock) = (MemoryStore::new(), ManualClock::new());
    let targets = ["hook".to_owned(), "ops:mia@example.com".to_owned()];
    let advance = || incident::advance(&memory, &memory, &targets, now(&clock));
    advance().await.unwrap();
    assert_eq!(incident::list(&memory).await.unwrap(), []);

    open_circuit(&memory, "aircraft", now(&clock)).await;
    for target in &targets {
        advance().await.unwrap();
        let expected = if target == "hook" { Stage::Opened } else { Stage::Notified };
        assert_eq!(stage(&memory).await, expected);
        let delivered = DeliveryState::Delivered(now(&clock));
        memory.record_delivery(NoticeId(1), target, delivered, None).await.unwrap();
        clock.advance(Duration::from_secs(1));
        advance().await.unwrap();
    }
    advance().await.unwrap();
    assert_eq!(stage(&memory).await, Stage::Waiting);

    let closed = Circuit { by: "mia".to_owned(), ..Circuit::closed(now(&clock)) };
    set_circuit(&memory, "aircraft", &closed, Vec::new()).await;
    advance().await.unwrap();
    let incidents = incident::list(&memory).await.unwrap();
    assert_eq!(incidents[0].stage, Stage::Closed);
    assert_eq!(incidents[0].steps.last().map(|step| step.by.as_str()), Some("mia"));

    // The next outage is an incident of its own.
    clock.advance(Duration::from_secs(60));
    open_circuit(&memory, "aircraft", now(&clock)).await;
    advance().await.unwrap();
    let stages: Vec<_> =
        incident::list(&memory).await.unwrap().iter().map(|incident| incident.stage).collect();
    assert_eq!(stages, [Stage::Opened, Stage::Closed]);

    clock.advance(CLOSED_KEPT_FOR);
    advance().await.unwrap();
    assert_eq!(incident::list(&memory).await.unwrap().len(), 1);
}

#[tokio::test]
async fn the_list_of_closed_incidents_is_bounded() {
    let (memory, clock) = (MemoryStore::new(), ManualClock::new());
    for _ in 0..CLOSED_KEPT + 5 {
        clock.advance(Duration::from_secs(1));
        open_circuit(&memory, "aircraft", now(&clock)).await;
        incident::advance(&memory, &memory, &[], now(&clock)).await.unwrap();
        set_circuit(&memory, "aircraft", &Circuit::closed(now(&clock)), Vec::new()).await;
        incident::advance(&memory, &memory, &[], now(&clock)).await.unwrap();
    }
    incident::advance(&memory, &memory, &[], now(&clock)).await.unwrap();
    let incidents = incident::list(&memory).await.unwrap();
    assert_eq!(incidents.len(), CLOSED_KEPT);
    assert!(incidents.iter().all(|incident| incident.stage == Stage::Closed));
}

#[tokio::test]
async fn two_instances_that_follow_at_once_make_each_step_once() {
    let (memory, clock) = (MemoryStore::new(), ManualClock::new());
    open_circuit(&memory, "aircraft", now(&clock)).await;
    for _ in 0..4 {
        let (a, b) = tokio::join!(
            incident::advance(&memory, &memory, &[], now(&clock)),
            incident::advance(&memory, &memory, &[], now(&clock))
        );
        assert_eq!((a, b), (Ok(()), Ok(())));
    }
    let half_open = Circuit {
        state: CircuitState::HalfOpen,
        by: "mia".to_owned(),
        opened_at: Some(now(&clock)),
        ..Circuit::closed(now(&clock))
    };
    set_circuit(&memory, "aircraft", &half_open, Vec::new()).await;
    incident::advance(&memory, &memory, &[], now(&clock)).await.unwrap();
    let incidents = incident::list(&memory).await.unwrap();
    let stages: Vec<_> = incidents[0].steps.iter().map(|step| step.stage).collect();
    assert_eq!(stages, [Stage::Opened, Stage::Notified, Stage::Waiting, Stage::Restarting]);
}
