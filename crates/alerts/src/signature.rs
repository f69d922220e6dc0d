//! The signature of a webhook request, as [Standard Webhooks](https://www.standardwebhooks.com) defines it, so that
//! receivers can check it with a library that exists in their language.
//!
//! ```text
//! webhook-id:        the id of the event, the same in every try
//! webhook-timestamp: seconds since 1970 of this try
//! webhook-signature: v1,<base64 of HMAC-SHA256(key, "<webhook-id>.<webhook-timestamp>.<body>")>
//! ```
//!
//! A receiver computes the same over the bytes of the body, compares in constant time, and refuses requests whose
//! timestamp is more than some minutes off: that keeps a recorded request from being sent again later.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tidegate_model::clock::Timestamp;

use crate::target::Secret;

/// The header that holds the event's id.
pub const ID: &str = "webhook-id";

/// The header that holds the time of the try.
pub const TIMESTAMP: &str = "webhook-timestamp";

/// The header that holds the signature.
pub const SIGNATURE: &str = "webhook-signature";

/// A key that signs.
pub struct Key(Vec<u8>);

impl Key {
    /// The key that a configured secret stands for: the bytes behind `whsec_` in base64, else the bytes of the text.
    ///
    /// # Errors
    /// Says what is wrong with the secret, without repeating it.
    pub fn new(secret: &Secret) -> Result<Self, String> {
        let text = secret.reveal();
        let bytes = match text.strip_prefix("whsec_") {
            None => text.as_bytes().to_vec(),
            Some(encoded) => STANDARD
                .decode(encoded)
                .map_err(|_| "its secret begins with whsec_, but what follows is not base64".to_owned())?,
        };
        if bytes.len() < MIN_BYTES {
            return Err(format!("its secret is shorter than {MIN_BYTES} bytes and could be guessed"));
        }
        Ok(Self(bytes))
    }

    /// The value of [`SIGNATURE`].
    pub fn sign(&self, id: &str, at: Timestamp, body: &[u8]) -> String {
        format!("v1,{}", STANDARD.encode(self.mac(id, &seconds(at), body).finalize().into_bytes()))
    }

    /// True when a request with these headers and this body was signed with this key, not more than `tolerance_seconds`
    /// before or after `now`. For receivers, and for our tests.
    pub fn verify(
        &self,
        id: &str,
        timestamp: &str,
        signature: &str,
        body: &[u8],
        now: Timestamp,
        tolerance_seconds: u64,
    ) -> bool {
        let fresh = timestamp
            .parse::<i64>()
            .is_ok_and(|at| at.abs_diff(now.as_millis().div_euclid(1000)) <= tolerance_seconds);
        // A sender that changes its key signs with both for a while, separated by spaces.
        let mut signatures =
            signature.split(' ').filter_map(|one| STANDARD.decode(one.strip_prefix("v1,")?).ok());
        fresh && signatures.any(|one| self.mac(id, timestamp, body).verify_slice(&one).is_ok())
    }

    fn mac(&self, id: &str, timestamp: &str, body: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes a key of any length");
        for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
            mac.update(part);
        }
        mac
    }
}

/// The shortest key: 128 bits cannot be tried out.
const MIN_BYTES: usize = 16;

/// The value of [`TIMESTAMP`].
pub fn seconds(at: Timestamp) -> String {
    at.as_millis().div_euclid(1000).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID_TEXT: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const BODY: &[u8] = br#"{"test": 2432232314}"#;

    fn key() -> Key {
        Key::new(&Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")).unwrap()
    }

    #[test]
    fn the_published_example_comes_out() {
        // The vector that the reference libraries of Standard Webhooks test themselves with.
        let at = Timestamp::from_millis(1_614_265_330_000);
        let expected = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert_eq!(key().sign(ID_TEXT, at, BODY), expected);
    }

    #[test]
    fn what_was_changed_or_is_old_does_not_verify() {
        let at = Timestamp::from_millis(1_614_265_330_000);
        let signature = key().sign(ID_TEXT, at, BODY);
        let verify = |id: &str, timestamp: &str, signature: &str, body: &[u8], now: Timestamp| {
            key().verify(id, timestamp, signature, body, now, 300)
        };
        assert!(verify(ID_TEXT, "1614265330", &signature, BODY, at));
        assert!(verify(ID_TEXT, "1614265330", &format!("v1,AAAA {signature}"), BODY, at));
        assert!(!verify("msg_2", "1614265330", &signature, BODY, at));
        assert!(!verify(ID_TEXT, "1614265331", &signature, BODY, at));
        assert!(!verify(ID_TEXT, "1614265330", &signature, b"{}", at));
        assert!(!verify(ID_TEXT, "1614265330", "v1,", BODY, at));
        assert!(!verify(ID_TEXT, "soon", &signature, BODY, at));
        let late = at.plus(std::time::Duration::from_secs(301));
        assert!(!verify(ID_TEXT, "1614265330", &signature, BODY, late));
    }

    #[test]
    fn a_short_secret_is_refused() {
        assert!(Key::new(&Secret::new("short")).is_err());
        assert!(Key::new(&Secret::new("whsec_AAAA")).is_err());
    }
}
