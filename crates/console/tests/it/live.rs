//! Live pages: one rendering for all who look, changes only, and an end.

use axum::body::{Body, BodyDataStream};
use axum::http::{Request, StatusCode};
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::browser::{Browser, browser};
use crate::fixture::{guest, operator, usual};

async fn look(browser: &Browser, path: &str) -> BodyDataStream {
    let path = path.replace('/', "%2F");
    let request = Request::get(format!("/live?path={path}")).body(Body::empty()).unwrap();
    let response = browser.router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    response.into_body().into_data_stream()
}

/// The next event: its name and its data. What only says that the stream is still there is passed over.
async fn next(stream: &mut BodyDataStream) -> Option<(String, Value)> {
    loop {
        let event = String::from_utf8(stream.next().await?.unwrap().to_vec()).unwrap();
        let Some(named) = event.strip_prefix("event: ") else { continue };
        let (name, data) = named.split_once("\ndata: ").unwrap();
        return Some((name.to_owned(), serde_json::from_str(data.trim_end()).unwrap()));
    }
}

fn ids(data: &Value) -> Vec<&str> {
    data["fragments"].as_array().unwrap().iter().map(|fragment| fragment["id"].as_str().unwrap()).collect()
}

fn calm(browser: &Browser) -> Value {
    let mut calm = usual(&browser.fixture);
    calm["started_at"] = json!("2026-01-01T00:00:00Z");
    for function in calm["functions"].as_array_mut().unwrap() {
        function["oldest_unresolved_at"] = Value::Null;
        function["lanes"] = json!([]);
    }
    calm["alerts"] = json!([]);
    calm
}

#[tokio::test(start_paused = true)]
async fn everything_comes_first_and_then_what_changed() {
    let browser = browser(guest());
    *browser.fixture.overview.lock() = Some(calm(&browser));
    let mut stream = look(&browser, "/").await;
    let (name, data) = next(&mut stream).await.unwrap();
    assert_eq!((name.as_str(), ids(&data)), ("page", vec!["state", "flow", "charts", "alerts"]));
    assert!(data["fragments"][1]["html"].as_str().unwrap().contains("aircraft"));

    // The charts move with the time; nothing else changes until something does.
    let (_, data) = next(&mut stream).await.unwrap();
    assert_eq!(ids(&data), ["charts"]);
    let mut changed = calm(&browser);
    changed["collections"][0]["documents"] = json!(214);
    *browser.fixture.overview.lock() = Some(changed);
    let (_, data) = next(&mut stream).await.unwrap();
    assert_eq!(ids(&data), ["flow", "charts"]);
}

#[tokio::test(start_paused = true)]
async fn many_who_look_cost_one_rendering_and_nobody_none() {
    let browser = browser(guest());
    let mut streams = Vec::new();
    for _ in 0..10 {
        streams.push(look(&browser, "/").await);
    }
    for _ in 0..3 {
        for stream in &mut streams {
            next(stream).await.unwrap();
        }
    }
    let made = browser.fixture.count("/api/v1/overview");
    assert!((3..=4).contains(&made), "{made} renderings for three versions");
    drop(streams);
    browser.fixture.clock.sleep(std::time::Duration::from_secs(5)).await;
    let after = browser.fixture.count("/api/v1/overview");
    assert!(after <= made + 1, "{after} renderings, the last for nobody");
    browser.fixture.clock.sleep(std::time::Duration::from_secs(60)).await;
    assert_eq!(browser.fixture.count("/api/v1/overview"), after);
}

#[tokio::test(start_paused = true)]
async fn who_comes_later_gets_everything_too() {
    let browser = browser(guest());
    let mut first = look(&browser, "/").await;
    next(&mut first).await.unwrap();
    next(&mut first).await.unwrap();
    let mut later = look(&browser, "/").await;
    let (_, data) = next(&mut later).await.unwrap();
    assert_eq!(ids(&data).len(), 4);
}

#[tokio::test(start_paused = true)]
async fn trouble_is_told_and_passes() {
    let browser = browser(guest());
    let mut stream = look(&browser, "/").await;
    next(&mut stream).await.unwrap();
    *browser.fixture.overview.lock() = Some(json!({ "hubs": "none" }));
    let (name, data) = next(&mut stream).await.unwrap();
    assert_eq!((name.as_str(), &data["status"]), ("trouble", &json!(502)));
    *browser.fixture.overview.lock() = None;
    let name = loop {
        let (name, _) = next(&mut stream).await.unwrap();
        if name != "trouble" {
            break name;
        }
    };
    assert_eq!(name, "page");
}

#[tokio::test(start_paused = true)]
async fn a_session_that_ended_ends_the_stream() {
    let browser = browser(operator());
    let mut stream = look(&browser, "/").await;
    next(&mut stream).await.unwrap();
    *browser.fixture.session.lock() = Value::Null;
    let (name, _) = next(&mut stream).await.unwrap();
    assert_eq!(name, "end");
    assert!(next(&mut stream).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_stops_ends_every_stream_and_takes_nobody() {
    let browser = browser(guest());
    let mut stream = look(&browser, "/").await;
    next(&mut stream).await.unwrap();
    browser.console.close();
    let ended = loop {
        match next(&mut stream).await {
            None => break true,
            Some((name, _)) if name == "end" => continue,
            Some((name, _)) => assert_eq!(name, "page"),
        }
    };
    assert!(ended);
    assert_eq!(browser.get("/live?path=%2F").await.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test(start_paused = true)]
async fn only_pages_are_streamed_and_only_so_many_viewers() {
    let browser = browser(guest());
    for path in ["", "x", "//evil.example/", "https:%2F%2Fevil.example"] {
        assert_eq!(
            browser.get(&format!("/live?path={path}")).await.status,
            StatusCode::BAD_REQUEST,
            "{path}"
        );
    }
    // What is no page has nothing to show, and ends at once.
    let mut stream = look(&browser, "/nothing").await;
    assert_eq!(next(&mut stream).await.unwrap().0, "end");

    let mut streams = Vec::new();
    for _ in 0..200 {
        streams.push(look(&browser, "/").await);
    }
    assert_eq!(browser.get("/live?path=%2F").await.status, StatusCode::SERVICE_UNAVAILABLE);
    streams.pop();
    drop(look(&browser, "/").await);
}
