//! What the log says, as clients see it; and the health.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::body::Body;
use axum::http::Request;
use futures_util::FutureExt;
use tidegate_gateway::admission::Limits;
use tidegate_gateway::{Gateway, Health, http};
use tidegate_model::clock::TestClock;
use tidegate_model::ports::AppendError;
use tidegate_model::position::PartitionId;
use tower::ServiceExt;

use crate::doubles::{Gated, Scripted, Step};
use crate::harness::*;

#[tokio::test]
async fn every_refusal_of_the_log_has_its_status_and_code() {
    let detail = || "the log says so".to_owned();
    for (error, status, code, retry_after) in [
        (AppendError::Throttled { partition: PartitionId(0) }, 429, "TG-429", true),
        (AppendError::DiskFull { detail: detail() }, 507, "TG-303", false),
        (AppendError::Damaged { partition: PartitionId(0), detail: detail() }, 500, "TG-301", false),
        (AppendError::Failed { detail: detail(), may_have_been_stored: false }, 500, "TG-302", false),
        (AppendError::Failed { detail: detail(), may_have_been_stored: true }, 500, "TG-302", false),
        (AppendError::Closing, 503, "TG-503", true),
        (AppendError::TooLarge { index: 3, size: 9, limit: 8 }, 413, "TG-413", false),
    ] {
        let uncertain = error.may_have_been_stored();
        let step = Step::Refuse(error.clone());
        let harness =
            harness_with(Limits::default(), |log| Arc::new(Scripted::new(log, move |_, _| step.clone())));
        let answer = harness.send(post("/flights/messages", &[], "x")).await;
        assert_eq!(answer.refused(status, code), error.to_string());
        assert_eq!(answer.headers.contains_key("retry-after"), retry_after, "{error}");
        let action = answer.json()["action"].as_str().unwrap().to_owned();
        assert_eq!(action.contains("duplicates"), uncertain, "{action}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_append_that_takes_too_long_may_still_happen_and_says_so() {
    let harness = harness_with(Limits::default(), |log| Arc::new(Scripted::new(log, |_, _| Step::Hang)));
    let answer = harness.send(post("/flights/messages?timeout=7", &[], "x")).await;
    let message = answer.refused(408, "TG-408");
    assert!(message.contains("within 7 seconds"), "{message}");
    assert!(answer.json()["action"].as_str().unwrap().contains("may be stored all the same"));
}

#[tokio::test(start_paused = true)]
async fn when_too_much_is_in_flight_others_are_sent_away_and_come_back() {
    let mut gate = None;
    let limits = Limits { in_flight_bytes: 1000, waiting_requests: 1, ..Limits::default() };
    let harness = harness_with(limits, |log| {
        let gated = Arc::new(Gated::new(log));
        gate = Some(gated.clone());
        gated
    });
    let request = || harness.router.clone().oneshot(post("/flights/messages", &[], vec![b'x'; 800]));
    let mut first = Box::pin(request());
    assert!((&mut first).now_or_never().is_none());
    let mut second = Box::pin(request());
    assert!((&mut second).now_or_never().is_none(), "it waits for the memory of the first");

    let answer = harness.send(post("/flights/messages", &[], vec![b'x'; 800])).await;
    let message = answer.refused(429, "TG-429");
    assert!(message.contains("nothing of this request was stored"), "{message}");
    assert_eq!(answer.headers["retry-after"], "1");
    assert_eq!(second.await.unwrap().status().as_u16(), 429, "its wait has a limit too");

    gate.unwrap().open(2);
    assert_eq!(first.await.unwrap().status().as_u16(), 201);
    harness.send(post("/flights/messages", &[], vec![b'x'; 800])).await.created();
}

#[tokio::test]
async fn health_needs_no_key_and_says_what_is_wrong() {
    let ill = Arc::new(AtomicBool::new(false));
    let check = {
        let ill = ill.clone();
        Arc::new(move || match ill.load(Ordering::SeqCst) {
            false => Health::Healthy,
            true => Health::Unhealthy { reason: "the disk is full".into() },
        })
    };
    let gateway =
        Gateway::new(authorizer(), Limits::default(), TestClock::new(NOW, 1)).with_health_check(check);
    let harness = Harness { router: http::router(Arc::new(gateway)), ..harness() };
    let ask = || harness.send(Request::get("/health").body(Body::empty()).unwrap());

    let answer = ask().await;
    assert_eq!(answer.status.as_u16(), 200);
    assert_eq!(&answer.body[..], br#"{"status":"healthy","message":"Service is healthy."}"#);
    ill.store(true, Ordering::SeqCst);
    let answer = ask().await;
    assert_eq!(answer.status.as_u16(), 503);
    assert_eq!(&answer.body[..], br#"{"status":"unhealthy","message":"the disk is full"}"#);
}

#[tokio::test]
async fn hubs_come_and_go_while_it_runs() {
    let harness = harness();
    harness.send(post("/flights/messages", &[], "x")).await.created();
    assert!(harness.gateway.close_hub(&"flights".parse().unwrap()));
    let message = harness.send(post("/flights/messages", &[], "x")).await.refused(404, "TG-404");
    assert_eq!(message, "there is no hub \"flights\"");
    harness.gateway.open_hub(harness.log.clone()).unwrap();
    harness.send(post("/flights/messages", &[], "x")).await.created();
    assert_eq!(harness.read_all().await.len(), 2);
}
