//! Shared access signatures: `sr=<audience>&sig=<signature>&se=<expiry>&skn=<key name>`.
//!
//! The signature is the base64 form of HMAC-SHA256 with the bytes of the key's text as the key, over `sr` *exactly as it
//! stands in the token*, a line feed, and `se`. Clients encode `sr` in different ways (upper- and lower-case hex digits),
//! so it must not be decoded and encoded again before it is hashed. Source: "Generate a Shared Access Signature token",
//! REST reference of Event Hubs.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::percent_decode_str;
use sha2::Sha256;
use tidegate_model::clock::Timestamp;

use super::rule::SecretKey;
use crate::audience::ResourcePath;

/// A token taken apart, not verified.
pub(super) struct SasToken<'a> {
    /// `sr` as received: this is what is signed.
    audience_text: &'a str,
    /// `se` as received: this too.
    expiry_text: &'a str,
    signature: Vec<u8>,
    /// What the token is for: the path of `sr`.
    pub(super) audience: ResourcePath,
    /// When it ends.
    pub(super) expires_at: Timestamp,
    /// `skn`: which rule's key signed it.
    pub(super) key_name: String,
}

impl<'a> SasToken<'a> {
    /// Takes a token apart: what follows `SharedAccessSignature ` in the header. The error says what is wrong with it.
    pub(super) fn parse(fields: &'a str) -> Result<Self, String> {
        let (mut sr, mut sig, mut se, mut skn) = (None, None, None, None);
        for field in fields.split('&') {
            let (name, value) = field.trim().split_once('=').unwrap_or((field.trim(), ""));
            let slot = match name {
                "sr" => &mut sr,
                "sig" => &mut sig,
                "se" => &mut se,
                "skn" => &mut skn,
                _ => continue,
            };
            if slot.replace(value).is_some() {
                return Err(format!("the field {name} comes twice"));
            }
        }
        let needed = |field: Option<&'a str>, name: &str| {
            field.filter(|value| !value.is_empty()).ok_or_else(|| format!("the field {name} is missing"))
        };
        let audience_text = needed(sr, "sr")?;
        let expiry_text = needed(se, "se")?;
        let signature_text = decoded(needed(sig, "sig")?, "sig")?;
        let key_name = decoded(needed(skn, "skn")?, "skn")?;

        let seconds: i64 = expiry_text
            .parse()
            .map_err(|_| "the field se is no whole number of seconds since 1970-01-01".to_owned())?;
        let signature =
            STANDARD.decode(&signature_text).map_err(|_| "the field sig is no base64 text".to_owned())?;
        let audience = ResourcePath::of_audience(&decoded(audience_text, "sr")?)
            .map_err(|problem| format!("the field sr is wrong: {problem}"))?;
        Ok(Self {
            audience_text,
            expiry_text,
            signature,
            audience,
            expires_at: Timestamp::from_millis(seconds.saturating_mul(1000)),
            key_name,
        })
    }

    /// True when the token was signed with `key`. Takes the same time for every wrong signature.
    pub(super) fn is_signed_with(&self, key: &SecretKey) -> bool {
        let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).expect("HMAC takes a key of any length");
        mac.update(self.audience_text.as_bytes());
        mac.update(b"\n");
        mac.update(self.expiry_text.as_bytes());
        mac.verify_slice(&self.signature).is_ok()
    }
}

fn decoded(text: &str, name: &str) -> Result<String, String> {
    match percent_decode_str(text).decode_utf8() {
        Ok(decoded) => Ok(decoded.into_owned()),
        Err(_) => Err(format!("the field {name} is no UTF-8 text")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_with_a_fault_is_refused_by_name() {
        for (fields, complaint) in [
            ("sig=YQ%3D%3D&se=1&skn=k", "sr is missing"),
            ("sr=sb%3A%2F%2Fh&se=1&skn=k", "sig is missing"),
            ("sr=sb%3A%2F%2Fh&sig=YQ%3D%3D&skn=k", "se is missing"),
            ("sr=sb%3A%2F%2Fh&sig=YQ%3D%3D&se=1", "skn is missing"),
            ("sr=sb%3A%2F%2Fh&sig=YQ%3D%3D&se=1&skn=", "skn is missing"),
            ("sr=sb%3A%2F%2Fh&sr=x&sig=YQ%3D%3D&se=1&skn=k", "sr comes twice"),
            ("sr=flights&sig=YQ%3D%3D&se=1&skn=k", "sr is wrong: it is no address"),
            ("sr=sb%3A%2F%2Fh&sig=!!&se=1&skn=k", "sig is no base64"),
            ("sr=sb%3A%2F%2Fh&sig=YQ%3D%3D&se=soon&skn=k", "se is no whole number"),
            ("sr=sb%3A%2F%2Fh&sig=YQ%3D%3D&se=1&skn=%ff", "skn is no UTF-8"),
        ] {
            let error = SasToken::parse(fields).err().expect(fields);
            assert!(error.contains(complaint), "{fields}: {error}");
        }
    }
}
