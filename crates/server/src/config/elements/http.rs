//! `[http]`: the HTTP front door.

use std::net::SocketAddr;

use toml_edit::Item;

use crate::config::key::{Element, Key, KeyInfo};
use crate::config::reader::Reader;
use crate::config::value::{Place, Setting};

/// The HTTP front door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpConfig {
    /// Where it listens.
    pub listen: SocketAddr,
}

const LISTEN: Key<SocketAddr> = Key::with_default(
    "listen",
    "\"127.0.0.1:8780\"",
    "The address and port that publishing, reading and managing go through; port 0 takes a free one. `--http` overrides \
     it. Traffic is not encrypted: listen on other than the loopback only in a network you trust or behind a proxy.",
);

/// The element.
pub(crate) static ELEMENT: Element = Element {
    header: "[http]",
    doc: "The HTTP front door.",
    keys: &[&LISTEN as &dyn KeyInfo],
    example: "[http]\nlisten = \"127.0.0.1:8780\"\n",
};

/// Reads the table.
pub(crate) fn read(reader: &mut Reader<'_, '_>) -> Option<HttpConfig> {
    Some(HttpConfig { listen: reader.get(&LISTEN)? })
}

impl Setting for SocketAddr {
    const TYPE: &'static str = "an IP address and a port";
    const EXAMPLE: &'static str = "\"127.0.0.1:8780\"";

    fn read(item: &Item, place: &mut Place<'_, '_>) -> Option<Self> {
        let address = item.as_str().and_then(|text| text.parse().ok());
        if address.is_none() {
            place.not_a::<Self>(item);
        }
        address
    }
}
