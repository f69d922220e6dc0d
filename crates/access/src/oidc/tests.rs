//! Against a small identity provider that signs with keys made here.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::extract::{Form, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use axum::{Json, Router};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::json;
use tidegate_jwt::published::AGAIN_AFTER;
use tidegate_model::clock::{Clock, SystemClock, Timestamp};

use super::*;

/// The machine's clock, some seconds ahead.
struct Ahead {
    clock: SharedClock,
    ahead: AtomicU64,
}

impl Default for Ahead {
    fn default() -> Self {
        Self { clock: SystemClock::shared(), ahead: AtomicU64::new(0) }
    }
}

#[async_trait::async_trait]
impl Clock for Ahead {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn monotonic(&self) -> Duration {
        self.clock.monotonic() + Duration::from_secs(self.ahead.load(Ordering::SeqCst))
    }

    async fn sleep(&self, duration: Duration) {
        self.clock.sleep(duration).await;
    }

    fn random(&self) -> u64 {
        self.clock.random()
    }
}

/// A provider as a test sets it.
#[derive(Clone)]
struct Fake {
    set: Arc<Mutex<Set>>,
}

struct Set {
    issuer: String,
    /// The key that signs, and its name.
    key: EcdsaKeyPair,
    kid: String,
    /// The keys that are published.
    published: Vec<Value>,
    /// What the next token says, besides or instead of what is right.
    claims: Value,
    /// The nonce and challenge of codes that were given out.
    codes: HashMap<String, (String, String)>,
    keys_asked: u32,
    alg: &'static str,
}

fn new_key() -> EcdsaKeyPair {
    let random = SystemRandom::new();
    let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random).unwrap()
}

fn published(key: &EcdsaKeyPair, kid: &str) -> Value {
    let point = key.public_key().as_ref();
    let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    json!({"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": kid, "x": part(&point[1..33]), "y": part(&point[33..])})
}

impl Fake {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let key = new_key();
        let set = Set {
            issuer,
            published: vec![published(&key, "one")],
            kid: "one".to_owned(),
            key,
            claims: json!({}),
            codes: HashMap::new(),
            keys_asked: 0,
            alg: "ES256",
        };
        let fake = Self { set: Arc::new(Mutex::new(set)) };
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(configuration))
            .route("/keys", get(keys))
            .route("/token", post(token))
            .with_state(fake.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        fake
    }

    fn provider(&self) -> Provider {
        let roles = [("tide-admins", Role::Admin), ("tide-readers", Role::Reader)];
        let settings = OidcSettings {
            issuer: self.set.lock().issuer.clone(),
            client_id: "tidegate".to_owned(),
            client_secret: Some("hush: hush".to_owned()),
            scopes: vec!["openid".to_owned(), "profile".to_owned()],
            name_claim: None,
            mapping: RoleMapping {
                claim: "roles".to_owned(),
                roles: roles.iter().map(|(name, role)| ((*name).to_owned(), *role)).collect(),
            },
        };
        Provider::new(settings, SystemClock::shared()).unwrap()
    }

    /// What the provider does with the browser: it notes what it was asked for and gives a code.
    fn approve(&self, location: &str) -> Callback {
        let (endpoint, query) = location.split_once('?').unwrap();
        let mut set = self.set.lock();
        assert_eq!(endpoint, format!("{}/authorize", set.issuer));
        let parameter = |name: &str| {
            let found = query.split('&').find_map(|pair| pair.strip_prefix(&format!("{name}=")));
            percent_encoding::percent_decode_str(found.unwrap()).decode_utf8().unwrap().into_owned()
        };
        for (name, value) in [
            ("response_type", "code"),
            ("client_id", "tidegate"),
            ("redirect_uri", REDIRECT),
            ("scope", "openid profile"),
            ("code_challenge_method", "S256"),
        ] {
            assert_eq!(parameter(name), value);
        }
        let code = format!("code-{}", set.codes.len());
        set.codes.insert(code.clone(), (parameter("nonce"), parameter("code_challenge")));
        Callback { state: Some(parameter("state")), code: Some(code), ..Callback::default() }
    }

    /// A whole sign-in whose token has these claims besides or instead.
    async fn sign_in(&self, provider: &Provider, claims: Value) -> Result<Person, SignInError> {
        self.set.lock().claims = claims;
        let begun = provider.begin(REDIRECT, "/dead-letters?x=1").await?;
        let callback = self.approve(&begun.location);
        provider.finish(&callback, Some(&begun.cookie)).await
    }
}

const REDIRECT: &str = "http://127.0.0.1:8780/sign-in/oidc/callback";

async fn configuration(State(fake): State<Fake>) -> Json<Value> {
    let issuer = &fake.set.lock().issuer;
    Json(json!({
        "issuer": issuer, "authorization_endpoint": format!("{issuer}/authorize"),
        "token_endpoint": format!("{issuer}/token"), "jwks_uri": format!("{issuer}/keys"),
    }))
}

async fn keys(State(fake): State<Fake>) -> Json<Value> {
    let mut set = fake.set.lock();
    set.keys_asked += 1;
    Json(json!({ "keys": set.published }))
}

async fn token(
    State(fake): State<Fake>,
    headers: HeaderMap,
    Form(form): Form<HashMap<String, String>>,
) -> (StatusCode, Json<Value>) {
    let refused = |error: &str| (StatusCode::BAD_REQUEST, Json(json!({ "error": error })));
    // tidegate:hush%3A%20hush
    if headers.get("authorization").is_none_or(|value| value != "Basic dGlkZWdhdGU6aHVzaCUzQSUyMGh1c2g=") {
        return refused("invalid_client");
    }
    let mut set = fake.set.lock();
    let Some((nonce, challenge)) = form.get("code").and_then(|code| set.codes.remove(code)) else {
        return refused("invalid_grant");
    };
    let proof =
        form.get("code_verifier").map(|verifier| URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes())));
    if proof != Some(challenge) || form.get("redirect_uri").map(String::as_str) != Some(REDIRECT) {
        return refused("invalid_grant");
    }
    let now = SystemClock::shared().now().as_millis() / 1000;
    let mut claims = json!({
        "iss": set.issuer, "aud": "tidegate", "sub": "u-17", "nonce": nonce, "iat": now, "exp": now + 300,
        "preferred_username": "mia@example.com", "roles": ["tide-admins"],
    });
    for (name, value) in set.claims.as_object().unwrap() {
        claims[name] = value.clone();
    }
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let header = json!({"alg": set.alg, "kid": set.kid, "typ": "JWT"});
    let signed = format!("{}.{}", part(&header), part(&claims));
    let signature = set.key.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
    let signature =
        if set.alg == "none" { String::new() } else { URL_SAFE_NO_PAD.encode(signature.as_ref()) };
    (StatusCode::OK, Json(json!({ "id_token": format!("{signed}.{signature}"), "token_type": "Bearer" })))
}

#[tokio::test]
async fn somebody_whom_the_provider_knows_has_the_role_it_names() {
    let fake = Fake::start().await;
    let provider = fake.provider();
    let person = fake.sign_in(&provider, json!({})).await.unwrap();
    let expected = Person {
        subject: "u-17".to_owned(),
        name: "mia@example.com".to_owned(),
        role: Role::Admin,
        then: "/dead-letters?x=1".to_owned(),
    };
    assert_eq!(person, expected);
    let reader = json!({"roles": "tide-readers other", "preferred_username": null, "name": "Mia (HQ)"});
    let person = fake.sign_in(&provider, reader).await.unwrap();
    assert_eq!((person.role, person.name.as_str()), (Role::Reader, "Mia _HQ_"));
    let nobody = fake.sign_in(&provider, json!({"roles": ["other"]})).await.unwrap_err();
    assert!(matches!(nobody, SignInError::NoRole { .. }), "{nobody}");
    assert_eq!(fake.set.lock().keys_asked, 1);
}

#[tokio::test]
async fn a_token_for_another_sign_in_receiver_or_time_lets_nobody_in() {
    let fake = Fake::start().await;
    let provider = fake.provider();
    let now = SystemClock::shared().now().as_millis() / 1000;
    for (claims, wrong) in [
        (json!({"nonce": "another"}), "claim nonce"),
        (json!({"nonce": null}), "claim nonce"),
        (json!({"aud": "somebody-else"}), "claim aud"),
        (json!({"aud": ["tidegate", "somebody-else"]}), "claim azp"),
        (json!({"aud": ["tidegate", "other"], "azp": "other"}), "claim azp"),
        (json!({"iss": "https://evil.example.com"}), "claim iss"),
        (json!({"sub": ""}), "claim sub"),
        (json!({"exp": now - 61}), "expired at"),
        (json!({"exp": null}), "claim exp"),
        (json!({"iat": now + 120}), "counts from"),
        (json!({"iat": null}), "claim iat"),
        (json!({"nbf": now + 120}), "counts from"),
    ] {
        let refused = fake.sign_in(&provider, claims.clone()).await.unwrap_err();
        assert!(
            matches!(refused, SignInError::Token(_)) && refused.to_string().contains(wrong),
            "{claims}: {refused}"
        );
    }
    fake.sign_in(&provider, json!({"aud": ["tidegate", "other"], "azp": "tidegate"})).await.unwrap();
}

#[tokio::test]
async fn what_comes_back_is_taken_once_from_the_browser_that_began() {
    let fake = Fake::start().await;
    let provider = fake.provider();
    let begun = provider.begin(REDIRECT, "/").await.unwrap();
    let callback = fake.approve(&begun.location);
    provider.finish(&callback, Some(&begun.cookie)).await.unwrap();
    let replayed = provider.finish(&callback, Some(&begun.cookie)).await;
    assert_eq!(replayed.unwrap_err(), SignInError::NotBegun);

    // Somebody is made to finish another's sign-in.
    let begun = provider.begin(REDIRECT, "/").await.unwrap();
    let callback = fake.approve(&begun.location);
    for cookie in [None, Some("0")] {
        assert_eq!(provider.finish(&callback, cookie).await.unwrap_err(), SignInError::NotBegun);
    }
    // The code of one sign-in belongs to no other: PKCE.
    let (one, other) =
        (provider.begin(REDIRECT, "/").await.unwrap(), provider.begin(REDIRECT, "/").await.unwrap());
    let (stolen, mut callback) = (fake.approve(&one.location), fake.approve(&other.location));
    callback.code = stolen.code;
    let refused = provider.finish(&callback, Some(&other.cookie)).await.unwrap_err();
    assert!(
        matches!(refused, SignInError::Denied { ref error, .. } if error == "invalid_grant"),
        "{refused}"
    );
    let denied = provider.begin(REDIRECT, "/").await.unwrap();
    let state = fake.approve(&denied.location).state;
    let callback = Callback { state, error: Some("access_denied".to_owned()), ..Callback::default() };
    let refused = provider.finish(&callback, Some(&denied.cookie)).await.unwrap_err();
    assert!(refused.to_string().contains("access_denied"));
}

#[tokio::test]
async fn a_new_key_of_the_provider_counts_and_anothers_does_not() {
    let fake = Fake::start().await;
    let provider_clock = Arc::new(Ahead::default());
    let provider = Provider { clock: provider_clock.clone(), ..fake.provider() };
    fake.sign_in(&provider, json!({})).await.unwrap();
    // Signed by somebody who has not the key, under its name and under another.
    let good = std::mem::replace(&mut fake.set.lock().key, new_key());
    for kid in ["one", "two"] {
        fake.set.lock().kid = kid.to_owned();
        let refused = fake.sign_in(&provider, json!({})).await.unwrap_err();
        assert!(matches!(refused, SignInError::Token(_)), "{refused}");
    }
    // An unsigned one.
    fake.set.lock().alg = "none";
    let refused = fake.sign_in(&provider, json!({})).await.unwrap_err();
    assert!(
        matches!(refused, SignInError::Token(IdTokenRefused::Signature(NotSigned::Malformed(_)))),
        "{refused}"
    );
    // The public key as the secret of a code that both sides know.
    fake.set.lock().alg = "HS256";
    let refused = fake.sign_in(&provider, json!({})).await.unwrap_err();
    assert!(
        matches!(refused, SignInError::Token(IdTokenRefused::Signature(NotSigned::UnknownKey))),
        "{refused}"
    );
    // It is asked once and not each time: what is forged costs the provider nothing.
    assert_eq!(fake.set.lock().keys_asked, 2);

    {
        let mut set = fake.set.lock();
        (set.alg, set.kid) = ("ES256", "two".to_owned());
        let (one, two) = (published(&good, "one"), published(&set.key, "two"));
        set.published = vec![one, two];
    }
    provider_clock.ahead.store(AGAIN_AFTER.as_secs(), Ordering::SeqCst);
    fake.sign_in(&provider, json!({})).await.unwrap();
    assert_eq!(fake.set.lock().keys_asked, 3);
}

#[tokio::test]
async fn a_provider_that_is_not_there_or_is_another_is_told() {
    let fake = Fake::start().await;
    let mut provider = fake.provider();
    provider.discovery = Discovery::new(&format!("{}/", provider.settings.issuer));
    let refused = provider.begin(REDIRECT, "/").await.unwrap_err();
    assert!(refused.to_string().contains("it calls itself"), "{refused}");
    provider.discovery = Discovery::new("http://127.0.0.1:1");
    let refused = provider.begin(REDIRECT, "/").await.unwrap_err();
    assert!(refused.to_string().contains("does not answer"), "{refused}");
    let far = OidcSettings { issuer: "http://login.example.com".to_owned(), ..provider.settings };
    assert!(Provider::new(far, SystemClock::shared()).is_err(), "secrets do not go unencrypted");
}

#[test]
fn after_a_sign_in_one_stays_here() {
    for (then, path) in [
        ("/dead-letters?x=1", "/dead-letters?x=1"),
        ("//evil.example.com", "/"),
        ("/\\evil.example.com", "/"),
        ("https://evil.example.com", "/"),
        ("/a\r\nset-cookie: x", "/"),
        ("", "/"),
    ] {
        assert_eq!(local_path(then), path, "{then:?}");
    }
}
