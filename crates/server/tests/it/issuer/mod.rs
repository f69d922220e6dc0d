//! A small identity provider: it says what it is, publishes keys, sends browsers back with a code, and makes tokens. What is wrong
//! with them, a test says.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::rsa::PublicKeyComponents;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tidegate_model::clock::SystemClock;

use crate::visitor::percent_encoded;

/// A key of RSA that guards nothing: making one takes too long for a test.
const RSA_KEY: &str = include_str!("rsa-key-for-tests.txt");

/// A key that signs.
pub(crate) enum SigningKey {
    Rsa(Box<RsaKeyPair>),
    Ec(Box<EcdsaKeyPair>),
}

impl SigningKey {
    pub(crate) fn rsa() -> Self {
        let text: String = RSA_KEY.split_whitespace().collect();
        let pair = RsaKeyPair::from_pkcs8(&STANDARD.decode(text).unwrap()).unwrap();
        Self::Rsa(Box::new(pair))
    }

    /// A new one of the curve P-256.
    pub(crate) fn ec() -> Self {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random).unwrap();
        Self::Ec(Box::new(pair))
    }

    fn alg(&self) -> &'static str {
        match self {
            Self::Rsa(_) => "RS256",
            Self::Ec(_) => "ES256",
        }
    }

    fn published(&self, kid: &str) -> Value {
        let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match self {
            Self::Rsa(pair) => {
                let PublicKeyComponents::<Vec<u8>> { n, e } = pair.public().into();
                json!({"kty": "RSA", "use": "sig", "kid": kid, "n": part(&n), "e": part(&e)})
            }
            Self::Ec(pair) => {
                let point = pair.public_key().as_ref();
                json!({"kty": "EC", "crv": "P-256", "use": "sig", "kid": kid, "x": part(&point[1..33]), "y": part(&point[33..])})
            }
        }
    }

    fn sign(&self, text: &str) -> String {
        let random = SystemRandom::new();
        let signature = match self {
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, text.as_bytes(), &mut signature).unwrap();
                signature
            }
            Self::Ec(pair) => pair.sign(&random, text.as_bytes()).unwrap().as_ref().to_vec(),
        };
        URL_SAFE_NO_PAD.encode(signature)
    }
}

/// The provider.
pub(crate) struct Issuer {
    pub(crate) url: String,
    state: Arc<Mutex<State>>,
}

struct State {
    url: String,
    key: SigningKey,
    kid: String,
    published: Vec<Value>,
    /// What the next tokens say, besides or instead of what is right.
    claims: Value,
    /// What codes were given out for: nonce, challenge, where to.
    codes: HashMap<String, [String; 3]>,
    keys_asked: u32,
    is_away: bool,
}

impl Issuer {
    /// One that signs with RS256.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let key = SigningKey::rsa();
        let state = State {
            url: url.clone(),
            published: vec![key.published("first")],
            key,
            kid: "first".to_owned(),
            claims: json!({}),
            codes: HashMap::new(),
            keys_asked: 0,
            is_away: false,
        };
        let state = Arc::new(Mutex::new(state));
        let shared = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                answer(stream, &shared);
            }
        });
        Self { url, state }
    }

    /// Signs with a new key from now on, which is published beside the others or is not.
    pub(crate) fn rotate(&self, key: SigningKey, kid: &str, is_published: bool) {
        let mut state = self.state.lock().unwrap();
        if is_published {
            let published = key.published(kid);
            state.published.push(published);
        }
        (state.key, state.kid) = (key, kid.to_owned());
    }

    /// What the next tokens say besides, or instead.
    pub(crate) fn claims(&self, claims: Value) {
        self.state.lock().unwrap().claims = claims;
    }

    /// Whether it answers with errors only.
    pub(crate) fn be_away(&self, is_away: bool) {
        self.state.lock().unwrap().is_away = is_away;
    }

    pub(crate) fn keys_asked(&self) -> u32 {
        self.state.lock().unwrap().keys_asked
    }

    /// A token for `audience` with these claims besides.
    pub(crate) fn token(&self, audience: &str, claims: &Value) -> String {
        self.state.lock().unwrap().token(audience, claims)
    }
}

impl State {
    fn token(&self, audience: &str, besides: &Value) -> String {
        let now = SystemClock::shared().now().as_millis() / 1000;
        let mut claims =
            json!({ "iss": self.url, "aud": audience, "sub": "u-17", "iat": now, "exp": now + 300 });
        for (name, value) in besides.as_object().unwrap().iter().chain(self.claims.as_object().unwrap()) {
            claims[name] = value.clone();
        }
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let header = json!({"alg": self.key.alg(), "kid": self.kid, "typ": "JWT"});
        let signed = format!("{}.{}", part(&header), part(&claims));
        format!("{signed}.{}", self.key.sign(&signed))
    }

    fn configuration(&self) -> Value {
        let url = &self.url;
        json!({
            "issuer": url, "authorization_endpoint": format!("{url}/authorize?tenant=t"),
            "token_endpoint": format!("{url}/token"), "jwks_uri": format!("{url}/keys"),
        })
    }

    /// Where the browser goes back to.
    fn authorize(&mut self, parameters: &HashMap<String, String>) -> String {
        for (name, value) in [
            ("response_type", "code"),
            ("client_id", "tidegate"),
            ("code_challenge_method", "S256"),
            ("tenant", "t"),
        ] {
            assert_eq!(parameters[name], value, "{name}");
        }
        let code = format!("code-{}", self.codes.len());
        let asked = ["nonce", "code_challenge", "redirect_uri"].map(|name| parameters[name].clone());
        let to = asked[2].clone();
        self.codes.insert(code.clone(), asked);
        format!("{to}?code={code}&state={}", percent_encoded(&parameters["state"]))
    }

    fn exchange(&mut self, form: &HashMap<String, String>) -> Result<Value, Value> {
        let refused = || json!({ "error": "invalid_grant" });
        let [nonce, challenge, redirect] =
            form.get("code").and_then(|code| self.codes.remove(code)).ok_or_else(refused)?;
        let proof = URL_SAFE_NO_PAD.encode(Sha256::digest(form["code_verifier"].as_bytes()));
        if proof != challenge || form["redirect_uri"] != redirect || form["client_id"] != "tidegate" {
            return Err(refused());
        }
        let claims = json!({ "nonce": nonce, "preferred_username": "mia@example.com", "groups": ["tide-ops", "other"] });
        Ok(
            json!({ "id_token": self.token("tidegate", &claims), "access_token": "x", "token_type": "Bearer" }),
        )
    }
}

fn answer(mut stream: TcpStream, state: &Mutex<State>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut line = String::new();
    let _ = reader.read_line(&mut line);
    let target = line.split(' ').nth(1).unwrap_or("/").to_owned();
    let mut length = 0;
    loop {
        let mut header = String::new();
        if reader.read_line(&mut header).unwrap_or(0) <= 2 {
            break;
        }
        if let Some(value) = header.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    let _ = reader.read_exact(&mut body);
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let mut state = state.lock().unwrap();
    let (status, more, body) = match path {
        _ if state.is_away => ("503 Away", String::new(), Value::Null),
        "/.well-known/openid-configuration" => ("200 OK", String::new(), state.configuration()),
        "/keys" => {
            state.keys_asked += 1;
            ("200 OK", String::new(), json!({ "keys": state.published }))
        }
        "/authorize" => {
            let to = state.authorize(&parameters(query));
            ("302 Found", format!("location: {to}\r\n"), Value::Null)
        }
        "/token" => match state.exchange(&parameters(&String::from_utf8(body).unwrap())) {
            Ok(answer) => ("200 OK", String::new(), answer),
            Err(refused) => ("400 Bad Request", String::new(), refused),
        },
        _ => ("404 Not Found", String::new(), Value::Null),
    };
    let body = body.to_string();
    let _ = write!(
        stream,
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\n{more}content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
}

fn parameters(text: &str) -> HashMap<String, String> {
    let decoded = |text: &str| {
        percent_encoding::percent_decode_str(&text.replace('+', " ")).decode_utf8().unwrap().into_owned()
    };
    let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (decoded(name), decoded(value))).collect()
}
