//! What a request tells of where it comes from: the connection, and the headers that browsers set and pages cannot.

use std::net::{IpAddr, SocketAddr};

use http::header::{HOST, HeaderName, ORIGIN};
use http::{HeaderMap, Method, Uri};

/// The two ends of a request's connection. The listener puts it on each request; who asks from within the program has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// Where the server listens. `0.0.0.0` is not the loopback, whoever comes.
    pub listener: IpAddr,
    /// Who asks.
    pub peer: SocketAddr,
}

/// What is known of a request before anybody is recognised.
#[derive(Clone, Copy)]
pub struct Asked<'r> {
    /// Its method.
    pub method: &'r Method,
    /// Its address.
    pub uri: &'r Uri,
    /// Its headers.
    pub headers: &'r HeaderMap,
    /// Its connection, if it came by one.
    pub ends: Option<Ends>,
}

/// Headers that proxies add: who asks is then not who is connected.
const FORWARDED: [HeaderName; 5] = [
    http::header::FORWARDED,
    http::header::VIA,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-real-ip"),
];

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

impl Asked<'_> {
    /// True when the method promises to change nothing.
    pub fn is_safe(&self) -> bool {
        [Method::GET, Method::HEAD, Method::OPTIONS].contains(self.method)
    }

    /// Whether somebody on this machine asks, and no page of another site makes them. Then they may look without saying
    /// who they are.
    ///
    /// A page of another site that was given this machine's address (DNS rebinding) names itself in `Host`; a proxy on
    /// this machine brings others. Neither is let in.
    ///
    /// # Errors
    /// Why not.
    pub fn is_local(&self) -> Result<(), NotLocal> {
        let ends = self.ends.ok_or(NotLocal::Elsewhere)?;
        if !is_loopback(ends.listener) || !is_loopback(ends.peer.ip()) {
            return Err(NotLocal::Elsewhere);
        }
        if FORWARDED.iter().any(|name| self.headers.contains_key(name)) {
            return Err(NotLocal::Forwarded);
        }
        let named = self.host().is_some_and(is_loopback_name);
        let asked = self.uri.host().is_none_or(is_loopback_name);
        if !named || !asked {
            return Err(NotLocal::OtherHost);
        }
        self.is_from_here(None).map_err(|_| NotLocal::OtherSite)
    }

    /// Whether a page of this very site made the browser send the request, as far as the browser says. `public` is the
    /// origin by which people know the server, where a proxy is in front of it.
    ///
    /// # Errors
    /// When another site made it.
    pub fn is_from_here(&self, public: Option<&str>) -> Result<(), OtherSite> {
        if let Some(site) = self.text(&FETCH_SITE) {
            // `none`: the person typed the address. Following a link to here is nothing that a page does with the answer.
            let followed = self.is_safe() && self.text(&FETCH_MODE) == Some("navigate");
            if !matches!(site, "same-origin" | "none") && !followed {
                return Err(OtherSite);
            }
        }
        let mut origins = self.headers.get_all(ORIGIN).iter();
        let Some(origin) = origins.next() else { return Ok(()) };
        let (Ok(origin), None) = (origin.to_str(), origins.next()) else { return Err(OtherSite) };
        let is_public = public.is_some_and(|public| public.eq_ignore_ascii_case(origin));
        let authority = origin.split_once("://").map(|(_, authority)| authority);
        let own = matches!((authority, self.authority()), (Some(theirs), Some(ours)) if theirs.eq_ignore_ascii_case(ours));
        if is_public || own { Ok(()) } else { Err(OtherSite) }
    }

    /// Who asks, for counting: an address, or for IPv6 the network that one person has.
    pub fn address(&self) -> Option<IpAddr> {
        self.ends.map(|ends| match ends.peer.ip().to_canonical() {
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                IpAddr::from([a, b, c, d, 0, 0, 0, 0])
            }
            address => address,
        })
    }

    /// What `Host` says, once.
    fn authority(&self) -> Option<&str> {
        let mut hosts = self.headers.get_all(HOST).iter();
        let host = hosts.next()?.to_str().ok()?;
        hosts.next().is_none().then_some(host)
    }

    /// The same without a port.
    fn host(&self) -> Option<&str> {
        let authority = self.authority()?;
        match authority.strip_prefix('[') {
            // An IPv6 address stands in brackets.
            Some(rest) => {
                let (inside, after) = rest.split_once(']')?;
                is_port(after).then(|| &authority[..inside.len() + 2])
            }
            None => match authority.split_once(':') {
                Some((host, port)) => {
                    (!port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit())).then_some(host)
                }
                None => Some(authority),
            },
        }
    }

    fn text(&self, name: &HeaderName) -> Option<&str> {
        // Text that cannot be read is no promise of a browser.
        self.headers.get(name).map(|value| value.to_str().unwrap_or(""))
    }
}

fn is_port(after: &str) -> bool {
    match after.strip_prefix(':') {
        Some(digits) => !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()),
        None => after.is_empty(),
    }
}

fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

/// True for the names that every machine has for itself; an IPv6 address stands in brackets.
pub fn is_loopback_name(host: &str) -> bool {
    let address = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    host.eq_ignore_ascii_case("localhost") || address.parse().is_ok_and(is_loopback)
}

/// Why somebody is not taken for a person on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotLocal {
    /// The server listens elsewhere, or they are elsewhere.
    Elsewhere,
    /// A proxy brings somebody.
    Forwarded,
    /// They call this machine by a name that others can give it.
    OtherHost,
    /// A page of another site makes the request.
    OtherSite,
}

/// A page of another site made the browser send the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OtherSite;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HERE: &str = "127.0.0.1:8780";

    fn local(listener: &str, peer: &str, headers: &[(&str, &str)]) -> Result<(), NotLocal> {
        asked(Method::GET, Some((listener, peer)), headers, |asked| asked.is_local())
    }

    fn asked<T>(
        method: Method,
        ends: Option<(&str, &str)>,
        headers: &[(&str, &str)],
        ask: impl FnOnce(Asked<'_>) -> T,
    ) -> T {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
        }
        let ends = ends.map(|(listener, peer)| Ends {
            listener: listener.parse().unwrap(),
            peer: SocketAddr::new(peer.parse().unwrap(), 40_000),
        });
        let uri = Uri::from_static("/api/v1/hubs");
        ask(Asked { method: &method, uri: &uri, headers: &map, ends })
    }

    #[test]
    fn who_is_on_this_machine_may_look() {
        for (listener, peer, host) in [
            ("127.0.0.1", "127.0.0.1", "127.0.0.1:8780"),
            ("127.0.0.1", "127.0.0.1", "localhost:8780"),
            ("127.0.0.1", "127.8.9.10", "LOCALHOST"),
            ("::1", "::1", "[::1]:8780"),
            ("::1", "::ffff:127.0.0.1", "[::1]"),
        ] {
            assert_eq!(local(listener, peer, &[("host", host)]), Ok(()), "{listener} {peer} {host}");
        }
        let own = [("host", HERE), ("origin", "http://127.0.0.1:8780"), ("sec-fetch-site", "same-origin")];
        assert_eq!(local("127.0.0.1", "127.0.0.1", &own), Ok(()));
        let followed = [("host", HERE), ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")];
        assert_eq!(local("127.0.0.1", "127.0.0.1", &followed), Ok(()), "a link is followed");
    }

    #[test]
    fn nobody_else_is_taken_for_them() {
        let host = ("host", HERE);
        for (listener, peer, headers, why) in [
            ("0.0.0.0", "127.0.0.1", &[host][..], NotLocal::Elsewhere),
            ("192.0.2.7", "127.0.0.1", &[host], NotLocal::Elsewhere),
            ("127.0.0.1", "192.0.2.9", &[host], NotLocal::Elsewhere),
            ("127.0.0.1", "127.0.0.1", &[host, ("x-forwarded-for", "192.0.2.9")], NotLocal::Forwarded),
            ("127.0.0.1", "127.0.0.1", &[host, ("forwarded", "for=192.0.2.9")], NotLocal::Forwarded),
            ("127.0.0.1", "127.0.0.1", &[host, ("via", "1.1 proxy")], NotLocal::Forwarded),
            ("127.0.0.1", "127.0.0.1", &[("host", "rebound.example.com:8780")], NotLocal::OtherHost),
            ("127.0.0.1", "127.0.0.1", &[("host", "127.0.0.1.example.com")], NotLocal::OtherHost),
            ("127.0.0.1", "127.0.0.1", &[("host", "localhost.example.com")], NotLocal::OtherHost),
            ("127.0.0.1", "127.0.0.1", &[("host", "localhost:8780@example.com")], NotLocal::OtherHost),
            ("127.0.0.1", "127.0.0.1", &[("host", "[::1].example.com")], NotLocal::OtherHost),
            ("127.0.0.1", "127.0.0.1", &[("host", "")], NotLocal::OtherHost),
            ("127.0.0.1", "127.0.0.1", &[], NotLocal::OtherHost),
            ("127.0.0.1", "127.0.0.1", &[host, ("host", "example.com")], NotLocal::OtherHost),
            ("127.0.0.1", "127.0.0.1", &[host, ("origin", "http://example.com")], NotLocal::OtherSite),
            ("127.0.0.1", "127.0.0.1", &[host, ("origin", "http://127.0.0.1:3000")], NotLocal::OtherSite),
            ("127.0.0.1", "127.0.0.1", &[host, ("origin", "null")], NotLocal::OtherSite),
            ("127.0.0.1", "127.0.0.1", &[host, ("sec-fetch-site", "cross-site")], NotLocal::OtherSite),
            ("127.0.0.1", "127.0.0.1", &[host, ("sec-fetch-site", "same-site")], NotLocal::OtherSite),
        ] {
            assert_eq!(local(listener, peer, headers), Err(why), "{listener} {peer} {headers:?}");
        }
        let within = asked(Method::GET, None, &[host], |asked| asked.is_local());
        assert_eq!(within, Err(NotLocal::Elsewhere), "the program itself is no guest");
    }

    #[test]
    fn a_request_that_changes_something_comes_from_a_page_of_this_site() {
        let from_here = |headers: &[(&str, &str)], public| {
            asked(Method::POST, None, headers, |asked| asked.is_from_here(public))
        };
        let host = ("host", "tide.example.com");
        assert_eq!(from_here(&[host], None), Ok(()), "no browser");
        assert_eq!(from_here(&[host, ("origin", "https://tide.example.com")], None), Ok(()));
        let behind = [("host", "10.0.0.7:8780"), ("origin", "https://tide.example.com")];
        assert_eq!(from_here(&behind, Some("https://tide.example.com")), Ok(()), "a proxy changed the host");
        assert_eq!(from_here(&behind, None), Err(OtherSite));
        for headers in [
            &[host, ("origin", "https://evil.example.com")][..],
            &[host, ("origin", "https://tide.example.com.evil.com")],
            &[host, ("origin", "null")],
            &[host, ("origin", "https://tide.example.com"), ("origin", "https://evil.example.com")],
            &[host, ("sec-fetch-site", "cross-site")],
            &[host, ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")],
            &[host, ("sec-fetch-site", "same-site"), ("origin", "https://tide.example.com")],
        ] {
            assert_eq!(from_here(headers, Some("https://tide.example.com")), Err(OtherSite), "{headers:?}");
        }
    }

    #[test]
    fn one_person_is_one_address() {
        let of =
            |peer: &str| asked(Method::GET, Some(("127.0.0.1", peer)), &[], |asked| asked.address()).unwrap();
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), of("2001:db8:1:2:ffff::1"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
    }

    proptest! {
        #[test]
        fn no_host_but_this_machines_is_local(host in "[ -~]{0,24}") {
            if local("127.0.0.1", "127.0.0.1", &[("host", &host)]).is_ok() {
                let name = host.to_ascii_lowercase();
                prop_assert!(name.starts_with("localhost") || name.starts_with("127.") || name.starts_with('['));
            }
        }
    }
}
