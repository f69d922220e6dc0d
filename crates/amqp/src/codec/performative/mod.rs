//! The performatives: what a frame asks for or tells (parts 2 and 3 of the specification).
//!
//! A field that the specification gives a default has that default here when it did not come; one without a default is an
//! option. All fields are always written, with explicit nulls at the end.

mod decode;
mod encode;
mod terminus;

use bytes::Bytes;
use bytestring::ByteString;

use crate::codec::error::DecodeError;
use crate::codec::value::{Map, Symbol, Value};

pub use encode::Encode;
pub use terminus::{Durability, Source, Target};

/// What a frame asks for or tells.
#[derive(Clone, Debug, PartialEq)]
pub enum Performative {
    /// Opens the connection.
    Open(Box<Open>),
    /// Begins a session.
    Begin(Box<Begin>),
    /// Attaches a link.
    Attach(Box<Attach>),
    /// Gives credit and window, and asks for the peer's state.
    Flow(Box<Flow>),
    /// Carries a message or a part of one.
    Transfer(Transfer),
    /// Tells the outcome of deliveries.
    Disposition(Disposition),
    /// Detaches or closes a link.
    Detach(Detach),
    /// Ends a session.
    End(End),
    /// Closes the connection.
    Close(Close),
}

impl Performative {
    /// Takes the performative from the front of a frame body and leaves the payload, if there is one. What it holds is
    /// copied, so that a link that stays does not keep a read buffer alive.
    pub fn decode(body: &mut Bytes) -> Result<Self, DecodeError> {
        decode::performative(body)
    }

    /// The name, for messages to people.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Open(_) => "open",
            Self::Begin(_) => "begin",
            Self::Attach(_) => "attach",
            Self::Flow(_) => "flow",
            Self::Transfer(_) => "transfer",
            Self::Disposition(_) => "disposition",
            Self::Detach(_) => "detach",
            Self::End(_) => "end",
            Self::Close(_) => "close",
        }
    }
}

/// Opens the connection and states this end's limits.
#[derive(Clone, Debug, PartialEq)]
pub struct Open {
    /// The name of the container, unique among the peers.
    pub container_id: ByteString,
    /// The host that the peer wants to talk to.
    pub hostname: Option<ByteString>,
    /// The largest frame this end takes, in bytes; at least 512.
    pub max_frame_size: u32,
    /// The highest channel number this end takes.
    pub channel_max: u16,
    /// The connection is dead when nothing comes for this long, in milliseconds.
    pub idle_timeout: Option<u32>,
    /// Locales for outgoing text.
    pub outgoing_locales: Vec<Symbol>,
    /// Locales wanted for incoming text.
    pub incoming_locales: Vec<Symbol>,
    /// Extensions that this end has.
    pub offered_capabilities: Vec<Symbol>,
    /// Extensions that this end would use if the peer has them.
    pub desired_capabilities: Vec<Symbol>,
    /// Who this end is: product, version, platform.
    pub properties: Map,
}

impl Default for Open {
    fn default() -> Self {
        Self {
            container_id: ByteString::new(),
            hostname: None,
            max_frame_size: u32::MAX,
            channel_max: u16::MAX,
            idle_timeout: None,
            outgoing_locales: Vec::new(),
            incoming_locales: Vec::new(),
            offered_capabilities: Vec::new(),
            desired_capabilities: Vec::new(),
            properties: Map::new(),
        }
    }
}

/// Begins a session on a channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Begin {
    /// In an answer, the channel that the peer began the session on.
    pub remote_channel: Option<u16>,
    /// The id of the next transfer frame this end sends.
    pub next_outgoing_id: u32,
    /// How many transfer frames this end takes.
    pub incoming_window: u32,
    /// How many transfer frames this end may send.
    pub outgoing_window: u32,
    /// The highest link handle this end takes.
    pub handle_max: u32,
    /// Extensions that this end has.
    pub offered_capabilities: Vec<Symbol>,
    /// Extensions that this end would use if the peer has them.
    pub desired_capabilities: Vec<Symbol>,
    /// Properties of the session.
    pub properties: Map,
}

impl Default for Begin {
    fn default() -> Self {
        Self {
            remote_channel: None,
            next_outgoing_id: 0,
            incoming_window: 0,
            outgoing_window: 0,
            handle_max: u32::MAX,
            offered_capabilities: Vec::new(),
            desired_capabilities: Vec::new(),
            properties: Map::new(),
        }
    }
}

/// Attaches a link to the session.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Attach {
    /// The link's name, unique among the links of one direction between two containers.
    pub name: ByteString,
    /// The number that this end uses for the link in the session.
    pub handle: u32,
    /// What this end is on the link.
    pub role: Role,
    /// Whether the sender settles.
    pub snd_settle_mode: SenderSettleMode,
    /// When the receiver settles.
    pub rcv_settle_mode: ReceiverSettleMode,
    /// Where messages come from. None refuses an attach to a source.
    pub source: Option<Source>,
    /// Where messages go. None refuses an attach to a target.
    pub target: Option<Target>,
    /// The target is a transaction coordinator; then there is no `target`.
    pub coordinator: bool,
    /// Unsettled deliveries to resume, by tag.
    pub unsettled: Map,
    /// The unsettled map is not complete.
    pub incomplete_unsettled: bool,
    /// The sender's first delivery count. The sender must give it.
    pub initial_delivery_count: Option<u32>,
    /// The largest message this end takes, in bytes. None and 0 mean any size.
    pub max_message_size: Option<u64>,
    /// Extensions that this end has.
    pub offered_capabilities: Vec<Symbol>,
    /// Extensions that this end would use if the peer has them.
    pub desired_capabilities: Vec<Symbol>,
    /// Properties of the link, such as `com.microsoft:epoch`.
    pub properties: Map,
}

/// The state of a session's windows, and of a link's credit when a handle is given.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Flow {
    /// The id of the next transfer frame this end expects. None before the peer's begin was seen.
    pub next_incoming_id: Option<u32>,
    /// How many transfer frames this end takes.
    pub incoming_window: u32,
    /// The id of the next transfer frame this end sends.
    pub next_outgoing_id: u32,
    /// How many transfer frames this end may send.
    pub outgoing_window: u32,
    /// The link that the following fields are about.
    pub handle: Option<u32>,
    /// How many deliveries the sender has made, as far as this end knows.
    pub delivery_count: Option<u32>,
    /// How many more deliveries the receiver takes.
    pub link_credit: Option<u32>,
    /// How many deliveries the sender has ready.
    pub available: Option<u32>,
    /// The sender is to use up the credit or give it back.
    pub drain: bool,
    /// The peer is asked for a flow of its own.
    pub echo: bool,
    /// Properties of the link's state.
    pub properties: Map,
}

/// Carries a message or a part of one; the payload follows it in the frame.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Transfer {
    /// The link.
    pub handle: u32,
    /// The delivery's number in the session. Later frames of a delivery may leave it out.
    pub delivery_id: Option<u32>,
    /// The delivery's name on the link. Later frames of a delivery may leave it out.
    pub delivery_tag: Option<DeliveryTag>,
    /// The format of the message. Later frames of a delivery may leave it out.
    pub message_format: Option<u32>,
    /// The sender has settled the delivery.
    pub settled: Option<bool>,
    /// The message goes on in another frame.
    pub more: bool,
    /// When the receiver is to settle.
    pub rcv_settle_mode: Option<ReceiverSettleMode>,
    /// The delivery's state at the sender.
    pub state: Option<Box<DeliveryState>>,
    /// The delivery is a resumed one.
    pub resume: bool,
    /// The delivery is given up, and what came of it is to be thrown away.
    pub aborted: bool,
    /// The receiver need not answer at once.
    pub batchable: bool,
}

/// Tells the state of a range of deliveries.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Disposition {
    /// What this end is on the links of the deliveries.
    pub role: Role,
    /// The id of the first delivery.
    pub first: u32,
    /// The id of the last delivery. None means the first one alone.
    pub last: Option<u32>,
    /// This end has settled them.
    pub settled: bool,
    /// Their state.
    pub state: Option<DeliveryState>,
    /// The peer need not answer at once.
    pub batchable: bool,
}

/// Detaches a link.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Detach {
    /// The link.
    pub handle: u32,
    /// The link is over, not only detached.
    pub closed: bool,
    /// Why, if something is wrong.
    pub error: Option<AmqpError>,
}

/// Ends the session.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct End {
    /// Why, if something is wrong.
    pub error: Option<AmqpError>,
}

/// Closes the connection.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Close {
    /// Why, if something is wrong.
    pub error: Option<AmqpError>,
}

/// What is wrong.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AmqpError {
    /// One of [`crate::codec::names::condition`], or a condition of the peer's own.
    pub condition: Symbol,
    /// The same for people.
    pub description: Option<ByteString>,
    /// More about it.
    pub info: Map,
}

impl AmqpError {
    /// An error with a condition and a text for people.
    pub fn new(condition: Symbol, description: impl Into<ByteString>) -> Self {
        Self { condition, description: Some(description.into()), info: Map::new() }
    }
}

impl std::fmt::Display for AmqpError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.description {
            Some(description) => write!(f, "{}: {description}", self.condition),
            None => write!(f, "{}", self.condition),
        }
    }
}

/// The state of a delivery at one end.
#[derive(Clone, Debug, PartialEq)]
pub enum DeliveryState {
    /// A part of it has come.
    Received {
        /// The first section that is missing.
        section_number: u32,
        /// The first byte of it that is missing.
        section_offset: u64,
    },
    /// It was taken.
    Accepted,
    /// It is wrong.
    Rejected {
        /// Why.
        error: Option<AmqpError>,
    },
    /// It was not looked at and can be sent again.
    Released,
    /// It was not taken, and is to be changed before it is sent again.
    Modified {
        /// The attempt counts as a failed one.
        delivery_failed: bool,
        /// Not to be sent to this receiver again.
        undeliverable_here: bool,
        /// Annotations to add.
        message_annotations: Map,
    },
    /// A state that this crate has no use for, such as those of transactions.
    Other(Value),
}

/// What an end is on a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Role {
    /// It sends messages.
    #[default]
    Sender,
    /// It receives messages.
    Receiver,
}

impl Role {
    /// What the other end is.
    #[must_use]
    pub fn opposite(self) -> Self {
        match self {
            Self::Sender => Self::Receiver,
            Self::Receiver => Self::Sender,
        }
    }
}

/// Whether the sender settles deliveries as it sends them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SenderSettleMode {
    /// None of them.
    Unsettled,
    /// All of them.
    Settled,
    /// As it likes.
    #[default]
    Mixed,
}

/// When the receiver settles deliveries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReceiverSettleMode {
    /// On its own.
    #[default]
    First,
    /// After the sender has.
    Second,
}

/// The longest delivery tag, in bytes (section 2.8.7 of the specification).
pub const MAX_DELIVERY_TAG: usize = 32;

/// The name of a delivery on its link: up to 32 bytes, held in place.
#[derive(Clone, Copy, Default)]
pub struct DeliveryTag {
    length: u8,
    bytes: [u8; MAX_DELIVERY_TAG],
}

impl DeliveryTag {
    /// The bytes as a tag; none when there are more than 32.
    pub fn new(tag: &[u8]) -> Option<Self> {
        let mut bytes = [0; MAX_DELIVERY_TAG];
        bytes.get_mut(..tag.len())?.copy_from_slice(tag);
        Some(Self { length: tag.len() as u8, bytes })
    }

    /// A tag of four bytes, for ends that only need tags to differ.
    pub fn from_number(number: u32) -> Self {
        let mut bytes = [0; MAX_DELIVERY_TAG];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        Self { length: 4, bytes }
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

impl PartialEq for DeliveryTag {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for DeliveryTag {}

impl std::fmt::Debug for DeliveryTag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DeliveryTag({})", self.as_bytes().escape_ascii())
    }
}
