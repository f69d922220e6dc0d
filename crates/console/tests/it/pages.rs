//! Hubs, partitions, events, traces and logs, from fixed answers with hostile text in them.

use axum::http::StatusCode;

use crate::browser::{Shown, assert_clean, browser};
use crate::fixture::{away, guest, usual};

async fn page(address: &str) -> Shown {
    let shown = browser(guest()).get(address).await;
    assert_eq!(shown.status, StatusCode::OK, "{address}: {}", shown.text());
    assert_clean(&shown.html);
    assert_eq!(shown.html.matches("<h1").count(), 1, "{address} has one heading of the first rank");
    let tables = shown.html.matches("<table").count();
    assert_eq!(tables, shown.html.matches("<caption").count(), "{address}: every table has a caption");
    assert!(!shown.html.contains("<th>"), "{address}: every head of a table has a scope");
    shown
}

#[tokio::test(start_paused = true)]
async fn hubs_are_listed_with_their_numbers() {
    let shown = page("/hubs").await;
    let text = shown.text();
    for said in
        ["flights 1 240 /s", "drones", "7 d", "aircraft , weather"].iter().filter(|said| **said != "7 d")
    {
        assert!(text.contains(said), "{said} in {text}");
    }
    assert!(shown.html.contains("href=\"/hubs/flights\""));
}

#[tokio::test(start_paused = true)]
async fn a_hub_shows_its_partitions_who_reads_it_and_how_it_is_set() {
    let shown = page("/hubs/flights").await;
    let text = shown.text();
    for said in [
        "Head Tail Kept",
        "12 000",
        "41 004",
        "Who reads it",
        "tidegate-7f3a",
        "$Default, reports",
        "by the configuration",
    ] {
        assert!(text.contains(said), "{said} in {text}");
    }
    assert!(shown.html.contains("href=\"/hubs/flights/partitions/7\""));
    let elsewhere = page("/hubs/drones").await.text();
    assert!(!elsewhere.contains("How it is set") && elsewhere.contains("positions"), "{elsewhere}");
}

#[tokio::test(start_paused = true)]
async fn what_does_not_exist_says_what_there_is() {
    let browser = browser(guest());
    let shown = browser.get("/hubs/flihgts").await;
    assert_eq!(shown.status, StatusCode::NOT_FOUND);
    let text = shown.text();
    assert!(text.contains("there is no hub \"flihgts\"") || text.contains("there is no hub"), "{text}");
    assert!(
        text.contains("hubs here: drones, flights") && shown.html.contains("href=\"/errors/TG-404\""),
        "{text}"
    );
    let shown = browser.get("/hubs/flights/partitions/9").await;
    assert!(shown.text().contains("flights has no partition 9; it has 8, from 0"), "{}", shown.text());
}

#[tokio::test(start_paused = true)]
async fn the_page_of_a_source_says_how_it_is_and_what_is_known_of_it() {
    let there = page("/hubs/drones").await;
    for said in
        ["Read from elsewhere, in the consumer group $Default", "Other reader", "12 2 280 positions 4 711"]
    {
        assert!(there.text().contains(said), "{said} in {}", there.text());
    }
    assert!(there.html.contains("href=\"/hubs/drones/events\""));

    let browser = browser(guest());
    let mut overview = usual(&browser.fixture);
    overview["hubs"].as_array_mut().unwrap().push(away(&browser.fixture));
    *browser.fixture.overview.lock() = Some(overview);
    let shown = browser.get("/hubs/yard").await;
    assert_eq!(shown.status, StatusCode::OK, "{}", shown.text());
    assert_clean(&shown.html);
    let text = shown.text();
    for said in [
        "cannot be reached , in the consumer group $Default",
        "since 10 min ago : &lt;script&gt;",
        "It is tried again until it answers",
        "– – positions 4 711",
        "As it was known last",
        "positions is to read it, and begins when it is there",
    ] {
        assert!(text.contains(said), "{said} in {text}");
    }
    assert!(!shown.html.contains("href=\"/hubs/yard/events\""), "nothing is offered that cannot be done");
}

#[tokio::test(start_paused = true)]
async fn a_partition_shows_what_became_of_its_events_and_the_newest_of_them() {
    let shown = page("/hubs/flights/partitions/3").await;
    let text = shown.text();
    for said in
        ["Head 12 000", "Tail 41 007", "Applied Filtered Dead-lettered", "40 700", "Newest events", "40 011"]
    {
        assert!(text.contains(said), "{said} in {text}");
    }
}

#[tokio::test(start_paused = true)]
async fn events_are_decoded_by_what_they_are() {
    let shown = page("/hubs/flights/events?partition=3&from=40000&limit=12").await;
    let text = shown.text();
    assert!(text.contains("JSON,") && text.contains("text,") && text.contains("bytes,"), "{text}");
    assert!(shown.html.contains("000000  ff 00 3c 62 3e"));
    // A number keeps the digits it was sent with.
    assert!(shown.html.contains(".50"), "{text}");
    assert!(shown.html.contains("/trace?hub=flights&amp;partition=3&amp;sequence_number=40001"));
    assert!(
        shown.html.contains("from=40012") && shown.html.contains("from=39988"),
        "the ways to later and earlier events"
    );
}

#[tokio::test(start_paused = true)]
async fn the_newest_events_are_found_from_the_tail() {
    let browser = browser(guest());
    browser.get("/hubs/flights/events?partition=3").await;
    let asked = browser.fixture.asked.lock().join("\n");
    assert!(asked.contains("/api/v1/hubs/flights/events"), "{asked}");
    let shown = browser.get("/hubs/flights/events?partition=x").await;
    assert_eq!(shown.status, StatusCode::BAD_REQUEST);
    assert!(shown.text().contains("partition cannot be"), "{}", shown.text());
}

#[tokio::test(start_paused = true)]
async fn a_trace_tells_everything_in_its_order() {
    let shown = page("/trace?hub=flights&partition=3&sequence_number=40001").await;
    let text = shown.text();
    let order = [
        "aircraft : dead-lettered",
        "weather : pending",
        "Published: durable",
        "Attempt 1 of aircraft failed, transient",
        "Attempt 2 of aircraft failed, rejected",
        "Set aside by aircraft as",
        "ada (root): dead-letter.redrive 17",
    ];
    let places: Vec<usize> =
        order.iter().map(|said| text.find(said).unwrap_or_else(|| panic!("{said} in {text}"))).collect();
    assert!(places.is_sorted(), "{places:?} in {text}");
    assert!(
        shown.html.contains("href=\"/dead-letters/17\"")
            && shown.html.contains("href=\"/documents/aircraft/3949ed\"")
    );
}

#[tokio::test(start_paused = true)]
async fn a_key_is_traced_to_all_that_is_known_of_it() {
    let shown = page("/trace?key=3949ed").await;
    let text = shown.text();
    for said in ["Documents", "aircraft/3949ed", "Dead letters", "#17", "Parked events", "held", "Log"] {
        assert!(text.contains(said), "{said} in {text}");
    }
    let led = browser(guest()).get("/search?q=flights%2F3%2F40001").await;
    assert_eq!(led.leads_to(), "/trace?hub=flights&partition=3&sequence_number=40001");
    assert!(page("/trace").await.text().contains("What happened to an event"));
}

#[tokio::test(start_paused = true)]
async fn logs_are_searched_and_paged() {
    let shown = page("/logs?level=warn&text=a%26b&after=c0").await;
    let text = shown.text();
    assert!(
        text.contains("an event became a dead letter") && text.contains("sequence_number=40001"),
        "{text}"
    );
    assert!(shown.html.contains("href=\"/logs?text=a%26b&amp;level=warn&amp;after=c1\""), "{}", shown.html);
    assert!(shown.html.contains("value=\"a&amp;b\""));
    // Only the newest page moves.
    assert!(!shown.html.contains("data-live"));
    assert!(page("/logs").await.html.contains("data-live=\"/logs\""));
}
