//! The token in a link (pure).
//!
//! ```text
//! base64url( payload ‖ HMAC-SHA256(key, "tidegate restart link 1" ‖ payload) )
//!
//! payload: format 1 (1 byte) ‖ version of the circuit's register (8) ‖ beginning of the outage (8) ‖ expiry (8)
//!          ‖ nonce (16) ‖ length of the function's name (1) ‖ the name ‖ whom it was sent to
//! ```
//!
//! Numbers are big-endian, times are milliseconds since 1970. The text before the payload keeps a signature made for
//! something else with the same key from being one of a link.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tidegate_model::checkpoint::FunctionName;
use tidegate_model::clock::Timestamp;
use tidegate_model::register::Version;

const PURPOSE: &[u8] = b"tidegate restart link 1";
const NONCE_PURPOSE: &[u8] = b"tidegate restart link nonce 1";
const FORMAT: u8 = 1;
const FIXED_BYTES: usize = 1 + 8 + 8 + 8 + 16 + 1;
const MAC_BYTES: usize = 32;

/// The most characters a token has.
pub const MAX_TOKEN: usize = 1024;

/// Signs links. Keep it secret, and the same on all instances: whoever has it can make links.
#[derive(Clone)]
pub struct LinkKey([u8; 32]);

impl std::fmt::Debug for LinkKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LinkKey(secret)")
    }
}

/// What makes a link different from every other, and names its use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nonce([u8; 16]);

impl std::fmt::Display for Nonce {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl serde::Serialize for Nonce {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What a link says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The function it restarts.
    pub function: FunctionName,
    /// The version of the circuit's register when it was made; for the audit trail. It moves with every probe, so the
    /// outage is what the link is bound to.
    pub version: Version,
    /// The beginning of the outage that it ends.
    pub opened_at: Timestamp,
    /// When it stops working.
    pub expires_at: Timestamp,
    /// Which link it is.
    pub nonce: Nonce,
    /// The delivery it went out with.
    pub sent_to: String,
}

/// Why a token is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unacceptable {
    /// It was not made with this key, or was changed.
    Forged,
    /// It was, and stopped working then.
    Expired(Timestamp),
}

impl LinkKey {
    /// A key of 32 random bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The nonce of the link in one notice to one receiver. It cannot be guessed, and is the same when the mail is sent
    /// again.
    pub fn nonce(&self, event_id: &str, sent_to: &str) -> Nonce {
        let mac = self.mac(&[NONCE_PURPOSE, event_id.as_bytes(), &[0], sent_to.as_bytes()]);
        let bytes = mac.finalize().into_bytes();
        let mut nonce = [0; 16];
        nonce.copy_from_slice(&bytes[..16]);
        Nonce(nonce)
    }

    /// The token that says `claim`.
    pub fn sign(&self, claim: &Claim) -> String {
        let function = claim.function.as_str().as_bytes();
        let mut payload = Vec::with_capacity(FIXED_BYTES + function.len() + claim.sent_to.len() + MAC_BYTES);
        payload.push(FORMAT);
        payload.extend_from_slice(&claim.version.0.to_be_bytes());
        payload.extend_from_slice(&claim.opened_at.as_millis().to_be_bytes());
        payload.extend_from_slice(&claim.expires_at.as_millis().to_be_bytes());
        payload.extend_from_slice(&claim.nonce.0);
        payload.push(u8::try_from(function.len()).expect("a function's name has at most 128 characters"));
        payload.extend_from_slice(function);
        // Longer ones are cut: it is for the trail only, and a token must stay readable.
        let cut = claim.sent_to.floor_char_boundary(claim.sent_to.len().min(MAX_SENT_TO));
        payload.extend_from_slice(&claim.sent_to.as_bytes()[..cut]);
        let mac = self.mac(&[PURPOSE, &payload]).finalize().into_bytes();
        payload.extend_from_slice(&mac);
        URL_SAFE_NO_PAD.encode(payload)
    }

    /// What a token says, if it was made with this key and has not expired. Takes the same time for every wrong
    /// signature; nothing is read from a token before its signature is right.
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<Claim, Unacceptable> {
        if token.len() > MAX_TOKEN {
            return Err(Unacceptable::Forged);
        }
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| Unacceptable::Forged)?;
        let payload_len = bytes.len().checked_sub(MAC_BYTES).ok_or(Unacceptable::Forged)?;
        let (payload, mac) = bytes.split_at(payload_len);
        self.mac(&[PURPOSE, payload]).verify_slice(mac).map_err(|_| Unacceptable::Forged)?;
        let claim = parse(payload).ok_or(Unacceptable::Forged)?;
        if now >= claim.expires_at {
            return Err(Unacceptable::Expired(claim.expires_at));
        }
        Ok(claim)
    }

    fn mac(&self, parts: &[&[u8]]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes a key of any length");
        parts.iter().for_each(|part| mac.update(part));
        mac
    }
}

const MAX_SENT_TO: usize = 320;

fn parse(payload: &[u8]) -> Option<Claim> {
    let (&format, rest) = payload.split_first()?;
    if format != FORMAT {
        return None;
    }
    let (version, rest) = rest.split_first_chunk::<8>()?;
    let (opened_at, rest) = rest.split_first_chunk::<8>()?;
    let (expires_at, rest) = rest.split_first_chunk::<8>()?;
    let (nonce, rest) = rest.split_first_chunk::<16>()?;
    let (&function_len, rest) = rest.split_first()?;
    let (function, sent_to) = rest.split_at_checked(usize::from(function_len))?;
    Some(Claim {
        function: FunctionName::new(str::from_utf8(function).ok()?).ok()?,
        version: Version(u64::from_be_bytes(*version)),
        opened_at: Timestamp::from_millis(i64::from_be_bytes(*opened_at)),
        expires_at: Timestamp::from_millis(i64::from_be_bytes(*expires_at)),
        nonce: Nonce(*nonce),
        sent_to: str::from_utf8(sent_to).ok()?.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key() -> LinkKey {
        LinkKey::new([7; 32])
    }

    fn claim() -> Claim {
        Claim {
            function: FunctionName::new("aircraft").unwrap(),
            version: Version(3),
            opened_at: Timestamp::from_millis(1_000),
            expires_at: Timestamp::from_millis(9_000),
            nonce: key().nonce("7-1000", "ops:mia@example.com"),
            sent_to: "ops:mia@example.com".to_owned(),
        }
    }

    #[test]
    fn a_token_says_what_was_signed_until_it_expires() {
        let token = key().sign(&claim());
        assert_eq!(key().verify(&token, Timestamp::from_millis(8_999)), Ok(claim()));
        let end = Timestamp::from_millis(9_000);
        assert_eq!(key().verify(&token, end), Err(Unacceptable::Expired(end)));
    }

    #[test]
    fn a_token_of_another_key_is_forged_whether_expired_or_not() {
        let token = LinkKey::new([8; 32]).sign(&claim());
        for now in [0, 10_000] {
            assert_eq!(key().verify(&token, Timestamp::from_millis(now)), Err(Unacceptable::Forged));
        }
    }

    #[test]
    fn a_nonce_is_the_same_for_the_same_mail_only() {
        assert_eq!(key().nonce("7-1000", "a"), key().nonce("7-1000", "a"));
        assert_ne!(key().nonce("7-1000", "a"), key().nonce("7-1000", "b"));
        assert_ne!(key().nonce("7-1000", "a"), key().nonce("8-1000", "a"));
    }

    #[test]
    fn a_long_receiver_makes_no_token_that_is_too_long() {
        let long = Claim {
            function: FunctionName::new(&"f".repeat(128)).unwrap(),
            sent_to: "ä".repeat(2000),
            ..claim()
        };
        let token = key().sign(&long);
        assert!(token.len() <= MAX_TOKEN, "{}", token.len());
        let read = key().verify(&token, Timestamp::from_millis(0)).unwrap();
        assert!(long.sent_to.starts_with(&read.sent_to) && read.sent_to.len() > 300);
    }

    proptest! {
        #[test]
        fn a_token_with_one_other_bit_is_forged(place: prop::sample::Index, bit in 0..8u32) {
            let mut bytes = URL_SAFE_NO_PAD.decode(key().sign(&claim())).unwrap();
            let place = place.index(bytes.len());
            bytes[place] ^= 1 << bit;
            let changed = URL_SAFE_NO_PAD.encode(&bytes);
            prop_assert_eq!(key().verify(&changed, Timestamp::from_millis(0)), Err(Unacceptable::Forged));
        }

        #[test]
        fn hostile_text_is_forged(text in ".{0,1200}") {
            prop_assert_eq!(key().verify(&text, Timestamp::from_millis(0)), Err(Unacceptable::Forged));
        }
    }
}
