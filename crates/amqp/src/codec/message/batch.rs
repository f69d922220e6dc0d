//! Batches: messages of the format [`crate::codec::names::MESSAGE_FORMAT_BATCH`], which hold other messages.
//!
//! A batch is a message whose data sections hold one encoded message each. To take one apart, parse it as a
//! [`crate::codec::message::Message`]: its partition key is that of all of its events, and its
//! [`data_sections`](crate::codec::message::Message::data_sections) are the events.

use bytes::{Bytes, BytesMut};

use crate::codec::message::build;
use crate::codec::message::{Header, MessageWriter};
use crate::codec::names::annotation;

/// The most that a message takes in a batch beside its own bytes.
const HEAD_OF_MESSAGE: usize = 8;

/// Puts messages into a batch.
#[derive(Debug)]
pub struct BatchBuilder {
    out: BytesMut,
    count: usize,
}

impl BatchBuilder {
    /// An empty batch. With a partition key, its events all go to the key's partition.
    pub fn new(partition_key: Option<&str>) -> Self {
        let mut out = BytesMut::new();
        if let Some(key) = partition_key {
            MessageWriter::new(&mut out)
                .header(&Header { durable: true, ..Header::default() })
                .message_annotations(|map| map.string(annotation::PARTITION_KEY, key));
        }
        Self { out, count: 0 }
    }

    /// Adds an encoded message.
    pub fn add(&mut self, message: &[u8]) {
        build::data(&mut self.out, message);
        self.count += 1;
    }

    /// Adds a message that `write` appends in place.
    pub fn add_with(&mut self, write: impl FnOnce(&mut BytesMut)) {
        let start = self.out.len();
        self.out.extend_from_slice(&[0x00, 0x53, 0x75, 0xb0, 0, 0, 0, 0]);
        let content = self.out.len();
        write(&mut self.out);
        let length = (self.out.len() - content) as u32;
        self.out[start + 4..start + 8].copy_from_slice(&length.to_be_bytes());
        self.count += 1;
    }

    /// How many messages there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The size of the batch in bytes.
    pub fn size(&self) -> usize {
        self.out.len()
    }

    /// The size, at most, that the batch would have with one more message of `length` bytes.
    pub fn size_with(&self, length: usize) -> usize {
        self.out.len() + HEAD_OF_MESSAGE + length
    }

    /// The encoded batch.
    pub fn finish(self) -> Bytes {
        self.out.freeze()
    }
}
