//! A namespace with throughput units, from the outside.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tidegate_gateway::admission::Limits;
use tidegate_gateway::auth::{PutToken, SAS_TOKEN_TYPE};
use tidegate_gateway::namespace::{ConsumerGroupName, ConsumerGroups};
use tidegate_gateway::throughput::ThroughputUnits;
use tidegate_gateway::{Gateway, http};
use tidegate_model::clock::{Clock, TestClock};
use tidegate_model::event::HubName;
use tidegate_model::memory::MemoryLog;

use crate::harness::*;

fn limited(units: u32, auto_inflate_max: u32) -> Harness {
    let clock = TestClock::new(NOW, 7);
    let log = Arc::new(MemoryLog::new(HubName::new("flights").unwrap(), 4, clock.clone()));
    let gateway = Gateway::new(authorizer(), Limits::default(), clock.clone())
        .with_throughput(ThroughputUnits { units, auto_inflate_max });
    let gateway = Arc::new(gateway);
    gateway.open_hub(log.clone()).unwrap();
    let router = http::router(gateway.clone());
    Harness { gateway, log, clock, router }
}

fn batch_of(events: usize) -> String {
    let events: Vec<_> = (0..events).map(|_| r#"{"Body":"x"}"#).collect();
    format!("[{}]", events.join(","))
}

#[tokio::test(start_paused = true)]
async fn more_than_the_units_take_is_sent_away_for_as_long_as_it_lasts() {
    let harness = limited(1, 1);
    harness.send(batch("/flights/messages", batch_of(4500))).await.created();
    let answer = harness.send(post("/flights/messages", &[], "x")).await;
    let message = answer.refused(429, "TG-429");
    assert!(message.contains("Error code : 50002. Please wait 4 seconds"), "{message}");
    assert_eq!(answer.headers["retry-after"], "4");
    assert_eq!(harness.bodies().await.len(), 4500, "nothing of it was stored");

    tokio::time::advance(Duration::from_secs(4)).await;
    harness.send(post("/flights/messages", &[], "x")).await.created();
}

#[tokio::test(start_paused = true)]
async fn lines_are_slowed_down_and_all_arrive() {
    let harness = limited(1, 1);
    let body = "0123456789\n".repeat(5000);
    let answer = harness.send(lines("/flights/messages", body)).await;
    answer.created();
    assert_eq!(answer.json()["events"], 5000);
    // The first chunk went through whole; what comes after it waited. The paused clock moves only while all wait.
    harness.send(lines("/flights/messages", "x\n")).await.created();
    assert!(harness.clock.now() >= NOW.plus(Duration::from_secs(4)), "{}", harness.clock.now());

    // An upload is never refused, however long it has to wait in line.
    harness.gateway.quota().charge_ingress(0, 200_000, &*harness.clock);
    harness.send(lines("/flights/messages?timeout=2", "x\n")).await.created();
    assert!(harness.clock.now() >= NOW.plus(Duration::from_secs(204)), "{}", harness.clock.now());
}

#[tokio::test(start_paused = true)]
async fn a_namespace_grows_where_it_may() {
    let harness = limited(1, 2);
    harness.send(batch("/flights/messages", batch_of(1500))).await.created();
    harness.send(post("/flights/messages", &[], "x")).await.created();
    assert_eq!(harness.gateway.quota().units(), Some(2));
    assert_eq!(harness.gateway.quota().charge_egress(8_000_000, 1, &*harness.clock), Duration::from_secs(1));
}

#[tokio::test]
async fn without_units_there_is_no_limit() {
    let harness = harness();
    harness.send(batch("/flights/messages", batch_of(9000))).await.created();
    harness.send(post("/flights/messages", &[], "x")).now_or_never();
    assert_eq!(harness.gateway.quota().units(), None);
    assert_eq!(harness.gateway.quota().charge_ingress(u64::MAX, u64::MAX, &*harness.clock), Duration::ZERO);
}

#[tokio::test]
async fn a_good_token_for_a_hub_that_is_not_there_is_told_so() {
    let harness = harness();
    let token =
        crate::authorization::sas("sb%3A%2F%2Fh", "listen", LISTEN_KEY, crate::authorization::in_an_hour());
    let put = |audience: &str, token: &str| {
        harness.gateway.put_token(&PutToken { token_type: SAS_TOKEN_TYPE, audience, token })
    };
    put("sb://h/FLIGHTS/Partitions/0", &token).unwrap();
    put("sb://h/", &token).unwrap();
    let refused = put("sb://h/drones", &token).unwrap_err();
    assert_eq!((refused.status(), refused.to_string().contains("'drones'")), (404, true));
    let refused = put("sb://h/drones", &token.replace("skn=listen", "skn=nobody")).unwrap_err();
    assert_eq!(refused.status(), 401, "who has no good token does not learn which hubs there are");
}

#[tokio::test]
async fn a_hub_has_the_groups_it_was_opened_with_and_those_added_since() {
    let harness = harness();
    let group = |name: &str| ConsumerGroupName::new(name).unwrap();
    let hub = harness.gateway.hub("flights").unwrap();
    assert_eq!(hub.consumer_groups().all(), [group("$Default")]);
    harness
        .gateway
        .open_hub_with(harness.log.clone(), None, ConsumerGroups::of([group("billing")]).unwrap())
        .unwrap();
    let hub = harness.gateway.hub("Flights").unwrap();
    hub.consumer_groups().add(group("audit")).unwrap();
    let seen = harness.gateway.hub("flights").unwrap();
    assert_eq!(seen.consumer_groups().all(), [group("$Default"), group("audit"), group("billing")]);
}
