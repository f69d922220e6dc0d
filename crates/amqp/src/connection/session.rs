//! What is known of a session.

use super::event::SessionId;
use super::link::{Link, LinkState, Sender, Side};
use super::serial::left_in_window;
use super::unsettled::Unsettled;
use crate::codec::performative::{Flow, Role};

/// The transfer id of the first frame this end sends in a session. Any number would do; Event Hubs takes 1.
pub(super) const FIRST_OUTGOING_ID: u32 = 1;

/// How many transfer frames this end says it may send: there is no limit of its own.
pub(super) const OUTGOING_WINDOW: u32 = u32::MAX;

/// No slot, in [`Session::handles`] and in the table of channels.
pub(super) const NO_SLOT: u16 = u16::MAX;

/// In the table of channels: there was a session, and the peer has ended it.
pub(super) const ENDED: u16 = u16::MAX - 1;

#[derive(Debug)]
pub(super) struct Session {
    pub(super) generation: u32,
    pub(super) state: SessionState,
    /// The channel that this end sends on.
    pub(super) channel: u16,
    /// The channel that the peer sends on, once it has begun the session too.
    pub(super) remote_channel: Option<u16>,
    /// The id of the next transfer frame to come.
    pub(super) next_incoming_id: Option<u32>,
    /// How many more transfer frames may come before this end renews its window.
    pub(super) incoming_window: u32,
    /// The id of the next transfer frame to go.
    pub(super) next_outgoing_id: u32,
    /// How many more transfer frames the peer takes.
    pub(super) remote_window: u32,
    /// Sending stopped at the window, so the caller waits to hear that it has opened.
    pub(super) window_shut: bool,
    /// A delivery has gone: `next_delivery_id` minus one is one.
    pub(super) has_sent: bool,
    /// The number of the next delivery to go.
    pub(super) next_delivery_id: u32,
    /// The highest handle the peer takes.
    pub(super) remote_handle_max: u32,
    /// Deliveries that came and are not settled.
    pub(super) unsettled: Unsettled,
    /// By this end's handle.
    pub(super) links: Vec<Option<Link>>,
    /// This end's handle by the peer's.
    pub(super) handles: Vec<u16>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SessionState {
    /// This end has begun it, the peer not yet.
    Asked,
    Active,
    /// This end has ended it, the peer not yet: what still comes is thrown away.
    Ending {
        /// The caller knows that it is over.
        told: bool,
    },
}

impl Session {
    pub(super) fn new(generation: u32, channel: u16, incoming_window: u32) -> Self {
        Self {
            generation,
            state: SessionState::Asked,
            channel,
            remote_channel: None,
            next_incoming_id: None,
            incoming_window,
            next_outgoing_id: FIRST_OUTGOING_ID,
            remote_window: 0,
            window_shut: false,
            has_sent: false,
            next_delivery_id: 0,
            remote_handle_max: u32::MAX,
            unsettled: Unsettled::default(),
            links: Vec::new(),
            handles: Vec::new(),
        }
    }

    pub(super) fn id(&self, slot: u16) -> SessionId {
        SessionId { slot, generation: self.generation }
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self.state, SessionState::Ending { .. })
    }

    /// The link behind a handle of the peer's.
    pub(super) fn slot_of(&self, remote_handle: u32) -> Option<usize> {
        let slot = *self.handles.get(usize::try_from(remote_handle).ok()?)?;
        (slot != NO_SLOT).then_some(usize::from(slot))
    }

    /// Remembers which link the peer's handle is. The handle was checked against this end's highest.
    pub(super) fn map_handle(&mut self, remote_handle: u32, slot: u16) {
        let at = remote_handle as usize;
        if self.handles.len() <= at {
            self.handles.resize(at + 1, NO_SLOT);
        }
        self.handles[at] = slot;
    }

    /// A handle that is free and that the peer takes: the one it uses itself if possible.
    pub(super) fn free_slot(&self, wish: Option<u32>, most: u16) -> Option<u16> {
        let free = |slot: u16| {
            slot < most
                && u32::from(slot) <= self.remote_handle_max
                && self.links.get(usize::from(slot)).is_none_or(Option::is_none)
        };
        let wish = wish.and_then(|wish| u16::try_from(wish).ok());
        wish.filter(|&wish| free(wish)).or_else(|| (0..most).find(|&slot| free(slot)))
    }

    pub(super) fn put_link(&mut self, slot: u16, link: Link) {
        let at = usize::from(slot);
        if self.links.len() <= at {
            self.links.resize_with(at + 1, || None);
        }
        self.links[at] = Some(link);
    }

    /// Takes a link out, with its handle and the deliveries that were not settled.
    pub(super) fn remove_link(&mut self, slot: usize) -> Option<Link> {
        let link = self.links.get_mut(slot)?.take()?;
        self.unmap_handle(&link, slot);
        self.unsettled.forget(slot as u32);
        Some(link)
    }

    /// Forgets the peer's handle of a link, unless it is another link's by now.
    fn unmap_handle(&mut self, link: &Link, slot: usize) {
        if let Some(handle) = link.remote_handle
            && let Some(mapped) = self.handles.get_mut(handle as usize)
            && usize::from(*mapped) == slot
        {
            *mapped = NO_SLOT;
        }
    }

    /// The peer has detached a link, and has not been answered: its handle is free, and what this end has not settled can
    /// still be. Answers what the link has left of a delivery, in bytes.
    pub(super) fn leave_link(&mut self, slot: usize, closed: bool) -> usize {
        let Some(link) = self.links.get_mut(slot).and_then(Option::take) else { return 0 };
        self.unmap_handle(&link, slot);
        let mut left = Link { state: LinkState::Left { closed }, ..link };
        let partial = match &mut left.side {
            Side::Sends(sender) => {
                *sender = Sender::default();
                None
            }
            Side::Receives(receiver) => receiver.partial.take(),
        };
        self.links[slot] = Some(left);
        partial.map_or(0, |partial| partial.message.len())
    }

    /// The links that the peer has detached and that were not answered.
    pub(super) fn left_links(&self) -> impl Iterator<Item = usize> + '_ {
        let left = |link: &Link| matches!(link.state, LinkState::Left { .. });
        self.links
            .iter()
            .enumerate()
            .filter(move |(_, link)| link.as_ref().is_some_and(left))
            .map(|(at, _)| at)
    }

    /// The link with this name on which this end has this role, if it is in use or asked for.
    pub(super) fn find_link(&self, name: &str, role: Role, wanted: impl Fn(&Link) -> bool) -> Option<usize> {
        self.links.iter().position(|link| {
            link.as_ref().is_some_and(|link| link.role() == role && *link.name == *name && wanted(link))
        })
    }

    /// The peer's window as its flow tells it.
    pub(super) fn window_from(&mut self, flow: &Flow) {
        // Before the peer has seen this end's begin, it cannot know where the ids start.
        let start = flow.next_incoming_id.unwrap_or(FIRST_OUTGOING_ID);
        self.remote_window = left_in_window(start, flow.incoming_window, self.next_outgoing_id);
    }

    /// A flow with the state of this session. Sending it renews the window.
    pub(super) fn flow(&mut self, window: u32) -> Flow {
        self.incoming_window = window;
        Flow {
            next_incoming_id: self.next_incoming_id,
            incoming_window: window,
            next_outgoing_id: self.next_outgoing_id,
            outgoing_window: OUTGOING_WINDOW,
            ..Flow::default()
        }
    }

    /// A flow with the state of this session and of one of its links.
    pub(super) fn link_flow(&mut self, slot: usize, window: u32) -> Flow {
        let mut flow = self.flow(window);
        if let Some(Some(link)) = self.links.get(slot) {
            link.state_into(&mut flow, slot as u32);
        }
        flow
    }
}
