//! Signing in on the page of the real program: links that work once, sessions that outlive a restart, and their ends.

use serde_json::{Value, json};

use crate::support::{CONFIG, Place, started, text};
use crate::visitor::Visitor;

/// The address of a link, without the server's.
fn path_of(url: &str) -> String {
    let (_, path) = url.split_once("/sign-in").unwrap_or_else(|| panic!("{url} is no link"));
    format!("/sign-in{path}")
}

fn sign_in(browser: &mut Visitor, url: &str) -> u16 {
    let page = browser.get(&path_of(url));
    assert_eq!(page.status, 200, "{}", page.body);
    let link = page.field("link");
    browser.post("/sign-in", &[("link", &link), ("then", "/")]).status
}

fn link(place: &Place, words: &str) -> String {
    place.ok(&format!("tokens sign-in-link {words}")).trim().to_owned()
}

#[test]
fn a_link_signs_in_once_and_looking_at_it_uses_nothing_up() {
    let place = Place::new(CONFIG);
    let (server, told) = started(place.command("run --http 127.0.0.1:0 --json --sign-in-link"));
    let url = told["sign_in_link"].as_str().unwrap().to_owned();
    assert!(url.starts_with(&format!("{}/sign-in?link=tgl_", server.http)), "{url}");
    // Whatever looks at addresses before a person does: previews, scanners, a browser that guesses.
    for (method, agent, purpose) in [
        ("HEAD", "Slackbot-LinkExpanding 1.0", ""),
        ("GET", "Mozilla/5.0", "prefetch"),
        ("GET", "curl/8", ""),
        ("OPTIONS", "scanner", ""),
        ("GET", "Mozilla/5.0", ""),
    ] {
        let headers = [("user-agent", agent), ("sec-purpose", purpose), ("accept", "text/html")];
        Visitor::at(&server.http).send(method, &path_of(&url), &headers, "");
    }
    let mut browser = Visitor::at(&server.http);
    assert_eq!(browser.session()["signed_in"], false);
    // A page of another site cannot make anybody follow it.
    let code = browser.get(&path_of(&url)).field("link");
    let foreign =
        [("origin", "http://evil.example.com"), ("content-type", "application/x-www-form-urlencoded")];
    assert_eq!(browser.send("POST", "/sign-in", &foreign, &format!("link={code}")).status, 403);
    assert_eq!(sign_in(&mut browser, &url), 303);
    let session = browser.session();
    assert_eq!((&session["signed_in"], &session["role"]), (&json!(true), &json!("operator")));

    let mut other = Visitor::at(&server.http);
    let page = other.get(&path_of(&url));
    let refused = other.post("/sign-in", &[("link", &page.field("link"))]);
    assert_eq!(refused.status, 403);
    assert!(refused.body.contains("works once"), "{}", refused.body);
    assert!(refused.body.contains("tidegate tokens sign-in-link --data-dir"), "{}", refused.body);
    assert!(!refused.body.contains(&code), "what was tried is not shown again");

    let (_, log) = server.terminate_and_tell();
    assert!(!log.contains(&code[20..]), "no link is logged");
}

#[test]
fn somebody_who_is_not_signed_in_is_told_what_to_type() {
    let place = Place::new(CONFIG);
    let server = place.serve();
    let mut browser = Visitor::at(&server.http);
    let page = browser.get("/sign-in");
    let data = std::fs::canonicalize(place.data()).unwrap();
    let command = format!("tidegate tokens sign-in-link --data-dir {}", data.display());
    assert!(page.body.contains(&command), "{}", page.body);
    // From elsewhere the place of the data is nobody's business.
    let proxied = [("accept", "text/html"), ("x-forwarded-for", "192.0.2.9")];
    let page = browser.send("GET", "/sign-in", &proxied, "");
    assert!(page.body.contains("tidegate tokens sign-in-link<"), "{}", page.body);
    assert!(!page.body.contains(&data.display().to_string()));
    // What it tells to type works as it is.
    let words: Vec<&str> = command.split(' ').skip(1).collect();
    let mut typed = crate::support::program();
    let output = typed.current_dir("/").args(&words).output().unwrap();
    let url = crate::support::succeeded(output, &command);
    assert_eq!(sign_in(&mut browser, url.trim()), 303);
}

#[test]
fn links_are_for_admins_to_make_have_their_time_and_can_be_revoked() {
    let place = Place::new(CONFIG);
    place.serve().terminate();
    let refused = place.run("tokens sign-in-link");
    assert!(!refused.status.success());
    assert!(text(&refused.stderr).contains("no server runs on"), "{}", text(&refused.stderr));
    let server = place.serve();
    let too_long = place.run("tokens sign-in-link --valid 25h");
    assert!(text(&too_long.stderr).contains("at most 24 hours"), "{}", text(&too_long.stderr));
    let operator = place.json("tokens create ops --role operator")[0]["token"].as_str().unwrap().to_owned();
    let headers = [("authorization", format!("Bearer {operator}"))];
    let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let body = r#"{"name":"me","role":"admin"}"#;
    let mut all = headers.clone();
    all.push(("content-type", "application/json"));
    let answer = Visitor::at(&server.http).send("POST", "/api/v1/sign-in-links", &all, body);
    assert_eq!(answer.status, 403, "nobody makes somebody who may more: {}", answer.body);

    let short = link(&place, "--name zoe --role reader --valid 1ms");
    let mut browser = Visitor::at(&server.http);
    let page = browser.get(&path_of(&short));
    let late = browser.post("/sign-in", &[("link", &page.field("link"))]);
    assert!(late.status == 403 && late.body.contains("the sign-in link ended at"), "{}", late.body);

    let url = link(&place, "--name mia");
    let id = url.split('_').nth(1).unwrap();
    let listed = place.json("tokens list");
    let of_link = listed.iter().find(|token| token["id"] == *id).unwrap();
    assert_eq!((&of_link["state"], &of_link["name"]), (&json!("link"), &json!("mia")));
    place.ok(&format!("tokens revoke {id}"));
    let page = browser.get(&path_of(&url));
    let over = browser.post("/sign-in", &[("link", &page.field("link"))]);
    assert!(over.status == 403 && over.body.contains("was revoked at"), "{}", over.body);
    assert!(browser.cookie("tidegate_session").is_none());
}

#[test]
fn an_admin_sees_on_the_page_who_has_access_and_ends_a_session_there() {
    let place = Place::new(CONFIG);
    let server = place.serve();
    let mut root = Visitor::at(&server.http);
    let mut zoe = root.clone();
    assert_eq!(sign_in(&mut root, &link(&place, "--name root --role admin")), 303);
    assert_eq!(sign_in(&mut zoe, &link(&place, "--name zoe")), 303);
    let tokens = root.get("/tokens");
    assert!(tokens.status == 200 && tokens.body.contains("zoe"), "{}", tokens.body);
    let listed = root.api("/api/v1/sessions");
    let sessions = listed["items"].as_array().unwrap();
    let current: Vec<&Value> = sessions.iter().filter(|session| session["current"] == true).collect();
    assert!(current.len() == 1 && current[0]["name"] == "root", "{listed}");
    let of_zoe = sessions.iter().find(|session| session["name"] == "zoe").unwrap()["id"].as_str().unwrap();

    let page = root.get("/sessions");
    assert!(
        page.status == 200 && page.body.contains("this one") && page.body.contains("zoe"),
        "{}",
        page.body
    );
    for browser in [&root, &zoe] {
        let secret = browser.cookie("tidegate_session").unwrap();
        assert!(!page.body.contains(&secret[3..]) && !listed.to_string().contains(&secret[3..]));
    }
    // An operator may not, and without the token of the form nobody may.
    let (end, csrf) =
        (format!("/sessions/{of_zoe}/end"), root.session()["csrf"].as_str().unwrap().to_owned());
    assert_eq!(zoe.get("/sessions").status, 403);
    assert_eq!(zoe.post(&end, &[("csrf", &csrf)]).status, 403);
    assert_eq!(root.post(&end, &[("csrf", "forged")]).status, 403);
    assert_eq!(zoe.session()["signed_in"], true);
    let ended = root.post(&end, &[("csrf", &csrf), ("reason", "left")]);
    assert_eq!((ended.status, ended.leads_to()), (303, "/sessions"));
    assert_eq!(zoe.session()["signed_in"], false);
    let trail = place.json("trail");
    let line = trail.iter().find(|line| line["action"] == "session.end").unwrap();
    assert_eq!((&line["subject"], &line["reason"]), (&json!(of_zoe), &json!("left")));
    assert!(line["by"].as_str().unwrap().starts_with("root (token "), "{line}");
}

#[test]
fn a_restart_signs_nobody_out_and_ending_it_does() {
    let place = Place::new(CONFIG);
    let server = place.serve();
    let port = server.http.rsplit_once(':').unwrap().1.to_owned();
    let mut mia = Visitor::at(&server.http);
    let mut zoe = mia.clone();
    let mut ann = mia.clone();
    let url = link(&place, "--name mia");
    assert_eq!(sign_in(&mut mia, &url), 303);
    assert_eq!(sign_in(&mut zoe, &link(&place, "--name zoe")), 303);
    assert_eq!(sign_in(&mut ann, &link(&place, "--name ann")), 303);
    let before = mia.session();
    // Signing out stays so: the cookie of before is worth nothing.
    let left = ann.clone();
    let csrf = ann.session()["csrf"].as_str().unwrap().to_owned();
    assert_eq!(ann.post("/sign-out", &[("csrf", &csrf)]).status, 303);
    server.kill();

    let (server, _) = started(place.command(&format!("run --http 127.0.0.1:{port} --json")));
    assert_eq!(mia.session(), before, "also the token against forgery is the same");
    let pause = |browser: &mut Visitor, csrf: &str| {
        let headers = [("content-type", "application/json"), ("tidegate-csrf", csrf)];
        browser.send("POST", "/api/v1/pauses/aircraft/pause", &headers, r#"{"reason":"x"}"#).status
    };
    assert_eq!(pause(&mut mia, before["csrf"].as_str().unwrap()), 200);
    assert_eq!(left.clone().session()["signed_in"], false);
    assert_eq!(pause(&mut left.clone(), &csrf), 401);

    let open = place.json("tokens sessions");
    let names: Vec<&Value> = open.iter().map(|session| &session["name"]).collect();
    assert_eq!(names, ["zoe", "mia"]);
    assert!(open.iter().all(|session| session["current"] == false), "a command has no session: {open:?}");
    let id = |name: &str| {
        let found = open.iter().find(|session| session["name"] == name).unwrap();
        (found["id"].as_str().unwrap().to_owned(), found["token"].as_str().unwrap().to_owned())
    };
    assert!(
        place.ok(&format!("tokens end-session {} --reason left", id("zoe").0)).contains("zoe is signed out")
    );
    assert_eq!(zoe.session()["signed_in"], false);
    let unknown = place.run(&format!("tokens end-session {}", id("zoe").0));
    assert!(text(&unknown.stderr).contains("there is no session"), "{}", text(&unknown.stderr));
    place.ok(&format!("tokens revoke {}", id("mia").1));
    assert_eq!(mia.session()["signed_in"], false, "a revoked token ends its sessions");
    let trail = place.json("trail");
    let ended = trail.iter().find(|line| line["action"] == "session.end").unwrap();
    assert_eq!((&ended["subject"], &ended["reason"]), (&json!(id("zoe").0), &json!("left")));

    let secret = mia.cookie("tidegate_session").unwrap().to_owned();
    for file in std::fs::read_dir(place.data().join("store")).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!text(&bytes).contains(&secret[3..]), "what the cookie holds is nowhere");
    }
    drop(server);
}
