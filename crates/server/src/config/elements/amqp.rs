//! `[amqp]`: the AMQP front door.

use std::net::SocketAddr;
use std::time::Duration;

use tidegate_model::error::ErrorCode;

use crate::config::elements::byte_size::ByteSize;
use crate::config::elements::duration::PositiveDuration;
use crate::config::elements::number::Count;
use crate::config::elements::tls::TlsConfig;
use crate::config::key::{Element, Key, KeyInfo};
use crate::config::reader::Reader;
use crate::config::value::word_setting;
use crate::failure::Failure;

/// The AMQP front door.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AmqpConfig {
    /// Where it listens; nowhere without an address.
    pub listen: Option<SocketAddr>,
    /// What encrypts it.
    pub tls: Option<TlsConfig>,
    /// Whether AMQP is also spoken through WebSockets at the HTTP front door.
    pub websocket: bool,
    /// Whether the key that everybody knows is taken.
    pub development_key: DevelopmentKey,
    /// How many connections there are at most.
    pub max_connections: u64,
    /// The largest frame that is taken, in bytes.
    pub max_frame_size: u32,
    /// After how long a silent connection is closed.
    pub idle_timeout: Duration,
}

/// Whether the key of the emulator is taken: `SAS_KEY_VALUE`, which everybody knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum DevelopmentKey {
    /// It is a key like any other that is not there.
    #[default]
    Off,
    /// It opens everything, and the server listens on the loopback only.
    Loopback,
    /// It opens everything, wherever the server listens.
    Anywhere,
}

impl DevelopmentKey {
    /// Holds the setting to where the server is going to listen.
    ///
    /// # Errors
    /// When a key that everybody knows would open it to others.
    pub(crate) fn check(self, listen: impl IntoIterator<Item = SocketAddr>) -> Result<(), Failure> {
        let open = listen.into_iter().find(|address| !address.ip().to_canonical().is_loopback());
        match (self, open) {
            (Self::Loopback, Some(address)) => {
                let message = format!(
                    "the development key, which everybody knows, is taken, and the server is to listen on {address}"
                );
                Err(Failure::usage(ErrorCode::CONFIG_BAD_VALUE, message).help(
                    "listen on 127.0.0.1, or do without the key: --development-key off\nin a container whose ports are not \
                     open to others: --development-key anywhere",
                ))
            }
            _ => Ok(()),
        }
    }
}

word_setting!(
    DevelopmentKey: "one of \"off\", \"loopback\", \"anywhere\"" {
        Off = "off", Loopback = "loopback", Anywhere = "anywhere"
    }
    example "\"loopback\""
);

/// The smallest frame that every peer must take: AMQP 1.0, part 2.7.1.
const MIN_FRAME_SIZE: u64 = 512;
const MAX_FRAME_SIZE: u64 = 16 << 20;

const LISTEN: Key<SocketAddr> = Key::optional(
    "listen",
    "there is no AMQP front door",
    "The address and port for clients of Event Hubs: usually 5672, or 5671 with `tls`; port 0 takes a free one. `--amqp` \
     overrides it.",
);
const TLS: Key<TlsConfig> = Key::optional(
    "tls",
    "traffic is not encrypted",
    "Encrypts the connections. Without it listen on other than the loopback only in a network you trust or behind a proxy.",
);
const WEBSOCKET: Key<bool> = Key::with_default(
    "websocket",
    "true",
    "Whether AMQP is also spoken through WebSockets, at `/$servicebus/websocket` of the HTTP front door.",
);
const DEVELOPMENT_KEY: Key<DevelopmentKey> = Key::with_default(
    "development_key",
    "\"off\"",
    "Whether the key of the Event Hubs emulator is taken: `SAS_KEY_VALUE` of `RootManageSharedAccessKey`, which everybody \
     knows and which opens everything. With \"loopback\" it is, and the server refuses to listen anywhere else; \"anywhere\" \
     is for containers whose ports are not open to others. `--development-key` overrides it; with the emulator's \
     configuration it is \"loopback\".",
);
const MAX_CONNECTIONS: Key<Count> = Key::with_default(
    "max_connections",
    "5000",
    "How many connections there are at most, as on the Standard tier of Event Hubs.",
);
const MAX_FRAME: Key<ByteSize> = Key::with_default(
    "max_frame_size",
    "\"1MiB\"",
    "The largest frame that is taken, from 512B to 16MiB. Larger messages come in several frames.",
);
const IDLE_TIMEOUT: Key<PositiveDuration> = Key::with_default(
    "idle_timeout",
    "\"4m\"",
    "After how long without a frame a connection is taken for dead, at most a day. Clients send one in time. The default is \
     that of Event Hubs.",
);

/// The element.
pub(crate) static ELEMENT: Element = Element {
    header: "[amqp]",
    doc: "The AMQP front door: what clients of Event Hubs connect to.",
    keys: &[
        &LISTEN as &dyn KeyInfo,
        &TLS,
        &WEBSOCKET,
        &DEVELOPMENT_KEY,
        &MAX_CONNECTIONS,
        &MAX_FRAME,
        &IDLE_TIMEOUT,
    ],
    example: "[amqp]\nlisten = \"127.0.0.1:5671\"\ntls = { certificate = \"server.pem\", key = \"server.key\" }\n",
};

/// Reads the table.
pub(crate) fn read(reader: &mut Reader<'_, '_>) -> Option<AmqpConfig> {
    let (listen, tls) = (reader.get_optional(&LISTEN), reader.get_optional(&TLS));
    let (websocket, development_key) = (reader.get(&WEBSOCKET), reader.get(&DEVELOPMENT_KEY));
    let (max_connections, idle_timeout) = (reader.get(&MAX_CONNECTIONS), reader.get(&IDLE_TIMEOUT));
    let frame = reader.get(&MAX_FRAME);
    let frame_size = frame.filter(|size| (MIN_FRAME_SIZE..=MAX_FRAME_SIZE).contains(&size.0));
    if let (Some(ByteSize(size)), None) = (frame, frame_size) {
        let at = reader.span_of(&MAX_FRAME);
        let message =
            format!("`max_frame_size` is {size} bytes; it is from {MIN_FRAME_SIZE} to {MAX_FRAME_SIZE}");
        reader.contradiction(at, &message, "for example `max_frame_size = \"1MiB\"`");
    }
    let a_day = Duration::from_secs(24 * 3600);
    let timeout = idle_timeout.map(|timeout| timeout.0);
    if timeout.is_some_and(|timeout| timeout > a_day) {
        let at = reader.span_of(&IDLE_TIMEOUT);
        reader.contradiction(at, "`idle_timeout` is above a day", "for example `idle_timeout = \"4m\"`");
        return None;
    }
    Some(AmqpConfig {
        listen: listen?,
        tls: tls?,
        websocket: websocket?,
        development_key: development_key?,
        max_connections: max_connections?.0,
        max_frame_size: u32::try_from(frame_size?.0).ok()?,
        idle_timeout: timeout?,
    })
}
