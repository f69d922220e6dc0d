//! An identity provider and the real program: people sign in by it, and clients show tokens of it.

use serde_json::{Value, json};
use tidegate_model::clock::SystemClock;

use crate::issuer::{Issuer, SigningKey};
use crate::support::{CONFIG, Place, Server, objects, text};
use crate::visitor::{Shown, Visitor};

fn place_with(issuer: &Issuer) -> Place {
    let oidc = format!(
        "[oidc]\nissuer = \"{}\"\nclient_id = \"tidegate\"\nrole_claim = \"groups\"\n\
         roles = {{ tide-ops = \"operator\", tide-admins = \"admin\" }}\n",
        issuer.url
    );
    Place::new(&format!("{CONFIG}\n{oidc}"))
}

/// The path of an address at any origin.
fn path_of(url: &str) -> &str {
    let from_host = url.split_once("://").unwrap().1;
    &from_host[from_host.find('/').unwrap()..]
}

/// The whole way: to the provider, and back with what it says.
fn sign_in(browser: &mut Visitor, issuer: &Issuer) -> Shown {
    let away = browser.get("/sign-in/oidc?then=%2Fdead-letters");
    assert_eq!(away.status, 303, "{}", away.body);
    let to = away.leads_to().to_owned();
    assert!(to.starts_with(&format!("{}/authorize?tenant=t&", issuer.url)), "{to}");
    let back = Visitor::at(&issuer.url).get(path_of(&to)).leads_to().to_owned();
    assert!(path_of(&back).starts_with("/sign-in/oidc/callback?code="), "{back}");
    browser.get(path_of(&back))
}

/// What the sign-in page says after a sign-in that failed.
fn refused(browser: &mut Visitor, issuer: &Issuer) -> String {
    let back = sign_in(browser, issuer);
    assert_eq!((back.status, back.leads_to()), (303, "/sign-in"));
    assert!(browser.cookie("tidegate_session").is_none());
    let page = browser.get("/sign-in").body;
    assert!(browser.cookie("tidegate_sign_in_problem").is_none(), "it is shown once");
    page
}

fn pause(browser: &mut Visitor) -> u16 {
    let csrf = browser.session()["csrf"].as_str().unwrap_or_default().to_owned();
    let headers = [("content-type", "application/json"), ("tidegate-csrf", csrf.as_str())];
    browser.send("POST", "/api/v1/pauses/aircraft/pause", &headers, r#"{"reason":"x"}"#).status
}

#[test]
fn whom_the_provider_knows_signs_in_acts_and_signs_out() {
    let issuer = Issuer::start();
    let place = place_with(&issuer);
    let server = place.serve();
    let mut mia = Visitor::at(&server.http);
    assert!(mia.get("/sign-in").body.contains("href=\"/sign-in/oidc?then="), "the page leads there");
    let back = sign_in(&mut mia, &issuer);
    assert_eq!((back.status, back.leads_to()), (303, "/dead-letters"), "{}", mia.get("/sign-in").body);
    let session = mia.session();
    assert_eq!((&session["name"], &session["role"]), (&json!("mia@example.com (oidc)"), &json!("operator")));
    assert_eq!(pause(&mut mia), 200);
    let trail = place.json("trail");
    let by = |action: &str| trail.iter().find(|line| line["action"] == action).unwrap()["by"].clone();
    assert_eq!((by("session.open"), by("pause")), (session["name"].clone(), session["name"].clone()));
    assert_eq!(mia.get("/api/v1/tokens").status, 403, "an operator is no admin");
    assert_eq!(place.json("tokens sessions")[0]["token"], Value::Null);

    // Who has another role at the next sign-in has that one.
    issuer.claims(json!({ "groups": ["tide-admins"] }));
    assert_eq!(sign_in(&mut mia, &issuer).status, 303);
    assert_eq!(mia.get("/api/v1/tokens").status, 200);
    assert_eq!(place.json("tokens sessions").len(), 1, "the session before is over");

    let old = mia.clone();
    let csrf = mia.session()["csrf"].as_str().unwrap().to_owned();
    assert_eq!(mia.post("/sign-out", &[("csrf", &csrf)]).status, 303);
    assert_eq!(mia.session()["signed_in"], false);
    assert_eq!(pause(&mut old.clone()), 401);
    assert_eq!(issuer.keys_asked(), 1);
}

#[test]
fn whom_the_provider_does_not_vouch_for_is_told_why() {
    let issuer = Issuer::start();
    let place = place_with(&issuer);
    let server = place.serve();
    let mut eve = Visitor::at(&server.http);
    let now = SystemClock::shared().now().as_millis() / 1000;
    for (claims, why) in [
        (json!({ "nonce": "of-another" }), "claim nonce"),
        (json!({ "aud": "another" }), "claim aud"),
        (json!({ "iss": "https://evil.example.com" }), "claim iss"),
        (json!({ "exp": now - 120 }), "it expired at"),
        (json!({ "groups": ["other"] }), "names no role that counts here"),
    ] {
        issuer.claims(claims.clone());
        let page = refused(&mut eve, &issuer);
        assert!(page.contains(why) && page.contains("TG-420"), "{claims}: {page}");
    }
    issuer.claims(json!({}));
    // A code that was given to somebody else, and an answer that this browser did not ask for.
    let to = eve.get("/sign-in/oidc").leads_to().to_owned();
    let back = Visitor::at(&issuer.url).get(path_of(&to)).leads_to().to_owned();
    let mut other = Visitor::at(&server.http);
    assert_eq!(other.get(path_of(&back)).leads_to(), "/sign-in");
    assert!(other.get("/sign-in").body.contains("was not begun in this browser"));
    let (_, log) = server.terminate_and_tell();
    for secret in ["code-", "eyJ"] {
        assert!(!log.contains(secret), "{log}");
    }
}

#[test]
fn a_provider_changes_its_keys_without_a_restart() {
    let issuer = Issuer::start();
    let place = place_with(&issuer);
    let server = place.serve();
    let mut mia = Visitor::at(&server.http);
    assert_eq!(sign_in(&mut mia, &issuer).leads_to(), "/dead-letters");
    issuer.rotate(SigningKey::ec(), "second", true);
    let mut zoe = Visitor::at(&server.http);
    assert_eq!(sign_in(&mut zoe, &issuer).leads_to(), "/dead-letters");
    assert_eq!(issuer.keys_asked(), 2);
    // Signed by somebody who has none of them, under a name of them and under another.
    for kid in ["second", "third"] {
        issuer.rotate(SigningKey::ec(), kid, false);
        let page = refused(&mut Visitor::at(&server.http), &issuer);
        assert!(page.contains("TG-420"), "{page}");
    }
    assert_eq!(issuer.keys_asked(), 2, "what is forged is not asked for each time");
}

const AUDIENCE: &str = "https://eventhubs.azure.net";

fn with_tokens(issuer: &Issuer, keys: &str) -> Place {
    let table = format!("[access_token]\nissuer = \"{}\"\naudience = \"{AUDIENCE}\"\n{keys}\n", issuer.url);
    Place::new(&format!("{CONFIG}\n{table}"))
}

fn publishes(server: &Server, token: &str) -> (u16, String) {
    let client = server.client(token.to_owned());
    let answer = client.request("POST", "/flights/messages", "application/json", br#"{"icao24":"a"}"#);
    let (status, body) = answer.unwrap();
    (status, text(&body))
}

/// The same token with another signature.
fn forged(token: &str) -> String {
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let first = if signature.starts_with('A') { 'B' } else { 'A' };
    format!("{signed}.{first}{}", &signature[1..])
}

#[test]
fn clients_show_tokens_that_published_keys_signed() {
    let issuer = Issuer::start();
    let discovery = "discovery = true".to_owned();
    for keys in [format!("jwks = \"{}/keys\"", issuer.url), discovery] {
        let place = with_tokens(&issuer, &keys);
        let server = place.serve();
        let before = issuer.keys_asked();
        let sender = json!({ "roles": ["Azure Event Hubs Data Sender"] });
        assert_eq!(publishes(&server, &issuer.token(AUDIENCE, &sender)).0, 201);
        issuer.rotate(SigningKey::ec(), &format!("of {keys}"), true);
        let token = issuer.token(AUDIENCE, &sender);
        assert_eq!(publishes(&server, &token).0, 201, "a new key counts at once");
        assert_eq!(issuer.keys_asked() - before, 2);

        let now = SystemClock::shared().now().as_millis() / 1000;
        for (token, status, why) in [
            (issuer.token("another", &sender), 401, "another audience"),
            (issuer.token(AUDIENCE, &json!({ "roles": [] })), 401, "no role that counts here"),
            (issuer.token(AUDIENCE, &json!({ "roles": ["listen"] })), 403, "right Send"),
            (issuer.token(AUDIENCE, &json!({ "exp": now - 1, "roles": ["send"] })), 401, "expired at"),
            (issuer.token(AUDIENCE, &json!({ "iss": "x", "roles": ["send"] })), 401, "another issuer"),
            (forged(&token), 401, "does not match"),
        ] {
            let (answered, said) = publishes(&server, &token);
            assert_eq!(answered, status, "{why}: {said}");
            assert!(said.contains(why), "{why}: {said}");
        }
        // Who may listen may look, by the same token.
        let reader = issuer.token(AUDIENCE, &json!({ "roles": ["listen"] }));
        let hubs = server.client(reader.clone()).request("GET", "/api/v1/hubs", "text/plain", b"").unwrap();
        assert_eq!((hubs.0, objects(&text(&hubs.1)).len()), (200, 1));
        let (_, log) = server.terminate_and_tell();
        assert!(!log.contains(&reader) && !log.contains("eyJ"), "no token is logged");
    }
}

#[test]
fn where_the_keys_cannot_be_had_it_is_told_and_others_are_let_in() {
    let issuer = Issuer::start();
    issuer.be_away(true);
    let place = with_tokens(&issuer, "discovery = true");
    let server = place.serve();
    let token = issuer.token(AUDIENCE, &json!({ "roles": ["send"] }));
    for _ in 0..20 {
        let (status, said) = publishes(&server, &token);
        assert_eq!(status, 503, "{said}");
        assert!(said.contains("TG-420") && said.contains("answered with the status 503"), "{said}");
    }
    assert_eq!(publishes(&server, &place.key()).0, 201, "a key needs no provider");
    let forged = publishes(&server, "a.b.c");
    assert_eq!(forged.0, 401, "{}", forged.1);
}

#[test]
fn keys_come_from_one_place() {
    let issuer = "[access_token]\nissuer = \"https://login.example.com\"\naudience = \"a\"\n";
    for (keys, complaint) in [
        ("", "has no keys to check tokens with"),
        ("discovery = true\njwks = \"https://login.example.com/keys\"\n", "keys from more than one place"),
        ("key = \"x\"\ndiscovery = true\n", "keys from more than one place"),
        ("jwks = \"http://login.example.com/keys\"\n", "must begin with https://"),
    ] {
        let place = Place::new(&format!("{CONFIG}\n{issuer}{keys}"));
        let refused = place.try_serve().err().expect("it does not start");
        assert!(refused.said.contains(complaint), "{keys}: {}", refused.said);
    }
}
