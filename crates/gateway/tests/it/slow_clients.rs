//! Clients that are slow, stop, or go away.

use axum::body::Body;
use futures_util::{FutureExt, Stream, StreamExt, stream};
use tidegate_gateway::admission::Limits;
use tower::ServiceExt;

use crate::harness::*;

type Piece = Result<&'static str, std::io::Error>;

fn then_silence(pieces: Vec<&'static str>) -> impl Stream<Item = Piece> {
    stream::iter(pieces).map(Ok).chain(stream::pending())
}

#[tokio::test(start_paused = true)]
async fn a_body_that_stops_is_given_up_after_the_idle_time() {
    let harness = harness();
    let body = Body::from_stream(then_silence(vec!["half an event"]));
    let message = harness.send(post("/flights/messages", &[], body)).await.refused(408, "TG-408");
    assert!(message.contains("stopped after 13 bytes: nothing came for 30 seconds"), "{message}");
    let body = Body::from_stream(then_silence(vec![r#"[{"Body":"a"}"#]));
    harness.send(batch("/flights/messages", body)).await.refused(408, "TG-408");
    assert_eq!(harness.read_all().await.len(), 0);

    let body = Body::from_stream(then_silence(vec!["one\ntwo\nthr"]));
    let answer = harness.send(lines("/flights/messages", body)).await;
    answer.refused(408, "TG-408");
    assert_eq!(answer.acknowledged(), 2);
    assert_eq!(harness.bodies().await, ["one", "two"]);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_trickles_is_given_up_unless_it_is_lines() {
    let harness = harness();
    let trickle = |clock: std::sync::Arc<tidegate_model::clock::TestClock>| {
        stream::iter(0..10).then(move |_| {
            let clock = clock.clone();
            async move {
                tidegate_model::clock::Clock::sleep(&*clock, std::time::Duration::from_secs(20)).await;
                Piece::Ok("x\n")
            }
        })
    };
    let body = Body::from_stream(trickle(harness.clock.clone()));
    let message = harness.send(post("/flights/messages", &[], body)).await.refused(408, "TG-408");
    assert!(message.contains("within 120 seconds"), "{message}");

    let body = Body::from_stream(trickle(harness.clock.clone()));
    harness.send(lines("/flights/messages", body)).await.created();
    assert_eq!(harness.read_all().await.len(), 10);
}

#[tokio::test]
async fn a_body_that_breaks_off_is_no_event() {
    let harness = harness();
    let broken = || Body::from_stream(stream::iter([Piece::Ok("[]"), Err(std::io::Error::other("gone"))]));
    let message = harness.send(post("/flights/messages", &[], broken())).await.refused(400, "TG-400");
    assert!(message.contains("broke off after 2 bytes: gone"), "{message}");
    harness.send(batch("/flights/messages", broken())).await.refused(400, "TG-400");
    assert_eq!(harness.read_all().await.len(), 0);
}

/// A connection that closes drops the request wherever it is.
#[tokio::test]
async fn a_client_that_goes_away_leaves_no_half_line_and_frees_its_memory() {
    // Room for one upload only, so a leak would refuse the next one.
    let limits = Limits { in_flight_bytes: 1024 * 1024, waiting_requests: 0, ..Limits::default() };
    let harness = harness_with(limits, |log| log);
    for body in [vec!["one\ntwo\nthr"], vec!["o", "ne\ntw"], vec![]] {
        let request = lines("/flights/messages", Body::from_stream(then_silence(body)));
        let mut answer = Box::pin(harness.router.clone().oneshot(request));
        for _ in 0..50 {
            assert!((&mut answer).now_or_never().is_none());
        }
        drop(answer);
        for body in harness.bodies().await {
            assert!(["one", "two"].contains(&body.as_str()), "{body}");
        }
    }
    harness.send(lines("/flights/messages", "last\n")).await.created();
    assert!(harness.bodies().await.contains(&"last".to_owned()));
}
