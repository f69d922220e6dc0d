//! `[console]`: the page and the API, as people come to them.

use toml_edit::Item;

use tidegate_access::session::SessionTimes;

use crate::config::elements::duration::PositiveDuration;
use crate::config::key::{Element, Key, KeyInfo};
use crate::config::reader::Reader;
use crate::config::value::{Place, Setting};

/// The page and the API, as people come to them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsoleConfig {
    /// Whether the page is served.
    pub enabled: bool,
    /// Whether somebody on this machine may look without signing in; `None` for yes, unless a proxy is in front.
    pub open_on_loopback: Option<bool>,
    /// By which address people know the server, without a path.
    pub public_url: Option<String>,
    /// How long sessions last.
    pub session: SessionTimes,
}

const ENABLED: Key<bool> =
    Key::with_default("enabled", "true", "Whether the page is served. The API is there in any case.");
const OPEN_ON_LOOPBACK: Key<bool> = Key::optional(
    "open_on_loopback",
    "true, and false where `public_url` or `base_url` of [alerts] is set",
    "Whether somebody on this machine may look without signing in, where the server listens on the loopback. Changing \
     something needs a sign-in in any case. Set it to false where a proxy on this machine lets others in.",
);
const PUBLIC_URL: Key<PublicUrl> = Key::optional(
    "public_url",
    "the `base_url` of [alerts], or what the browser's address bar says",
    "By which address people know the server, where a proxy is in front of it. With `https` the cookie of a session is sent \
     encrypted only.",
);
const SESSION_IDLE: Key<PositiveDuration> =
    Key::with_default("session_idle", "\"1h\"", "How long a session lasts that nobody uses.");
const SESSION_LIFETIME: Key<PositiveDuration> = Key::with_default(
    "session_lifetime",
    "\"12h\"",
    "How long a session lasts in any case; then one signs in again. A restart of the server ends none.",
);

/// The element.
pub(crate) static ELEMENT: Element = Element {
    header: "[console]",
    doc: "The page and the API, as people come to them: who may look without signing in, and how long a sign-in lasts. What \
          the roles may do is in [access](../design/access.md).",
    keys: &[&ENABLED as &dyn KeyInfo, &OPEN_ON_LOOPBACK, &PUBLIC_URL, &SESSION_IDLE, &SESSION_LIFETIME],
    example: "[console]\npublic_url = \"https://tide.example.com\"\nsession_lifetime = \"8h\"\n",
};

/// Reads the table.
pub(crate) fn read(reader: &mut Reader<'_, '_>) -> Option<ConsoleConfig> {
    let enabled = reader.get(&ENABLED);
    let open_on_loopback = reader.get_optional(&OPEN_ON_LOOPBACK);
    let public_url = reader.get_optional(&PUBLIC_URL);
    let (idle, lifetime) = (reader.get(&SESSION_IDLE), reader.get(&SESSION_LIFETIME));
    Some(ConsoleConfig {
        enabled: enabled?,
        open_on_loopback: open_on_loopback?,
        public_url: public_url?.map(|url| url.0),
        session: SessionTimes { idle: idle?.0, lifetime: lifetime?.0 },
    })
}

/// A scheme and a host, perhaps with a port.
struct PublicUrl(String);

impl Setting for PublicUrl {
    const TYPE: &'static str = "an address such as `https://tide.example.com`, without a path";
    const EXAMPLE: &'static str = "\"https://tide.example.com\"";

    fn read(item: &Item, place: &mut Place<'_, '_>) -> Option<Self> {
        let origin = item.as_str().and_then(origin_of).filter(|origin| {
            item.as_str().is_some_and(|text| text.trim_end_matches('/').eq_ignore_ascii_case(origin))
        });
        if origin.is_none() {
            place.not_a::<Self>(item);
        }
        origin.map(Self)
    }
}

/// The origin of an address as browsers write it: scheme, host and port, in lower-case letters.
pub(crate) fn origin_of(address: &str) -> Option<String> {
    let uri: axum::http::Uri = address.parse().ok()?;
    let scheme = uri.scheme_str().filter(|scheme| matches!(*scheme, "http" | "https"))?;
    let authority = uri.authority()?;
    let plain = !authority.host().is_empty() && !authority.as_str().contains('@');
    let default_port = if scheme == "https" { 443 } else { 80 };
    let port = authority.port_u16().filter(|port| *port != default_port);
    let port = port.map_or_else(String::new, |port| format!(":{port}"));
    plain.then(|| format!("{scheme}://{}{port}", authority.host()).to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_written_as_browsers_write_it() {
        for (address, origin) in [
            ("https://Tide.example.com", Some("https://tide.example.com")),
            ("https://tide.example.com:443/x?y", Some("https://tide.example.com")),
            ("http://10.0.0.7:8780/", Some("http://10.0.0.7:8780")),
            ("http://[::1]:8780", Some("http://[::1]:8780")),
            ("ftp://tide.example.com", None),
            ("tide.example.com", None),
            ("https://mia@tide.example.com", None),
            ("", None),
        ] {
            assert_eq!(origin_of(address).as_deref(), origin, "{address}");
        }
    }
}
