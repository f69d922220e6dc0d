//! Performatives to bytes, all fields of each.

use bytes::{BufMut, BytesMut};

use crate::codec::names::descriptor;
use crate::codec::performative::*;
use crate::codec::value::Map;
use crate::codec::write::{self, ListWriter};

/// What can be the content of a frame.
pub trait Encode {
    /// Appends it, without a frame header.
    fn encode(&self, out: &mut BytesMut);
}

impl Encode for Performative {
    fn encode(&self, out: &mut BytesMut) {
        match self {
            Self::Open(open) => open.encode(out),
            Self::Begin(begin) => begin.encode(out),
            Self::Attach(attach) => attach.encode(out),
            Self::Flow(flow) => flow.encode(out),
            Self::Transfer(transfer) => transfer.encode(out),
            Self::Disposition(disposition) => disposition.encode(out),
            Self::Detach(detach) => detach.encode(out),
            Self::End(end) => end.encode(out),
            Self::Close(close) => close.encode(out),
        }
    }
}

impl Encode for Open {
    fn encode(&self, out: &mut BytesMut) {
        let mut list = ListWriter::described(out, descriptor::OPEN, 10);
        write::string(list.next(), &self.container_id);
        write::optional(list.next(), self.hostname.as_deref(), write::string);
        write::uint(list.next(), self.max_frame_size);
        write::ushort(list.next(), self.channel_max);
        write::optional(list.next(), self.idle_timeout, write::uint);
        write::symbols(list.next(), &self.outgoing_locales);
        write::symbols(list.next(), &self.incoming_locales);
        write::symbols(list.next(), &self.offered_capabilities);
        write::symbols(list.next(), &self.desired_capabilities);
        write::fields(list.next(), &self.properties);
        list.finish();
    }
}

impl Encode for Begin {
    fn encode(&self, out: &mut BytesMut) {
        let mut list = ListWriter::described(out, descriptor::BEGIN, 8);
        write::optional(list.next(), self.remote_channel, write::ushort);
        write::uint(list.next(), self.next_outgoing_id);
        write::uint(list.next(), self.incoming_window);
        write::uint(list.next(), self.outgoing_window);
        write::uint(list.next(), self.handle_max);
        write::symbols(list.next(), &self.offered_capabilities);
        write::symbols(list.next(), &self.desired_capabilities);
        write::fields(list.next(), &self.properties);
        list.finish();
    }
}

impl Encode for Attach {
    fn encode(&self, out: &mut BytesMut) {
        let mut list = ListWriter::described(out, descriptor::ATTACH, 14);
        write::string(list.next(), &self.name);
        write::uint(list.next(), self.handle);
        write::boolean(list.next(), self.role == Role::Receiver);
        write::ubyte(list.next(), self.snd_settle_mode as u8);
        write::ubyte(list.next(), self.rcv_settle_mode as u8);
        write::optional(list.next(), self.source.as_ref(), source);
        match &self.target {
            Some(target) => self::target(list.next(), target),
            None if self.coordinator => coordinator(list.next()),
            None => write::null(list.next()),
        }
        write::fields(list.next(), &self.unsettled);
        write::boolean(list.next(), self.incomplete_unsettled);
        write::optional(list.next(), self.initial_delivery_count, write::uint);
        write::optional(list.next(), self.max_message_size, write::ulong);
        write::symbols(list.next(), &self.offered_capabilities);
        write::symbols(list.next(), &self.desired_capabilities);
        write::fields(list.next(), &self.properties);
        list.finish();
    }
}

fn source(out: &mut BytesMut, source: &Source) {
    let mut list = ListWriter::described(out, descriptor::SOURCE, 11);
    write::optional(list.next(), source.address.as_deref(), write::string);
    write::uint(list.next(), source.durable as u32);
    write::optional(list.next(), source.expiry_policy.as_ref().map(Symbol::as_str), write::symbol);
    write::uint(list.next(), source.timeout);
    write::boolean(list.next(), source.dynamic);
    write::fields(list.next(), &source.dynamic_node_properties);
    write::optional(list.next(), source.distribution_mode.as_ref().map(Symbol::as_str), write::symbol);
    write::fields(list.next(), &source.filter);
    write::optional(list.next(), source.default_outcome.as_deref(), delivery_state);
    write::symbols(list.next(), &source.outcomes);
    write::symbols(list.next(), &source.capabilities);
    list.finish();
}

fn target(out: &mut BytesMut, target: &Target) {
    let mut list = ListWriter::described(out, descriptor::TARGET, 7);
    write::optional(list.next(), target.address.as_deref(), write::string);
    write::uint(list.next(), target.durable as u32);
    write::optional(list.next(), target.expiry_policy.as_ref().map(Symbol::as_str), write::symbol);
    write::uint(list.next(), target.timeout);
    write::boolean(list.next(), target.dynamic);
    write::fields(list.next(), &target.dynamic_node_properties);
    write::symbols(list.next(), &target.capabilities);
    list.finish();
}

fn coordinator(out: &mut BytesMut) {
    let mut list = ListWriter::described(out, descriptor::COORDINATOR, 1);
    write::null(list.next());
    list.finish();
}

impl Encode for Flow {
    fn encode(&self, out: &mut BytesMut) {
        let mut list = ListWriter::described(out, descriptor::FLOW, 11);
        write::optional(list.next(), self.next_incoming_id, write::uint);
        write::uint(list.next(), self.incoming_window);
        write::uint(list.next(), self.next_outgoing_id);
        write::uint(list.next(), self.outgoing_window);
        write::optional(list.next(), self.handle, write::uint);
        write::optional(list.next(), self.delivery_count, write::uint);
        write::optional(list.next(), self.link_credit, write::uint);
        write::optional(list.next(), self.available, write::uint);
        write::boolean(list.next(), self.drain);
        write::boolean(list.next(), self.echo);
        write::fields(list.next(), &self.properties);
        list.finish();
    }
}

impl Encode for Transfer {
    fn encode(&self, out: &mut BytesMut) {
        self.encode_with_more(out, self.more);
    }
}

impl Transfer {
    /// Appends the transfer and returns where in `out` its `more` stands: 0x41 or 0x42, to be changed when it shows that
    /// the payload does not fit.
    pub(crate) fn encode_with_more(&self, out: &mut BytesMut, more: bool) -> usize {
        let start = out.len();
        let mut head = Head::new();
        head.push(&[0x00, 0x53, descriptor::TRANSFER as u8, 0xc0, 0, 11]);
        head.uint(self.handle);
        head.optional_uint(self.delivery_id);
        match &self.delivery_tag {
            Some(tag) => {
                head.push(&[0xa0, tag.as_bytes().len() as u8]);
                head.push(tag.as_bytes());
            }
            None => head.push(&[0x40]),
        }
        head.optional_uint(self.message_format);
        head.push(&[match self.settled {
            Some(true) => 0x41,
            Some(false) => 0x42,
            None => 0x40,
        }]);
        let more_at = start + head.length;
        head.push(&[if more { 0x41 } else { 0x42 }]);
        match self.rcv_settle_mode {
            Some(mode) => head.push(&[0x50, mode as u8]),
            None => head.push(&[0x40]),
        }
        let tail = [
            if self.resume { 0x41 } else { 0x42 },
            if self.aborted { 0x41 } else { 0x42 },
            if self.batchable { 0x41 } else { 0x42 },
        ];
        let Some(state) = &self.state else {
            head.push(&[0x40]);
            head.push(&tail);
            head.bytes[4] = (head.length - 5) as u8;
            out.extend_from_slice(&head.bytes[..head.length]);
            return more_at;
        };
        // A state can be of any size: the list gets a large head if it must.
        let mut encoded_state = BytesMut::new();
        delivery_state(&mut encoded_state, state);
        let content = head.length - 6 + encoded_state.len() + tail.len();
        out.reserve(content + 12);
        let shift = if content < 0xff {
            head.bytes[4] = (content + 1) as u8;
            out.extend_from_slice(&head.bytes[..head.length]);
            0
        } else {
            out.extend_from_slice(&[0x00, 0x53, descriptor::TRANSFER as u8, 0xd0]);
            out.put_u32((content + 4) as u32);
            out.put_u32(11);
            out.extend_from_slice(&head.bytes[6..head.length]);
            6
        };
        out.extend_from_slice(&encoded_state);
        out.extend_from_slice(&tail);
        more_at + shift
    }
}

/// The fixed part of a transfer, put together on the stack: it is written for every event, and its fields one by one into
/// a `BytesMut` would cost more than all the rest of a delivery.
struct Head {
    bytes: [u8; 80],
    length: usize,
}

impl Head {
    fn new() -> Self {
        Self { bytes: [0; 80], length: 0 }
    }

    // The fields before the state take at most 6 + 5 + 5 + 34 + 5 + 1 + 1 + 2 bytes, and 4 follow.
    #[inline(always)]
    fn push(&mut self, bytes: &[u8]) {
        self.bytes[self.length..self.length + bytes.len()].copy_from_slice(bytes);
        self.length += bytes.len();
    }

    #[inline(always)]
    fn uint(&mut self, number: u32) {
        match number {
            0 => self.push(&[0x43]),
            1..=0xff => self.push(&[0x52, number as u8]),
            _ => {
                let [a, b, c, d] = number.to_be_bytes();
                self.push(&[0x70, a, b, c, d]);
            }
        }
    }

    #[inline(always)]
    fn optional_uint(&mut self, number: Option<u32>) {
        match number {
            Some(number) => self.uint(number),
            None => self.push(&[0x40]),
        }
    }
}

impl Encode for Disposition {
    fn encode(&self, out: &mut BytesMut) {
        let mut list = ListWriter::described(out, descriptor::DISPOSITION, 6);
        write::boolean(list.next(), self.role == Role::Receiver);
        write::uint(list.next(), self.first);
        write::optional(list.next(), self.last, write::uint);
        write::boolean(list.next(), self.settled);
        write::optional(list.next(), self.state.as_ref(), delivery_state);
        write::boolean(list.next(), self.batchable);
        list.finish();
    }
}

impl Encode for Detach {
    fn encode(&self, out: &mut BytesMut) {
        let mut list = ListWriter::described(out, descriptor::DETACH, 3);
        write::uint(list.next(), self.handle);
        write::boolean(list.next(), self.closed);
        write::optional(list.next(), self.error.as_ref(), error);
        list.finish();
    }
}

impl Encode for End {
    fn encode(&self, out: &mut BytesMut) {
        let mut list = ListWriter::described(out, descriptor::END, 1);
        write::optional(list.next(), self.error.as_ref(), error);
        list.finish();
    }
}

impl Encode for Close {
    fn encode(&self, out: &mut BytesMut) {
        let mut list = ListWriter::described(out, descriptor::CLOSE, 1);
        write::optional(list.next(), self.error.as_ref(), error);
        list.finish();
    }
}

fn error(out: &mut BytesMut, error: &AmqpError) {
    let mut list = ListWriter::described(out, descriptor::ERROR, 3);
    write::symbol(list.next(), error.condition.as_str());
    write::optional(list.next(), error.description.as_deref(), write::string);
    write::fields(list.next(), &error.info);
    list.finish();
}

fn delivery_state(out: &mut BytesMut, state: &DeliveryState) {
    match state {
        DeliveryState::Received { section_number, section_offset } => {
            let mut list = ListWriter::described(out, descriptor::RECEIVED, 2);
            write::uint(list.next(), *section_number);
            write::ulong(list.next(), *section_offset);
            list.finish();
        }
        DeliveryState::Accepted => out.extend_from_slice(&[0x00, 0x53, descriptor::ACCEPTED as u8, 0x45]),
        DeliveryState::Rejected { error } => {
            let mut list = ListWriter::described(out, descriptor::REJECTED, 1);
            write::optional(list.next(), error.as_ref(), self::error);
            list.finish();
        }
        DeliveryState::Released => out.extend_from_slice(&[0x00, 0x53, descriptor::RELEASED as u8, 0x45]),
        DeliveryState::Modified { delivery_failed, undeliverable_here, message_annotations } => {
            let mut list = ListWriter::described(out, descriptor::MODIFIED, 3);
            write::boolean(list.next(), *delivery_failed);
            write::boolean(list.next(), *undeliverable_here);
            let annotations: &Map = message_annotations;
            write::fields(list.next(), annotations);
            list.finish();
        }
        DeliveryState::Other(value) => write::value(out, value),
    }
}
