//! What clients are told when something cannot be: the conditions that Event Hubs' clients know, with a text for a person.
//!
//! Which condition makes which client try again was seen in their sources; a wrong one loses events or hangs a program.

use tidegate_amqp::codec::names::condition;
use tidegate_amqp::codec::performative::{AmqpError, DeliveryState};
use tidegate_model::ports::{AppendError, ReadError};

use super::events::Unacceptable;
use crate::PublishError;
use crate::auth::Denied;

/// The state of a delivery that is refused.
pub(super) fn rejected(error: AmqpError) -> DeliveryState {
    DeliveryState::Rejected { error: Some(error) }
}

/// A message that is no event.
pub(super) fn unacceptable(error: &Unacceptable) -> AmqpError {
    let condition = match error {
        Unacceptable::TooLarge { .. } => condition::MESSAGE_SIZE_EXCEEDED,
        Unacceptable::Undecodable(_) | Unacceptable::UndecodableInBatch { .. } => condition::DECODE_ERROR,
        Unacceptable::LongKey { .. } | Unacceptable::EmptyBatch => condition::ARGUMENT_ERROR,
    };
    AmqpError::new(condition, error.to_string())
}

/// Events that were not stored, or of which that is not known.
pub(super) fn not_published(error: &PublishError) -> AmqpError {
    let condition = match error {
        PublishError::TimedOut { .. } => condition::TIMEOUT,
        PublishError::OverQuota(_) => condition::SERVER_BUSY,
        PublishError::Append(error) => match error {
            AppendError::NoSuchPartition { .. } | AppendError::HubDeleted { .. } => condition::NOT_FOUND,
            AppendError::TooLarge { .. } => condition::MESSAGE_SIZE_EXCEEDED,
            AppendError::Throttled { .. } => condition::SERVER_BUSY,
            AppendError::DiskFull { .. } => condition::RESOURCE_LIMIT_EXCEEDED,
            AppendError::Damaged { .. } => condition::ENTITY_DISABLED,
            AppendError::Failed { .. } => condition::INTERNAL_ERROR,
            AppendError::Closing => condition::OPERATION_CANCELLED,
        },
    };
    AmqpError::new(condition, error.to_string())
}

/// Events that cannot be read any more.
pub(super) fn not_readable(error: &ReadError) -> AmqpError {
    let condition = match error {
        ReadError::NoSuchPartition { .. } | ReadError::HubDeleted { .. } => condition::NOT_FOUND,
        ReadError::BeyondTail { .. } => condition::ARGUMENT_ERROR,
        ReadError::Damaged { .. } => condition::ENTITY_DISABLED,
        ReadError::Fenced { .. } => condition::LINK_STOLEN,
        ReadError::Expired { .. } | ReadError::Unavailable { .. } => condition::INTERNAL_ERROR,
    };
    AmqpError::new(condition, error.to_string())
}

/// A connection that may not do what it wants.
pub(super) fn denied(denied: &Denied) -> AmqpError {
    AmqpError::new(condition::UNAUTHORIZED_ACCESS, denied.to_string())
}

/// A partition that a hub with `count` partitions does not have.
pub(super) fn no_such_partition(count: u32) -> AmqpError {
    AmqpError::new(condition::ARGUMENT_OUT_OF_RANGE, no_such_partition_text(count))
}

/// The service's own words, by which people find what is meant.
pub(super) fn no_such_partition_text(count: u32) -> String {
    let last = count.saturating_sub(1);
    format!(
        "The specified partition is invalid for an EventHub partition sender or receiver. It should be between 0 and {last}."
    )
}

/// Nothing is there.
pub(super) fn not_found(what: &str) -> AmqpError {
    AmqpError::new(condition::NOT_FOUND, format!("The messaging entity '{what}' could not be found."))
}
