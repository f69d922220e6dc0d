//! Dead letters, circuits, functions, settings and tokens, documents and queries: what they show, which calls their forms
//! lead to, and what is refused.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::browser::{Browser, Shown, assert_clean, browser};
use crate::fixture::{guest, operator};

fn admin() -> Value {
    json!({ "signed_in": true, "name": "root", "role": "admin", "csrf": "token-of-root" })
}

fn checked(address: &str, shown: Shown) -> Shown {
    assert_eq!(shown.status, StatusCode::OK, "{address}: {}", shown.text());
    assert_clean(&shown.html);
    assert_eq!(shown.html.matches("<h1").count(), 1, "{address} has one heading of the first rank");
    assert!(!shown.html.contains("<th>"), "{address}: every head of a table has a scope");
    for id in shown.html.split(" for=\"").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        assert_eq!(
            shown.html.matches(&format!(" id=\"{id}\"")).count(),
            1,
            "{address}: what {id} labels is there once"
        );
    }
    shown
}

async fn seen_by(session: Value, address: &str) -> Shown {
    checked(address, browser(session).get(address).await)
}

/// The call of the API that a form led to: its address and its body.
fn calls(browser: &Browser) -> Vec<(String, Value)> {
    browser.fixture.acts.lock().iter().map(|(call, _, body)| (call.clone(), body.clone())).collect()
}

fn last_call(browser: &Browser) -> (String, Value) {
    let acts = browser.fixture.acts.lock();
    let (call, headers, body) = acts.last().expect("a call");
    assert_eq!(headers["tidegate-csrf"], "token-of-ada", "the token of the form is passed on");
    (call.clone(), body.clone())
}

const PAGES: &[&str] = &[
    "/dead-letters",
    "/dead-letters?view=list",
    "/dead-letters/groups/85944171f73967e8",
    "/dead-letters/17",
    "/dead-letters/19",
    "/circuits",
    "/circuits/weather",
    "/alerts",
    "/functions",
    "/functions/aircraft",
    "/functions/positions",
    "/functions/weather/parked",
    "/documents",
    "/documents/aircraft",
    "/documents/aircraft?plot=altitude",
    "/documents/aircraft?plot=altitude&against=latitude",
    "/documents/aircraft/3949ed",
    "/query",
    "/query?sql=SELECT+1",
    "/settings",
    "/settings?show=all",
    "/trail",
    "/trail?subject=weather",
];

#[tokio::test(start_paused = true)]
async fn every_page_is_clean_for_a_reader_and_offers_them_no_act() {
    for address in PAGES {
        let shown = seen_by(guest(), address).await;
        let forms = shown.html.matches("<form method=\"post\"").count();
        assert_eq!(forms, 1, "{address}: a reader is offered the theme and nothing else");
    }
}

#[tokio::test(start_paused = true)]
async fn every_page_is_clean_for_an_admin_and_their_forms_carry_the_token() {
    let more = [
        "/dead-letters/17/edit",
        "/dead-letters/act?do=redrive",
        "/dead-letters/act?do=discard&id=17&id=18",
        "/functions/aircraft/seek?to=earliest",
        "/tokens",
        "/sessions",
    ];
    for address in PAGES.iter().chain(&more) {
        let shown = seen_by(admin(), address).await;
        let (posts, tokens) = (
            shown.html.matches("<form method=\"post\"").count(),
            shown.html.matches("name=\"csrf\" value=\"token-of-root\"").count(),
        );
        assert_eq!(posts, tokens + 1, "{address}: every form but that of the theme carries the token");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_reader_posts_is_refused_with_an_explanation_and_reaches_nothing() {
    for address in [
        "/dead-letters/act",
        "/dead-letters/17/note",
        "/dead-letters/17/edit",
        "/circuits/weather/close",
        "/functions/aircraft/pause",
        "/functions/aircraft/resume",
        "/functions/aircraft/seek",
        "/functions/aircraft/parked/try",
        "/functions/aircraft/parked/set-aside",
        "/tokens",
        "/tokens/00c0ffee00aa/revoke",
        "/sessions/00c0ffee0002/end",
    ] {
        let browser = browser(guest());
        let shown = browser
            .post(address, "csrf=x&do=redrive&id=17&reason=r&revision=0&properties=%7B%7D&to=earliest")
            .await;
        assert_eq!(shown.status, StatusCode::FORBIDDEN, "{address}");
        let text = shown.text();
        assert!(
            text.contains("this needs the role operator") || text.contains("this needs the role admin"),
            "{address}: {text}"
        );
        assert!(calls(&browser).is_empty(), "{address}");
    }
    let browser = browser(operator());
    assert_eq!(
        browser.post("/tokens", "csrf=token-of-ada&name=x&role=admin&expires=1d").await.status,
        StatusCode::FORBIDDEN
    );
    assert_eq!(browser.get("/tokens").await.status, StatusCode::FORBIDDEN);
    assert_eq!(browser.get("/sessions").await.status, StatusCode::FORBIDDEN);
    assert!(calls(&browser).is_empty());
}

#[tokio::test(start_paused = true)]
async fn dead_letters_are_grouped_by_cause_with_what_can_be_done() {
    let shown = seen_by(operator(), "/dead-letters").await;
    let text = shown.text();
    for said in [
        "Wait for a decision 326",
        "Causes 3",
        "not JSON: &lt;script&gt;",
        "aircraft, permanent",
        "2 h ago",
        "30 s ago",
    ] {
        assert!(text.contains(said), "{said} in {text}");
    }
    assert!(shown.html.contains("href=\"/dead-letters/groups/85944171f73967e8\""));
    assert!(
        shown.html.contains("href=\"/dead-letters/act?cause=85944171f73967e8&amp;do=redrive\""),
        "{}",
        shown.html
    );
    assert_eq!(shown.html.matches("class=\"spark\"").count(), 3);
}

#[tokio::test(start_paused = true)]
async fn the_filter_reaches_the_api_and_its_mistakes_are_said_beside_it() {
    let browser = browser(operator());
    let shown = browser.get("/dead-letters?view=list&partition=x").await;
    assert_eq!(shown.status, StatusCode::OK);
    assert!(
        shown.text().contains("the parameter partition cannot be &quot;x&quot;. partition is a number"),
        "{}",
        shown.text()
    );
    assert!(shown.html.contains("name=\"partition\" id=\"partition\" value=\"x\""));
    let none = browser.get("/dead-letters?status=discarded").await;
    assert!(none.text().contains("No dead letter matches"), "{}", none.text());
}

#[tokio::test(start_paused = true)]
async fn the_list_pages_by_cursor_and_keeps_its_filter() {
    let shown = seen_by(operator(), "/dead-letters?view=list&function=aircraft").await;
    assert!(
        shown.html.contains(
            "href=\"/dead-letters?function=aircraft&amp;view=list&amp;before=81\" rel=\"next\">Older"
        ),
        "{}",
        shown.html
    );
    assert!(
        shown.html.find("#130").unwrap() < shown.html.find("#81").unwrap()
            && !shown.html.contains("rel=\"prev\"")
    );
    let second = seen_by(operator(), "/dead-letters?view=list&function=aircraft&before=81").await;
    let here = "/dead-letters?function=aircraft&amp;view=list";
    assert!(second.html.contains("#80") && second.html.contains("#31") && !second.html.contains("#81<"));
    for (way, name) in
        [("", "Newest"), ("&amp;after=80\" rel=\"prev", "Newer"), ("&amp;before=31\" rel=\"next", "Older")]
    {
        assert!(second.html.contains(&format!("href=\"{here}{way}\">{name}")), "{name}: {}", second.html);
    }
    // The way forward leads to the page before, and on to the end.
    let back = seen_by(operator(), "/dead-letters?view=list&function=aircraft&after=80").await;
    assert!(
        back.html.contains("#130") && back.html.contains("#81<") && !back.html.contains("rel=\"prev\""),
        "{}",
        back.html
    );
    let last = seen_by(operator(), "/dead-letters?view=list&function=aircraft&before=31").await;
    assert!(last.html.contains("#1<") && !last.html.contains("rel=\"next\""));
    let past = seen_by(operator(), "/dead-letters?view=list&function=aircraft&before=1").await;
    assert!(past.html.contains("after=0\" rel=\"prev"), "{}", past.html);
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_shows_the_event_its_attempts_and_the_document_then_and_now() {
    let shown = seen_by(operator(), "/dead-letters/17").await;
    let text = shown.text();
    for said in [
        "Dead letter #17",
        "not JSON:",
        "transient: connection refused",
        "AFR1234",
        "edit by ada",
        "note by ada",
        "Then Now",
    ] {
        assert!(text.contains(said), "{said} in {text}");
    }
    assert!(shown.html.contains("href=\"/trace?hub=flights&amp;partition=3&amp;sequence_number=40017\""));
    // The altitude differs, and nothing else does.
    assert_eq!(
        (shown.html.matches("class=\"was\"").count(), shown.html.matches("class=\"is\"").count()),
        (1, 1)
    );
    assert_eq!(browser(operator()).get("/dead-letters/4711").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test(start_paused = true)]
async fn one_dead_letter_is_redriven_with_its_reason() {
    let browser = browser(operator());
    let done = browser.post("/dead-letters/act", "csrf=token-of-ada&do=redrive&id=17&reason=fixed+it").await;
    assert_eq!(done.leads_to(), "/dead-letters/17");
    assert_eq!(
        last_call(&browser),
        (
            "POST /api/v1/dead-letters/redrive".to_owned(),
            json!({ "ids": [17], "force": false, "reason": "fixed it" })
        )
    );
    assert!(done.cookies()[0].starts_with("tidegate-notice=Redriven"));
}

#[tokio::test(start_paused = true)]
async fn picked_ones_are_confirmed_first_and_what_was_not_done_is_said() {
    let browser = browser(operator());
    let asked = browser.get("/dead-letters/act?picks=1&id=17&id=19&do=discard").await;
    assert!(asked.text().contains("You picked 2 dead letters"), "{}", asked.text());
    assert!(calls(&browser).is_empty());
    let none = browser.get("/dead-letters/act?picks=1&do=discard").await;
    assert_eq!(none.status, StatusCode::BAD_REQUEST);
    assert!(none.text().contains("no dead letter is selected"));

    let without =
        browser.post("/dead-letters/act", "csrf=token-of-ada&do=discard&id=17&id=19&reason=+").await;
    assert_eq!(without.status, StatusCode::BAD_REQUEST);
    assert!(without.text().contains("this needs a reason") && calls(&browser).is_empty());

    let done = browser.post("/dead-letters/act", "csrf=token-of-ada&do=discard&id=17&id=19&reason=r").await;
    assert_eq!(done.leads_to(), "/dead-letters?view=list");
    assert_eq!(last_call(&browser).1, json!({ "ids": [17, 19], "force": false, "reason": "r" }));
    let said = percent_encoding_of(done.cookies()[0]);
    assert!(
        said.contains("Discarded: 1 dead letter. Not discarded: 1, because it is quarantined."),
        "{said}"
    );
}

fn percent_encoding_of(cookie: &str) -> String {
    let value = cookie.split(';').next().unwrap().split_once('=').unwrap().1;
    let mut bytes = value.bytes();
    let mut decoded = Vec::new();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let hex = [bytes.next().unwrap(), bytes.next().unwrap()];
                decoded.push(u8::from_str_radix(std::str::from_utf8(&hex).unwrap(), 16).unwrap());
            }
            byte => decoded.push(byte),
        }
    }
    String::from_utf8(decoded).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_whole_group_is_counted_confirmed_and_left_to_the_server() {
    let browser = browser(operator());
    let asked = browser.get("/dead-letters/act?do=redrive").await;
    let text = asked.text();
    assert!(
        text.contains("328 dead letters would be meant") && text.contains("Redrive 326 dead letters"),
        "{text}"
    );
    assert!(text.contains("The circuit of weather is open: redriven events wait"), "{text}");
    assert!(calls(&browser).is_empty(), "a dry run changes nothing");

    let started =
        browser.post("/dead-letters/act", "csrf=token-of-ada&do=redrive&expected=328&expected_open=326&until=2026-01-01T00:00:00Z&reason=fixed").await;
    assert_eq!(started.leads_to(), "/dead-letters/acts/b1");
    let filter = json!({ "until": "2026-01-01T00:00:00Z" });
    assert_eq!(
        last_call(&browser),
        (
            "POST /api/v1/dead-letter-acts".to_owned(),
            json!({ "act": "redrive", "filter": filter, "force": false, "reason": "fixed" })
        )
    );
    let under_way = checked("/dead-letters/acts/b1", browser.get("/dead-letters/acts/b1").await).text();
    assert!(under_way.contains("under way Redriven: 200 dead letters."), "{under_way}");
    assert!(
        under_way.contains("went on with it") && under_way.contains("this page can be closed"),
        "{under_way}"
    );
    let listed = browser.get("/dead-letters").await;
    assert!(
        listed.html.contains("href=\"/dead-letters/acts/b1\">Redrive of 326 dead letters"),
        "{}",
        listed.html
    );
    let over = checked("/dead-letters/acts/b2", browser.get("/dead-letters/acts/b2").await).text();
    assert!(
        over.contains("through Redriven: 325 dead letters. Not redriven: 1, because it is quarantined."),
        "{over}"
    );
    let stopped = browser.post("/dead-letters/acts/b1/stop", "csrf=token-of-ada").await;
    assert_eq!(stopped.leads_to(), "/dead-letters/acts/b1");
    assert_eq!(last_call(&browser).0, "POST /api/v1/dead-letter-acts/b1/stop");
    assert_eq!(browser.get("/dead-letters/acts/0000").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test(start_paused = true)]
async fn an_edit_is_judged_by_the_function_and_looked_at_before_it_is_kept() {
    let browser = browser(operator());
    let form = "csrf=token-of-ada&revision=0&form=text&body=%7B%22altitude%22%3A39999%7D&properties=%7B%22a%22%3A1%7D";
    let looked_at = browser.post("/dead-letters/17/edit", &format!("{form}&do=check")).await;
    let shown = checked("the check", looked_at);
    let text = shown.text();
    assert!(text.contains("It would be applied.") && text.contains("Nothing is kept yet."), "{text}");
    assert!(shown.html.contains("<ins>+  &quot;altitude&quot;: 39999"), "{}", shown.html);
    let event = json!({ "body": "{\"altitude\":39999}", "properties": { "a": 1 } });
    let mut with_key = event.clone();
    with_key["partition_key"] = json!("3949ed");
    assert_eq!(
        calls(&browser),
        [
            (
                "POST /api/v1/dead-letters/17/edit".to_owned(),
                json!({ "revision": 0, "event": event, "reason": "", "dry_run": true })
            ),
            ("POST /api/v1/functions/aircraft/dry-run".to_owned(), json!({ "event": with_key })),
        ]
    );
    browser.fixture.acts.lock().clear();

    let saved = browser.post("/dead-letters/17/edit", &format!("{form}&do=redrive&reason=metres")).await;
    assert_eq!(saved.leads_to(), "/dead-letters/17");
    let names: Vec<String> = calls(&browser).into_iter().map(|(call, _)| call).collect();
    assert_eq!(names, ["POST /api/v1/dead-letters/17/edit", "POST /api/v1/dead-letters/redrive"]);
    assert_eq!(calls(&browser)[0].1["dry_run"], false);
    assert_eq!(last_call(&browser).1, json!({ "ids": [17], "force": false, "reason": "metres" }));
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_with_an_edit_is_said_and_what_was_written_stays() {
    let browser = browser(operator());
    let shown = browser
        .post(
            "/dead-letters/17/edit",
            "csrf=token-of-ada&revision=0&form=text&body=mine&properties=nonsense&do=check",
        )
        .await;
    assert_eq!(shown.status, StatusCode::BAD_REQUEST);
    assert!(shown.text().contains("the properties are no JSON object"), "{}", shown.text());
    assert!(shown.html.contains("mine</textarea>") && shown.html.contains("nonsense</textarea>"));
    assert!(calls(&browser).is_empty());
    let large = browser
        .post(
            "/dead-letters/17/edit",
            "csrf=token-of-ada&revision=0&form=text&body=too+large&properties=%7B%7D&do=check",
        )
        .await;
    assert_eq!(large.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(large.text().contains("the event would have 2000000 bytes"));
}

#[tokio::test(start_paused = true)]
async fn a_note_is_kept() {
    let browser = browser(operator());
    let done = browser.post("/dead-letters/17/note", "csrf=token-of-ada&note=+the+vendor+knows+").await;
    assert_eq!(done.leads_to(), "/dead-letters/17");
    assert_eq!(
        last_call(&browser),
        ("POST /api/v1/dead-letters/17/note".to_owned(), json!({ "note": "the vendor knows" }))
    );
}

#[tokio::test(start_paused = true)]
async fn circuits_are_told_and_closed_with_a_reason() {
    let shown = seen_by(operator(), "/circuits").await;
    let (open, closed) =
        (shown.html.find("/circuits/weather").unwrap(), shown.html.find("/circuits/aircraft").unwrap());
    assert!(open < closed, "what is open comes first");
    let browser = browser(operator());
    let text = checked("/circuits/weather", browser.get("/circuits/weather").await).text();
    for said in [
        "open since 2 min ago",
        "Failures in the window 104",
        "Threshold 100",
        "Window 30 s",
        "opened by tidegate",
        "circuit.open by ada",
        "in 20 s",
    ] {
        assert!(text.contains(said), "{said} in {text}");
    }
    for (action, state) in [("close", "closed"), ("probe", "half-open"), ("open", "open")] {
        let done = browser
            .post(&format!("/circuits/weather/{action}"), "csrf=token-of-ada&reason=it+works+again")
            .await;
        assert_eq!(done.leads_to(), "/circuits/weather");
        assert_eq!(
            last_call(&browser),
            (format!("POST /api/v1/circuits/weather/{action}"), json!({ "reason": "it works again" }))
        );
        assert!(percent_encoding_of(done.cookies()[0]).contains(state));
    }
    // Why it opened: what failed, how often, and an event to look at.
    let shown = checked("/circuits/weather", browser.get("/circuits/weather").await);
    assert!(text.contains("Why events failed") && text.contains("104 503"), "{text}");
    assert!(
        shown.html.contains("href=\"/trace?hub=flights&amp;partition=3&amp;sequence_number=41003\""),
        "{}",
        shown.html
    );
    let calm = browser.get("/circuits/aircraft").await.text();
    assert!(calm.contains("No attempt failed in the last hour."), "{calm}");
    assert_eq!(browser.get("/circuits/nothing").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test(start_paused = true)]
async fn alerts_are_open_or_over() {
    let text = seen_by(guest(), "/alerts").await.text();
    let (now, over) = (text.find("Alerts Now").unwrap(), text.find("Over Alerts that").unwrap());
    let (open, past) =
        (text.find("dead letters become more").unwrap(), text.find("connection refused").unwrap());
    assert!(now < open && open < over && over < past, "{text}");
    let one = seen_by(guest(), "/alerts?subject=aircraft").await;
    assert!(
        !one.text().contains("503 Service Unavailable") && one.text().contains("Only about aircraft"),
        "{}",
        one.text()
    );
}

#[tokio::test(start_paused = true)]
async fn a_function_tells_how_it_does_and_how_it_is_set() {
    let text = seen_by(operator(), "/functions/weather").await.text();
    for said in [
        "flights → weather → conditions",
        "162 400",
        "Its circuit is open",
        "500 events",
        "exponential-backoff, 5 attempts, 1.0 s to 1 min",
        "opens above 100 failures in 30 s",
    ] {
        assert!(text.contains(said), "{said} in {text}");
    }
    assert_eq!(browser(guest()).get("/functions/nothing").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test(start_paused = true)]
async fn functions_and_partitions_are_paused_and_resumed() {
    let browser = browser(operator());
    let done = browser.post("/functions/aircraft/pause", "csrf=token-of-ada&reason=upgrade").await;
    assert_eq!(done.leads_to(), "/functions/aircraft");
    assert_eq!(
        last_call(&browser),
        ("POST /api/v1/pauses/aircraft/pause".to_owned(), json!({ "reason": "upgrade" }))
    );
    browser.post("/functions/aircraft/resume", "csrf=token-of-ada&reason=&hub=flights&partition=3").await;
    assert_eq!(
        last_call(&browser),
        (
            "POST /api/v1/pauses/aircraft/resume".to_owned(),
            json!({ "reason": "", "hub": "flights", "partition": 3 })
        )
    );
}

#[tokio::test(start_paused = true)]
async fn a_seek_is_tried_dry_first() {
    let browser = browser(operator());
    let shown = checked("seek", browser.get("/functions/aircraft/seek?to=earliest&partition=").await);
    assert!(shown.text().contains("232 000 events would be processed again"), "{}", shown.text());
    assert_eq!(
        last_call(&browser).1,
        json!({ "function": "aircraft", "to": "earliest", "dry_run": true, "reason": "" })
    );
    let refused = browser.get("/functions/aircraft/seek?to=yesterday").await;
    assert!(
        refused.text().contains("&quot;yesterday&quot; is no place in a partition"),
        "{}",
        refused.text()
    );
    let done = browser
        .post("/functions/aircraft/seek", "csrf=token-of-ada&to=earliest&partition=3&reason=again")
        .await;
    assert_eq!(done.leads_to(), "/functions/aircraft");
    assert_eq!(
        last_call(&browser).1,
        json!({ "function": "aircraft", "to": "earliest", "dry_run": false, "reason": "again", "partition": 3 })
    );
}

#[tokio::test(start_paused = true)]
async fn parked_events_are_tried_or_set_aside() {
    let browser = browser(operator());
    let shown = checked("parked", browser.get("/functions/weather/parked?partition=3").await);
    assert!(shown.text().contains("held"), "{}", shown.text());
    let form = "csrf=token-of-ada&id=weather%2Fflights%2F3%2F40001&back=%2Ffunctions%2Fweather%2Fparked%3Fpartition%3D3";
    let done = browser.post("/functions/weather/parked/try", form).await;
    assert_eq!(done.leads_to(), "/functions/weather/parked?partition=3");
    assert_eq!(
        last_call(&browser),
        ("POST /api/v1/parked/try".to_owned(), json!({ "id": "weather/flights/3/40001", "reason": "" }))
    );
    browser.post("/functions/weather/parked/set-aside", &format!("{form}&reason=poison")).await;
    assert_eq!(
        last_call(&browser),
        (
            "POST /api/v1/parked/set-aside".to_owned(),
            json!({ "id": "weather/flights/3/40001", "reason": "poison" })
        )
    );
}

#[tokio::test(start_paused = true)]
async fn settings_say_who_says_so_and_no_secret() {
    let set = seen_by(guest(), "/settings").await.text();
    assert!(
        set.contains("partitions 8 file tidegate.toml:12")
            && set.contains("secret, in the file /etc/tidegate/mail"),
        "{set}"
    );
    assert!(!set.contains("127.0.0.1:8780"), "defaults are left out: {set}");
    assert!(seen_by(guest(), "/settings?show=all").await.text().contains("127.0.0.1:8780"));
    let found = seen_by(guest(), "/settings?find=retention").await.text();
    assert!(found.contains("without limit") && !found.contains("tidegate.toml:12"), "{found}");
}

#[tokio::test(start_paused = true)]
async fn the_trail_begins_with_its_newest_line_and_goes_back_line_by_line() {
    let first = seen_by(guest(), "/trail").await;
    let text = first.text();
    assert!(
        text.contains("reason 130 ") && text.contains("reason 81 ") && !text.contains("reason 80 "),
        "{text}"
    );
    assert!(first.html.contains("href=\"/trail?before=81\""), "{}", first.html);
    let last = seen_by(guest(), "/trail?before=31").await;
    assert!(
        last.text().contains("reason 30 ")
            && last.text().contains("reason 1 ")
            && !last.html.contains("rel=\"next\"")
    );
    let sparse = seen_by(guest(), "/trail?subject=weather").await.text();
    assert!(
        sparse.contains("reason 129 ") && sparse.contains("reason 3 ") && !sparse.contains("reason 130 "),
        "{sparse}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_token_is_shown_once_and_can_be_revoked() {
    let browser = browser(admin());
    let made = checked(
        "made",
        browser.post("/tokens", "csrf=token-of-root&name=ops&role=operator&expires=90d").await,
    );
    assert!(made.text().contains("tg_secret_text") && made.text().contains("Keep it now"), "{}", made.text());
    assert_eq!(
        calls(&browser).last().unwrap().1,
        json!({ "name": "ops", "role": "operator", "expires": "90d" })
    );
    assert!(!browser.get("/tokens").await.html.contains("tg_secret_text"));
    let refused = browser.post("/tokens", "csrf=token-of-root&name=&role=operator&expires=never").await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    assert!(refused.text().contains("a token needs a name") && refused.text().contains("ada"));
    let done = browser.post("/tokens/00c0ffee00ab/revoke", "csrf=token-of-root&reason=left").await;
    assert_eq!(done.leads_to(), "/tokens");
    assert_eq!(
        calls(&browser).last().unwrap(),
        &("POST /api/v1/tokens/00c0ffee00ab/revoke".to_owned(), json!({ "reason": "left" }))
    );
}

#[tokio::test(start_paused = true)]
async fn an_admin_sees_who_is_signed_in_and_ends_it() {
    let browser = browser(admin());
    let shown = checked("/sessions", browser.get("/sessions").await);
    let text = shown.text();
    for said in ["root this one", "the token 00c0ffee00aa", "the identity provider", "2 h ago", "30 s ago"] {
        assert!(text.contains(said), "{said} in {text}");
    }
    // Their own is ended by signing out.
    assert!(!shown.html.contains("action=\"/sessions/00c0ffee0001/end\""));
    assert!(shown.html.contains("action=\"/sessions/00c0ffee0002/end\""));
    let ended = browser.post("/sessions/00c0ffee0002/end", "csrf=token-of-root&reason=left").await;
    assert_eq!(ended.leads_to(), "/sessions");
    let acts = browser.fixture.acts.lock();
    let (call, headers, body) = acts.last().expect("a call");
    assert_eq!(
        (call.as_str(), body),
        ("POST /api/v1/sessions/00c0ffee0002/end", &json!({ "reason": "left" }))
    );
    assert_eq!(headers["tidegate-csrf"], "token-of-root");
}

#[tokio::test(start_paused = true)]
async fn who_was_told_of_an_alert_is_said_with_what_failed() {
    let shown = seen_by(guest(), "/alerts").await;
    let text = shown.text();
    for said in [
        "delivered circuit opened to ops:mia@example.com 2 min ago",
        "tried again circuit opened to chat just now , tried 4 times: 503 &lt;script&gt;",
        "given up dead letters growing to ops:mia@example.com 1 min ago , tried 12 times: 550 no such user",
        "partition stuck: aircraft/flights/3 2 h 13 min ago – nobody was told yet 0",
    ] {
        assert!(text.contains(said), "{said} in {text}");
    }
    let one = seen_by(guest(), "/alerts?subject=aircraft").await.text();
    assert!(one.contains("550 no such user") && !one.contains("503"), "{one}");
}

#[tokio::test(start_paused = true)]
async fn documents_are_found_by_the_beginning_of_their_id_and_drawn() {
    let shown = seen_by(guest(), "/documents/aircraft?prefix=3940").await;
    let rows = shown.html.matches("href=\"/documents/aircraft/39").count();
    let all = seen_by(guest(), "/documents/aircraft").await;
    assert!(rows > 0 && rows < all.html.matches("href=\"/documents/aircraft/39").count());
    assert!(all.html.contains("class=\"land\"") && all.text().contains("60 places"), "{}", all.text());
    let bars = seen_by(guest(), "/documents/aircraft?plot=altitude").await;
    assert_eq!(bars.html.matches("<rect").count(), 40);
    let points = seen_by(guest(), "/documents/aircraft?plot=latitude&against=longitude").await;
    assert!(points.text().contains("latitude against longitude"));
}

#[tokio::test(start_paused = true)]
async fn names_of_members_are_quoted_in_the_queries_of_a_plot() {
    let browser = browser(guest());
    browser.get("/documents/a%22b?plot=altitude").await;
    let asked: Vec<String> = calls(&browser).into_iter().map(|(_, body)| body["sql"].to_string()).collect();
    assert!(!asked.is_empty() && asked.iter().all(|sql| sql.contains(r#"FROM \"a\"\"b\""#)), "{asked:?}");
    // A member that no document has is no part of a query.
    let shown = browser.get("/documents/aircraft?plot=x%22%3B").await;
    assert!(
        !calls(&browser).iter().any(|(_, body)| body["sql"].to_string().contains("x\\\"")),
        "{}",
        shown.text()
    );
}

#[tokio::test(start_paused = true)]
async fn a_document_tells_the_events_that_made_it() {
    let shown = seen_by(guest(), "/documents/aircraft/3949ed").await;
    let text = shown.text();
    for said in [
        "partition 3, sequence number 40003",
        "pending",
        "dead-lettered #17",
        "900 events were looked at",
        "Event by event",
    ] {
        assert!(text.contains(said), "{said} in {text}");
    }
    assert!(
        shown.html.contains("class=\"track\"")
            && shown.html.contains("/documents/aircraft/3949ed?before=39900")
    );
}

#[tokio::test(start_paused = true)]
async fn a_query_shows_rows_or_what_is_wrong_and_downloads_both_forms() {
    let shown = seen_by(guest(), "/query?sql=SELECT+*+FROM+aircraft%20--flood").await;
    let text = shown.text();
    assert!(
        text.contains("60 rows") && text.contains("There are more rows") && text.contains("null"),
        "{text}"
    );
    assert!(shown.html.contains("class=\"land\""));
    let refused = seen_by(guest(), "/query?sql=DELETE+FROM+aircraft").await;
    assert!(refused.text().contains("queries are read-only: &lt;script&gt;"), "{}", refused.text());
    assert!(
        refused.html.contains("aria-invalid=\"true\" aria-describedby=\"refused\"")
            && refused.html.contains("DELETE FROM aircraft</textarea>")
    );
    let browser = browser(guest());
    let csv = browser.get("/query/download?form=csv&sql=SELECT+1").await;
    assert_eq!(csv.headers["content-type"], "text/csv; charset=utf-8");
    assert!(csv.headers["content-disposition"].to_str().unwrap().starts_with("attachment"));
    assert_eq!(
        (csv.html.lines().count(), csv.html.lines().next()),
        (61, Some("id,latitude,longitude,note,nothing"))
    );
    let lines = browser.get("/query/download?form=ndjson&sql=SELECT+1").await;
    assert!(lines.html.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()));
}
