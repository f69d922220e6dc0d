//! Sessions: begun and ended, by the peer and by the caller.

use super::engine::{Connection, Fault, Phase, Sessions};
use super::error::CommandError;
use super::event::{Event, Party, SessionId};
use super::link::Side;
use super::session::{ENDED, FIRST_OUTGOING_ID, NO_SLOT, OUTGOING_WINDOW, Session, SessionState};
use crate::codec::names::condition;
use crate::codec::performative::{AmqpError, Begin, End};

impl Connection {
    /// Begins a session. Links can be asked for at once; [`Event::SessionBegun`] comes when the peer has answered.
    ///
    /// # Errors
    /// [`CommandError::NotOpen`], [`CommandError::TooManySessions`].
    pub fn begin(&mut self) -> Result<SessionId, CommandError> {
        if self.phase != Phase::Open {
            return Err(CommandError::NotOpen);
        }
        let slot = self.free_session_slot().ok_or(CommandError::TooManySessions)?;
        let channel = self.free_channel(None).ok_or(CommandError::TooManySessions)?;
        let session = self.new_session(slot, channel);
        self.send_begin(channel, None);
        Ok(session)
    }

    /// Ends a session with all its links, with an error if something is wrong. [`Event::SessionEnded`] comes when the
    /// peer has answered.
    ///
    /// # Errors
    /// [`CommandError::NoSession`].
    pub fn end(&mut self, session: SessionId, error: Option<&AmqpError>) -> Result<(), CommandError> {
        if self.sessions.get(session).is_none() {
            return Err(CommandError::NoSession(session));
        }
        self.end_slot(session.slot, error, false);
        Ok(())
    }

    /// Ends the session of a channel because of what the peer did there.
    pub(super) fn end_faulty_session(&mut self, channel: u16, error: AmqpError) {
        let Some(slot) = self.slot_of_channel(channel) else { return self.violate(error) };
        let Some(session) = self.sessions.at(slot) else { return };
        let session = session.id(slot);
        self.end_slot(slot, Some(&error), true);
        self.events.push_back(Event::SessionEnded { session, by: Party::Protocol, error: Some(error) });
    }

    fn end_slot(&mut self, slot: u16, error: Option<&AmqpError>, told: bool) {
        let Some(session) = self.sessions.at(slot) else { return };
        session.state = SessionState::Ending { told };
        session.unsettled = Default::default();
        session.handles = Vec::new();
        let links = std::mem::take(&mut session.links);
        let channel = session.channel;
        self.wire.send_error(channel, error, |error| End { error });
        for link in links.into_iter().flatten() {
            self.give_back_partial(&link.side);
        }
    }

    pub(super) fn give_back_partial(&mut self, side: &Side) {
        if let Side::Receives(receiver) = side
            && let Some(partial) = &receiver.partial
        {
            self.partial_bytes -= partial.message.len();
        }
    }

    // Frames

    pub(super) fn peer_began(&mut self, channel: u16, begin: Begin) -> Result<(), Fault> {
        if channel > self.options.channel_max {
            let description = format!("channel {channel} is above the highest, {}", self.options.channel_max);
            return Err(Fault::connection(condition::FRAMING_ERROR, description));
        }
        if self.slot_of_channel(channel).is_some() {
            let description = format!("begin on channel {channel}, which has a session");
            return Err(Fault::connection(condition::NOT_ALLOWED, description));
        }
        let (slot, by_peer) = match begin.remote_channel {
            Some(own) => (self.slot_that_waits_on(own)?, false),
            None => (self.take_in_session(channel)?, true),
        };
        self.map_channel(channel, slot);
        let Some(session) = self.sessions.at(slot) else { return Ok(()) };
        session.remote_channel = Some(channel);
        session.next_incoming_id = Some(begin.next_outgoing_id);
        session.remote_window = begin.incoming_window;
        session.remote_handle_max = begin.handle_max;
        if session.is_over() {
            // It was ended before the peer began it. Its end is still to come.
            return Ok(());
        }
        session.state = SessionState::Active;
        let session = session.id(slot);
        self.events.push_back(Event::SessionBegun { session, by_peer });
        Ok(())
    }

    /// The session of which this begin is the answer.
    fn slot_that_waits_on(&self, own_channel: u16) -> Result<u16, Fault> {
        let waits = |session: &Session| session.channel == own_channel && session.remote_channel.is_none();
        let found = self.sessions.0.iter().position(|session| session.as_deref().is_some_and(waits));
        found.map(|slot| slot as u16).ok_or_else(|| {
            let description = format!("begin answers channel {own_channel}, on which nothing was begun");
            Fault::connection(condition::NOT_ALLOWED, description)
        })
    }

    /// Answers the begin of the peer.
    fn take_in_session(&mut self, channel: u16) -> Result<u16, Fault> {
        let limit = || {
            Fault::connection(
                condition::RESOURCE_LIMIT_EXCEEDED,
                "the connection has as many sessions as may be",
            )
        };
        let slot = self.free_session_slot().ok_or_else(limit)?;
        let own = self.free_channel(Some(channel)).ok_or_else(limit)?;
        self.new_session(slot, own);
        self.send_begin(own, Some(channel));
        Ok(slot)
    }

    pub(super) fn peer_ended(&mut self, channel: u16, end: End) -> Result<(), Fault> {
        let slot = self.slot_or_fault(channel)?;
        let Some(session) = self.sessions.at(slot) else { return Ok(()) };
        let (state, id) = (session.state, session.id(slot));
        if !session.is_over() {
            self.end_slot(slot, None, true);
        }
        self.sessions.0[usize::from(slot)] = None;
        self.channels[usize::from(channel)] = ENDED;
        let by = match state {
            SessionState::Ending { told: true } => return Ok(()),
            SessionState::Ending { told: false } => Party::Caller,
            _ => Party::Peer,
        };
        self.events.push_back(Event::SessionEnded { session: id, by, error: end.error });
        Ok(())
    }

    fn send_begin(&mut self, channel: u16, remote_channel: Option<u16>) {
        self.wire.send(
            channel,
            &Begin {
                remote_channel,
                next_outgoing_id: FIRST_OUTGOING_ID,
                incoming_window: self.options.incoming_window,
                outgoing_window: OUTGOING_WINDOW,
                handle_max: u32::from(self.options.limits.links_per_session) - 1,
                ..Begin::default()
            },
        );
    }

    // Slots and channels

    fn new_session(&mut self, slot: u16, channel: u16) -> SessionId {
        let at = usize::from(slot);
        if self.sessions.0.len() <= at {
            self.sessions.0.resize_with(at + 1, || None);
        }
        let session = Session::new(self.next_generation(), channel, self.options.incoming_window);
        let id = session.id(slot);
        self.sessions.0[at] = Some(Box::new(session));
        id
    }

    pub(super) fn next_generation(&mut self) -> u32 {
        self.generations = self.generations.wrapping_add(1);
        self.generations
    }

    fn free_session_slot(&self) -> Option<u16> {
        let Sessions(slots) = &self.sessions;
        let free = slots.iter().position(Option::is_none).unwrap_or(slots.len());
        (free < usize::from(self.options.limits.sessions)).then_some(free as u16)
    }

    /// A channel to send on that is free and that the peer takes: the one it uses itself if possible.
    fn free_channel(&self, wish: Option<u16>) -> Option<u16> {
        let taken = |channel: u16| self.sessions.0.iter().flatten().any(|session| session.channel == channel);
        let most = self.peer_channel_max.min(NO_SLOT - 1);
        wish.filter(|&wish| wish <= most && !taken(wish))
            .or_else(|| (0..=most).find(|&channel| !taken(channel)))
    }

    fn map_channel(&mut self, channel: u16, slot: u16) {
        let at = usize::from(channel);
        if self.channels.len() <= at {
            self.channels.resize(at + 1, NO_SLOT);
        }
        self.channels[at] = slot;
    }

    #[inline]
    fn slot_of_channel(&self, channel: u16) -> Option<u16> {
        self.channels.get(usize::from(channel)).copied().filter(|&slot| slot != NO_SLOT && slot != ENDED)
    }

    /// Whether the peer has ended the session that it had on a channel, and has begun no other there.
    pub(super) fn has_ended(&self, channel: u16) -> bool {
        self.channels.get(usize::from(channel)) == Some(&ENDED)
    }

    #[inline]
    pub(super) fn slot_or_fault(&self, channel: u16) -> Result<u16, Fault> {
        self.slot_of_channel(channel).ok_or_else(|| {
            Fault::connection(
                condition::NOT_ALLOWED,
                format!("a frame on channel {channel}, which has no session"),
            )
        })
    }
}
