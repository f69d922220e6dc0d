//! The overview: what is wrong on top, the flow as one picture, how it went.

use axum::http::StatusCode;
use serde_json::json;

use crate::browser::{assert_clean, browser};
use crate::fixture::{HOSTILE, away, guest, usual};

#[tokio::test(start_paused = true)]
async fn the_worst_is_said_first() {
    let page = browser(guest()).get("/").await;
    let text = page.text();
    let first =
        text.find("The circuit of weather is open: GET https://weather.example/v1: 503").expect("the worst");
    let second = text.find("326 events failed in aircraft and wait for a decision").expect("the next");
    let flow = text.find("The flow").expect("the picture");
    assert!(first < second && second < flow);
    assert_clean(&page.html);
}

#[tokio::test(start_paused = true)]
async fn the_picture_has_every_hub_function_and_collection_with_its_numbers() {
    let page = browser(guest()).get("/").await;
    for link in [
        "/hubs/flights",
        "/hubs/drones",
        "/functions/aircraft",
        "/functions/weather",
        "/documents/aircraft",
        "/documents/conditions",
    ] {
        assert!(page.html.contains(&format!("href=\"{link}\"")), "{link}");
    }
    let text = page.text();
    for said in [
        "1 240 /s",
        "lag 162 400 events",
        "behind 2 min",
        "8.2 ms, 31 ms",
        "12 , 3 held",
        "documents 213",
        "circuit open",
    ] {
        assert!(text.contains(said), "{said} in {text}");
    }
    // The gate of the open circuit is shut in the picture, and only that.
    assert_eq!(page.html.matches("class=\"wire cut\"").count(), 1);
}

#[tokio::test(start_paused = true)]
async fn input_without_output_is_marked_in_the_chart_of_its_function() {
    let page = browser(guest()).get("/").await;
    let gaps: Vec<&str> =
        page.html.split("class=\"gap\" d=\"").skip(1).map(|part| part.split('"').next().unwrap()).collect();
    // The function in trouble comes first.
    assert_eq!(gaps.len(), 3);
    assert!(!gaps[0].is_empty() && gaps[1].is_empty() && gaps[2].is_empty(), "{gaps:?}");
    assert!(page.html.contains("aria-label=\"weather: in and out: incoming now"));
}

#[tokio::test(start_paused = true)]
async fn all_is_well_in_one_sentence() {
    let browser = browser(guest());
    let mut calm = usual(&browser.fixture);
    calm["alerts"] = json!([]);
    calm["functions"] = json!([calm["functions"][2]]);
    *browser.fixture.overview.lock() = Some(calm);
    let page = browser.get("/").await;
    assert!(page.text().contains("All is well"), "{}", page.text());
    assert!(!page.html.contains("class=\"shape act\"") && !page.html.contains("class=\"shape watch\""));
}

#[tokio::test(start_paused = true)]
async fn a_source_that_cannot_be_reached_is_said_first_and_marked_in_the_picture() {
    let browser = browser(guest());
    let mut overview = usual(&browser.fixture);
    overview["hubs"].as_array_mut().unwrap().push(away(&browser.fixture));
    *browser.fixture.overview.lock() = Some(overview);
    let page = browser.get("/").await;
    assert_clean(&page.html);
    let text = page.text();
    let first = text.find("The hub yard cannot be reached &lt;script&gt;").expect("what is wrong");
    assert!(first < text.find("The flow").unwrap(), "{text}");
    for said in ["yard cannot be reached since 10 min ago : &lt;script&gt;", "published – partitions –"] {
        assert!(text.contains(said), "{said} in {text}");
    }
    assert!(page.html.contains("class=\"node hub act\"") && page.html.contains("href=\"/hubs/yard\""));
    assert!(text.contains("drones read from elsewhere incoming"), "one that is there is no news: {text}");
    let listed = browser.get("/hubs").await;
    assert_clean(&listed.html);
    assert!(listed.text().contains("yard cannot be reached since 10 min ago"), "{}", listed.text());
}

#[tokio::test(start_paused = true)]
async fn nothing_that_others_wrote_becomes_markup() {
    let browser = browser(guest());
    let mut hostile = usual(&browser.fixture);
    hostile["functions"][1]["circuit"]["reason"] = json!(HOSTILE);
    hostile["functions"][1]["lanes"][0]["state"] = json!("stopped");
    hostile["functions"][1]["lanes"][0]["detail"] = json!(HOSTILE);
    hostile["alerts"] = json!([{ "id": HOSTILE, "kind": HOSTILE, "subject": HOSTILE, "what": HOSTILE, "since": "2026-01-01T00:00:00Z",
        "severity": "warning", "open": true, "ended_at": null, "stage": null, "steps": [] }]);
    *browser.fixture.overview.lock() = Some(hostile);
    let page = browser.get("/").await;
    assert_eq!(page.status, StatusCode::OK);
    assert_clean(&page.html);
    assert!(page.html.contains("&lt;script&gt;alert(1)"));
}

#[tokio::test(start_paused = true)]
async fn an_empty_program_says_how_it_is() {
    let browser = browser(guest());
    *browser.fixture.overview.lock() = Some(
        json!({ "version": "0.1.0", "started_at": "2026-01-01T00:00:00Z", "now": "2026-01-01T00:00:00Z", "ready": true,
        "hubs": [], "functions": [], "collections": [], "alerts": [] }),
    );
    let page = browser.get("/").await;
    assert!(page.text().contains("There is no hub yet"), "{}", page.text());
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_not_understood_is_a_page_that_says_so() {
    let browser = browser(guest());
    *browser.fixture.overview.lock() = Some(json!({ "hubs": "none" }));
    let page = browser.get("/").await;
    assert_eq!(page.status, StatusCode::BAD_GATEWAY);
    assert!(page.text().contains("/api/v1/overview is not what the console understands"), "{}", page.text());
}
