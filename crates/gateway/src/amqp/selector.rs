//! Selector expressions: where a receiver begins.
//!
//! `amqp.annotation.x-opt-offset > '57'`: an annotation, `>` or `>=`, and a quoted value; blanks are optional around the
//! operator. Nothing else is understood, and nothing else is sent by Event Hubs' clients.

use tidegate_model::clock::Timestamp;
use tidegate_model::position::StartPosition;

/// The position that an expression names.
pub(super) fn position(expression: &str) -> Result<StartPosition, InvalidSelector> {
    let invalid = || InvalidSelector { expression: expression.chars().take(256).collect() };
    let (annotation, rest) = expression.split_once('>').ok_or_else(invalid)?;
    let (inclusive, value) = match rest.strip_prefix('=') {
        Some(value) => (true, value),
        None => (false, rest),
    };
    let value = value.trim();
    let value = value.strip_prefix('\'').and_then(|value| value.strip_suffix('\'')).unwrap_or(value);
    match annotation.trim() {
        "amqp.annotation.x-opt-offset" => StartPosition::of_offset(value, inclusive).map_err(|_| invalid()),
        "amqp.annotation.x-opt-sequence-number" => {
            let number = value.parse().map_err(|_| invalid())?;
            Ok(StartPosition::of_sequence_number(number, inclusive))
        }
        "amqp.annotation.x-opt-enqueued-time" | "amqp.annotation.x-opt-enqueuedtimeutc" => {
            let ms = value.parse().map_err(|_| invalid())?;
            Ok(StartPosition::of_enqueued_time(Timestamp::from_millis(ms), inclusive))
        }
        _ => Err(invalid()),
    }
}

/// An expression that is not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the filter {expression:?} names no position: it has to be amqp.annotation.x-opt-offset, x-opt-sequence-number or \
     x-opt-enqueued-time, then > or >=, and a value in quotes"
)]
pub(super) struct InvalidSelector {
    expression: String,
}

#[cfg(test)]
mod tests {
    use tidegate_model::position::{Offset, SequenceNumber};

    use super::*;

    #[test]
    fn the_expressions_of_the_official_clients_are_understood() {
        let number = |number| SequenceNumber(number);
        for (expression, expected) in [
            ("amqp.annotation.x-opt-offset > '-1'", StartPosition::Earliest),
            ("amqp.annotation.x-opt-offset > '@latest'", StartPosition::Latest),
            ("amqp.annotation.x-opt-offset >'5'", StartPosition::AfterOffset(Offset::of(number(5)))),
            ("amqp.annotation.x-opt-offset >= '5'", StartPosition::SequenceNumber(number(5))),
            (
                "amqp.annotation.x-opt-sequence-number > '7'",
                StartPosition::AfterOffset(Offset::of(number(7))),
            ),
            ("amqp.annotation.x-opt-sequence-number >= '-1'", StartPosition::Earliest),
            (
                "amqp.annotation.x-opt-enqueued-time >= '1700000000000'",
                StartPosition::EnqueuedTime(Timestamp::from_millis(1_700_000_000_000)),
            ),
        ] {
            assert_eq!(position(expression), Ok(expected), "{expression}");
        }
    }

    #[test]
    fn other_expressions_are_refused_by_name() {
        for expression in
            ["", "x > '1'", "amqp.annotation.x-opt-offset < '1'", "amqp.annotation.x-opt-offset > 'x'"]
        {
            let error = position(expression).unwrap_err();
            assert!(error.to_string().contains(expression), "{error}");
        }
    }
}
