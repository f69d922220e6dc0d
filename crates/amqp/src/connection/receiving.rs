//! Deliveries that come: put together, counted, settled; and the credit for more.

use bytes::{Bytes, BytesMut};

use super::engine::{Connection, Fault};
use super::error::CommandError;
use super::event::{Delivery, Event, LinkId};
use super::link::{CreditPolicy, LinkState, Partial, Receiver, Side};
use super::links::unattached;
use super::session::Session;
use super::wire::{Wire, shortened};
use crate::codec::names::condition;
use crate::codec::performative::{AmqpError, DeliveryState, Disposition, Role, Transfer};

/// What a transfer frame comes to.
enum Arrived {
    /// Nothing to tell: thrown away, aborted, or more is to come.
    Nothing,
    /// A message, or the end of one that is too large.
    Whole(Event),
    /// The link cannot go on.
    Detach(AmqpError),
}

impl Connection {
    pub(super) fn peer_transferred(
        &mut self,
        channel: u16,
        transfer: Transfer,
        payload: Bytes,
    ) -> Result<(), Fault> {
        let at = self.slot_or_fault(channel)?;
        let Self { sessions, wire, options, events, partial_bytes, .. } = self;
        let Some(session) = sessions.at(at).filter(|session| !session.is_over()) else { return Ok(()) };
        if session.incoming_window == 0 {
            return Err(Fault::session(
                condition::WINDOW_VIOLATION,
                "a transfer beyond the session's window",
            ));
        }
        session.incoming_window -= 1;
        session.next_incoming_id = session.next_incoming_id.map(|id| id.wrapping_add(1));
        let Some(slot) = session.slot_of(transfer.handle) else {
            return Err(unattached("transfer", transfer.handle));
        };
        let Some(link) = &session.links[slot] else { return Ok(()) };
        let id = LinkId { session: at, slot: slot as u16, generation: link.generation };
        let arrived = take_in(session, id, &transfer, payload, options.limits.partial_bytes, partial_bytes)?;
        let mut beyond = None;
        match arrived {
            Arrived::Nothing => {}
            Arrived::Whole(event) => events.push_back(event),
            Arrived::Detach(error) => beyond = Some(error),
        }
        if !transfer.more || transfer.aborted {
            top_up(session, slot, wire, options.incoming_window);
        }
        if session.incoming_window <= options.incoming_window / 2 {
            let flow = session.flow(options.incoming_window);
            wire.send(session.channel, &flow);
        }
        if let Some(error) = beyond {
            self.detach_faulty_link(id, error);
        }
        Ok(())
    }

    /// Settles the deliveries of a link from `first` to `last`, with this state, in as few dispositions as possible. Answers
    /// how many there were: deliveries in between that are settled already, or were sent settled, are left out, and so are
    /// those of other links.
    ///
    /// When it is called is the caller's choice: a disposition means that the delivery is safe.
    ///
    /// # Errors
    /// [`CommandError::NoLink`] when the link is gone, [`CommandError::WrongDirection`] when it sends.
    pub fn settle(
        &mut self,
        link: LinkId,
        first: u32,
        last: u32,
        state: &DeliveryState,
    ) -> Result<u32, CommandError> {
        let Self { sessions, wire, options, .. } = self;
        let session = sessions.of_link(link).ok_or(CommandError::NoLink(link))?;
        let slot = usize::from(link.slot);
        let Session { links, unsettled, channel, .. } = session;
        let Some(Side::Receives(receiver)) = links[slot].as_mut().map(|link| &mut link.side) else {
            return Err(CommandError::WrongDirection);
        };
        let settled = unsettled.settle(slot as u32, first, last, |first, last| {
            let last = (last != first).then_some(last);
            let mut disposition = Disposition {
                role: Role::Receiver,
                first,
                last,
                settled: true,
                state: Some(state.clone()),
                batchable: false,
            };
            if !wire.send(*channel, &disposition) {
                if let DeliveryState::Rejected { error: Some(error) } = state {
                    disposition.state =
                        Some(DeliveryState::Rejected { error: Some(shortened(error, wire.max_frame)) });
                }
                if !wire.send(*channel, &disposition) {
                    // Annotations that fit into no frame: the peer must hear of the settlement all the same.
                    disposition.state = Some(DeliveryState::Rejected { error: None });
                    wire.send(*channel, &disposition);
                }
            }
        });
        receiver.unsettled = receiver.unsettled.saturating_sub(settled);
        if settled > 0 {
            top_up(session, slot, wire, options.incoming_window);
        }
        Ok(settled)
    }

    /// Tells the state of a delivery that is not settled, without settling it: [`settle`](Self::settle) is still to be
    /// called. There are clients that lose a settlement which comes too soon, and take this one when it comes later.
    ///
    /// # Errors
    /// [`CommandError::NoLink`] when the link is gone.
    pub fn tell_state(
        &mut self,
        link: LinkId,
        delivery_id: u32,
        state: &DeliveryState,
    ) -> Result<(), CommandError> {
        let Self { sessions, wire, .. } = self;
        let session = sessions.of_link(link).ok_or(CommandError::NoLink(link))?;
        if session.unsettled.has(link.slot.into(), delivery_id) {
            let mut disposition = Disposition {
                role: Role::Receiver,
                first: delivery_id,
                last: None,
                settled: false,
                state: Some(state.clone()),
                batchable: false,
            };
            if !wire.send(session.channel, &disposition) {
                // The settlement says why.
                disposition.state = Some(DeliveryState::Rejected { error: None });
                wire.send(session.channel, &disposition);
            }
        }
        Ok(())
    }

    /// Grants a link `more` credit. Answers how much was granted: credit and unsettled deliveries together do not exceed
    /// [`unsettled_per_link`](super::Limits::unsettled_per_link).
    ///
    /// # Errors
    /// [`CommandError::NoLink`] when the link is not attached, [`CommandError::WrongDirection`] when it sends.
    pub fn grant_credit(&mut self, link: LinkId, more: u32) -> Result<u32, CommandError> {
        let limit = self.options.limits.unsettled_per_link;
        let (session, wire, window) = self.receiving(link)?;
        let slot = usize::from(link.slot);
        let mut granted = 0;
        if let Some(receiver) = receiver_at(session, slot) {
            let outstanding = receiver.credit.saturating_add(receiver.unsettled);
            granted = more.min(limit.saturating_sub(outstanding));
            receiver.credit += granted;
            receiver.draining = false;
        }
        if granted > 0 {
            let flow = session.link_flow(slot, window);
            wire.send(session.channel, &flow);
        }
        Ok(granted)
    }

    /// How a link gets its credit from now on. It may be said before the link is attached. A window is not larger than
    /// [`unsettled_per_link`](super::Limits::unsettled_per_link). Credit that was granted is not taken back.
    ///
    /// # Errors
    /// [`CommandError::NoLink`] when the link is gone, [`CommandError::WrongDirection`] when it sends.
    pub fn set_credit_policy(&mut self, link: LinkId, policy: CreditPolicy) -> Result<(), CommandError> {
        let limit = self.options.limits.unsettled_per_link;
        let session = self.sessions.of_link(link).ok_or(CommandError::NoLink(link))?;
        let receiver = receiver_at(session, usize::from(link.slot)).ok_or(CommandError::WrongDirection)?;
        receiver.policy = match policy {
            CreditPolicy::Manual => CreditPolicy::Manual,
            CreditPolicy::Window(window) => CreditPolicy::Window(window.clamp(1, limit)),
        };
        receiver.draining = false;
        self.top_up(link);
        Ok(())
    }

    /// Asks the sender to use up the credit of a link at once or to give it back: [`Event::Drained`] tells that it has.
    /// No credit is added meanwhile.
    ///
    /// # Errors
    /// [`CommandError::NoLink`] when the link is not attached, [`CommandError::WrongDirection`] when it sends.
    pub fn drain(&mut self, link: LinkId) -> Result<(), CommandError> {
        let (session, wire, window) = self.receiving(link)?;
        let slot = usize::from(link.slot);
        if let Some(receiver) = receiver_at(session, slot) {
            receiver.draining = true;
        }
        let flow = session.link_flow(slot, window);
        wire.send(session.channel, &flow);
        Ok(())
    }

    /// How many deliveries of a link are not settled; none when the link is gone or sends.
    pub fn unsettled(&mut self, link: LinkId) -> Option<u32> {
        let session = self.sessions.of_link(link)?;
        receiver_at(session, usize::from(link.slot)).map(|receiver| receiver.unsettled)
    }

    fn receiving(&mut self, link: LinkId) -> Result<(&mut Session, &mut Wire, u32), CommandError> {
        let session = self.sessions.of_link(link).ok_or(CommandError::NoLink(link))?;
        match session.links[usize::from(link.slot)].as_ref() {
            Some(found) if found.state != LinkState::Attached => Err(CommandError::NoLink(link)),
            Some(found) if found.role() == Role::Sender => Err(CommandError::WrongDirection),
            _ => Ok((session, &mut self.wire, self.options.incoming_window)),
        }
    }

    /// Sends a flow if the policy of the link asks for one.
    pub(super) fn top_up(&mut self, link: LinkId) {
        let Self { sessions, wire, options, .. } = self;
        if let Some(session) = sessions.of_link(link) {
            top_up(session, usize::from(link.slot), wire, options.incoming_window);
        }
    }

    /// The sender has settled deliveries by itself: their outcome is of no use any more.
    pub(super) fn sender_settled(&mut self, at: u16, first: u32, last: u32) {
        let Self { sessions, wire, options, .. } = self;
        let Some(session) = sessions.at(at) else { return };
        let Session { unsettled, links, .. } = session;
        let mut any = false;
        unsettled.settled_by_sender(first, last, |slot| {
            any = true;
            if let Some(Side::Receives(receiver)) = links[slot as usize].as_mut().map(|link| &mut link.side) {
                receiver.unsettled = receiver.unsettled.saturating_sub(1);
            }
        });
        if any {
            for slot in 0..session.links.len() {
                top_up(session, slot, wire, options.incoming_window);
            }
        }
    }
}

fn receiver_at(session: &mut Session, slot: usize) -> Option<&mut Receiver> {
    match &mut session.links.get_mut(slot)?.as_mut()?.side {
        Side::Receives(receiver) => Some(receiver),
        Side::Sends(_) => None,
    }
}

fn top_up(session: &mut Session, slot: usize, wire: &mut Wire, window: u32) {
    let Some(link) = session.links.get_mut(slot).and_then(Option::as_mut) else { return };
    let LinkState::Attached = link.state else { return };
    let Side::Receives(receiver) = &mut link.side else { return };
    let more = receiver.top_up();
    if more > 0 {
        receiver.credit += more;
        let flow = session.link_flow(slot, window);
        wire.send(session.channel, &flow);
    }
}

/// Takes one transfer frame in.
fn take_in(
    session: &mut Session,
    id: LinkId,
    transfer: &Transfer,
    payload: Bytes,
    most_partial: usize,
    partial_bytes: &mut usize,
) -> Result<Arrived, Fault> {
    let slot = usize::from(id.slot);
    let Session { links, unsettled, .. } = session;
    let Some(link) = links[slot].as_mut() else { return Ok(Arrived::Nothing) };
    if matches!(link.state, LinkState::Detaching { .. }) {
        return Ok(Arrived::Nothing);
    }
    let Side::Receives(receiver) = &mut link.side else {
        return Err(Fault::session(
            condition::NOT_ALLOWED,
            "a transfer on a link that its sender only receives on",
        ));
    };
    let last_frame = !transfer.more || transfer.aborted;

    if receiver.partial.is_none() {
        if link.state != LinkState::Attached || receiver.credit == 0 {
            let error =
                AmqpError::new(condition::TRANSFER_LIMIT_EXCEEDED, "a transfer beyond the link's credit");
            return Ok(Arrived::Detach(error));
        }
        let Some(delivery_id) = transfer.delivery_id else {
            return Err(Fault::session(
                condition::INVALID_FIELD,
                "transfer.delivery-id is missing in a first frame",
            ));
        };
        let settled = transfer.settled == Some(true);
        let is_open = !settled && !transfer.aborted;
        if is_open && !unsettled.fits(delivery_id) {
            let description = format!("transfer.delivery-id {delivery_id} is not above those before it");
            return Err(Fault::session(condition::INVALID_FIELD, description));
        }
        receiver.credit -= 1;
        receiver.delivery_count = receiver.delivery_count.wrapping_add(1);
        if transfer.aborted {
            return Ok(Arrived::Nothing);
        }
        if is_open {
            unsettled.push(delivery_id, slot as u32);
            receiver.unsettled += 1;
        }
        let too_large = payload.len() as u64 > receiver.max_message_bytes;
        let tag = transfer.delivery_tag.unwrap_or_default();
        let message_format = transfer.message_format.unwrap_or(0);
        if last_frame {
            return Ok(Arrived::Whole(if too_large {
                Event::TooLarge { link: id, delivery_id, settled }
            } else {
                Event::Delivery(Delivery { link: id, delivery_id, tag, message_format, settled, payload })
            }));
        }
        let message = BytesMut::new();
        receiver.partial =
            Some(Box::new(Partial { delivery_id, tag, message_format, settled, message, too_large: false }));
    }

    // A frame of a delivery in several frames, the first one included. Only the first says what the delivery is; later
    // ones may repeat it or not.
    let Some(partial) = receiver.partial.as_mut() else { return Ok(Arrived::Nothing) };
    if transfer.settled == Some(true) && !partial.settled {
        partial.settled = true;
        receiver.unsettled -=
            unsettled.settle(slot as u32, partial.delivery_id, partial.delivery_id, |_, _| {});
    }
    if !partial.too_large && (partial.message.len() + payload.len()) as u64 > receiver.max_message_bytes {
        partial.too_large = true;
        *partial_bytes -= partial.message.len();
        partial.message = BytesMut::new();
    }
    if !partial.too_large && !transfer.aborted {
        if *partial_bytes + payload.len() > most_partial {
            let description = "the connection has as much in unfinished deliveries as may be";
            return Ok(Arrived::Detach(AmqpError::new(condition::RESOURCE_LIMIT_EXCEEDED, description)));
        }
        partial.message.extend_from_slice(&payload);
        *partial_bytes += payload.len();
    }
    if !last_frame {
        return Ok(Arrived::Nothing);
    }
    let Some(whole) = receiver.partial.take() else { return Ok(Arrived::Nothing) };
    let Partial { delivery_id, tag, message_format, settled, message, too_large } = *whole;
    *partial_bytes -= message.len();
    if transfer.aborted {
        // An aborted delivery is settled (section 2.6.14 of the specification).
        if !settled {
            receiver.unsettled -= unsettled.settle(slot as u32, delivery_id, delivery_id, |_, _| {});
        }
        return Ok(Arrived::Nothing);
    }
    Ok(Arrived::Whole(if too_large {
        Event::TooLarge { link: id, delivery_id, settled }
    } else {
        let payload = message.freeze();
        Event::Delivery(Delivery { link: id, delivery_id, tag, message_format, settled, payload })
    }))
}
