//! Who asks, as the API needs to know it: the credentials of a request, and where it comes from.

use axum::http::header::{AUTHORIZATION, COOKIE, FORWARDED, HOST, ORIGIN, USER_AGENT, VIA};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, Request};
use sha2::{Digest as _, Sha256};

use tidegate_access::Ends;
use tidegate_access::cookie::Cookie;

/// What is passed on to the API: credentials, and what tells where a request comes from.
const PASSED_ON: [HeaderName; 13] = [
    AUTHORIZATION,
    COOKIE,
    HOST,
    ORIGIN,
    FORWARDED,
    VIA,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-proto"),
    HeaderName::from_static("x-real-ip"),
    HeaderName::from_static("sec-fetch-site"),
    HeaderName::from_static("sec-fetch-mode"),
    USER_AGENT,
];

/// The credentials of a request, and its connection.
#[derive(Clone, Debug)]
pub struct Caller {
    headers: HeaderMap,
    ends: Option<Ends>,
}

/// Callers who show the same credentials from the same place: they see the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Identity([u8; 32]);

impl Caller {
    /// Of a request.
    pub fn of(parts: &Parts) -> Self {
        let mut headers = HeaderMap::new();
        for name in PASSED_ON {
            for value in parts.headers.get_all(&name) {
                headers.append(name.clone(), value.clone());
            }
        }
        Self { headers, ends: parts.extensions.get::<Ends>().copied() }
    }

    /// Makes a request theirs.
    pub fn sign<B>(&self, request: &mut Request<B>) {
        for (name, value) in &self.headers {
            request.headers_mut().append(name, value.clone());
        }
        if let Some(ends) = self.ends {
            request.extensions_mut().insert(ends);
        }
    }

    /// What decides what they may see.
    pub fn identity(&self) -> Identity {
        let mut digest = Sha256::new();
        for name in PASSED_ON.into_iter().filter(|name| *name != USER_AGENT) {
            for value in self.headers.get_all(name) {
                // A length before each keeps two lists apart.
                digest.update(value.len().to_le_bytes());
                digest.update(value.as_bytes());
            }
            digest.update([0xff]);
        }
        if let Some(ends) = self.ends {
            digest.update(format!("{} {}", ends.listener, ends.peer.ip()));
        }
        Identity(digest.finalize().into())
    }

    /// What one of the server's cookies holds.
    pub fn of_cookie(&self, cookie: Cookie) -> Option<&str> {
        cookie.read(&self.headers)
    }

    /// A cookie of theirs, as it was sent.
    pub fn cookie(&self, name: &str) -> Option<&str> {
        cookie(&self.headers, name)
    }
}

/// The value of a cookie in the headers of a request.
pub fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    cookies
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(found, value)| (found == name).then_some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(headers: &[(HeaderName, &str)], peer: Option<&str>) -> Caller {
        let mut request = Request::builder();
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        let mut request = request.body(()).unwrap();
        if let Some(peer) = peer {
            let listener = std::net::Ipv4Addr::LOCALHOST.into();
            request.extensions_mut().insert(Ends { listener, peer: peer.parse().unwrap() });
        }
        Caller::of(&request.into_parts().0)
    }

    #[test]
    fn credentials_and_place_are_passed_on_and_nothing_else() {
        let accept = axum::http::header::ACCEPT;
        let caller =
            caller(&[(COOKIE, "a=1; b=2"), (AUTHORIZATION, "Bearer k"), (accept, "x")], Some("10.0.0.1:7"));
        let mut request = Request::new(());
        caller.sign(&mut request);
        assert_eq!(request.headers().len(), 2);
        assert_eq!(request.extensions().get::<Ends>().unwrap().peer.port(), 7);
        assert_eq!((caller.cookie("b"), caller.cookie("c")), (Some("2"), None));
    }

    #[test]
    fn callers_are_the_same_only_with_the_same_credentials_from_the_same_place() {
        let one = caller(&[(COOKIE, "a=1")], Some("127.0.0.1:1")).identity();
        assert_eq!(one, caller(&[(COOKIE, "a=1"), (USER_AGENT, "x")], Some("127.0.0.1:2")).identity());
        assert_ne!(one, caller(&[(COOKIE, "a=1")], Some("10.0.0.1:1")).identity());
        assert_ne!(one, caller(&[(COOKIE, "a=2")], Some("127.0.0.1:1")).identity());
        assert_ne!(one, caller(&[(AUTHORIZATION, "a=1")], Some("127.0.0.1:1")).identity());
    }
}
