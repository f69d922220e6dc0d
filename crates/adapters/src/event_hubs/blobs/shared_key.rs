//! The signature of a request with an account's key. Source: "Authorize with Shared Key", REST reference of Azure Storage.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use reqwest::header::HeaderMap;
use reqwest::{Method, Url};
use sha2::Sha256;

/// The value of `Authorization` for a request without a body.
pub(super) fn authorization(
    account: &str,
    key: &[u8],
    method: &Method,
    url: &Url,
    headers: &HeaderMap,
) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(text_to_sign(account, method, url, headers).as_bytes());
    format!("SharedKey {account}:{}", STANDARD.encode(mac.finalize().into_bytes()))
}

fn text_to_sign(account: &str, method: &Method, url: &Url, headers: &HeaderMap) -> String {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    // Content-Encoding, Content-Language, Content-Length (empty for 0), Content-MD5, Content-Type, Date (x-ms-date stands
    // for it), If-Modified-Since.
    let mut text = format!("{method}\n\n\n\n\n{}\n\n\n", header("content-type"));
    // If-Match, If-None-Match, If-Unmodified-Since, Range.
    text.push_str(&format!("{}\n{}\n\n\n", header("if-match"), header("if-none-match")));
    let mut own: Vec<(&str, &str)> = headers
        .iter()
        .filter(|(name, _)| name.as_str().starts_with("x-ms-"))
        .map(|(name, value)| (name.as_str(), value.to_str().unwrap_or_default().trim()))
        .collect();
    own.sort_unstable();
    for (name, value) in own {
        text.push_str(&format!("{name}:{value}\n"));
    }
    text.push_str(&format!("/{account}{}", url.path()));
    let mut query: Vec<(String, String)> =
        url.query_pairs().map(|(name, value)| (name.to_ascii_lowercase(), value.into_owned())).collect();
    query.sort_unstable();
    for (name, value) in query {
        text.push_str(&format!("\n{name}:{value}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    #[test]
    fn the_text_has_its_parts_in_their_order() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("x-ms-version", "2021-12-02"),
            ("x-ms-date", "Sun, 22 Nov 2026 05:10:28 GMT"),
            ("x-ms-meta-ownerid", "me"),
            ("if-match", "\"0x1\""),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let url = Url::parse("https://acc.blob.core.windows.net/c/ns/h/%24default/ownership/0?comp=metadata")
            .unwrap();
        assert_eq!(
            text_to_sign("acc", &Method::PUT, &url, &headers),
            "PUT\n\n\n\n\n\n\n\n\"0x1\"\n\n\n\n\
             x-ms-date:Sun, 22 Nov 2026 05:10:28 GMT\nx-ms-meta-ownerid:me\nx-ms-version:2021-12-02\n\
             /acc/c/ns/h/%24default/ownership/0\ncomp:metadata"
        );
    }
}
