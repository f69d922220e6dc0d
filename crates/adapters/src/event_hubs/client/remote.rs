//! Which hub is meant, and how to get in.

use std::sync::Arc;

use tidegate_model::clock::SharedClock;
use tidegate_model::connection_string::{ConnectionString, Endpoint, SharedAccessKey};

use super::credential::{TokenError, TokenSource, tokens_of};
use super::transport::{PLAIN_PORT, Server, TLS_PORT, platform_tls, tls_with_roots};

/// Which hub, and how to get in.
#[derive(Clone)]
pub struct Remote {
    /// Where it is.
    pub server: Server,
    /// The name of the namespace, which tokens are for and checkpoints are kept under: the host, without its port.
    pub namespace: String,
    /// The port that the connection string names, if it names one: some clients keep checkpoints under it.
    pub named_port: Option<u16>,
    /// The hub.
    pub hub: String,
    /// How to get in.
    pub access: Access,
}

/// How to get in.
#[derive(Clone)]
pub enum Access {
    /// With tokens, given to `$cbs` and renewed before they end.
    Tokens(Arc<dyn TokenSource>),
    /// With the name and the key of an access rule, given to SASL PLAIN.
    Plain {
        /// The rule's name.
        name: String,
        /// Its key.
        key: SharedAccessKey,
    },
}

/// Why a hub cannot be meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRemote {
    /// Nothing says which hub it is.
    #[error("the connection string has no EntityPath, and no hub is named")]
    NoHub,
    /// Two hubs are named.
    #[error("the hub is named {named:?}, but the connection string is for {entity_path:?}")]
    OtherHub {
        /// By name.
        named: String,
        /// By the connection string.
        entity_path: String,
    },
    /// The token of the connection string is none.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// TLS cannot be spoken.
    #[error("{0}")]
    Tls(String),
}

impl Remote {
    /// The hub that a connection string is for, or that is named; both must agree. `roots` are certificates in PEM form that
    /// are trusted instead of those that this machine trusts.
    ///
    /// # Errors
    /// When the hub is not clear, or something of the string or the certificates cannot be used.
    pub fn of_connection_string(
        connection: &ConnectionString,
        hub: Option<&str>,
        roots: Option<&[u8]>,
        clock: SharedClock,
    ) -> Result<Self, InvalidRemote> {
        let hub = match (hub, connection.entity_path()) {
            (Some(named), Some(entity_path)) if !named.eq_ignore_ascii_case(entity_path) => {
                let (named, entity_path) = (named.to_owned(), entity_path.to_owned());
                return Err(InvalidRemote::OtherHub { named, entity_path });
            }
            (Some(hub), _) | (None, Some(hub)) => hub.to_owned(),
            (None, None) => return Err(InvalidRemote::NoHub),
        };
        let plain = connection.is_for_development();
        let access = Access::Tokens(tokens_of(connection.credential(), clock)?);
        Ok(Self {
            server: server_at(connection.endpoint(), plain, roots)?,
            namespace: connection.endpoint().host().to_owned(),
            named_port: connection.endpoint().port(),
            hub,
            access,
        })
    }

    /// A hub that tokens of another kind open.
    ///
    /// # Errors
    /// When the certificates cannot be used.
    pub fn with_tokens(
        endpoint: &Endpoint,
        hub: String,
        roots: Option<&[u8]>,
        tokens: Arc<dyn TokenSource>,
    ) -> Result<Self, InvalidRemote> {
        Ok(Self {
            server: server_at(endpoint, false, roots)?,
            namespace: endpoint.host().to_owned(),
            named_port: endpoint.port(),
            hub,
            access: Access::Tokens(tokens),
        })
    }
}

fn server_at(endpoint: &Endpoint, plain: bool, roots: Option<&[u8]>) -> Result<Server, InvalidRemote> {
    let host = endpoint.host().to_owned();
    if plain {
        return Ok(Server { host, port: endpoint.port().unwrap_or(PLAIN_PORT), tls: None });
    }
    let tls = roots.map_or_else(platform_tls, tls_with_roots).map_err(InvalidRemote::Tls)?;
    Ok(Server { host, port: endpoint.port().unwrap_or(TLS_PORT), tls: Some(Arc::new(tls)) })
}

#[cfg(test)]
mod tests {
    use tidegate_model::clock::{TestClock, Timestamp};

    use super::*;

    #[tokio::test]
    async fn a_connection_string_says_where_and_which() {
        let clock = TestClock::new(Timestamp::from_millis(0), 1);
        let of = |text: &str, hub| {
            let connection = text.parse().expect("a connection string");
            Remote::of_connection_string(&connection, hub, None, clock.clone())
        };
        let key = "SharedAccessKeyName=k;SharedAccessKey=v;UseDevelopmentEmulator=true";
        let remote = of(&format!("Endpoint=sb://localhost;{key}"), Some("h")).unwrap();
        assert_eq!(
            (remote.server.to_string(), remote.server.tls.is_none()),
            ("localhost:5672".to_owned(), true)
        );
        assert_eq!((remote.namespace.as_str(), remote.hub.as_str()), ("localhost", "h"));
        let remote = of(&format!("Endpoint=sb://localhost:9;{key};EntityPath=e"), None).unwrap();
        assert_eq!((remote.server.port, remote.hub.as_str()), (9, "e"));
        assert!(of(&format!("Endpoint=sb://l;{key};EntityPath=e"), Some("E")).is_ok());
        let other = of(&format!("Endpoint=sb://l;{key};EntityPath=e"), Some("x"));
        assert!(matches!(other, Err(InvalidRemote::OtherHub { .. })));
        assert!(matches!(of(&format!("Endpoint=sb://l;{key}"), None), Err(InvalidRemote::NoHub)));
    }
}
