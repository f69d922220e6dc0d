//! What a form that changes something does: call the API, and go to a page that says what came of it.
//!
//! ```text
//! POST /dead-letters/7/redrive  csrf=…&back=/dead-letters/7&reason=…
//!   → POST /api/v1/dead-letters/redrive    with the caller's credentials and the token
//!   → 303 /dead-letters/7                  which shows the sentence once
//! ```

use axum::extract::{FromRequest, Request};
use axum::http::header::SET_COOKIE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use bytes::Bytes;

use crate::Shared;
use crate::api::encoded;
use crate::problem::Problem;
use crate::shell::see_other;

/// The cookie that carries the sentence to the next page.
pub const NOTICE_COOKIE: &str = "tidegate-notice";

/// The longest sentence that is carried, in characters.
const MAX_NOTICE: usize = 400;

/// The fields of a form, in their order. A name can come more than once.
pub struct Fields(Vec<(String, String)>);

impl FromRequest<std::sync::Arc<Shared>> for Fields {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &std::sync::Arc<Shared>) -> Result<Self, Problem> {
        let body = Bytes::from_request(request, state).await;
        let body = body.map_err(|error| {
            let status = error.status();
            let code = if status == StatusCode::PAYLOAD_TOO_LARGE { "TG-413" } else { "TG-400" };
            Problem::new(status, code, error.body_text())
        })?;
        Ok(Self::parse(&body))
    }
}

impl Fields {
    /// The fields of a body.
    pub fn parse(body: &[u8]) -> Self {
        let decode = |text: &str| {
            let text = text.replace('+', " ");
            percent_encoding::percent_decode_str(&text).decode_utf8_lossy().into_owned()
        };
        let body = String::from_utf8_lossy(body);
        let pairs = body.split('&').filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        Self(pairs.map(|(name, value)| (decode(name), decode(value))).collect())
    }

    /// The text of a field; empty when it is not there.
    pub fn text(&self, name: &str) -> &str {
        let found = self.0.iter().find(|(found, _)| found == name);
        found.map_or("", |(_, value)| value)
    }

    /// Every value that came under a name.
    pub fn all<'f>(&'f self, name: &'f str) -> impl Iterator<Item = &'f str> {
        self.0.iter().filter(move |(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// Whether a box is checked, or a button of this name was pressed.
    pub fn is_set(&self, name: &str) -> bool {
        self.0.iter().any(|(found, _)| found == name)
    }

    /// A number.
    ///
    /// # Errors
    /// When it is none.
    pub fn number<T: std::str::FromStr>(&self, name: &str) -> Result<T, Problem> {
        let text = self.text(name);
        text.trim().parse().map_err(|_| {
            Problem::bad_request(format!("{name} cannot be {:?}", crate::text::shortened(text, 64)))
                .action("give a whole number")
        })
    }

    /// The token against forged requests, for [`Api::post`](crate::api::Api::post).
    pub fn csrf(&self) -> Option<&str> {
        Some(self.text("csrf")).filter(|token| !token.is_empty())
    }

    /// The page that the form was on.
    pub fn back(&self) -> &str {
        safe_path(self.text("back"))
    }
}

/// The way to a page after something was done, which says `sentence` once.
pub fn done(to: &str, sentence: &str) -> Response {
    let mut response = see_other(safe_path(to));
    let sentence = encoded(&crate::text::shortened(sentence, MAX_NOTICE));
    let cookie = format!("{NOTICE_COOKIE}={sentence}; Path=/; Max-Age=60; SameSite=Lax; HttpOnly");
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    response
}

pub(crate) fn notice_of_cookie(value: &str) -> Option<String> {
    let text = percent_encoding::percent_decode_str(value).decode_utf8().ok()?;
    Some(crate::text::shortened(&text, MAX_NOTICE + 1)).filter(|text| !text.is_empty())
}

pub(crate) fn forget_notice() -> HeaderValue {
    HeaderValue::from_static("tidegate-notice=; Path=/; Max-Age=0; SameSite=Lax; HttpOnly")
}

/// An address of this console; the overview in place of any other, so that nobody is led elsewhere.
pub fn safe_path(path: &str) -> &str {
    // Browsers read `//host` and `/\host` as addresses of other hosts.
    let local = path.starts_with('/') && !path.starts_with("//") && !path.starts_with("/\\");
    let plain = path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if local && plain { path } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_decoded_and_may_repeat() {
        let fields = Fields::parse(b"id=1&id=2&reason=a+b%26%C3%A9&on&csrf=t&back=%2Fx%3Fy%3D1");
        assert_eq!(fields.all("id").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!((fields.text("reason"), fields.csrf(), fields.back()), ("a b&é", Some("t"), "/x?y=1"));
        assert!(fields.is_set("on") && !fields.is_set("off"));
        assert_eq!(fields.number::<u32>("id"), Ok(1));
        assert!(fields.number::<u32>("reason").is_err());
    }

    #[test]
    fn nobody_is_led_elsewhere() {
        for elsewhere in
            ["//evil.example", "/\\evil.example", "https://evil.example", "", "x", "/a\nb", "javascript:x"]
        {
            assert_eq!(safe_path(elsewhere), "/", "{elsewhere:?}");
        }
        assert_eq!(safe_path("/hubs/h?x=1"), "/hubs/h?x=1");
    }

    #[test]
    fn a_sentence_reaches_the_next_page() {
        let response = done("/x", "Redriven: 3 dead letters; „gut“");
        let cookie = response.headers()[SET_COOKIE].to_str().unwrap();
        let value = cookie.split(';').next().unwrap().split_once('=').unwrap().1;
        assert_eq!(notice_of_cookie(value).unwrap(), "Redriven: 3 dead letters; „gut“");
    }
}
