//! The cookie of a session.
//!
//! Behind TLS it has the prefix `__Host-`, so that browsers take it from this very host only and send it encrypted only.

use std::time::Duration;

use http::HeaderMap;
use http::header::COOKIE;

/// A cookie of this server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cookie {
    plain: &'static str,
    secure: &'static str,
    is_secure: bool,
}

impl Cookie {
    /// The one that holds a session; `is_secure` where people come by TLS.
    pub fn session(is_secure: bool) -> Self {
        Self { plain: "tidegate_session", secure: "__Host-tidegate_session", is_secure }
    }

    /// The one that ties a sign-in by an identity provider to the browser that began it.
    pub fn sign_in(is_secure: bool) -> Self {
        Self { plain: "tidegate_sign_in", secure: "__Host-tidegate_sign_in", is_secure }
    }

    /// The one that tells the sign-in page why such a sign-in failed.
    pub fn sign_in_problem(is_secure: bool) -> Self {
        Self { plain: "tidegate_sign_in_problem", secure: "__Host-tidegate_sign_in_problem", is_secure }
    }

    fn name(self) -> &'static str {
        if self.is_secure { self.secure } else { self.plain }
    }

    /// What it holds in a request. `None` as well when it is there twice: one of them is not ours.
    pub fn read(self, headers: &HeaderMap) -> Option<&str> {
        let pairs = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut values = pairs
            .flat_map(|pairs| pairs.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .filter(|(name, _)| *name == self.name())
            .map(|(_, value)| value);
        let value = values.next()?;
        values.next().is_none().then_some(value)
    }

    /// The header `Set-Cookie` that puts `value` there for `age`.
    pub fn set(self, value: &str, age: Duration) -> String {
        let secure = if self.is_secure { "; Secure" } else { "" };
        format!("{}={value}; Path=/; Max-Age={}; HttpOnly; SameSite=Lax{secure}", self.name(), age.as_secs())
    }

    /// The header that removes it.
    pub fn clear(self) -> String {
        self.set("", Duration::ZERO)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (COOKIE, value.parse().unwrap())).collect()
    }

    #[test]
    fn a_cookie_is_found_among_others() {
        let plain = Cookie::session(false);
        assert_eq!(plain.read(&headers(&["a=b; tidegate_session=x; c=d"])), Some("x"));
        assert_eq!(plain.read(&headers(&["a=b", "tidegate_session=x"])), Some("x"));
        for other in [
            &["tidegate_session2=x"][..],
            &["xtidegate_session=x"],
            &["tidegate_session=x; tidegate_session=y"],
            &[],
        ] {
            assert_eq!(plain.read(&headers(other)), None, "{other:?}");
        }
        assert_eq!(
            Cookie::session(true).read(&headers(&["tidegate_session=x"])),
            None,
            "only the encrypted one counts"
        );
    }

    #[test]
    fn pages_cannot_read_it_and_other_sites_cannot_send_it() {
        assert_eq!(
            Cookie::session(true).set("x", Duration::from_secs(60)),
            "__Host-tidegate_session=x; Path=/; Max-Age=60; HttpOnly; SameSite=Lax; Secure"
        );
        assert_eq!(
            Cookie::session(false).clear(),
            "tidegate_session=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax"
        );
    }
}
