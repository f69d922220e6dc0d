//! Connection strings: how Event Hubs' clients are told where a namespace is and how to get in.
//!
//! ```text
//! Endpoint=sb://host:port;SharedAccessKeyName=NAME;SharedAccessKey=KEY;EntityPath=HUB;UseDevelopmentEmulator=true
//! ```
//!
//! Names are compared without regard to case, as the official clients do; values are not. A name that is not known, comes
//! twice or has no value is refused, so that a slip is found here and not as a refused connection. What is wrong is told
//! without any value that may be secret.

use std::fmt;

/// Where a namespace is and how to get in. `Debug` hides the secrets; only [`reveal`](Self::reveal) writes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionString {
    endpoint: Endpoint,
    credential: Credential,
    entity_path: Option<String>,
    development_emulator: bool,
}

/// The host of a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    host: String,
    port: Option<u16>,
}

/// How to get in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// With the key of an access rule, which signs a token for each thing that is used.
    Key {
        /// The rule.
        name: String,
        /// Its key.
        key: SharedAccessKey,
    },
    /// With a token that was made before: `SharedAccessSignature sr=…&sig=…&se=…&skn=…`.
    Signature(SharedAccessKey),
}

/// A secret of a connection string. `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct SharedAccessKey(String);

impl SharedAccessKey {
    /// The secret itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SharedAccessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

const ENDPOINT: &str = "Endpoint";
const KEY_NAME: &str = "SharedAccessKeyName";
const KEY: &str = "SharedAccessKey";
const SIGNATURE: &str = "SharedAccessSignature";
const ENTITY_PATH: &str = "EntityPath";
const EMULATOR: &str = "UseDevelopmentEmulator";

/// Every name that a connection string may have.
const NAMES: [&str; 6] = [ENDPOINT, KEY_NAME, KEY, SIGNATURE, ENTITY_PATH, EMULATOR];

/// The longest connection string that is read, in bytes; a token of the service has a few hundred.
pub const MAX_CONNECTION_STRING_BYTES: usize = 16 * 1024;

impl ConnectionString {
    /// A connection string with a rule's key.
    ///
    /// # Errors
    /// When a value is empty or has a semicolon or a line break in it, which could not be written.
    pub fn with_key(endpoint: Endpoint, name: &str, key: &str) -> Result<Self, InvalidConnectionString> {
        let key = SharedAccessKey(writable(KEY, key)?);
        let credential = Credential::Key { name: writable(KEY_NAME, name)?, key };
        Ok(Self { endpoint, credential, entity_path: None, development_emulator: false })
    }

    /// A connection string with a token.
    ///
    /// # Errors
    /// As for [`with_key`](Self::with_key).
    pub fn with_signature(endpoint: Endpoint, token: &str) -> Result<Self, InvalidConnectionString> {
        let credential = Credential::Signature(SharedAccessKey(writable(SIGNATURE, token)?));
        Ok(Self { endpoint, credential, entity_path: None, development_emulator: false })
    }

    /// The same for one hub.
    ///
    /// # Errors
    /// As for [`with_key`](Self::with_key).
    pub fn for_hub(mut self, hub: &str) -> Result<Self, InvalidConnectionString> {
        self.entity_path = Some(writable(ENTITY_PATH, hub)?);
        Ok(self)
    }

    /// The same with `UseDevelopmentEmulator=true`: clients connect without TLS then.
    #[must_use]
    pub fn for_development(mut self) -> Self {
        self.development_emulator = true;
        self
    }

    /// Where the namespace is.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// How to get in.
    pub fn credential(&self) -> &Credential {
        &self.credential
    }

    /// The hub it is for, if it names one.
    pub fn entity_path(&self) -> Option<&str> {
        self.entity_path.as_deref()
    }

    /// True when the connection is to be made without TLS, as to the emulator.
    pub fn is_for_development(&self) -> bool {
        self.development_emulator
    }

    /// The text, secrets included: for the person who asked for it, never for a log.
    pub fn reveal(&self) -> String {
        let mut text = format!("{ENDPOINT}={}", self.endpoint);
        let mut add = |name: &str, value: &str| {
            text.push(';');
            text.push_str(name);
            text.push('=');
            text.push_str(value);
        };
        match &self.credential {
            Credential::Key { name, key } => {
                add(KEY_NAME, name);
                add(KEY, key.reveal());
            }
            Credential::Signature(token) => add(SIGNATURE, token.reveal()),
        }
        if self.development_emulator {
            add(EMULATOR, "true");
        }
        if let Some(hub) = &self.entity_path {
            add(ENTITY_PATH, hub);
        }
        text
    }
}

impl std::str::FromStr for ConnectionString {
    type Err = InvalidConnectionString;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > MAX_CONNECTION_STRING_BYTES {
            return Err(InvalidConnectionString::TooLong { bytes: text.len() });
        }
        let mut values: [Option<&str>; NAMES.len()] = [None; NAMES.len()];
        for (place, part) in text.split(';').map(str::trim).enumerate().filter(|(_, part)| !part.is_empty()) {
            // Without a name in front the part may be the rest of a secret: only its place is told.
            let (name, value) =
                part.split_once('=').ok_or(InvalidConnectionString::NoName { place: place + 1 })?;
            let (name, value) = (name.trim(), value.trim());
            let known = NAMES.iter().position(|known| known.eq_ignore_ascii_case(name));
            let known = known.ok_or_else(|| InvalidConnectionString::UnknownName {
                name: name.chars().take(32).collect(),
            })?;
            if value.is_empty() {
                return Err(InvalidConnectionString::Empty { name: NAMES[known] });
            }
            if values[known].replace(value).is_some() {
                return Err(InvalidConnectionString::Twice { name: NAMES[known] });
            }
        }
        let [endpoint, key_name, key, signature, entity_path, emulator] = values;

        let endpoint = endpoint.ok_or(InvalidConnectionString::Missing { name: ENDPOINT })?.parse()?;
        let connection = match (key_name, key, signature) {
            (Some(name), Some(key), None) => Self::with_key(endpoint, name, key)?,
            (None, None, Some(token)) => Self::with_signature(endpoint, token)?,
            (_, _, Some(_)) => return Err(InvalidConnectionString::KeyAndSignature),
            (Some(_), None, None) => return Err(InvalidConnectionString::Missing { name: KEY }),
            (None, Some(_), None) => return Err(InvalidConnectionString::Missing { name: KEY_NAME }),
            (None, None, None) => return Err(InvalidConnectionString::NoCredential),
        };
        let connection = match entity_path {
            Some(hub) => connection.for_hub(hub)?,
            None => connection,
        };
        match emulator {
            None | Some("false") => Ok(connection),
            Some("true") => Ok(connection.for_development()),
            // The official clients take any other value for false, and then ask for TLS.
            Some(_) => Err(InvalidConnectionString::NotASwitch),
        }
    }
}

/// A value that can be written between semicolons and read again.
fn writable(name: &'static str, value: &str) -> Result<String, InvalidConnectionString> {
    if value.is_empty() {
        return Err(InvalidConnectionString::Empty { name });
    }
    if value.contains(';') || value.chars().any(char::is_control) || value.trim() != value {
        return Err(InvalidConnectionString::NotWritable { name });
    }
    Ok(value.to_owned())
}

impl Endpoint {
    /// A host, with the port where it is not the usual one.
    ///
    /// # Errors
    /// When the text is no name or address of a host.
    pub fn new(host: &str, port: Option<u16>) -> Result<Self, InvalidConnectionString> {
        let refused = |problem| Err(InvalidConnectionString::Endpoint { problem });
        let address = host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']'));
        let good = match address {
            Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
            None => {
                let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
                !host.is_empty() && host.len() <= 255 && host.bytes().all(allowed)
            }
        };
        match (good, port) {
            (false, _) => {
                refused("the host is no name or address such as ns.servicebus.windows.net or [::1]")
            }
            (true, Some(0)) => refused("the port is no number from 1 to 65535"),
            (true, _) => Ok(Self { host: host.to_owned(), port }),
        }
    }

    /// The name or address; an IPv6 address in brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, where the usual one of the transport is not meant.
    pub fn port(&self) -> Option<u16> {
        self.port
    }
}

impl std::str::FromStr for Endpoint {
    type Err = InvalidConnectionString;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = |problem| Err(InvalidConnectionString::Endpoint { problem });
        let rest = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("sb") => rest,
            _ => return refused("it does not begin with sb://"),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        // The colons of an IPv6 address are within its brackets.
        let port =
            authority.rfind(':').filter(|colon| authority.rfind(']').is_none_or(|bracket| bracket < *colon));
        let Some(colon) = port else { return Self::new(authority, None) };
        let digits = &authority[colon + 1..];
        match digits.parse() {
            Ok(port) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                Self::new(&authority[..colon], Some(port))
            }
            _ => refused("the port is no number from 1 to 65535"),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sb://{}", self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// What is wrong with a connection string. No text holds a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidConnectionString {
    /// It is longer than any can be.
    #[error("the connection string has {bytes} bytes; {MAX_CONNECTION_STRING_BYTES} at most are read")]
    TooLong {
        /// How long it is.
        bytes: usize,
    },
    /// A part has no name.
    #[error("part {place} of the connection string has no name and `=`; parts are separated by semicolons")]
    NoName {
        /// Which part, from 1.
        place: usize,
    },
    /// A name is not known.
    #[error("the connection string has an unknown name {name:?}; there are {}", NAMES.join(", "))]
    UnknownName {
        /// The name, shortened to 32 characters.
        name: String,
    },
    /// A name has no value.
    #[error("{name} has no value in the connection string")]
    Empty {
        /// The name.
        name: &'static str,
    },
    /// A name comes twice.
    #[error("{name} comes twice in the connection string")]
    Twice {
        /// The name.
        name: &'static str,
    },
    /// A name is not there.
    #[error("the connection string has no {name}")]
    Missing {
        /// The name.
        name: &'static str,
    },
    /// There is no way to get in.
    #[error("the connection string has neither {KEY_NAME} and {KEY} nor {SIGNATURE}")]
    NoCredential,
    /// There are two ways to get in.
    #[error("the connection string has both a key and {SIGNATURE}: leave one of them out")]
    KeyAndSignature,
    /// The endpoint cannot be understood.
    #[error("Endpoint is wrong: {problem}; it is written as Endpoint=sb://host or Endpoint=sb://host:port")]
    Endpoint {
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A value would be read as something else.
    #[error(
        "the value of {name} has a semicolon, a line break or a blank at an end, so it cannot be written"
    )]
    NotWritable {
        /// The name.
        name: &'static str,
    },
    /// The emulator switch is neither on nor off.
    #[error("{EMULATOR} is neither true nor false, in small letters: clients take anything else for false")]
    NotASwitch,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EMULATOR_STRING: &str = "Endpoint=sb://localhost;SharedAccessKeyName=RootManageSharedAccessKey;\
                                   SharedAccessKey=SAS_KEY_VALUE;UseDevelopmentEmulator=true;";

    fn parse(text: &str) -> Result<ConnectionString, InvalidConnectionString> {
        text.parse()
    }

    #[test]
    fn the_strings_of_the_service_and_the_emulator_are_read() {
        let emulator = parse(EMULATOR_STRING).unwrap();
        assert_eq!((emulator.endpoint().host(), emulator.endpoint().port()), ("localhost", None));
        assert!(emulator.is_for_development());
        let Credential::Key { name, key } = emulator.credential() else { panic!("{emulator:?}") };
        assert_eq!((name.as_str(), key.reveal()), ("RootManageSharedAccessKey", "SAS_KEY_VALUE"));
        assert_eq!(emulator.entity_path(), None);

        let service = "endpoint=SB://ns.servicebus.windows.net/; sharedaccesskeyname=send;\
                       SharedAccessKey=q8Z+/w==;EntityPath=flights";
        let service = parse(service).unwrap();
        assert_eq!(service.endpoint().to_string(), "sb://ns.servicebus.windows.net");
        assert_eq!(service.entity_path(), Some("flights"));
        assert!(!service.is_for_development());

        let token =
            "Endpoint=sb://[::1]:5671;SharedAccessSignature=SharedAccessSignature sr=sb&sig=a%3D&se=1&skn=k";
        let token = parse(token).unwrap();
        assert_eq!((token.endpoint().host(), token.endpoint().port()), ("[::1]", Some(5671)));
        let Credential::Signature(text) = token.credential() else { panic!("{token:?}") };
        assert_eq!(text.reveal(), "SharedAccessSignature sr=sb&sig=a%3D&se=1&skn=k");
    }

    #[test]
    fn a_mistake_is_named_and_no_secret_is_told() {
        let key = "SharedAccessKeyName=n;SharedAccessKey=hush-hush";
        for (text, complaint) in [
            (String::new(), "has no Endpoint"),
            (format!("Endpoint=sb://h;{key};hush-tail"), "part 4 of the connection string has no name"),
            (
                format!("Endpoint=sb://h;{key};Transport=Amqp"),
                "unknown name \"Transport\"; there are Endpoint,",
            ),
            (format!("Endpoint=sb://h;{key};{key}"), "SharedAccessKeyName comes twice"),
            (format!("Endpoint=;{key}"), "Endpoint has no value"),
            (key.to_owned(), "has no Endpoint"),
            (format!("Endpoint=https://h;{key}"), "does not begin with sb://"),
            (format!("Endpoint=sb://h:70000;{key}"), "the port is no number"),
            (format!("Endpoint=sb://h:+1;{key}"), "the port is no number"),
            (format!("Endpoint=sb://h/flights;{key}"), "the host is no name"),
            (format!("Endpoint=sb://a b;{key}"), "the host is no name"),
            (format!("Endpoint=sb://[::g];{key}"), "the host is no name"),
            ("Endpoint=sb://h;SharedAccessKey=hush-hush".to_owned(), "has no SharedAccessKeyName"),
            ("Endpoint=sb://h;SharedAccessKeyName=n".to_owned(), "has no SharedAccessKey"),
            ("Endpoint=sb://h".to_owned(), "neither"),
            (format!("Endpoint=sb://h;{key};SharedAccessSignature=hush"), "both a key"),
            (format!("Endpoint=sb://h;{key};UseDevelopmentEmulator=True"), "neither true nor false"),
            ("x".repeat(MAX_CONNECTION_STRING_BYTES + 1), "at most are read"),
        ] {
            let error = parse(&text).unwrap_err().to_string();
            assert!(error.contains(complaint), "{text}: {error}");
            assert!(!error.contains("hush"), "{error}");
        }
    }

    #[test]
    fn secrets_are_not_shown_by_accident() {
        let shown = format!("{:?}", parse(EMULATOR_STRING).unwrap());
        assert!(shown.contains("RootManageSharedAccessKey") && !shown.contains("SAS_KEY_VALUE"), "{shown}");
        let error = ConnectionString::with_key(Endpoint::new("h", None).unwrap(), "n", "hu;sh").unwrap_err();
        assert!(!error.to_string().contains("hu;sh"));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(
            host in "[a-z0-9]([a-z0-9.-]{0,20}[a-z0-9])?",
            port in proptest::option::of(1u16..),
            name in "[!-:<-~]{1,20}",
            key in "[!-:<-~]{1,60}",
            hub in proptest::option::of("[a-z0-9/._-]{1,30}"),
            token in proptest::bool::ANY,
            development in proptest::bool::ANY,
        ) {
            let endpoint = Endpoint::new(&host, port).unwrap();
            let mut connection = match token {
                false => ConnectionString::with_key(endpoint, &name, &key).unwrap(),
                true => ConnectionString::with_signature(endpoint, &key).unwrap(),
            };
            if let Some(hub) = hub {
                connection = connection.for_hub(&hub).unwrap();
            }
            if development {
                connection = connection.for_development();
            }
            prop_assert_eq!(parse(&connection.reveal()), Ok(connection));
        }

        #[test]
        fn no_text_panics_or_is_repeated_with_its_key(text in "\\PC{0,80}") {
            let _ = parse(&text);
            let _ = parse(&format!("Endpoint=sb://{text};SharedAccessKeyName=a;SharedAccessKey=b"));
        }
    }
}
