//! Links: attached and detached, by the peer and by the caller.

use super::engine::{Connection, Fault};
use super::error::CommandError;
use super::event::{Event, LinkId, Party, SessionId};
use super::link::{Link, LinkState, Receiver, Sender, Side};
use super::session::Session;
use super::wire::Wire;
use crate::codec::names::condition;
use crate::codec::performative::{
    AmqpError, Attach, Detach, ReceiverSettleMode, Role, SenderSettleMode, Source, Target,
};
use crate::codec::value::{Map, Symbol};
use bytestring::ByteString;

/// The longest name of a link that is taken, in bytes. Event Hubs clients make theirs of an address and a uuid.
const MAX_LINK_NAME: usize = 2048;

/// How a link that the peer asked for is accepted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Accept {
    /// Where the messages come from: what the peer asked for, as a rule.
    pub source: Option<Source>,
    /// Where the messages go: what the peer asked for, as a rule.
    pub target: Option<Target>,
    /// Whether the sender settles.
    pub snd_settle_mode: SenderSettleMode,
    /// When the receiver settles.
    pub rcv_settle_mode: ReceiverSettleMode,
    /// On a link that receives, the largest message that is taken, in bytes; none, or more than
    /// [`message_bytes`](super::Limits::message_bytes), means that limit. It is told to the peer.
    pub max_message_size: Option<u64>,
    /// Extensions that this end has.
    pub offered_capabilities: Vec<Symbol>,
    /// Properties of the link.
    pub properties: Map,
}

impl Accept {
    /// Accepts what the peer asked for, as it is.
    pub fn as_asked(asked: Attach) -> Self {
        Self {
            source: asked.source,
            target: asked.target,
            snd_settle_mode: asked.snd_settle_mode,
            rcv_settle_mode: asked.rcv_settle_mode,
            ..Self::default()
        }
    }
}

impl Connection {
    /// Accepts a link that the peer [asked for](Event::AttachRequested). A link that receives has no credit yet.
    ///
    /// # Errors
    /// [`CommandError::NoLink`] when it is not asked for any more. [`CommandError::FrameTooSmall`] when the answer is
    /// larger than the peer takes; then the request still stands.
    pub fn accept_attach(&mut self, id: LinkId, accept: Accept) -> Result<(), CommandError> {
        let Self { sessions, wire, options, events, .. } = self;
        let session = sessions.of_link(id).ok_or(CommandError::NoLink(id))?;
        let channel = session.channel;
        let link = requested(session, id, LinkState::Requested)?;
        let limit = options.limits.message_bytes;
        let own_limit =
            accept.max_message_size.filter(|&wanted| wanted > 0).map_or(limit, |wanted| wanted.min(limit));
        let max_message_size = match link.side {
            Side::Sends(_) => accept.max_message_size,
            Side::Receives(_) => Some(own_limit),
        };
        let attach = Attach {
            name: link.name.clone(),
            handle: id.slot.into(),
            role: link.role(),
            snd_settle_mode: accept.snd_settle_mode,
            rcv_settle_mode: accept.rcv_settle_mode,
            source: accept.source,
            target: accept.target,
            // The receiver's is of no meaning, but a null is taken badly by the Python client.
            initial_delivery_count: Some(0),
            max_message_size,
            offered_capabilities: accept.offered_capabilities,
            properties: accept.properties,
            ..Attach::default()
        };
        if !wire.send(channel, &attach) {
            return Err(CommandError::FrameTooSmall);
        }
        link.state = LinkState::Attached;
        match &mut link.side {
            // A flow may have come behind the attach, before this answer.
            Side::Sends(sender) if sender.credit > 0 || sender.drain => {
                events.push_back(Event::Credit { link: id, credit: sender.credit, drain: sender.drain });
            }
            Side::Sends(_) => {}
            Side::Receives(receiver) => receiver.max_message_bytes = own_limit,
        }
        self.top_up(id);
        Ok(())
    }

    /// Refuses a link that the peer [asked for](Event::AttachRequested): it is attached without source and target, and
    /// detached with the error at once. That is how Event Hubs says it, and what its clients understand.
    ///
    /// # Errors
    /// [`CommandError::NoLink`] when it is not asked for any more.
    pub fn reject_attach(&mut self, id: LinkId, error: &AmqpError) -> Result<(), CommandError> {
        let session = self.sessions.of_link(id).ok_or(CommandError::NoLink(id))?;
        requested(session, id, LinkState::Requested)?;
        self.detach_link(id, true, Some(error), true);
        Ok(())
    }

    /// Asks the peer for a link. [`Event::Attached`] comes when it is there, [`Event::Detached`] when it is refused. The
    /// handle is chosen here, and a sender's count starts at 0, whatever the attach says.
    ///
    /// # Errors
    /// [`CommandError::NoSession`], [`CommandError::NameTaken`], [`CommandError::TooManyLinks`],
    /// [`CommandError::FrameTooSmall`].
    pub fn attach(&mut self, session: SessionId, mut attach: Attach) -> Result<LinkId, CommandError> {
        let generation = self.next_generation();
        let Self { sessions, wire, options, .. } = self;
        let found = sessions.get(session).ok_or(CommandError::NoSession(session))?;
        if found.find_link(&attach.name, attach.role, |_| true).is_some() {
            return Err(CommandError::NameTaken);
        }
        let slot =
            found.free_slot(None, options.limits.links_per_session).ok_or(CommandError::TooManyLinks)?;
        attach.handle = slot.into();
        let side = match attach.role {
            Role::Sender => {
                attach.initial_delivery_count = Some(0);
                Side::Sends(Sender::default())
            }
            Role::Receiver => {
                let limit = options.limits.message_bytes;
                let own = attach
                    .max_message_size
                    .filter(|&wanted| wanted > 0)
                    .map_or(limit, |wanted| wanted.min(limit));
                attach.max_message_size = Some(own);
                Side::Receives(Receiver::new(own))
            }
        };
        if !wire.send(found.channel, &attach) {
            return Err(CommandError::FrameTooSmall);
        }
        let link = Link { generation, name: attach.name, state: LinkState::Asked, remote_handle: None, side };
        found.put_link(slot, link);
        Ok(LinkId { session: session.slot, slot, generation })
    }

    /// Detaches a link; `closed` when it is over for good, with an error if something is wrong. From now on nothing of
    /// the link is told any more but [`Event::Detached`], when the peer has answered.
    ///
    /// # Errors
    /// [`CommandError::NoLink`] when it is gone or being detached.
    pub fn detach(
        &mut self,
        id: LinkId,
        closed: bool,
        error: Option<&AmqpError>,
    ) -> Result<(), CommandError> {
        let session = self.sessions.of_link(id).ok_or(CommandError::NoLink(id))?;
        match session.links[usize::from(id.slot)].as_ref().map(|link| link.state) {
            None | Some(LinkState::Detaching { .. } | LinkState::Left { .. }) => {
                Err(CommandError::NoLink(id))
            }
            Some(_) => {
                self.detach_link(id, closed, error, false);
                Ok(())
            }
        }
    }

    /// From now on the caller answers when the peer detaches a link: [`Event::Detached`] still comes at once, and
    /// [`answer_detach`](Self::answer_detach) is to be called then. There are clients that break when the answer comes
    /// too soon. Until then deliveries of the link can be settled. The end of the session answers as well.
    pub fn hold_detach_answers(&mut self) {
        self.holds_detaches = true;
    }

    /// Answers the peer's detach of a link, with [answers held back](Self::hold_detach_answers).
    ///
    /// # Errors
    /// [`CommandError::NoLink`] when no answer is due: it was given, or the session has ended.
    pub fn answer_detach(&mut self, id: LinkId) -> Result<(), CommandError> {
        let Self { sessions, wire, .. } = self;
        let session = sessions.of_link(id).ok_or(CommandError::NoLink(id))?;
        if answer_detach(session, usize::from(id.slot), wire) {
            Ok(())
        } else {
            Err(CommandError::NoLink(id))
        }
    }

    /// Detaches a link, whatever state it is in, and waits for the peer to do the same. `told` when the caller needs not
    /// hear of that.
    fn detach_link(&mut self, id: LinkId, closed: bool, error: Option<&AmqpError>, told: bool) {
        let Some(session) = self.sessions.of_link(id) else { return };
        let slot = usize::from(id.slot);
        let channel = session.channel;
        session.unsettled.forget(slot as u32);
        let Some(link) = session.links[slot].as_mut() else { return };
        let before = std::mem::replace(&mut link.state, LinkState::Detaching { told });
        let role = link.role();
        let emptied = match role {
            Role::Sender => Side::Sends(Sender::default()),
            Role::Receiver => Side::Receives(Receiver::new(0)),
        };
        let side = std::mem::replace(&mut link.side, emptied);
        // A link that the peer asked for has to be attached before it can be detached.
        let answered = before != LinkState::Requested || {
            let refusal = Attach {
                name: link.name.clone(),
                handle: slot as u32,
                role,
                initial_delivery_count: Some(0),
                ..Attach::default()
            };
            self.wire.send(channel, &refusal)
        };
        self.give_back_partial(&side);
        if answered {
            self.wire.send_error(channel, error, |error| Detach { handle: slot as u32, closed, error });
        } else {
            self.violate(AmqpError::new(
                condition::FRAME_SIZE_TOO_SMALL,
                "a link's name does not fit into a frame",
            ));
        }
    }

    /// Detaches a link because of what the peer did, and tells the caller.
    pub(super) fn detach_faulty_link(&mut self, id: LinkId, error: AmqpError) {
        self.detach_link(id, true, Some(&error), true);
        self.events.push_back(Event::Detached {
            link: id,
            by: Party::Protocol,
            closed: true,
            error: Some(error),
        });
    }

    // Frames

    pub(super) fn peer_attached(&mut self, channel: u16, attach: Box<Attach>) -> Result<(), Fault> {
        let at = self.slot_or_fault(channel)?;
        let most = self.options.limits.links_per_session;
        if attach.handle >= u32::from(most) {
            let description =
                format!("attach with handle {}, above the highest, {}", attach.handle, most - 1);
            return Err(Fault::connection(condition::FRAMING_ERROR, description));
        }
        let Some(session) = self.sessions.at(at).filter(|session| !session.is_over()) else { return Ok(()) };
        if session.slot_of(attach.handle).is_some() {
            let description = format!("attach with handle {}, which has a link", attach.handle);
            return Err(Fault::session(condition::HANDLE_IN_USE, description));
        }
        let own_role = attach.role.opposite();
        let awaits = |link: &Link| link.remote_handle.is_none();
        match session.find_link(&attach.name, own_role, awaits) {
            Some(slot) => self.peer_answered_attach(at, slot, attach),
            None => self.peer_asked_for_link(at, attach),
        }
    }

    fn peer_answered_attach(&mut self, at: u16, slot: usize, attach: Box<Attach>) -> Result<(), Fault> {
        let Self { sessions, events, .. } = self;
        let Some(session) = sessions.at(at) else { return Ok(()) };
        session.map_handle(attach.handle, slot as u16);
        let Some(link) = session.links[slot].as_mut() else { return Ok(()) };
        link.remote_handle = Some(attach.handle);
        let refused = match &mut link.side {
            Side::Sends(sender) => {
                sender.max_message_bytes = attach.max_message_size.filter(|&limit| limit > 0);
                attach.target.is_none() && !attach.coordinator
            }
            Side::Receives(receiver) => {
                receiver.delivery_count = attach.initial_delivery_count.unwrap_or(0);
                attach.source.is_none()
            }
        };
        // If it is refused, a detach follows and says why. If this end has detached it meanwhile, one follows as well.
        if link.state == LinkState::Asked && !refused {
            link.state = LinkState::Attached;
            let link = LinkId { session: at, slot: slot as u16, generation: link.generation };
            events.push_back(Event::Attached { link, attach });
            self.top_up(link);
        }
        Ok(())
    }

    fn peer_asked_for_link(&mut self, at: u16, attach: Box<Attach>) -> Result<(), Fault> {
        if attach.name.len() > MAX_LINK_NAME {
            let description = format!("attach.name is longer than {MAX_LINK_NAME} bytes");
            return Err(Fault::session(condition::INVALID_FIELD, description));
        }
        self.steal_link(at, &attach);
        let generation = self.next_generation();
        let Self { sessions, events, options, wire, .. } = self;
        let Some(session) = sessions.at(at).filter(|session| !session.is_over()) else { return Ok(()) };
        let most = options.limits.links_per_session;
        if session.free_slot(None, most).is_none() {
            // Those that wait for their answer are in the way.
            let left: Vec<_> = session.left_links().collect();
            for slot in left {
                answer_detach(session, slot, wire);
            }
        }
        let Some(slot) = session.free_slot(Some(attach.handle), most) else {
            let description = "the session has as many links as may be";
            return Err(Fault::session(condition::RESOURCE_LIMIT_EXCEEDED, description));
        };
        let side = match attach.role {
            Role::Sender => Side::Receives(Receiver {
                delivery_count: attach.initial_delivery_count.unwrap_or(0),
                ..Receiver::new(options.limits.message_bytes)
            }),
            Role::Receiver => Side::Sends(Sender {
                max_message_bytes: attach.max_message_size.filter(|&limit| limit > 0),
                ..Sender::default()
            }),
        };
        // Names are copied by the codec; the caller may keep the attach or not.
        let name: ByteString = attach.name.clone();
        let state = LinkState::Requested;
        session.map_handle(attach.handle, slot);
        session.put_link(slot, Link { generation, name, state, remote_handle: Some(attach.handle), side });
        let link = LinkId { session: at, slot, generation };
        events.push_back(Event::AttachRequested { session: session.id(at), link, attach });
        Ok(())
    }

    /// A link is attached again while it is attached: the older one is detached (section 2.6.1 of the specification).
    /// Only within a session: clients use the same name on several.
    fn steal_link(&mut self, at: u16, attach: &Attach) {
        let in_use = |link: &Link| matches!(link.state, LinkState::Requested | LinkState::Attached);
        let Some(session) = self.sessions.at(at) else { return };
        let Some(slot) = session.find_link(&attach.name, attach.role.opposite(), in_use) else { return };
        if let Some(link) = &session.links[slot] {
            let older = LinkId { session: at, slot: slot as u16, generation: link.generation };
            let error = AmqpError::new(condition::LINK_STOLEN, "the link was attached again");
            self.detach_faulty_link(older, error);
        }
    }

    pub(super) fn peer_detached(&mut self, channel: u16, detach: Detach) -> Result<(), Fault> {
        let at = self.slot_or_fault(channel)?;
        let Some(session) = self.sessions.at(at).filter(|session| !session.is_over()) else { return Ok(()) };
        let Some(slot) = session.slot_of(detach.handle) else {
            return Err(unattached("detach", detach.handle));
        };
        let Some(link) = &session.links[slot] else { return Ok(()) };
        let id = LinkId { session: at, slot: slot as u16, generation: link.generation };
        let state = link.state;
        if self.holds_detaches && state == LinkState::Attached {
            self.partial_bytes -= session.leave_link(slot, detach.closed);
            let Detach { closed, error, .. } = detach;
            self.events.push_back(Event::Detached { link: id, by: Party::Peer, closed, error });
            return Ok(());
        }
        let told = match state {
            LinkState::Detaching { told } => told,
            _ => {
                self.detach_link(id, detach.closed, None, false);
                false
            }
        };
        if let Some(session) = self.sessions.at(at) {
            session.remove_link(slot);
        }
        if !told {
            let by = if matches!(state, LinkState::Detaching { .. }) { Party::Caller } else { Party::Peer };
            self.events.push_back(Event::Detached {
                link: id,
                by,
                closed: detach.closed,
                error: detach.error,
            });
        }
        Ok(())
    }
}

/// Answers the peer's detach of a link; false when there is nothing to answer.
fn answer_detach(session: &mut Session, slot: usize, wire: &mut Wire) -> bool {
    let Some(LinkState::Left { closed }) =
        session.links.get(slot).and_then(Option::as_ref).map(|link| link.state)
    else {
        return false;
    };
    wire.send(session.channel, &Detach { handle: slot as u32, closed, error: None });
    session.remove_link(slot);
    true
}

/// The link, if it is in this state.
fn requested(session: &mut Session, id: LinkId, state: LinkState) -> Result<&mut Link, CommandError> {
    let link = session.links.get_mut(usize::from(id.slot)).and_then(Option::as_mut);
    link.filter(|link| link.state == state).ok_or(CommandError::NoLink(id))
}

pub(super) fn unattached(what: &str, handle: u32) -> Fault {
    Fault::session(condition::UNATTACHED_HANDLE, format!("{what} for handle {handle}, which has no link"))
}
