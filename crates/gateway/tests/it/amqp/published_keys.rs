//! Tokens of an identity provider that publishes its keys, put on a connection.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::json;
use tidegate_amqp::codec::message::MessageBuilder;
use tidegate_amqp::codec::performative::DeliveryState;
use tidegate_amqp::codec::value::Value;
use tidegate_gateway::auth::{AccessTokenSettings, AccessTokens, Authorizer, TokenAlgorithm};
use tidegate_jwt::KeySource;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::client::{Client, Door};
use crate::harness::{NOW, harness_of};

const HUB: &str = "sb://127.0.0.1:5672/flights";

/// A provider: what it publishes, and how often it was asked.
struct Provider {
    url: String,
    published: Arc<Mutex<(Vec<serde_json::Value>, u32)>>,
}

struct Key {
    pair: EcdsaKeyPair,
    kid: &'static str,
}

impl Key {
    fn new(kid: &'static str) -> Self {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random);
        Self { pair: pair.unwrap(), kid }
    }

    fn token(&self) -> String {
        let part = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let now = NOW.as_millis() / 1000;
        let claims = json!({"iss": "i", "aud": "a", "exp": now + 3600, "roles": ["send"]});
        let signed = format!("{}.{}", part(json!({"alg": "ES256", "kid": self.kid})), part(claims));
        let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }
}

impl Provider {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/keys", listener.local_addr().unwrap());
        let published = Arc::new(Mutex::new((Vec::new(), 0)));
        let shared = published.clone();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut head = [0; 4096];
                let _ = stream.read(&mut head).await;
                let body = {
                    let mut published = shared.lock();
                    published.1 += 1;
                    json!({ "keys": published.0 }).to_string()
                };
                let head = "HTTP/1.1 200 OK\r\nconnection: close";
                let answer = format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        Self { url, published }
    }

    fn publish(&self, key: &Key) {
        let point = key.pair.public_key().as_ref();
        let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let (x, y) = (part(&point[1..33]), part(&point[33..]));
        self.published.lock().0.push(json!({"kty": "EC", "crv": "P-256", "kid": key.kid, "x": x, "y": y}));
    }

    fn asked(&self) -> u32 {
        self.published.lock().1
    }
}

async fn put(client: &mut Client, token: &str) -> i64 {
    let request = MessageBuilder::new()
        .application_property("operation", Value::String("put-token".into()))
        .application_property("type", Value::String("jwt".into()))
        .application_property("name", Value::String(HUB.into()))
        .value(Value::String(token.into()));
    let reply = client.request("$cbs", request).await;
    reply.application_property("status-code").unwrap().unwrap().as_i64().unwrap()
}

#[tokio::test]
async fn a_token_is_judged_by_keys_that_are_asked_for_when_it_comes() {
    let provider = Provider::start().await;
    let settings = AccessTokenSettings {
        issuer: "i".to_owned(),
        audiences: vec!["a".to_owned()],
        algorithm: TokenAlgorithm::Rs256,
    };
    let tokens = AccessTokens::published(&settings, KeySource::at(&provider.url).unwrap());
    let authorizer = Authorizer::new(Vec::new()).unwrap().with_access_tokens(tokens);
    let harness = harness_of(Arc::new(authorizer));
    let door = Door::new(&harness.gateway);
    let mut client = door.client().await;
    let (first, second, third) = (Key::new("first"), Key::new("second"), Key::new("third"));

    provider.publish(&first);
    assert_eq!(put(&mut client, &first.token()).await, 202);
    let sender = client.sender("flights").await.unwrap();
    assert_eq!(client.send_one(sender, "x").await, DeliveryState::Accepted);
    // The provider has a new key, and somebody has none of them.
    provider.publish(&second);
    assert_eq!(put(&mut client, &second.token()).await, 202);
    assert_eq!(put(&mut client, &third.token()).await, 401);
    assert_eq!(put(&mut client, &third.token()).await, 401);
    assert_eq!(provider.asked(), 2, "what is forged is not asked for each time");
    assert_eq!(client.send_one(sender, "y").await, DeliveryState::Accepted, "the token before counts on");
}

#[tokio::test]
async fn where_the_keys_cannot_be_had_it_is_no_refusal() {
    let settings = AccessTokenSettings {
        issuer: "i".to_owned(),
        audiences: vec!["a".to_owned()],
        algorithm: TokenAlgorithm::Rs256,
    };
    let tokens = AccessTokens::published(&settings, KeySource::at("http://127.0.0.1:1/keys").unwrap());
    let authorizer = Authorizer::new(Vec::new()).unwrap().with_access_tokens(tokens);
    let harness = harness_of(Arc::new(authorizer));
    let door = Door::new(&harness.gateway);
    let mut client = door.client().await;
    assert_eq!(put(&mut client, &Key::new("first").token()).await, 503);
    assert_eq!(put(&mut client, "a.b.c").await, 401, "what is no token is none");
}
