//! What is known of a link.

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;
use smallvec::SmallVec;

use crate::codec::performative::{DeliveryTag, Flow, Role};

#[derive(Debug)]
pub(super) struct Link {
    pub(super) generation: u32,
    pub(super) name: ByteString,
    pub(super) state: LinkState,
    /// The peer's handle, once it has attached the link too.
    pub(super) remote_handle: Option<u32>,
    pub(super) side: Side,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LinkState {
    /// The peer has asked for it; the caller decides.
    Requested,
    /// This end has asked for it; the peer decides.
    Asked,
    Attached,
    /// The peer has detached it; the caller [answers](super::Connection::answer_detach).
    Left {
        /// It is over, and not to be resumed.
        closed: bool,
    },
    /// This end has detached it, the peer not yet: what still comes is thrown away.
    Detaching {
        /// The caller knows that it is gone.
        told: bool,
    },
}

/// What this end does on the link.
#[derive(Debug)]
pub(super) enum Side {
    Sends(Sender),
    Receives(Receiver),
}

/// The state of a link that this end sends on. What the peer has not settled is not kept: some clients never settle.
#[derive(Debug, Default)]
pub(super) struct Sender {
    pub(super) delivery_count: u32,
    pub(super) credit: u32,
    /// The peer waits for the rest of its credit.
    pub(super) drain: bool,
    /// The largest message the peer takes.
    pub(super) max_message_bytes: Option<u64>,
    /// A delivery of which only the first frames have gone.
    pub(super) unfinished: Option<Box<Unfinished>>,
}

/// A delivery of which only the first frames have gone.
#[derive(Debug)]
pub(super) struct Unfinished {
    /// What is left of the message.
    pub(super) parts: SmallVec<[Bytes; 4]>,
    pub(super) delivery_id: u32,
    /// What only the first frame says; none when that has gone.
    pub(super) head: Option<(DeliveryTag, u32)>,
    pub(super) settled: bool,
}

/// The state of a link that this end receives on.
#[derive(Debug)]
pub(super) struct Receiver {
    pub(super) delivery_count: u32,
    pub(super) credit: u32,
    pub(super) policy: CreditPolicy,
    /// Deliveries that are not settled.
    pub(super) unsettled: u32,
    /// This end has asked for the rest of the credit.
    pub(super) draining: bool,
    /// The largest message that is taken.
    pub(super) max_message_bytes: u64,
    /// A delivery whose last frame has not come.
    pub(super) partial: Option<Box<Partial>>,
}

/// A delivery whose last frame has not come.
#[derive(Debug)]
pub(super) struct Partial {
    pub(super) delivery_id: u32,
    pub(super) tag: DeliveryTag,
    pub(super) message_format: u32,
    pub(super) settled: bool,
    pub(super) message: BytesMut,
    /// It is above the limit, and its bytes are thrown away.
    pub(super) too_large: bool,
}

/// How a link that receives gets its credit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CreditPolicy {
    /// Only when the caller [grants](super::Connection::grant_credit) it.
    #[default]
    Manual,
    /// By itself: credit and unsettled deliveries together are brought back to this number whenever they are down to half
    /// of it. Settling late therefore slows the sender down.
    Window(u32),
}

impl Receiver {
    pub(super) fn new(max_message_bytes: u64) -> Self {
        Self {
            delivery_count: 0,
            credit: 0,
            policy: CreditPolicy::Manual,
            unsettled: 0,
            draining: false,
            max_message_bytes,
            partial: None,
        }
    }

    /// How much credit the policy adds now. Zero when there is no need for a flow.
    pub(super) fn top_up(&self) -> u32 {
        let CreditPolicy::Window(window) = self.policy else { return 0 };
        let outstanding = self.credit.saturating_add(self.unsettled);
        if self.draining || outstanding > window / 2 { 0 } else { window - outstanding }
    }
}

impl Link {
    pub(super) fn role(&self) -> Role {
        match self.side {
            Side::Sends(_) => Role::Sender,
            Side::Receives(_) => Role::Receiver,
        }
    }

    /// Writes the link's state into a flow.
    pub(super) fn state_into(&self, flow: &mut Flow, handle: u32) {
        flow.handle = Some(handle);
        match &self.side {
            Side::Sends(sender) => {
                flow.delivery_count = Some(sender.delivery_count);
                flow.link_credit = Some(sender.credit);
                flow.available = Some(0);
                flow.drain = sender.drain;
            }
            Side::Receives(receiver) => {
                flow.delivery_count = Some(receiver.delivery_count);
                flow.link_credit = Some(receiver.credit);
                flow.drain = receiver.draining;
            }
        }
    }
}
