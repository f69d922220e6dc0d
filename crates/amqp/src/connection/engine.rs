//! The connection: its phases, its time-outs, and the loop that takes frames from the input.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::BytesMut;

use super::event::{Ending, Event, LinkId, SessionId};
use super::idle::{Idle, Silence};
use super::options::{Door, Login, Options};
use super::output::Output;
use super::session::Session;
use super::wire::Wire;
use crate::codec::frame::{self, Frame, FrameKind};
use crate::codec::names::condition;
use crate::codec::performative::{AmqpError, Close, Performative};
use crate::codec::value::Symbol;

/// The least and the most room that is made for a read, in bytes.
const READ_ROOM: std::ops::RangeInclusive<usize> = 512..=256 * 1024;

/// How long nothing comes and goes until buffers are given back.
const REST: Duration = Duration::from_secs(1);

/// How far answers to the peer may go beyond [`output_bytes`](super::Limits::output_bytes), in bytes.
const ANSWERS: usize = 256 * 1024;

/// One AMQP connection, seen from one of its ends. See [the module](super) for how to drive it.
#[derive(Debug)]
pub struct Connection {
    pub(super) options: Options,
    pub(super) end: End,
    pub(super) phase: Phase,
    input: BytesMut,
    /// How much of the input was there when it was looked at last.
    input_seen: usize,
    read_room: usize,
    pub(super) wire: Wire,
    pub(super) events: VecDeque<Event>,
    /// The end was told.
    ended: bool,
    pub(super) idle: Idle,
    /// When buffers are given back, if nothing comes and goes until then.
    rest_at: Option<Duration>,
    /// When the open or the close must have come, or what is left to be written must be gone.
    deadline: Option<Duration>,
    pub(super) peer_channel_max: u16,
    pub(super) sessions: Sessions,
    /// The slot of a session by the channel that the peer sends on.
    pub(super) channels: Vec<u16>,
    pub(super) generations: u32,
    /// The bytes of all deliveries whose last frame has not come.
    pub(super) partial_bytes: usize,
    /// The caller answers when the peer detaches a link.
    pub(super) holds_detaches: bool,
    /// Links with a delivery of which only the first frames have gone.
    pub(super) unfinished: VecDeque<LinkId>,
}

/// Which end of the connection this is.
#[derive(Debug)]
pub(super) enum End {
    Server(Door),
    Client(Login),
}

/// What is expected next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// On a server: the first protocol header.
    FirstHeader,
    /// On a server: the client's choice.
    SaslInit,
    /// On a server: the caller's decision.
    SaslVerdict,
    /// On a client: the server's answer to the header of SASL.
    SaslHeader,
    /// On a client: the server's offer.
    SaslMechanisms,
    /// On a client: the server's decision.
    SaslOutcome,
    /// The header of AMQP itself.
    AmqpHeader,
    /// The peer's open.
    PeerOpen,
    Open,
    /// The peer's close; everything else is thrown away.
    PeerClose,
    /// Nothing.
    Over,
}

/// What the peer did wrong, and how far it reaches.
#[derive(Debug)]
pub(super) enum Fault {
    Connection(AmqpError),
    Session(AmqpError),
}

impl Fault {
    pub(super) fn connection(condition: Symbol, description: impl Into<bytestring::ByteString>) -> Self {
        Self::Connection(AmqpError::new(condition, description))
    }

    pub(super) fn session(condition: Symbol, description: impl Into<bytestring::ByteString>) -> Self {
        Self::Session(AmqpError::new(condition, description))
    }
}

/// The sessions of a connection.
#[derive(Debug, Default)]
pub(super) struct Sessions(pub(super) Vec<Option<Box<Session>>>);

impl Sessions {
    pub(super) fn at(&mut self, slot: u16) -> Option<&mut Session> {
        self.0.get_mut(usize::from(slot))?.as_deref_mut()
    }

    /// The session, unless it is over.
    pub(super) fn get(&mut self, id: SessionId) -> Option<&mut Session> {
        self.at(id.slot).filter(|session| session.generation == id.generation && !session.is_over())
    }

    /// The session of a link that exists, unless the session is over.
    #[inline]
    pub(super) fn of_link(&mut self, id: LinkId) -> Option<&mut Session> {
        let session = self.at(id.session)?;
        let link = session.links.get(usize::from(id.slot))?.as_ref()?;
        (link.generation == id.generation && !session.is_over()).then_some(session)
    }
}

impl Connection {
    /// The server's end of a connection that a client has made at `now`, a time that only ever grows.
    pub fn server(options: Options, door: Door, now: Duration) -> Self {
        Self::new(options, End::Server(door), Phase::FirstHeader, now)
    }

    /// The client's end of a connection made at `now`, a time that only ever grows. It has something to write at once.
    pub fn client(options: Options, login: Login, now: Duration) -> Self {
        let phase = if login == Login::Skip { Phase::AmqpHeader } else { Phase::SaslHeader };
        let mut connection = Self::new(options, End::Client(login), phase, now);
        connection.greet();
        connection
    }

    fn new(options: Options, end: End, phase: Phase, now: Duration) -> Self {
        let options = options.corrected();
        Self {
            end,
            phase,
            input: BytesMut::new(),
            input_seen: 0,
            read_room: *READ_ROOM.start(),
            wire: Wire { output: Output::default(), max_frame: options.max_frame_size },
            events: VecDeque::new(),
            ended: false,
            idle: Idle::new(now, options.idle_timeout),
            rest_at: None,
            deadline: Some(now.saturating_add(options.open_timeout)),
            peer_channel_max: u16::MAX,
            sessions: Sessions::default(),
            channels: Vec::new(),
            generations: 0,
            partial_bytes: 0,
            holds_detaches: false,
            unfinished: VecDeque::new(),
            options,
        }
    }

    // Bytes

    /// Where bytes from the peer are to be appended. There is room for a read of a fitting size.
    pub fn read_buffer(&mut self) -> &mut BytesMut {
        // The rest of a frame that has begun is read in one piece, so that it is not moved again and again.
        let begun = match self.input.first_chunk::<4>() {
            Some(&size) if self.phase == Phase::Open => {
                (u32::from_be_bytes(size).min(self.options.max_frame_size) as usize)
                    .saturating_sub(self.input.len())
            }
            _ => 0,
        };
        self.input.reserve(begun.max(self.read_room));
        &mut self.input
    }

    /// Appends bytes from the peer.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    /// Whether more input is of use now. It is not while so much output waits that no more answers are made, nor while the
    /// caller has to decide about a client.
    pub fn wants_read(&self) -> bool {
        self.phase != Phase::Over && self.phase != Phase::SaslVerdict && !self.is_clogged()
    }

    /// Whether there is something to write.
    pub fn wants_write(&mut self) -> bool {
        self.send_unfinished();
        !self.wire.output.is_empty()
    }

    /// What is to be written. Take away from its front what the transport took.
    pub fn output(&mut self) -> &mut Output {
        self.send_unfinished();
        if !self.wire.output.is_empty() {
            self.idle.sent();
        }
        &mut self.wire.output
    }

    /// Whether all is said: the end was told and everything is written. The transport can be shut down.
    pub fn is_finished(&self) -> bool {
        self.phase == Phase::Over && self.wire.output.is_empty()
    }

    /// Whether sessions and links can be used.
    pub fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// So much output waits that reading has to stop.
    fn is_clogged(&self) -> bool {
        let most = self
            .options
            .limits
            .output_bytes
            .saturating_add(ANSWERS)
            .saturating_add(self.wire.max_frame as usize);
        self.wire.output.len() >= most
    }

    // Events

    /// What happened next, as far as the input tells. None when more input is needed, or output has to be written first,
    /// or the caller has to decide.
    pub fn next_event(&mut self) -> Option<Event> {
        self.note_input();
        let event = loop {
            if let Some(event) = self.events.pop_front() {
                break Some(event);
            }
            if self.is_clogged() || !self.step() {
                break self.events.pop_front();
            }
        };
        self.input_seen = self.input.len();
        event
    }

    /// Adapts the size of reads to what comes.
    fn note_input(&mut self) {
        let came = self.input.len() - self.input_seen;
        if came == 0 {
            return;
        }
        self.idle.received();
        if came >= self.read_room {
            self.read_room = (self.read_room * 2).min(*READ_ROOM.end());
        } else if came < self.read_room / 8 {
            self.read_room = (self.read_room / 2).max(*READ_ROOM.start());
        }
    }

    /// Takes one header or frame from the input; false when that is not possible.
    fn step(&mut self) -> bool {
        match self.phase {
            Phase::FirstHeader | Phase::SaslHeader | Phase::AmqpHeader => self.take_header(),
            Phase::SaslInit | Phase::SaslMechanisms | Phase::SaslOutcome => self.take_sasl_frame(),
            Phase::SaslVerdict => false,
            Phase::PeerOpen | Phase::Open => self.take_frame(),
            Phase::PeerClose => self.take_frame_of_the_closing(),
            Phase::Over => {
                self.input.clear();
                false
            }
        }
    }

    pub(super) fn input(&mut self) -> &mut BytesMut {
        &mut self.input
    }

    fn take_frame(&mut self) -> bool {
        let frame = match Frame::take(&mut self.input, self.options.max_frame_size) {
            Ok(Some(frame)) => frame,
            Ok(None) => return false,
            Err(error) => {
                self.violate(AmqpError::new(error.condition(), error.to_string()));
                return true;
            }
        };
        let Frame { kind, channel, mut body } = frame;
        if kind != FrameKind::Amqp {
            self.violate(AmqpError::new(condition::FRAMING_ERROR, "a SASL frame after the security layer"));
            return true;
        }
        if body.is_empty() {
            return true;
        }
        let handled = match Performative::decode(&mut body) {
            Ok(performative) if self.phase == Phase::Open => {
                self.take_performative(channel, performative, body)
            }
            Ok(Performative::Open(open)) => self.peer_opened(open),
            // A peer may change its mind before it has opened.
            Ok(Performative::Close(close)) => {
                self.peer_closed(close);
                Ok(())
            }
            Ok(other) => {
                Err(Fault::connection(condition::NOT_ALLOWED, format!("{} before open", other.name())))
            }
            Err(error) => Err(Fault::connection(error.condition(), error.to_string())),
        };
        match handled {
            Ok(()) => {}
            Err(Fault::Connection(error)) => self.violate(error),
            Err(Fault::Session(error)) => self.end_faulty_session(channel, error),
        }
        true
    }

    fn take_performative(
        &mut self,
        channel: u16,
        performative: Performative,
        payload: bytes::Bytes,
    ) -> Result<(), Fault> {
        // The Python client ends a session and detaches its links then.
        let is_of_connection =
            matches!(performative, Performative::Begin(_) | Performative::Close(_) | Performative::Open(_));
        if !is_of_connection && self.has_ended(channel) {
            return Ok(());
        }
        match performative {
            Performative::Transfer(transfer) => self.peer_transferred(channel, transfer, payload),
            Performative::Disposition(disposition) => self.peer_disposed(channel, disposition),
            Performative::Flow(flow) => self.peer_flowed(channel, *flow),
            Performative::Begin(begin) => self.peer_began(channel, *begin),
            Performative::Attach(attach) => self.peer_attached(channel, attach),
            Performative::Detach(detach) => self.peer_detached(channel, detach),
            Performative::End(end) => self.peer_ended(channel, end),
            Performative::Close(close) => {
                self.peer_closed(close);
                Ok(())
            }
            Performative::Open(_) => Err(Fault::connection(condition::NOT_ALLOWED, "a second open")),
        }
    }

    // The end

    /// Closes the connection, with an error if something is wrong. [`Event::Closed`] comes when the peer has answered.
    /// Before the connection is open, it ends at once.
    pub fn close(&mut self, error: Option<AmqpError>) {
        match self.phase {
            Phase::Open | Phase::PeerOpen => {
                self.send_close(error.as_ref());
                self.forget_sessions();
            }
            Phase::PeerClose | Phase::Over => {}
            _ => self.over(Ending::Caller),
        }
    }

    /// The transport has ended: nothing comes any more, and nothing can be written. Take all events from the input
    /// before.
    pub fn transport_closed(&mut self) {
        self.over(if self.phase == Phase::PeerClose { Ending::Caller } else { Ending::Disconnected });
        self.wire.output.clear();
    }

    /// The peer broke the protocol.
    pub(super) fn violate(&mut self, error: AmqpError) {
        match self.phase {
            Phase::Open | Phase::PeerOpen => {
                self.send_close(Some(&error));
                self.tell(Ending::Violation(error));
            }
            // There is no frame to say it in.
            _ => self.over(Ending::Violation(error)),
        }
    }

    fn peer_closed(&mut self, close: Close) {
        if self.phase == Phase::PeerOpen {
            self.send_own_open_if_due();
        }
        self.wire.send(0, &Close { error: None });
        self.over(Ending::Peer(close.error));
    }

    /// Sends the close and waits for the peer's. A server that has not opened must do that first.
    fn send_close(&mut self, error: Option<&AmqpError>) {
        if self.phase == Phase::PeerOpen {
            self.send_own_open_if_due();
        }
        self.wire.send_error(0, error, |error| Close { error });
        self.phase = Phase::PeerClose;
        self.deadline = Some(self.idle.now().saturating_add(self.options.close_timeout));
    }

    fn take_frame_of_the_closing(&mut self) -> bool {
        match Frame::take(&mut self.input, self.options.max_frame_size) {
            Ok(Some(mut frame)) => {
                if let Ok(Performative::Close(_)) = Performative::decode(&mut frame.body) {
                    self.over(Ending::Caller);
                }
                true
            }
            Ok(None) => false,
            // The bytes cannot be followed any more, so that the close would not be found in them.
            Err(_) => {
                self.over(Ending::Caller);
                true
            }
        }
    }

    /// Nothing more is expected.
    pub(super) fn over(&mut self, ending: Ending) {
        self.tell(ending);
        self.phase = Phase::Over;
        // A peer that reads nothing any more does not keep the connection.
        self.deadline = Some(self.idle.now().saturating_add(self.options.close_timeout));
        self.input = BytesMut::new();
        self.input_seen = 0;
    }

    /// Tells the end, once.
    fn tell(&mut self, ending: Ending) {
        if !std::mem::replace(&mut self.ended, true) {
            self.events.push_back(Event::Closed(ending));
        }
        self.forget_sessions();
    }

    fn forget_sessions(&mut self) {
        self.sessions = Sessions::default();
        self.channels = Vec::new();
        self.unfinished = VecDeque::new();
        self.partial_bytes = 0;
    }

    /// The connection is open now: no more waiting for that.
    pub(super) fn opened(&mut self, keep_alive: Option<Duration>) {
        self.phase = Phase::Open;
        self.deadline = None;
        self.idle.keep_alive(keep_alive);
    }

    // Time

    /// Does what is due at `now`: keeps the connection alive, gives up a silent peer. Call it at [`Self::next_deadline`];
    /// more often does not hurt.
    pub fn tick(&mut self, now: Duration) {
        let active = self.idle.is_active();
        if self.is_clogged() {
            // Nothing is read, so the peer's silence means nothing.
            self.idle.received();
        }
        let taken = self.wire.output.take_moved();
        let silence = self.idle.tick(now, !self.wire.output.is_empty(), taken);
        let is_due = self.deadline.is_some_and(|deadline| deadline <= self.idle.now());
        if self.phase == Phase::Over {
            // All buffers go soon; a time that has passed would be waited for again and again.
            self.rest_at = None;
            if is_due {
                self.wire.output.clear();
            }
            return;
        }
        if is_due {
            let ending = if self.phase == Phase::PeerClose { Ending::Caller } else { Ending::OpenTimeout };
            return self.over(ending);
        }
        match silence {
            Silence::Theirs if self.phase == Phase::Open => {
                let error = AmqpError::new(
                    condition::RESOURCE_LIMIT_EXCEEDED,
                    "nothing came within the idle time-out",
                );
                self.send_close(Some(&error));
                self.tell(Ending::IdleTimeout);
            }
            Silence::Stuck if self.phase == Phase::Open => {
                self.wire.output.clear();
                self.over(Ending::IdleTimeout);
            }
            // What waits to be written keeps the connection as alive as an empty frame would.
            Silence::Ours if self.phase == Phase::Open && self.wire.output.is_empty() => {
                self.wire.output.copy(&frame::EMPTY_FRAME);
            }
            _ => {}
        }
        if active {
            self.rest_at = Some(self.idle.now().saturating_add(REST));
        } else if self.rest_at.is_some_and(|at| at <= self.idle.now()) {
            self.rest_at = None;
            self.give_back_memory();
        }
    }

    /// Tells that the caller does not read at the moment, for reasons of its own: the peer's silence until the next tick
    /// means nothing.
    pub fn hold_input(&mut self) {
        self.idle.received();
    }

    /// When [`Self::tick`] has something to do. It changes with everything that comes and goes.
    pub fn next_deadline(&self) -> Option<Duration> {
        if self.is_finished() {
            return None;
        }
        let idle = if self.phase == Phase::Open { self.idle.next_deadline() } else { None };
        self.deadline.into_iter().chain(idle).chain(self.rest_at).min()
    }

    fn give_back_memory(&mut self) {
        if self.input.is_empty() {
            self.input = BytesMut::new();
            self.read_room = *READ_ROOM.start();
        }
        self.wire.output.shrink();
    }
}
