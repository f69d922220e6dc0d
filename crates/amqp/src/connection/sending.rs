//! Deliveries that go: split into frames, within the receiver's credit and the session's window; and what is told about
//! them.

use bytes::{Bytes, BytesMut};
use smallvec::SmallVec;

use super::engine::{Connection, Fault, Phase};
use super::error::{CommandError, SendError};
use super::event::{Event, LinkId};
use super::link::{LinkState, Sender, Side, Unfinished};
use super::links::unattached;
use super::output::{Output, SHARE_FROM};
use super::serial::{before, left_in_window};
use super::session::Session;
use super::wire::Wire;
use crate::codec::frame::{write_transfer_head, write_transfer_with};
use crate::codec::names::condition;
use crate::codec::performative::{DeliveryState, DeliveryTag, Disposition, Flow, Role, Transfer};

/// More than the head of any transfer frame without a state: frame header, list header, and the fields at their longest.
const TRANSFER_HEAD: usize = 80;

/// What is said about a delivery besides its message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outgoing {
    /// The format of the message.
    pub message_format: u32,
    /// It is settled as it goes: no outcome is told.
    pub settled: bool,
    /// Its name on the link; none means one made of its number.
    pub tag: Option<DeliveryTag>,
}

/// A part of a message.
#[derive(Clone, Copy, Debug)]
pub enum Part<'a> {
    /// Bytes that are copied.
    Copy(&'a [u8]),
    /// Bytes that are shared if they are long enough for that to pay.
    Share(&'a Bytes),
}

impl Part<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Copy(bytes) => bytes.len(),
            Self::Share(bytes) => bytes.len(),
        }
    }
}

impl Connection {
    /// Sends a message that consists of these parts, and answers its delivery id in the session. Nothing is allocated for
    /// one that fits into a frame; a larger one goes out as the window and the output allow.
    ///
    /// # Errors
    /// See [`SendError`]. Nothing was sent then.
    pub fn send(&mut self, link: LinkId, outgoing: &Outgoing, parts: &[Part<'_>]) -> Result<u32, SendError> {
        let bytes: usize = parts.iter().map(Part::len).sum();
        let most_output = self.options.limits.output_bytes;
        let Self { sessions, wire, .. } = self;
        let session = sessions.of_link(link).ok_or(SendError::NoLink)?;
        let sender = ready(session, link, wire, most_output)?;
        allowed(sender, bytes)?;
        let transfer = first_transfer(session, link, outgoing);
        let delivery_id = session.next_delivery_id;
        if bytes + TRANSFER_HEAD <= wire.max_frame as usize {
            wire.output.write(|out| write_transfer_head(out, session.channel, &transfer, bytes));
            for part in parts {
                put(&mut wire.output, part);
            }
            sent_frame(session);
            sent_delivery(session, link);
        } else {
            let owned = parts.iter().map(|part| match part {
                Part::Copy(bytes) => Bytes::copy_from_slice(bytes),
                Part::Share(bytes) => Bytes::clone(bytes),
            });
            let rest = owned.filter(|part| !part.is_empty()).collect();
            self.start_unfinished(link, delivery_id, outgoing, rest);
        }
        Ok(delivery_id)
    }

    /// Sends a message that `write` appends to the output in place, and answers its delivery id in the session. That is
    /// the cheapest way to send small messages: they are written once.
    ///
    /// # Errors
    /// See [`SendError`]. Nothing was sent then.
    pub fn send_with(
        &mut self,
        link: LinkId,
        outgoing: &Outgoing,
        write: impl FnOnce(&mut BytesMut),
    ) -> Result<u32, SendError> {
        let most_output = self.options.limits.output_bytes;
        let Self { sessions, wire, .. } = self;
        let session = sessions.of_link(link).ok_or(SendError::NoLink)?;
        let limit = ready(session, link, wire, most_output)?.max_message_bytes;
        let transfer = first_transfer(session, link, outgoing);
        let delivery_id = session.next_delivery_id;
        let max_frame = wire.max_frame;
        let written = wire.output.write(|out| {
            let start = out.len();
            let mut payload_at = start;
            let written = write_transfer_with(out, session.channel, &transfer, max_frame, |out| {
                payload_at = out.len();
                write(out);
            });
            let bytes = match &written {
                Ok(()) => out.len() - payload_at,
                Err(payload) => payload.len(),
            };
            match limit {
                Some(limit) if bytes as u64 > limit => {
                    out.truncate(start);
                    Err(SendError::TooLarge { bytes: bytes as u64, limit })
                }
                _ => Ok(written),
            }
        })?;
        match written {
            Ok(()) => {
                sent_frame(session);
                sent_delivery(session, link);
            }
            Err(payload) => {
                self.start_unfinished(link, delivery_id, outgoing, SmallVec::from_iter([payload]))
            }
        }
        Ok(delivery_id)
    }

    /// Whether a link can send a delivery now: the receiver gives credit, the session's window is open, the delivery
    /// before is finished, and there is room in the output.
    pub fn can_send(&mut self, link: LinkId) -> bool {
        let most_output = self.options.limits.output_bytes;
        let Self { sessions, wire, .. } = self;
        sessions.of_link(link).is_some_and(|session| ready(session, link, wire, most_output).is_ok())
    }

    /// The credit of a link: how many more deliveries its receiver takes. None when it is gone.
    pub fn credit(&mut self, link: LinkId) -> Option<u32> {
        let session = self.sessions.of_link(link)?;
        Some(match &session.links[usize::from(link.slot)].as_ref()?.side {
            Side::Sends(sender) => sender.credit,
            Side::Receives(receiver) => receiver.credit,
        })
    }

    /// Gives back the credit of a link whose receiver wants to [drain](Event::Credit) it: there is nothing more to send.
    ///
    /// # Errors
    /// [`CommandError::NoLink`] when the link is not attached, [`CommandError::WrongDirection`] when it receives.
    pub fn drained(&mut self, link: LinkId) -> Result<(), CommandError> {
        let Self { sessions, wire, options, .. } = self;
        let session = sessions.of_link(link).ok_or(CommandError::NoLink(link))?;
        let slot = usize::from(link.slot);
        let Some(found) = session.links[slot].as_mut().filter(|found| found.state == LinkState::Attached)
        else {
            return Err(CommandError::NoLink(link));
        };
        let Side::Sends(sender) = &mut found.side else { return Err(CommandError::WrongDirection) };
        if !sender.drain {
            return Ok(());
        }
        sender.delivery_count = sender.delivery_count.wrapping_add(sender.credit);
        sender.credit = 0;
        let flow = session.link_flow(slot, options.incoming_window);
        wire.send(session.channel, &flow);
        if let Some(Side::Sends(sender)) = session.links[slot].as_mut().map(|link| &mut link.side) {
            sender.drain = false;
        }
        Ok(())
    }

    // Deliveries of several frames

    fn start_unfinished(
        &mut self,
        link: LinkId,
        delivery_id: u32,
        outgoing: &Outgoing,
        parts: SmallVec<[Bytes; 4]>,
    ) {
        let Some(session) = self.sessions.of_link(link) else { return };
        let tag = outgoing.tag.unwrap_or_else(|| DeliveryTag::from_number(delivery_id));
        let head = Some((tag, outgoing.message_format));
        let unfinished = Unfinished { parts, delivery_id, head, settled: outgoing.settled };
        sent_delivery(session, link);
        if let Some(Side::Sends(sender)) =
            session.links[usize::from(link.slot)].as_mut().map(|link| &mut link.side)
        {
            sender.unfinished = Some(Box::new(unfinished));
        }
        // The first frame goes at once: delivery ids have to ascend, whatever the links of a session send meanwhile.
        if let Step::Sent = send_one_frame(session, link, &mut self.wire) {
            self.unfinished.push_back(link);
            self.send_unfinished();
        }
    }

    /// Sends frames of the deliveries that are not finished, in turn, as far as windows and output allow.
    pub(super) fn send_unfinished(&mut self) {
        if self.unfinished.is_empty() || self.phase != Phase::Open {
            return;
        }
        let most_output = self.options.limits.output_bytes;
        let Self { sessions, wire, unfinished, .. } = self;
        let mut stuck = 0;
        while stuck < unfinished.len() && wire.output.len() < most_output {
            let Some(link) = unfinished.pop_front() else { return };
            match sessions.of_link(link).map(|session| send_one_frame(session, link, wire)) {
                Some(Step::Sent) => {
                    unfinished.push_back(link);
                    stuck = 0;
                }
                Some(Step::NoWindow) => {
                    unfinished.push_back(link);
                    stuck += 1;
                }
                Some(Step::Finished) | None => {}
            }
        }
    }

    // Frames

    pub(super) fn peer_flowed(&mut self, channel: u16, flow: Flow) -> Result<(), Fault> {
        let at = self.slot_or_fault(channel)?;
        let Self { sessions, wire, options, events, .. } = self;
        let Some(session) = sessions.at(at).filter(|session| !session.is_over()) else { return Ok(()) };
        session.window_from(&flow);
        if session.window_shut && session.remote_window > 0 {
            session.window_shut = false;
            events.push_back(Event::WindowOpened { session: session.id(at) });
        }
        let mut answer_about = None;
        if let Some(handle) = flow.handle {
            let Some(slot) = session.slot_of(handle) else { return Err(unattached("flow", handle)) };
            let Some(link) = session.links[slot].as_mut() else { return Ok(()) };
            let id = LinkId { session: at, slot: slot as u16, generation: link.generation };
            let attached = link.state == LinkState::Attached;
            match &mut link.side {
                Side::Sends(sender) if !matches!(link.state, LinkState::Detaching { .. }) => {
                    let changed = sender.hears(&flow);
                    if changed && attached {
                        events.push_back(Event::Credit {
                            link: id,
                            credit: sender.credit,
                            drain: sender.drain,
                        });
                    }
                }
                Side::Receives(receiver) if attached => {
                    receiver.sender_is_at(flow.delivery_count);
                    if receiver.draining && receiver.credit == 0 {
                        receiver.draining = false;
                        events.push_back(Event::Drained { link: id });
                    }
                }
                _ => {}
            }
            answer_about = attached.then_some(slot);
        }
        if flow.echo {
            let answer = match answer_about {
                Some(slot) => session.link_flow(slot, options.incoming_window),
                None => session.flow(options.incoming_window),
            };
            wire.send(session.channel, &answer);
        }
        self.send_unfinished();
        Ok(())
    }

    pub(super) fn peer_disposed(&mut self, channel: u16, disposition: Disposition) -> Result<(), Fault> {
        let at = self.slot_or_fault(channel)?;
        let Some(session) = self.sessions.at(at).filter(|session| !session.is_over()) else { return Ok(()) };
        let Disposition { role, first, last, settled, state, .. } = disposition;
        let last = last.unwrap_or(first);
        if before(last, first) {
            let description = format!("disposition.last, {last}, is before disposition.first, {first}");
            return Err(Fault::session(condition::INVALID_FIELD, description));
        }
        if role == Role::Sender {
            if settled {
                self.sender_settled(at, first, last);
            }
            return Ok(());
        }
        // Deliveries that were not sent yet cannot be settled.
        let newest = session.next_delivery_id.wrapping_sub(1);
        if !session.has_sent || before(newest, first) {
            return Ok(());
        }
        let last = if before(newest, last) { newest } else { last };
        let is_outcome = !matches!(state, None | Some(DeliveryState::Received { .. }));
        if !settled && is_outcome {
            // The receiver settles second: it waits for the sender.
            let answer = Disposition {
                role: Role::Sender,
                first,
                last: Some(last),
                settled: true,
                state: None,
                batchable: false,
            };
            self.wire.send(session.channel, &answer);
        }
        let session = session.id(at);
        self.events.push_back(Event::Settled { session, first, last, state, settled });
        Ok(())
    }
}

impl Sender {
    /// Takes the credit from a flow of the receiver's. Answers whether anything changed that matters to who sends.
    fn hears(&mut self, flow: &Flow) -> bool {
        let before = (self.credit, self.drain);
        if let Some(credit) = flow.link_credit {
            // Before the receiver has seen the attach, it cannot know the count: it started at 0.
            self.credit = left_in_window(flow.delivery_count.unwrap_or(0), credit, self.delivery_count);
        }
        self.drain = flow.drain;
        self.drain || before != (self.credit, self.drain)
    }
}

impl super::link::Receiver {
    /// The sender's own count: what it has skipped is credit it gave back.
    fn sender_is_at(&mut self, delivery_count: Option<u32>) {
        let Some(count) = delivery_count else { return };
        if before(self.delivery_count, count) {
            let skipped = count.wrapping_sub(self.delivery_count);
            self.credit = self.credit.saturating_sub(skipped);
            self.delivery_count = count;
        }
    }
}

/// The sender of a link, if it can send a delivery now.
#[inline]
fn ready<'a>(
    session: &'a mut Session,
    link: LinkId,
    wire: &Wire,
    most_output: usize,
) -> Result<&'a mut Sender, SendError> {
    let found = session.links[usize::from(link.slot)].as_mut().ok_or(SendError::NoLink)?;
    if found.state != LinkState::Attached {
        return Err(SendError::NoLink);
    }
    let Side::Sends(sender) = &mut found.side else { return Err(SendError::WrongDirection) };
    if sender.credit == 0 {
        return Err(SendError::NoCredit);
    }
    if session.remote_window == 0 {
        session.window_shut = true;
        return Err(SendError::NoWindow);
    }
    if sender.unfinished.is_some() || wire.output.len() >= most_output {
        return Err(SendError::OutputFull);
    }
    Ok(sender)
}

fn allowed(sender: &Sender, bytes: usize) -> Result<(), SendError> {
    match sender.max_message_bytes {
        Some(limit) if bytes as u64 > limit => Err(SendError::TooLarge { bytes: bytes as u64, limit }),
        _ => Ok(()),
    }
}

#[inline]
fn first_transfer(session: &Session, link: LinkId, outgoing: &Outgoing) -> Transfer {
    let id = session.next_delivery_id;
    Transfer {
        handle: link.slot.into(),
        delivery_id: Some(id),
        delivery_tag: Some(outgoing.tag.unwrap_or_else(|| DeliveryTag::from_number(id))),
        message_format: Some(outgoing.message_format),
        settled: Some(outgoing.settled),
        ..Transfer::default()
    }
}

#[inline]
fn put(output: &mut Output, part: &Part<'_>) {
    match part {
        Part::Share(bytes) if bytes.len() >= SHARE_FROM => output.share(Bytes::clone(bytes)),
        Part::Share(bytes) => output.copy(bytes),
        Part::Copy(bytes) => output.copy(bytes),
    }
}

/// Counts a transfer frame. There was window for it.
#[inline]
fn sent_frame(session: &mut Session) {
    session.next_outgoing_id = session.next_outgoing_id.wrapping_add(1);
    session.remote_window = session.remote_window.saturating_sub(1);
}

/// Counts a delivery. There was credit for it.
#[inline]
fn sent_delivery(session: &mut Session, link: LinkId) {
    session.next_delivery_id = session.next_delivery_id.wrapping_add(1);
    session.has_sent = true;
    if let Some(Side::Sends(sender)) =
        session.links[usize::from(link.slot)].as_mut().map(|link| &mut link.side)
    {
        sender.credit = sender.credit.saturating_sub(1);
        sender.delivery_count = sender.delivery_count.wrapping_add(1);
    }
}

enum Step {
    Sent,
    Finished,
    NoWindow,
}

/// Sends the next frame of a delivery that is not finished.
fn send_one_frame(session: &mut Session, link: LinkId, wire: &mut Wire) -> Step {
    let room = wire.max_frame as usize - TRANSFER_HEAD;
    let Some(Side::Sends(sender)) = session.links[usize::from(link.slot)].as_mut().map(|link| &mut link.side)
    else {
        return Step::Finished;
    };
    let Some(unfinished) = sender.unfinished.as_mut() else { return Step::Finished };
    if session.remote_window == 0 {
        return Step::NoWindow;
    }
    let left: usize = unfinished.parts.iter().map(Bytes::len).sum();
    let now = left.min(room);
    let head = unfinished.head.take();
    let transfer = Transfer {
        handle: link.slot.into(),
        delivery_id: head.map(|_| unfinished.delivery_id),
        delivery_tag: head.map(|(tag, _)| tag),
        message_format: head.map(|(_, format)| format),
        settled: Some(unfinished.settled),
        more: now < left,
        ..Transfer::default()
    };
    wire.output.write(|out| write_transfer_head(out, session.channel, &transfer, now));
    let mut missing = now;
    while missing > 0 {
        let part = &mut unfinished.parts[0];
        let piece = part.split_to(part.len().min(missing));
        if part.is_empty() {
            unfinished.parts.remove(0);
        }
        missing -= piece.len();
        put(&mut wire.output, &Part::Share(&piece));
    }
    if now == left {
        sender.unfinished = None;
        sent_frame(session);
        return Step::Finished;
    }
    sent_frame(session);
    Step::Sent
}
