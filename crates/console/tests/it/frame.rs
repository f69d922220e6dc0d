//! What every page has: its headers, its frame, its errors, and who looks.

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, COOKIE};
use axum::http::{Request, StatusCode};
use serde_json::{Value, json};

use crate::browser::{assert_clean, browser};
use crate::fixture::{guest, operator};

#[tokio::test(start_paused = true)]
async fn every_answer_carries_the_policy() {
    let browser = browser(operator());
    let page = browser.get("/").await;
    let style = page.html.split("href=\"").find(|part| part.contains("console.css")).unwrap();
    let style = style.split('"').next().unwrap().to_owned();
    let addresses = [
        "/",
        "/keys",
        "/errors",
        "/errors/TG-404",
        "/errors/TG-000",
        "/sign-in",
        "/search?q=x",
        "/live?path=x",
        &style,
        "/assets/0/x",
    ];
    for address in addresses {
        let shown = browser.get(address).await;
        let policy =
            shown.headers.get(CONTENT_SECURITY_POLICY).unwrap_or_else(|| panic!("{address} has no policy"));
        let policy = policy.to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self'"), "{policy}");
        assert_eq!(shown.headers["x-content-type-options"], "nosniff", "{address}");
        assert_clean(&shown.html.replace("javascript", ""));
    }
    let posted = browser.post("/sign-in", "token=bad").await;
    assert!(posted.headers.contains_key(CONTENT_SECURITY_POLICY));
    assert!(browser.post("/theme", "theme=dark&back=/").await.headers.contains_key(CONTENT_SECURITY_POLICY));
}

#[tokio::test(start_paused = true)]
async fn the_frame_has_its_landmarks_and_marks_where_one_is() {
    let page = browser(operator()).get("/").await;
    assert_eq!(page.status, StatusCode::OK);
    for part in [
        "<html lang=\"en\"",
        "<a class=\"skip\" href=\"#main\"",
        "<main id=\"main\"",
        "<h1",
        "role=\"search\"",
        "<title>Overview · Tidegate",
    ] {
        assert!(page.html.contains(part), "{part}");
    }
    assert_eq!(page.html.matches("aria-current=\"page\"").count(), 1);
    assert_eq!(page.html.matches("<h1").count(), 1);
    assert!(page.text().contains("ada operator Sign out"), "{}", page.text());
    assert_eq!(page.headers[CACHE_CONTROL], "no-store");
}

#[tokio::test(start_paused = true)]
async fn assets_are_kept_for_good_under_their_own_hash_only() {
    let browser = browser(operator());
    let page = browser.get("/").await;
    let at = page.html.find("/assets/").unwrap();
    let own = page.html[at..].split('"').next().unwrap();
    assert!(browser.get(own).await.headers[CACHE_CONTROL].to_str().unwrap().contains("immutable"));
    let other = browser.get("/assets/000000000000/console.css").await;
    assert_eq!((other.status, other.headers[CACHE_CONTROL].to_str().unwrap()), (StatusCode::OK, "no-cache"));
    assert_eq!(browser.get("/assets/0/nothing").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test(start_paused = true)]
async fn an_error_says_what_and_the_way_out() {
    let browser = browser(guest());
    let page = browser.get("/errors/TG-999").await;
    assert_eq!(page.status, StatusCode::NOT_FOUND);
    assert!(
        page.text().contains("there is no error code \"TG-999\"") || page.text().contains("TG-999"),
        "{}",
        page.text()
    );
    assert!(page.html.contains("href=\"/errors/TG-404\""));
    let page = browser.get("/errors/tg-404").await;
    assert!(page.html.contains("<h1>TG-404: The hub, partition"), "{}", page.html);
}

#[tokio::test(start_paused = true)]
async fn who_is_not_signed_in_is_led_to_the_sign_in_and_back() {
    let browser = browser(Value::Null);
    let led = browser.get("/?x=1").await;
    assert_eq!(led.leads_to(), "/sign-in?then=%2F%3Fx%3D1");
    let form = browser.get(led.leads_to()).await;
    assert_eq!(form.status, StatusCode::OK);
    assert!(form.html.contains("name=\"then\" value=\"/?x=1\""), "{}", form.html);

    let refused = browser.post("/sign-in", "token=bad&then=%2F%3Fx%3D1").await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert!(refused.text().contains("there is no such token. make one"), "{}", refused.text());
    assert!(refused.html.contains("name=\"then\" value=\"/?x=1\""));
    assert!(!refused.html.contains("bad"), "what was tried is not shown again");

    let done = browser.post("/sign-in", "token=good&then=%2F%3Fx%3D1").await;
    assert_eq!(done.leads_to(), "/?x=1");
    assert!(done.cookies()[0].starts_with("tidegate_session=s1"));
    assert_eq!(browser.post("/sign-in", "token=good&then=%2F%2Fevil.example").await.leads_to(), "/");
}

#[tokio::test(start_paused = true)]
async fn a_sign_in_link_leads_to_a_button_and_changes_nothing_before() {
    let browser =
        browser(json!({ "signed_in": false, "role": "reader", "link_command": "tidegate tokens x" }));
    let page = browser.get("/sign-in?link=tgl_good").await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.html.contains("name=\"link\" value=\"tgl_good\""), "{}", page.html);
    assert!(!page.html.contains("name=\"token\""), "there is one thing to do");
    assert!(page.cookies().is_empty());
    let asked = browser.fixture.asked.lock().clone();
    assert!(asked.iter().all(|path| path == "/api/v1/session"), "{asked:?}");

    let refused = browser.post("/sign-in", "link=tgl_bad").await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert!(!refused.html.contains("tgl_bad"), "what was tried is not shown again");
    assert!(refused.text().contains("tidegate tokens x"), "{}", refused.text());
    let done = browser.post("/sign-in", "link=tgl_good&then=%2F").await;
    assert_eq!(done.leads_to(), "/");
    assert!(done.cookies()[0].starts_with("tidegate_session=s1"));
}

#[tokio::test(start_paused = true)]
async fn forms_carry_the_token_of_their_session() {
    let browser = browser(operator());
    let page = browser.get("/").await;
    assert!(page.html.contains("name=\"csrf\" value=\"token-of-ada\""));
    let out = browser.post("/sign-out", "csrf=token-of-ada").await;
    assert_eq!(out.leads_to(), "/");
    let acts = browser.fixture.acts.lock();
    let (_, headers, _) = acts.first().unwrap();
    assert_eq!(
        (&headers["tidegate-csrf"], &headers[COOKIE]),
        (&"token-of-ada".parse().unwrap(), &"tidegate_session=s1".parse().unwrap())
    );
}

#[tokio::test(start_paused = true)]
async fn a_form_of_another_site_is_refused() {
    let browser = browser(operator());
    let request = Request::post("/sign-out")
        .header("sec-fetch-site", "cross-site")
        .body(Body::from("csrf=token-of-ada"));
    let shown = browser.send(request.unwrap()).await;
    assert_eq!(shown.status, StatusCode::FORBIDDEN);
    assert!(browser.fixture.acts.lock().is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_theme_is_kept_in_a_cookie() {
    let browser = browser(operator());
    assert!(!browser.get("/").await.html.contains("data-theme"));
    let chosen = browser.post("/theme", "theme=dark&back=%2Fkeys").await;
    assert_eq!(chosen.leads_to(), "/keys");
    assert!(chosen.cookies()[0].starts_with("tidegate-theme=dark;"));
    let request = Request::get("/keys").header(COOKIE, "tidegate-theme=dark").body(Body::empty()).unwrap();
    assert!(browser.send(request).await.html.contains("data-theme=\"dark\""));
}
