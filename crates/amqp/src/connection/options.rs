//! What a connection is told about itself: who it is, and its limits.

use std::time::Duration;

use bytestring::ByteString;

use crate::codec::frame::MIN_MAX_FRAME_SIZE;
use crate::codec::value::{Map, Symbol};

/// What one end of a connection says of itself, and what it takes.
#[derive(Clone, Debug)]
pub struct Options {
    /// The name of this end, told in its open.
    pub container_id: ByteString,
    /// The host that a client wants to talk to, told in its open and in SASL. A server leaves it out.
    pub hostname: Option<ByteString>,
    /// The largest frame this end takes, in bytes, and the largest it sends even if the peer takes more. At least 512;
    /// 1 MiB unless said otherwise.
    pub max_frame_size: u32,
    /// The highest channel number this end takes: 4999 unless said otherwise, as Event Hubs says. How many sessions there
    /// may be at a time is a limit of its own.
    pub channel_max: u16,
    /// What this end announces as its idle time-out: the peer shall send something at least this often. A connection on
    /// which nothing comes for twice as long is closed, and so is one whose peer reads nothing for as long while there is
    /// something for it. 240 s unless said otherwise, as Event Hubs says: clients that are
    /// not inside a call send nothing. None means that a silent peer is kept.
    pub idle_timeout: Option<Duration>,
    /// How long the peer may take until its open has come. 60 s unless said otherwise.
    pub open_timeout: Duration,
    /// How long the peer may take to answer a close, and then to take what is left to be written. 10 s unless said otherwise.
    pub close_timeout: Duration,
    /// How many transfer frames a session takes until its window is renewed, which happens when half is used up. 5000
    /// unless said otherwise.
    pub incoming_window: u32,
    /// Who this end is, told in its open.
    pub properties: Map,
    /// Extensions that this end has.
    pub offered_capabilities: Vec<Symbol>,
    /// Extensions that this end would use.
    pub desired_capabilities: Vec<Symbol>,
    /// What is not exceeded, whatever the peer does.
    pub limits: Limits,
}

impl Options {
    /// The usual options of an end with this name.
    pub fn new(container_id: impl Into<ByteString>) -> Self {
        Self {
            container_id: container_id.into(),
            hostname: None,
            max_frame_size: 1024 * 1024,
            channel_max: 4999,
            idle_timeout: Some(Duration::from_secs(240)),
            open_timeout: Duration::from_secs(60),
            close_timeout: Duration::from_secs(10),
            incoming_window: 5000,
            properties: Map::new(),
            offered_capabilities: Vec::new(),
            desired_capabilities: Vec::new(),
            limits: Limits::default(),
        }
    }

    /// The same options with the values put right that could not work: a frame below 512 bytes, no session, no window.
    pub(super) fn corrected(mut self) -> Self {
        self.max_frame_size = self.max_frame_size.max(MIN_MAX_FRAME_SIZE);
        self.incoming_window = self.incoming_window.clamp(1, i32::MAX as u32);
        self.limits.sessions = self.limits.sessions.max(1);
        self.limits.links_per_session = self.limits.links_per_session.max(1);
        self.limits.unsettled_per_link = self.limits.unsettled_per_link.clamp(1, i32::MAX as u32);
        self.limits.output_bytes = self.limits.output_bytes.max(1);
        self
    }
}

/// What is not exceeded, whatever the peer does. Each has the error that answers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Sessions at a time; beyond them the connection is closed with `amqp:resource-limit-exceeded`. 256 unless said
    /// otherwise.
    pub sessions: u16,
    /// Links of a session at a time, told to the peer as its highest handle; a higher handle closes the connection with
    /// `amqp:connection:framing-error`. 256 unless said otherwise.
    pub links_per_session: u16,
    /// The largest message that is taken, in bytes, unless a link is accepted with less. A larger one is thrown away as it
    /// comes and told as [`Event::TooLarge`](super::Event::TooLarge). 1 MiB unless said otherwise.
    pub message_bytes: u64,
    /// All messages of the connection whose last frame has not come, together, in bytes. The link that goes beyond is
    /// detached with `amqp:resource-limit-exceeded`. 16 MiB unless said otherwise.
    pub partial_bytes: usize,
    /// Deliveries of a link that were received and not settled, together with its credit: more credit is not granted.
    /// 5000 unless said otherwise.
    pub unsettled_per_link: u32,
    /// Output that waits to be written, in bytes: above it no deliveries are sent. Answers to the peer may go 256 KiB and
    /// a frame beyond; then nothing more is read. 512 KiB unless said otherwise.
    pub output_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sessions: 256,
            links_per_session: 256,
            message_bytes: 1024 * 1024,
            partial_bytes: 16 * 1024 * 1024,
            unsettled_per_link: 5000,
            output_bytes: 512 * 1024,
        }
    }
}

/// How a server lets clients in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Door {
    /// The mechanisms on offer, in this order.
    pub mechanisms: Vec<Mechanism>,
    /// Whether a client may come without SASL. It is as good as anonymous then.
    pub may_skip_sasl: bool,
}

impl Default for Door {
    /// What Event Hubs offers; and clients may skip it, since claims come later, through `$cbs`.
    fn default() -> Self {
        Self {
            mechanisms: vec![Mechanism::MsSbCbs, Mechanism::Plain, Mechanism::Anonymous, Mechanism::External],
            may_skip_sasl: true,
        }
    }
}

/// The SASL mechanisms that Event Hubs knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mechanism {
    /// `MSSBCBS`: nothing here, a token through `$cbs` later.
    MsSbCbs,
    /// `PLAIN`: a user's name and password.
    Plain,
    /// `ANONYMOUS`: nothing.
    Anonymous,
    /// `EXTERNAL`: what the transport already knows, such as a certificate.
    External,
}

impl Mechanism {
    /// The name as it is sent.
    pub const fn symbol(self) -> Symbol {
        Symbol::from_static(match self {
            Self::MsSbCbs => "MSSBCBS",
            Self::Plain => "PLAIN",
            Self::Anonymous => "ANONYMOUS",
            Self::External => "EXTERNAL",
        })
    }

    /// The mechanism of this name.
    pub fn of(symbol: &Symbol) -> Option<Self> {
        Some(match symbol.as_str() {
            "MSSBCBS" => Self::MsSbCbs,
            "PLAIN" => Self::Plain,
            "ANONYMOUS" => Self::Anonymous,
            "EXTERNAL" => Self::External,
            _ => return None,
        })
    }
}

/// How a client comes in.
#[derive(Clone, PartialEq, Eq)]
pub enum Login {
    /// Without SASL.
    Skip,
    /// `ANONYMOUS`.
    Anonymous,
    /// `PLAIN`.
    Plain {
        /// The user's name; a key's name with Event Hubs.
        user: String,
        /// The password; a key with Event Hubs.
        password: String,
    },
    /// `EXTERNAL`.
    External,
    /// `MSSBCBS`.
    MsSbCbs,
}

impl Login {
    /// The mechanism; none when SASL is skipped.
    pub fn mechanism(&self) -> Option<Mechanism> {
        Some(match self {
            Self::Skip => return None,
            Self::Anonymous => Mechanism::Anonymous,
            Self::Plain { .. } => Mechanism::Plain,
            Self::External => Mechanism::External,
            Self::MsSbCbs => Mechanism::MsSbCbs,
        })
    }
}

impl std::fmt::Debug for Login {
    /// Without the password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Plain { user, .. } => f.debug_struct("Plain").field("user", user).finish_non_exhaustive(),
            Self::Skip => f.write_str("Skip"),
            Self::Anonymous => f.write_str("Anonymous"),
            Self::External => f.write_str("External"),
            Self::MsSbCbs => f.write_str("MsSbCbs"),
        }
    }
}
