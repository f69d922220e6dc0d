//! Protocol headers and frames: out of a read buffer, and into a write buffer (sections 2.2 and 2.3 of the specification).

use bytes::{Buf, Bytes, BytesMut};

use crate::codec::names::condition;
use crate::codec::performative::{Encode, Transfer};
use crate::codec::sasl::SaslFrame;
use crate::codec::value::Symbol;

/// The smallest value that a peer may state as its largest frame (section 2.7.1 of the specification).
pub const MIN_MAX_FRAME_SIZE: u32 = 512;

/// The bytes of a frame before its body, as this end writes them.
pub const FRAME_HEADER: usize = 8;

/// An empty frame, which keeps a silent connection alive.
pub const EMPTY_FRAME: [u8; FRAME_HEADER] = [0, 0, 0, 8, 2, 0, 0, 0];

/// Bytes that are not a protocol header or a frame. The connection cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The connection does not begin with an AMQP protocol header.
    #[error("the bytes {0:02x?} are not an AMQP protocol header")]
    NotAmqp([u8; 4]),
    /// A frame above the limit.
    #[error("a frame of {size} bytes is above the limit of {limit}")]
    TooLarge {
        /// The size that the frame states.
        size: u32,
        /// The limit.
        limit: u32,
    },
    /// A frame too small for its own header.
    #[error("a frame of {0} bytes cannot hold its own header")]
    TooSmall(u32),
    /// A data offset that points into the frame header or beyond the frame.
    #[error("a frame of {size} bytes with a data offset of {offset} words")]
    DataOffset {
        /// The size that the frame states.
        size: u32,
        /// The offset that the frame states, in words of 4 bytes.
        offset: u8,
    },
    /// A frame that is neither AMQP nor SASL.
    #[error("a frame of the unknown type {0}")]
    UnknownType(u8),
}

impl FrameError {
    /// The AMQP error condition to close the connection with.
    pub fn condition(&self) -> Symbol {
        condition::FRAMING_ERROR
    }
}

/// The eight bytes that announce a protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProtocolHeader {
    /// The protocol: 0 for AMQP, 2 for TLS, 3 for SASL.
    pub protocol: u8,
    /// The version: major, minor, revision.
    pub version: [u8; 3],
}

impl ProtocolHeader {
    /// AMQP 1.0 itself.
    pub const AMQP: Self = Self { protocol: 0, version: [1, 0, 0] };
    /// TLS within AMQP, which Event Hubs clients do not use.
    pub const TLS: Self = Self { protocol: 2, version: [1, 0, 0] };
    /// The security layer.
    pub const SASL: Self = Self { protocol: 3, version: [1, 0, 0] };

    /// Takes a protocol header from the front of the buffer; none when it has not come whole.
    pub fn take(buffer: &mut BytesMut) -> Result<Option<Self>, FrameError> {
        let known = buffer.len().min(4);
        if buffer[..known] != b"AMQP"[..known] {
            let mut found = [0; 4];
            found[..known].copy_from_slice(&buffer[..known]);
            return Err(FrameError::NotAmqp(found));
        }
        let Some(&[_, _, _, _, protocol, major, minor, revision]) = buffer.first_chunk::<8>() else {
            return Ok(None);
        };
        buffer.advance(8);
        Ok(Some(Self { protocol, version: [major, minor, revision] }))
    }

    /// The eight bytes.
    pub fn to_bytes(self) -> [u8; 8] {
        let [major, minor, revision] = self.version;
        [b'A', b'M', b'Q', b'P', self.protocol, major, minor, revision]
    }
}

/// What the body of a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameKind {
    /// A performative, or nothing.
    Amqp,
    /// A step of the security layer.
    Sasl,
}

/// A frame without its header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What the body holds.
    pub kind: FrameKind,
    /// The channel: it tells the session.
    pub channel: u16,
    /// The performative and its payload, a part of the read buffer. Empty for a frame that only keeps the connection alive.
    pub body: Bytes,
}

impl Frame {
    /// Takes a frame from the front of the buffer; none when it has not come whole. Nothing is copied.
    ///
    /// # Errors
    /// When the frame is above `max_frame_size` (noticed as soon as its size has come) or no frame at all.
    pub fn take(buffer: &mut BytesMut, max_frame_size: u32) -> Result<Option<Self>, FrameError> {
        let Some(&size) = buffer.first_chunk::<4>() else { return Ok(None) };
        let size = u32::from_be_bytes(size);
        if size > max_frame_size {
            return Err(FrameError::TooLarge { size, limit: max_frame_size });
        }
        if (size as usize) < FRAME_HEADER {
            return Err(FrameError::TooSmall(size));
        }
        if buffer.len() < size as usize {
            return Ok(None);
        }
        let offset = buffer[4];
        let body_at = usize::from(offset) * 4;
        if body_at < FRAME_HEADER || body_at > size as usize {
            return Err(FrameError::DataOffset { size, offset });
        }
        let kind = match buffer[5] {
            0 => FrameKind::Amqp,
            1 => FrameKind::Sasl,
            other => return Err(FrameError::UnknownType(other)),
        };
        let channel = u16::from_be_bytes([buffer[6], buffer[7]]);
        let mut body = buffer.split_to(size as usize).freeze();
        body.advance(body_at);
        Ok(Some(Self { kind, channel, body }))
    }
}

/// Appends a frame with a performative and no payload.
pub fn write_frame(out: &mut BytesMut, channel: u16, performative: &impl Encode) {
    let start = begin(out, 0, channel);
    performative.encode(out);
    end(out, start);
}

/// Appends a frame of the security layer.
pub fn write_sasl(out: &mut BytesMut, frame: &SaslFrame) {
    let start = begin(out, 1, 0);
    frame.encode(out);
    end(out, start);
}

/// Appends one transfer frame with as much of `payload` as fits, and returns how much that is. `more` is set when
/// something is left, whatever it is in `transfer`; then the rest goes into further frames.
///
/// `max_frame_size` is at least [`MIN_MAX_FRAME_SIZE`]: a transfer without a state of its own always fits into that with
/// some payload.
pub fn write_transfer(
    out: &mut BytesMut,
    channel: u16,
    transfer: &Transfer,
    payload: &[u8],
    max_frame_size: u32,
) -> usize {
    let limit = max_frame_size.max(MIN_MAX_FRAME_SIZE) as usize;
    let start = begin(out, 0, channel);
    let more_at = transfer.encode_with_more(out, transfer.more);
    let room = limit.saturating_sub(out.len() - start);
    let taken = payload.len().min(room);
    if taken < payload.len() {
        out[more_at] = TRUE;
    }
    out.extend_from_slice(&payload[..taken]);
    end(out, start);
    taken
}

/// Appends one transfer frame whose payload `write` appends in place.
///
/// # Errors
/// When frame and payload are above `max_frame_size`. Then `out` is as it was, and the payload is given back, to be sent
/// with [`write_transfer`] in several frames.
pub fn write_transfer_with(
    out: &mut BytesMut,
    channel: u16,
    transfer: &Transfer,
    max_frame_size: u32,
    write: impl FnOnce(&mut BytesMut),
) -> Result<(), Bytes> {
    let start = begin(out, 0, channel);
    transfer.encode_with_more(out, transfer.more);
    let payload_at = out.len();
    write(out);
    if out.len() - start > max_frame_size as usize {
        let payload = Bytes::copy_from_slice(&out[payload_at..]);
        out.truncate(start);
        return Err(payload);
    }
    end(out, start);
    Ok(())
}

/// Appends the head of a transfer frame whose payload of `payload_length` bytes the caller writes itself, for instance
/// with a vectored write.
pub fn write_transfer_head(out: &mut BytesMut, channel: u16, transfer: &Transfer, payload_length: usize) {
    let start = begin(out, 0, channel);
    transfer.encode_with_more(out, transfer.more);
    let size = out.len() - start + payload_length;
    out[start..start + 4].copy_from_slice(&(size as u32).to_be_bytes());
}

/// The format code of true.
const TRUE: u8 = 0x41;

fn begin(out: &mut BytesMut, kind: u8, channel: u16) -> usize {
    let start = out.len();
    let [high, low] = channel.to_be_bytes();
    out.extend_from_slice(&[0, 0, 0, 0, 2, kind, high, low]);
    start
}

fn end(out: &mut BytesMut, start: usize) {
    let size = (out.len() - start) as u32;
    out[start..start + 4].copy_from_slice(&size.to_be_bytes());
}
