//! Paths: what a token is for, what a link is addressed to, and whether the one reaches the other.
//!
//! Clients write one resource in many ways: `flights/Partitions/0`, `amqps://host:5671/flights/partitions/0`,
//! `sb://ns.servicebus.windows.net/FLIGHTS/Partitions/0/`. Scheme and authority say how the client found this server
//! and are ignored; letters are compared without regard to case; empty segments do not count.

use std::fmt;

/// The longest path that is read, in bytes: a hub of 256 characters, a group of as many, and what is around them.
pub const MAX_PATH_BYTES: usize = 1024;

/// Where a resource is below the namespace; without segments it is the namespace.
#[derive(Clone, Debug, Default)]
pub struct ResourcePath {
    /// As they were written, none of them empty.
    segments: Vec<String>,
}

impl ResourcePath {
    /// The namespace itself.
    pub fn namespace() -> Self {
        Self::default()
    }

    /// A path below the namespace, such as `flights/partitions/0`.
    ///
    /// # Errors
    /// When it is too long.
    pub fn of_path(path: &str) -> Result<Self, InvalidPath> {
        if path.len() > MAX_PATH_BYTES {
            return Err(InvalidPath::TooLong { bytes: path.len() });
        }
        let segments = path.split('/').filter(|segment| !segment.is_empty());
        Ok(Self { segments: segments.map(str::to_owned).collect() })
    }

    /// The address of a link: a path, or a URL whose scheme and authority are dropped.
    ///
    /// # Errors
    /// When it is too long.
    pub fn of_address(address: &str) -> Result<Self, InvalidPath> {
        match address.split_once("://") {
            Some((_, rest)) => Self::of_path(below_authority(rest)),
            None => Self::of_path(address),
        }
    }

    /// What a token is for (`sr`), or what a client puts it for. It must name a host: a lone name could be a hub that
    /// the signer meant to restrict the token to, and taking it for a host would open the whole namespace.
    ///
    /// # Errors
    /// When it names no host, or is too long.
    pub fn of_audience(uri: &str) -> Result<Self, InvalidPath> {
        let (has_scheme, rest) = match uri.split_once("://") {
            Some((_, rest)) => (true, rest),
            None => (false, uri),
        };
        let authority = rest.split('/').next().unwrap_or_default();
        let names_a_host =
            has_scheme || authority.contains(['.', ':']) || authority.eq_ignore_ascii_case("localhost");
        if names_a_host { Self::of_path(below_authority(rest)) } else { Err(InvalidPath::NoHost) }
    }

    /// The node that tells about a hub, which clients put tokens for under this name.
    pub fn management_of(hub: &str) -> Result<Self, InvalidPath> {
        Self::of_path(&format!("{hub}/$management"))
    }

    /// True when `other` is this resource or below it.
    pub fn covers(&self, other: &Self) -> bool {
        self.segments.len() <= other.segments.len()
            && self
                .segments
                .iter()
                .zip(&other.segments)
                .all(|(ours, theirs)| ours.eq_ignore_ascii_case(theirs))
    }

    /// Its segments, outermost first.
    pub fn segments(&self) -> impl ExactSizeIterator<Item = &str> {
        self.segments.iter().map(String::as_str)
    }

    /// The hub it is in or is; `None` for the namespace.
    pub fn hub(&self) -> Option<&str> {
        self.segments.first().map(String::as_str)
    }

    /// True for the namespace itself.
    pub fn is_namespace(&self) -> bool {
        self.segments.is_empty()
    }
}

/// What follows the authority in `authority/path`.
fn below_authority(rest: &str) -> &str {
    rest.split_once('/').map_or("", |(_, path)| path)
}

impl PartialEq for ResourcePath {
    fn eq(&self, other: &Self) -> bool {
        self.segments.len() == other.segments.len() && self.covers(other)
    }
}

impl Eq for ResourcePath {}

impl fmt::Display for ResourcePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.segments.join("/"))
    }
}

/// Why a path cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPath {
    /// It is longer than any can be.
    #[error("the path has {bytes} bytes, more than {MAX_PATH_BYTES}")]
    TooLong {
        /// How long it is.
        bytes: usize,
    },
    /// An audience names no host.
    #[error("it is no address such as sb://host/hub")]
    NoHost,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn audience(uri: &str) -> Result<String, InvalidPath> {
        ResourcePath::of_audience(uri).map(|path| path.to_string())
    }

    #[test]
    fn the_audience_is_the_path_without_scheme_and_authority() {
        for (uri, path) in [
            ("sb://127.0.0.1:5672/telemetry", "telemetry"),
            ("amqps://127.0.0.1/telemetry/", "telemetry"),
            ("http://ns.servicebus.windows.net/flights/messages", "flights/messages"),
            ("sb://h/t/ConsumerGroups/$Default/Partitions/0", "t/ConsumerGroups/$Default/Partitions/0"),
            ("amqps://127.0.0.1/telemetry/$management", "telemetry/$management"),
            ("ns.servicebus.windows.net", ""),
            ("localhost:8080/flights", "flights"),
            ("sb://ns", ""),
            ("sb://ns//flights", "flights"),
        ] {
            assert_eq!(audience(uri).as_deref(), Ok(path), "{uri}");
        }
    }

    #[test]
    fn a_lone_name_is_not_taken_for_a_host() {
        for uri in ["flights", "flights/messages", "/flights", ""] {
            assert_eq!(audience(uri), Err(InvalidPath::NoHost), "{uri:?}");
        }
        // An address is a path all the same, also when its hub has a dot.
        for (address, path) in [("flights", "flights"), ("my.hub/Partitions/0", "my.hub/Partitions/0")] {
            assert_eq!(ResourcePath::of_address(address).unwrap().to_string(), path);
        }
        let url = ResourcePath::of_address("amqps://host:5671/my.hub/Partitions/0").unwrap();
        assert_eq!(url.to_string(), "my.hub/Partitions/0");
    }

    #[test]
    fn a_path_covers_itself_and_what_is_below_it() {
        let path = |text: &str| ResourcePath::of_path(text).unwrap();
        assert!(path("Flights").covers(&path("flights/partitions/0")));
        assert!(ResourcePath::namespace().covers(&path("flights")));
        assert!(path("flights").covers(&ResourcePath::management_of("flights").unwrap()));
        assert!(!path("flights").covers(&ResourcePath::namespace()));
        assert!(!path("flight").covers(&path("flights")), "a segment counts as a whole");
        assert!(!path("flights/partitions/0").covers(&path("flights/partitions/00")));
        assert_eq!(path("Flights/Partitions/0"), path("/flights//partitions/0/"));
        assert!(ResourcePath::of_path(&"x".repeat(MAX_PATH_BYTES + 1)).is_err());
    }

    proptest! {
        #[test]
        fn no_text_panics_and_nothing_reaches_above_itself(uri in "\\PC{0,60}", below in "[a-z]{1,8}") {
            if let Ok(path) = ResourcePath::of_audience(&format!("sb://host/{uri}")) {
                prop_assert!(path.covers(&path));
                let deeper = ResourcePath::of_path(&format!("{path}/{below}")).unwrap();
                prop_assert!(path.covers(&deeper));
                prop_assert!(!deeper.covers(&path));
            }
            let _ = ResourcePath::of_audience(&uri);
            let _ = ResourcePath::of_address(&uri);
        }
    }
}
