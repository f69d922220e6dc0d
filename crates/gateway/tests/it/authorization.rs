//! Keys and signatures, and what they open.

use axum::body::Body;
use axum::http::Request;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use tidegate_gateway::auth::{AccessRule, Authorizer, Principal, Right, Scope, SecretKey};
use tidegate_model::clock::Timestamp;

use crate::harness::*;

/// HMAC-SHA256 written out from RFC 2104, so that the code under test is not compared with itself.
fn hmac_sha256(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut block = [0_u8; 64];
    if key.len() > 64 {
        block[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let inner = Sha256::digest([&block.map(|byte| byte ^ 0x36)[..], text].concat());
    Sha256::digest([&block.map(|byte| byte ^ 0x5c)[..], &inner].concat()).to_vec()
}

fn percent_encoded(text: &str) -> String {
    text.bytes()
        .map(
            |byte| {
                if byte.is_ascii_alphanumeric() {
                    char::from(byte).to_string()
                } else {
                    format!("%{byte:02X}")
                }
            },
        )
        .collect()
}

pub(crate) fn sas(encoded_sr: &str, name: &str, key: &str, se: i64) -> String {
    let signature = STANDARD.encode(hmac_sha256(key.as_bytes(), format!("{encoded_sr}\n{se}").as_bytes()));
    format!("SharedAccessSignature sr={encoded_sr}&sig={}&se={se}&skn={name}", percent_encoded(&signature))
}

/// A token for an audience as a client makes it.
pub(crate) fn token(name: &str, key: &str, audience: &str, se: i64) -> String {
    sas(&percent_encoded(audience), name, key, se)
}

pub(crate) fn in_an_hour() -> i64 {
    NOW.as_millis() / 1000 + 3600
}

fn with_authorization(uri: &str, authorization: &str) -> Request<Body> {
    Request::post(uri).header("Authorization", authorization).body(Body::from("x")).unwrap()
}

/// Made with Python's hmac module; the key of the emulator, hex digits in both cases as different clients write them.
#[tokio::test]
async fn tokens_made_elsewhere_are_accepted() {
    let harness = harness();
    for token in [
        "SharedAccessSignature sr=sb%3A%2F%2F127.0.0.1%3A5672%2Fflights&sig=rlTqrUA6puKF%2FdDjvtC%2BNlfbPBfwUCoJyL5okCzfFgs%3D&se=1900000000&skn=RootManageSharedAccessKey",
        "SharedAccessSignature sr=amqps%3a%2f%2f127.0.0.1%2fflights&sig=Zzp%2Fvh9ZSlbnwjHK9p1Iww6gFVJ%2B%2FOY8aMsYdPT%2FQzE%3D&se=1900000000&skn=RootManageSharedAccessKey",
    ] {
        harness.send(with_authorization("/flights/messages", token)).await.created();
    }
    assert_eq!(harness.bodies().await.len(), 2);
}

#[test]
fn keys_and_names_may_hold_any_text() {
    let rule = AccessRule {
        name: "kéy".into(),
        keys: vec![SecretKey::new("clé/+=").unwrap()],
        rights: [Right::Send].into_iter().collect(),
        scope: Scope::Namespace,
    };
    let authorizer = Authorizer::new(vec![rule]).unwrap();
    let token = "SharedAccessSignature sr=http%3a%2f%2fcontoso.servicebus.windows.net%2fFlights&sig=%2Fi4MDThi9B3jylRDQxWWJJpXEZtMR3Xbqco6JpzvM5Q%3D&se=1900000000&skn=k%C3%A9y";
    let principal = authorizer.authorize(Some(token), Right::Send, "flights/messages", NOW).unwrap();
    assert_eq!(principal, Principal { rule: "kéy".into(), namespace_wide: false });
}

#[tokio::test]
async fn a_token_opens_what_it_is_signed_for() {
    let harness = harness();
    for (audience, uri, opens) in [
        ("sb://127.0.0.1:5672/flights", "/flights/messages", true),
        ("sb://127.0.0.1:5672/FLIGHTS/", "/flights/messages", true),
        ("https://ns.servicebus.windows.net/flights/messages", "/flights/messages", true),
        ("ns.servicebus.windows.net", "/flights/messages", true),
        ("sb://h/flights/partitions/1", "/flights/partitions/1/messages", true),
        ("sb://h/flights/publishers/a", "/flights/publishers/a/messages", true),
        ("sb://h/flights", "/flights/publishers/a/messages", true),
        ("sb://h/flights/publishers/a", "/flights/publishers/ab/messages", false),
        ("sb://h/flights/publishers/a", "/flights/messages", false),
        ("sb://h/flights/partitions/1", "/flights/partitions/2/messages", false),
        ("sb://h/flight", "/flights/messages", false),
        ("sb://h/drones", "/flights/messages", false),
    ] {
        let token = sas(&percent_encoded(audience), "RootManageSharedAccessKey", ROOT_KEY, in_an_hour());
        let answer = harness.send(with_authorization(uri, &token)).await;
        if opens {
            answer.created();
        } else {
            let message = answer.refused(401, "TG-401");
            assert!(message.contains("(sr), not for"), "{message}");
        }
    }
}

#[tokio::test]
async fn a_refusal_says_what_is_wrong_and_no_secret() {
    let harness = harness();
    let sr = "sb%3A%2F%2Fh%2Fflights";
    let good = sas(sr, "RootManageSharedAccessKey", ROOT_KEY, in_an_hour());
    let seconds = NOW.as_millis() / 1000;
    let encoded_again = good.replace("%3A", "%3a");
    for (authorization, complaint) in [
        (sas(sr, "RootManageSharedAccessKey", ROOT_KEY, seconds - 1), "expired at 2023-11-14T22:13:19.000Z"),
        (sas(sr, "RootManageSharedAccessKey", ROOT_KEY, seconds), "expired at 2023-11-14T22:13:20.000Z"),
        (sas(sr, "RootManageSharedAccessKey", "wrong", in_an_hour()), "signature does not match"),
        (encoded_again, "signature does not match"),
        (sas(sr, "nobody", ROOT_KEY, in_an_hour()), "names the key \"nobody\""),
        (sas("flights", "RootManageSharedAccessKey", ROOT_KEY, in_an_hour()), "no address such as"),
        (good.replace("&se=", "&xx="), "the field se is missing"),
        ("SharedAccessSignature".into(), "the field sr is missing"),
        ("Bearer wrong".into(), "no access rule"),
        ("Bearer".into(), "no access rule"),
        (format!("Bearer {}", &ROOT_KEY[1..]), "no access rule"),
        (format!("Basic {ROOT_KEY}"), "unknown scheme"),
        (String::new(), "unknown scheme"),
    ] {
        let answer = harness.send(with_authorization("/flights/messages", &authorization)).await;
        let message = answer.refused(401, "TG-401");
        assert!(message.contains(complaint), "{authorization}: {message}");
        assert_eq!(answer.headers["www-authenticate"], "SharedAccessSignature, Bearer");
        let text = String::from_utf8_lossy(&answer.body);
        let signature = good.split("sig=").nth(1).unwrap().split('&').next().unwrap();
        assert!(!text.contains(ROOT_KEY) && !text.contains(signature), "{text}");
    }
    let nothing = Request::post("/flights/messages").body(Body::empty()).unwrap();
    let answer = harness.send(nothing).await;
    answer.refused(401, "TG-401");
    assert!(answer.json()["action"].as_str().unwrap().contains("Authorization: Bearer"));
    assert_eq!(harness.bodies().await.len(), 0);

    harness.send(with_authorization("/flights/messages", &good)).await.created();
    harness.clock.set_now(Timestamp::from_millis((in_an_hour() + 1) * 1000));
    harness.send(with_authorization("/flights/messages", &good)).await.refused(401, "TG-401");
}

#[tokio::test]
async fn a_known_caller_without_the_right_is_forbidden() {
    let harness = harness();
    let message =
        (harness.send(with_authorization("/flights/messages", &format!("Bearer {LISTEN_KEY}"))).await)
            .refused(403, "TG-403");
    assert!(message.contains("does not include the right Send"), "{message}");
    let message =
        (harness.send(with_authorization("/drones/messages", &format!("Bearer {FLIGHTS_SEND_KEY}"))).await)
            .refused(403, "TG-403");
    assert!(message.contains("the hub flights only"), "{message}");
    let token = sas("sb%3A%2F%2Fh", "listen", LISTEN_KEY, in_an_hour());
    harness.send(with_authorization("/flights/messages", &token)).await.refused(403, "TG-403");

    let by_hub_key = with_authorization("/FLIGHTS/messages", &format!("bearer {FLIGHTS_SEND_KEY}"));
    harness.send(by_hub_key).await.created();
}

#[tokio::test]
async fn only_who_may_know_all_hubs_is_told_their_names() {
    let harness = harness();
    let unknown = "/fligths/messages";
    let message = harness.send(post(unknown, &[], "x")).await.refused(404, "TG-404");
    assert!(message.contains("nearest names are flights"), "{message}");

    let token = sas("sb%3A%2F%2Fh%2Ffligths", "RootManageSharedAccessKey", ROOT_KEY, in_an_hour());
    let message = harness.send(with_authorization(unknown, &token)).await.refused(404, "TG-404");
    assert!(!message.contains("flights"), "{message}");

    let nobody = Request::post(unknown).body(Body::empty()).unwrap();
    let message = harness.send(nobody).await.refused(401, "TG-401");
    assert!(!message.contains("flights"), "{message}");
}

#[tokio::test]
async fn a_slash_in_a_name_does_not_widen_a_token() {
    let harness = harness();
    let token =
        sas("sb%3A%2F%2Fh%2Fflights%2Fpublishers%2Fa", "RootManageSharedAccessKey", ROOT_KEY, in_an_hour());
    for uri in ["/flights/publishers/a%2Fb/messages", "/flights%2Fpublishers%2Fa/messages"] {
        harness.send(with_authorization(uri, &token)).await.refused(400, "TG-400");
    }
}

#[test]
fn two_rules_cannot_share_a_name() {
    let rule = AccessRule {
        name: "a".into(),
        keys: vec![SecretKey::new("k").unwrap()],
        rights: [Right::Send].into_iter().collect(),
        scope: Scope::Namespace,
    };
    assert!(Authorizer::new(vec![rule.clone(), rule]).is_err());
    let nobody = Authorizer::new(Vec::new()).unwrap();
    assert!(nobody.authorize(Some("Bearer "), Right::Send, "", NOW).is_err());
}
