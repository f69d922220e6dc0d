//! Tokens made with OpenSSL and Python, and tokens with one thing wrong.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::prelude::*;
use ring::hmac;
use serde_json::{Value, json};

use super::*;

/// A second between `nbf` and `exp` of the tokens below.
const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

const RSA_KEY: &str = "-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA3Qm3ttCVL719+GeavbjP
kaQhsl4ghrXPLG5EyBaEzcZPPNo7Ft0iMgSX1tDHfkt5SUJyfs6nJBrRdB5iWaK3
ZHPRvi14lRopUYYh2kuTKUp0wB1f9qWf1wzY5IkvsXI9hMLCqQ8zjq1iIRLunwWJ
eqpPcTVStpMdPOdJSpTtnOEO3EFtSZjG4krXVLwo+uDM55pPPsPTk5bTWEPmjdME
JpF4rPWgx3emducSGJmwqHVyseyBF0e7XDFHULplYTAoim9vfGKZx85YcM1ITa3w
FetjqGjmbpDxEusr6NHXUMTOxpXhVrsmCjlq+lSsDMjnw/gQwaOF/A00bsVAWf1m
hwIDAQAB
-----END PUBLIC KEY-----
";

const EC_KEY: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAExfgRllhyN0qd3MrNVuTxdQyS7rHX
bVOVYRnG5rMT6vzUMIS2r/poyzxHFpE/ttsRzaBY/LyX5/FH8v8lxc6APw==
-----END PUBLIC KEY-----
";

/// Of the curve P-384.
const OTHER_EC_KEY: &str = "-----BEGIN PUBLIC KEY-----
MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEL8taGs3tfkwaATyNXYHTJ4WO301rxx+S
zZZJNPf4D17i0P+qhXKcYnXlQ9XXerBi72pCWA9hCcOkD93JydYQIZL3wSRs3vKn
CGgvL4MFpClUw9NjNrMWQS6m1fb8EKVH
-----END PUBLIC KEY-----
";

/// Of `pump-7`, from 1699999000 to 1700003600, with the role of a sender.
const HS256: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJodHRwczovL2xvZ2luLmV4YW1wbGUuY29tIiwiYXVkIjoiaHR0cHM6Ly9ldmVudGh1YnMuYXp1cmUubmV0Iiwic3ViIjoicHVtcC03IiwibmJmIjoxNjk5OTk5MDAwLCJleHAiOjE3MDAwMDM2MDAsInJvbGVzIjpbIkF6dXJlIEV2ZW50IEh1YnMgRGF0YSBTZW5kZXIiXX0.FCfE-W6ZkvcrKUyU1N0awOawJblijjckURD1gzrEIlw";
const RS256: &str = "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJodHRwczovL2xvZ2luLmV4YW1wbGUuY29tIiwiYXVkIjoiaHR0cHM6Ly9ldmVudGh1YnMuYXp1cmUubmV0Iiwic3ViIjoicHVtcC03IiwibmJmIjoxNjk5OTk5MDAwLCJleHAiOjE3MDAwMDM2MDAsInJvbGVzIjpbIkF6dXJlIEV2ZW50IEh1YnMgRGF0YSBTZW5kZXIiXX0.aSbZhXaLK13F4kjEaytNB4L3ewewa0foUXZ-6ZqBJQM_V5GFeUq3dkSI4tQF0IA2-Ko5572Ik29MOu_N0A56GutvhsBvaIGv2tbqfr4N1rQN2AX9KHua0Qd1RI5RQxvXNdzVyl4PiToxsApQUr-7YXprqlZVT-4IzTqqfgl1aBKmAmeq4yk8lDQmVqpkDNVqjoSAiuumAcm5UMS1b7nl3987XF_czmVfKQiDTQaJQf1cEUJJFkrI_68QPWxwg3tXB52lRooE02sVJ3CSNsX-KjqdNS0g_ZdF6Fl49K4sHK9PR72edlNrsjZ3Z5ChDx_Nzvdns7MaCh3xuMj91bUU_g";
const ES256: &str = "eyJhbGciOiJFUzI1NiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJodHRwczovL2xvZ2luLmV4YW1wbGUuY29tIiwiYXVkIjoiaHR0cHM6Ly9ldmVudGh1YnMuYXp1cmUubmV0Iiwic3ViIjoicHVtcC03IiwibmJmIjoxNjk5OTk5MDAwLCJleHAiOjE3MDAwMDM2MDAsInJvbGVzIjpbIkF6dXJlIEV2ZW50IEh1YnMgRGF0YSBTZW5kZXIiXX0.Xe2UuDcp1aJPmKkCEtuvWxU-292ppULavPf8JTS57FxXW39_41vMtFmu5izAjShmGYrFRPe97mI1P8RfGJSMBg";

fn settings(algorithm: TokenAlgorithm) -> AccessTokenSettings {
    AccessTokenSettings {
        issuer: "https://login.example.com".into(),
        audiences: vec!["api://tidegate".into(), "https://eventhubs.azure.net".into()],
        algorithm,
    }
}

fn with_secret() -> AccessTokens {
    AccessTokens::new(&settings(TokenAlgorithm::Hs256), SECRET).unwrap()
}

fn good_claims() -> Value {
    json!({
        "iss": "https://login.example.com", "aud": "api://tidegate", "sub": "pump-7",
        "exp": 1_700_000_060, "roles": ["send"],
    })
}

fn signed(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(header), part(claims));
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET), message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// A good token but for these claims; a null leaves one out.
fn with_claims(changes: Value) -> String {
    let mut claims = good_claims();
    for (name, value) in changes.as_object().unwrap() {
        match value.is_null() {
            true => claims.as_object_mut().unwrap().remove(name),
            false => claims.as_object_mut().unwrap().insert(name.clone(), value.clone()),
        };
    }
    signed(&json!({ "alg": "HS256", "typ": "JWT" }), &claims)
}

#[test]
fn tokens_made_elsewhere_count() {
    for (algorithm, key, token) in [
        (TokenAlgorithm::Hs256, SECRET, HS256),
        (TokenAlgorithm::Rs256, RSA_KEY.as_bytes(), RS256),
        (TokenAlgorithm::Es256, EC_KEY.as_bytes(), ES256),
    ] {
        let tokens = AccessTokens::new(&settings(algorithm), key).unwrap();
        let expected = AccessToken {
            subject: "pump-7".into(),
            rights: [Right::Send].into_iter().collect(),
            expires_at: Timestamp::from_millis(1_700_003_600_000),
        };
        assert_eq!(tokens.read(token, NOW), Ok(expected), "{algorithm:?}");

        let refused = tokens.read(token, Timestamp::from_millis(1_700_003_600_000)).unwrap_err();
        assert!(matches!(refused, AccessTokenRefused::Expired { .. }), "{refused}");
        let other = token.replacen("eyJpc3MiOi", "eyJpc3NiOi", 1);
        assert_ne!(other, token);
        assert_eq!(tokens.read(&other, NOW), Err(AccessTokenRefused::WrongSignature), "{algorithm:?}");
        for foreign in [HS256, RS256, ES256].into_iter().filter(|foreign| *foreign != token) {
            let refused = tokens.read(foreign, NOW).unwrap_err();
            assert!(
                matches!(refused, AccessTokenRefused::Malformed(_)),
                "the header chooses no algorithm: {refused}"
            );
        }
    }
}

#[test]
fn a_token_with_one_thing_wrong_does_not_count() {
    let tokens = with_secret();
    assert!(tokens.read(&with_claims(json!({})), NOW).is_ok());
    for (changes, complaint) in [
        (json!({ "iss": "https://evil.example.com" }), "another issuer"),
        (json!({ "iss": null }), "no claim \"iss\""),
        (json!({ "aud": "api://other" }), "another audience"),
        (json!({ "aud": ["api://other"] }), "another audience"),
        (json!({ "aud": null }), "no claim \"aud\""),
        (json!({ "exp": null }), "no JSON Web Token"),
        (json!({ "exp": "never" }), "no JSON Web Token"),
        (json!({ "exp": 1_700_000_000 }), "expired at 2023-11-14T22:13:20"),
        (json!({ "nbf": 1_700_000_061 }), "counts from"),
        (json!({ "roles": null }), "no role"),
        (json!({ "roles": ["Owner"] }), "no role"),
        (json!({ "roles": [] }), "no role"),
    ] {
        let refused = tokens.read(&with_claims(changes.clone()), NOW).unwrap_err().to_string();
        assert!(refused.contains(complaint), "{changes}: {refused}");
    }
    let unsigned = signed(&json!({ "alg": "none" }), &good_claims());
    assert!(tokens.read(&unsigned, NOW).is_err());
    for text in ["", "a.b.c", "a.b", "....", &"x".repeat(MAX_TOKEN_BYTES + 1)] {
        assert!(matches!(tokens.read(text, NOW), Err(AccessTokenRefused::Malformed(_))), "{text:.20}");
    }
    let by_another = AccessTokens::new(&settings(TokenAlgorithm::Hs256), &[7; 32]).unwrap();
    assert_eq!(by_another.read(HS256, NOW), Err(AccessTokenRefused::WrongSignature));
}

#[test]
fn roles_are_found_where_providers_put_them() {
    let tokens = with_secret();
    for (changes, rights) in [
        (json!({ "roles": "Azure Event Hubs Data Owner" }), vec![Right::Manage]),
        (
            json!({ "roles": ["azure event hubs data receiver", "Send", "x"] }),
            vec![Right::Send, Right::Listen],
        ),
        (json!({ "roles": null, "scp": "listen profile" }), vec![Right::Listen]),
        (json!({ "roles": null, "scope": "openid manage" }), vec![Right::Manage]),
        (json!({ "scope": "listen", "aud": ["api://tidegate", "x"] }), vec![Right::Send, Right::Listen]),
        (json!({ "nbf": 1_700_000_060, "exp": 1_700_000_000.5 }), vec![Right::Send]),
    ] {
        let token = tokens.read(&with_claims(changes.clone()), NOW).unwrap();
        assert_eq!(token.rights, rights.into_iter().collect(), "{changes}");
    }
}

#[test]
fn a_key_of_another_kind_is_refused() {
    let refused = |algorithm, key: &[u8]| AccessTokens::new(&settings(algorithm), key).unwrap_err();
    assert_eq!(refused(TokenAlgorithm::Hs256, &[7; 31]), InvalidTokenKey::TooShort);
    assert_eq!(refused(TokenAlgorithm::Rs256, EC_KEY.as_bytes()), InvalidTokenKey::NotRsa);
    assert_eq!(refused(TokenAlgorithm::Es256, RSA_KEY.as_bytes()), InvalidTokenKey::NotP256);
    assert_eq!(refused(TokenAlgorithm::Es256, OTHER_EC_KEY.as_bytes()), InvalidTokenKey::NotP256);
    assert_eq!(refused(TokenAlgorithm::Es256, SECRET), InvalidTokenKey::NotPem);
    assert_eq!(refused(TokenAlgorithm::Rs256, &[0xff]), InvalidTokenKey::NotPem);
    let private = EC_KEY.replace("PUBLIC KEY", "PRIVATE KEY");
    assert_eq!(refused(TokenAlgorithm::Es256, private.as_bytes()), InvalidTokenKey::Private);
    let broken = EC_KEY.replace("MFkw", "MFxx");
    assert_eq!(refused(TokenAlgorithm::Es256, broken.as_bytes()), InvalidTokenKey::NotP256);
}

#[test]
fn a_key_is_not_printed() {
    let printed = format!("{:?}", with_secret());
    assert!(!printed.contains("0123456789") && !printed.contains("48, 49"), "{printed}");
}

proptest! {
    #[test]
    fn no_text_panics_or_counts(token in "[A-Za-z0-9_.-]{0,60}", exp in proptest::num::f64::ANY) {
        prop_assert!(with_secret().read(&token, NOW).is_err());
        let _ = with_secret().read(&with_claims(json!({ "exp": exp })), NOW);
    }

    #[test]
    fn a_changed_byte_anywhere_is_noticed(place in 0usize..300, byte in 33u8..127) {
        let mut token = HS256.as_bytes().to_vec();
        let place = place % token.len();
        prop_assume!(token[place] != byte);
        token[place] = byte;
        // The last digit of a part has bits that mean nothing; they must be zero.
        prop_assert!(with_secret().read(std::str::from_utf8(&token).unwrap(), NOW).is_err());
    }
}
