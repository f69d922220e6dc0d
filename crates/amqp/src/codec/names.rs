//! The numbers and names of AMQP 1.0 and of Event Hubs.

/// Descriptors of performatives, of what they hold, and of message sections, as numbers.
pub mod descriptor {
    /// `amqp:open:list`
    pub const OPEN: u64 = 0x10;
    /// `amqp:begin:list`
    pub const BEGIN: u64 = 0x11;
    /// `amqp:attach:list`
    pub const ATTACH: u64 = 0x12;
    /// `amqp:flow:list`
    pub const FLOW: u64 = 0x13;
    /// `amqp:transfer:list`
    pub const TRANSFER: u64 = 0x14;
    /// `amqp:disposition:list`
    pub const DISPOSITION: u64 = 0x15;
    /// `amqp:detach:list`
    pub const DETACH: u64 = 0x16;
    /// `amqp:end:list`
    pub const END: u64 = 0x17;
    /// `amqp:close:list`
    pub const CLOSE: u64 = 0x18;
    /// `amqp:error:list`
    pub const ERROR: u64 = 0x1d;
    /// `amqp:received:list`
    pub const RECEIVED: u64 = 0x23;
    /// `amqp:accepted:list`
    pub const ACCEPTED: u64 = 0x24;
    /// `amqp:rejected:list`
    pub const REJECTED: u64 = 0x25;
    /// `amqp:released:list`
    pub const RELEASED: u64 = 0x26;
    /// `amqp:modified:list`
    pub const MODIFIED: u64 = 0x27;
    /// `amqp:source:list`
    pub const SOURCE: u64 = 0x28;
    /// `amqp:target:list`
    pub const TARGET: u64 = 0x29;
    /// `amqp:coordinator:list`
    pub const COORDINATOR: u64 = 0x30;
    /// `amqp:sasl-mechanisms:list`
    pub const SASL_MECHANISMS: u64 = 0x40;
    /// `amqp:sasl-init:list`
    pub const SASL_INIT: u64 = 0x41;
    /// `amqp:sasl-challenge:list`
    pub const SASL_CHALLENGE: u64 = 0x42;
    /// `amqp:sasl-response:list`
    pub const SASL_RESPONSE: u64 = 0x43;
    /// `amqp:sasl-outcome:list`
    pub const SASL_OUTCOME: u64 = 0x44;
    /// `amqp:header:list`
    pub const HEADER: u64 = 0x70;
    /// `amqp:delivery-annotations:map`
    pub const DELIVERY_ANNOTATIONS: u64 = 0x71;
    /// `amqp:message-annotations:map`
    pub const MESSAGE_ANNOTATIONS: u64 = 0x72;
    /// `amqp:properties:list`
    pub const PROPERTIES: u64 = 0x73;
    /// `amqp:application-properties:map`
    pub const APPLICATION_PROPERTIES: u64 = 0x74;
    /// `amqp:data:binary`
    pub const DATA: u64 = 0x75;
    /// `amqp:amqp-sequence:list`
    pub const AMQP_SEQUENCE: u64 = 0x76;
    /// `amqp:amqp-value:*`
    pub const AMQP_VALUE: u64 = 0x77;
    /// `amqp:footer:map`
    pub const FOOTER: u64 = 0x78;
    /// `apache.org:selector-filter:string`
    pub const SELECTOR_FILTER: u64 = 0x0000_468c_0000_0004;

    /// The number of a descriptor that came as a symbol; none when it is not one of those above.
    pub fn of_symbol(symbol: &[u8]) -> Option<u64> {
        Some(match symbol {
            b"amqp:open:list" => OPEN,
            b"amqp:begin:list" => BEGIN,
            b"amqp:attach:list" => ATTACH,
            b"amqp:flow:list" => FLOW,
            b"amqp:transfer:list" => TRANSFER,
            b"amqp:disposition:list" => DISPOSITION,
            b"amqp:detach:list" => DETACH,
            b"amqp:end:list" => END,
            b"amqp:close:list" => CLOSE,
            b"amqp:error:list" => ERROR,
            b"amqp:received:list" => RECEIVED,
            b"amqp:accepted:list" => ACCEPTED,
            b"amqp:rejected:list" => REJECTED,
            b"amqp:released:list" => RELEASED,
            b"amqp:modified:list" => MODIFIED,
            b"amqp:source:list" => SOURCE,
            b"amqp:target:list" => TARGET,
            b"amqp:coordinator:list" => COORDINATOR,
            b"amqp:sasl-mechanisms:list" => SASL_MECHANISMS,
            b"amqp:sasl-init:list" => SASL_INIT,
            b"amqp:sasl-challenge:list" => SASL_CHALLENGE,
            b"amqp:sasl-response:list" => SASL_RESPONSE,
            b"amqp:sasl-outcome:list" => SASL_OUTCOME,
            b"amqp:header:list" => HEADER,
            b"amqp:delivery-annotations:map" => DELIVERY_ANNOTATIONS,
            b"amqp:message-annotations:map" => MESSAGE_ANNOTATIONS,
            b"amqp:properties:list" => PROPERTIES,
            b"amqp:application-properties:map" => APPLICATION_PROPERTIES,
            b"amqp:data:binary" => DATA,
            b"amqp:amqp-sequence:list" => AMQP_SEQUENCE,
            b"amqp:amqp-value:*" => AMQP_VALUE,
            b"amqp:footer:map" => FOOTER,
            b"apache.org:selector-filter:string" => SELECTOR_FILTER,
            _ => return None,
        })
    }
}

/// Error conditions: those of AMQP 1.0 and those that Event Hubs adds.
pub mod condition {
    use crate::codec::value::Symbol;

    macro_rules! conditions {
        ($($name:ident = $text:literal, $meaning:literal;)*) => {
            $(
                #[doc = concat!("`", $text, "`: ", $meaning)]
                pub const $name: Symbol = Symbol::from_static($text);
            )*
        };
    }

    conditions! {
        INTERNAL_ERROR = "amqp:internal-error", "something failed inside the peer.";
        NOT_FOUND = "amqp:not-found", "no such hub, partition or consumer group.";
        UNAUTHORIZED_ACCESS = "amqp:unauthorized-access", "no valid claim for the entity.";
        DECODE_ERROR = "amqp:decode-error", "the bytes are not AMQP.";
        RESOURCE_LIMIT_EXCEEDED = "amqp:resource-limit-exceeded", "a quota is used up.";
        NOT_ALLOWED = "amqp:not-allowed", "the peer may not do this.";
        INVALID_FIELD = "amqp:invalid-field", "a field has a value it may not have.";
        NOT_IMPLEMENTED = "amqp:not-implemented", "the peer does not know how.";
        RESOURCE_LOCKED = "amqp:resource-locked", "somebody else holds it.";
        PRECONDITION_FAILED = "amqp:precondition-failed", "something that must hold before does not.";
        RESOURCE_DELETED = "amqp:resource-deleted", "the entity was deleted while in use.";
        ILLEGAL_STATE = "amqp:illegal-state", "a frame that does not fit the state.";
        FRAME_SIZE_TOO_SMALL = "amqp:frame-size-too-small", "what must be sent does not fit into a frame.";
        CONNECTION_FORCED = "amqp:connection:forced", "the peer was told to close the connection.";
        FRAMING_ERROR = "amqp:connection:framing-error", "the bytes are not a frame.";
        CONNECTION_REDIRECT = "amqp:connection:redirect", "the container is elsewhere.";
        WINDOW_VIOLATION = "amqp:session:window-violation", "more transfers than the session's window.";
        ERRANT_LINK = "amqp:session:errant-link", "input for a link that was detached with an error.";
        HANDLE_IN_USE = "amqp:session:handle-in-use", "an attach with a handle that is taken.";
        UNATTACHED_HANDLE = "amqp:session:unattached-handle", "a frame for a handle without a link.";
        DETACH_FORCED = "amqp:link:detach-forced", "the peer was told to detach the link.";
        TRANSFER_LIMIT_EXCEEDED = "amqp:link:transfer-limit-exceeded", "more transfers than the link's credit.";
        MESSAGE_SIZE_EXCEEDED = "amqp:link:message-size-exceeded", "a message above the link's limit.";
        LINK_REDIRECT = "amqp:link:redirect", "the address is elsewhere.";
        LINK_STOLEN = "amqp:link:stolen", "another receiver took over.";
        SERVER_BUSY = "com.microsoft:server-busy", "too much at the moment; try later.";
        TIMEOUT = "com.microsoft:timeout", "it took too long; try again.";
        ENTITY_DISABLED = "com.microsoft:entity-disabled", "the hub is switched off.";
        ARGUMENT_ERROR = "com.microsoft:argument-error", "an argument is wrong.";
        ARGUMENT_OUT_OF_RANGE = "com.microsoft:argument-out-of-range", "an argument is outside its range.";
        OPERATION_CANCELLED = "com.microsoft:operation-cancelled", "the operation was given up.";
        CONTAINER_CLOSE = "com.microsoft:container-close", "the container closes.";
        AUTH_FAILED = "com.microsoft:auth-failed", "the claim was refused.";
        PARTITION_NOT_OWNED = "com.microsoft:partition-not-owned", "the partition is served elsewhere.";
        PUBLISHER_REVOKED = "com.microsoft:publisher-revoked", "the publisher may not send any more.";
        PRODUCER_EPOCH_STOLEN = "com.microsoft:producer-epoch-stolen", "a newer producer took over.";
        OUT_OF_ORDER_SEQUENCE = "com.microsoft:out-of-order-sequence", "a producer's sequence number is wrong.";
    }
}

/// Names of annotations that Event Hubs gives to messages.
pub mod annotation {
    /// The place in the partition, a long.
    pub const SEQUENCE_NUMBER: &str = "x-opt-sequence-number";
    /// The place in the partition as clients name it, a string.
    pub const OFFSET: &str = "x-opt-offset";
    /// When the broker took the event, a timestamp.
    pub const ENQUEUED_TIME: &str = "x-opt-enqueued-time";
    /// The partition key, a string.
    pub const PARTITION_KEY: &str = "x-opt-partition-key";
    /// Delivery annotation: the sequence number of the last event of the partition, a long.
    pub const LAST_SEQUENCE_NUMBER: &str = "last_enqueued_sequence_number";
    /// Delivery annotation: the offset of the last event of the partition, a string.
    pub const LAST_OFFSET: &str = "last_enqueued_offset";
    /// Delivery annotation: when the broker took the last event of the partition, a timestamp.
    pub const LAST_ENQUEUED_TIME: &str = "last_enqueued_time_utc";
    /// Delivery annotation: when these were looked up, a timestamp.
    pub const RETRIEVAL_TIME: &str = "runtime_info_retrieval_time_utc";
}

/// The name of the filter that holds a selector expression: key in the filter map, and symbolic descriptor.
pub const SELECTOR_FILTER: &str = "apache.org:selector-filter:string";

/// The message format of AMQP 1.0 itself: one message with its sections.
pub const MESSAGE_FORMAT_PLAIN: u32 = 0;

/// The message format of a batch: each data section holds one encoded message.
pub const MESSAGE_FORMAT_BATCH: u32 = 0x8001_3700;
