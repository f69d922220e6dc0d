//! Another implementation of AMQP 1.0 as an oracle: what this one writes, that one reads, types and all; what that one
//! writes of it, this one reads as the same.

use bytes::{Bytes, BytesMut};
use fe2o3_amqp_types::messaging::message::__private::{Deserializable, Serializable};
use fe2o3_amqp_types::{messaging, performatives as theirs, sasl as their_sasl};
use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tidegate_amqp::codec::message::{Body, Message};
use tidegate_amqp::codec::performative::{Close, Encode, End, Performative};
use tidegate_amqp::codec::sasl::{self, SaslCode, SaslFrame, SaslInit};
use tidegate_amqp::codec::value::Value;

use super::{performatives, strategies, values};

/// Decodes with the oracle and encodes what came out.
fn through<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Vec<u8> {
    let theirs: T = serde_amqp::from_slice(bytes).expect("the oracle reads it");
    serde_amqp::to_vec(&theirs).expect("the oracle writes it")
}

fn survives<T: Serialize + DeserializeOwned>(ours: &impl Encode, expected: Performative) {
    let back = performatives::decode(&through::<T>(&performatives::encode(ours))).unwrap();
    assert_eq!(back, expected);
}

proptest! {
    #[test]
    fn values(value in strategies::value().prop_filter("the oracle's limits", is_within_limits)) {
        let back = Value::decode(&through::<serde_amqp::Value>(&values::encode(&value))).unwrap();
        prop_assert_eq!(back, value);
    }

    #[test]
    fn open(open in strategies::open()) {
        survives::<theirs::Open>(&open, Performative::Open(Box::new(open.clone())));
    }

    #[test]
    fn begin(begin in strategies::begin()) {
        survives::<theirs::Begin>(&begin, Performative::Begin(Box::new(begin.clone())));
    }

    #[test]
    fn attach(attach in strategies::attach()) {
        survives::<theirs::Attach>(&attach, Performative::Attach(Box::new(attach.clone())));
    }

    #[test]
    fn flow(flow in strategies::flow()) {
        survives::<theirs::Flow>(&flow, Performative::Flow(Box::new(flow.clone())));
    }

    #[test]
    fn transfer(transfer in strategies::transfer()) {
        survives::<theirs::Transfer>(&transfer, Performative::Transfer(transfer.clone()));
    }

    #[test]
    fn disposition(disposition in strategies::disposition()) {
        survives::<theirs::Disposition>(&disposition, Performative::Disposition(disposition.clone()));
    }

    #[test]
    fn detach(detach in strategies::detach()) {
        survives::<theirs::Detach>(&detach, Performative::Detach(detach.clone()));
    }

    #[test]
    fn end_and_close(error in proptest::option::of(strategies::error())) {
        let end = End { error: error.clone() };
        survives::<theirs::End>(&end, Performative::End(end.clone()));
        let close = Close { error };
        survives::<theirs::Close>(&close, Performative::Close(close.clone()));
    }

    #[test]
    fn messages(parts in strategies::parts()) {
        let bytes = parts.encode();
        let back = match &parts.body {
            Body::Value(value) if is_within_limits(value) => message_through::<messaging::AmqpValue<serde_amqp::Value>>(&bytes),
            Body::Data(_) => message_through::<messaging::Data>(&bytes),
            _ => return Ok(()),
        };
        let back = Message::parse(back).unwrap();
        prop_assert_eq!(back.check(), Ok(()));
        prop_assert_eq!(back.header().unwrap().unwrap_or_default(), parts.header.unwrap_or_default());
        prop_assert_eq!(back.properties().unwrap().unwrap_or_default(), parts.properties.unwrap_or_default());
        let annotations: Vec<_> = back.message_annotations().map(Result::unwrap).collect();
        prop_assert_eq!(annotations, parts.annotations);
        let application_properties: Vec<_> = back.application_properties().map(Result::unwrap).collect();
        prop_assert_eq!(application_properties, parts.application_properties);
        prop_assert_eq!(back.body().unwrap(), parts.body);
    }
}

fn message_through<B>(bytes: &[u8]) -> Bytes
where
    Deserializable<messaging::Message<B>>: DeserializeOwned,
    Serializable<messaging::Message<B>>: Serialize,
{
    let Deserializable(message) = serde_amqp::from_slice(bytes).expect("the oracle reads it");
    Bytes::from(
        serde_amqp::to_vec(&Serializable::<messaging::Message<B>>(message)).expect("the oracle writes it"),
    )
}

/// The oracle keeps maps as maps, and fails at keys of a type that Rust does not have. Of arrays it reads none that is empty or of compound values; it writes the length of their
/// strings in characters, and after an array of a type that Rust does not have it fails at the next value.
fn is_within_limits(value: &Value) -> bool {
    match value {
        Value::List(items) => items.iter().all(is_within_limits),
        Value::Map(map) => {
            let keys: Vec<_> = map.iter().map(|(key, _)| values::encode(key)).collect();
            let unique: std::collections::HashSet<_> = keys.iter().collect();
            unique.len() == keys.len()
                && map.iter().all(|(key, value)| key.as_str().is_some() && is_within_limits(value))
        }
        Value::Array(array) => {
            !array.items().is_empty() && array.items().iter().all(is_element_within_limits)
        }
        Value::Described(described) => is_within_limits(&described.value),
        _ => true,
    }
}

fn is_element_within_limits(value: &Value) -> bool {
    match value {
        Value::String(text) => text.is_ascii(),
        Value::Boolean(_)
        | Value::Ubyte(_)
        | Value::Ushort(_)
        | Value::Uint(_)
        | Value::Ulong(_)
        | Value::Byte(_)
        | Value::Short(_)
        | Value::Int(_)
        | Value::Long(_)
        | Value::Float(_)
        | Value::Double(_)
        | Value::Char(_)
        | Value::Binary(_) => true,
        _ => false,
    }
}

fn encode_sasl(step: &SaslFrame) -> Vec<u8> {
    let mut out = BytesMut::new();
    step.encode(&mut out);
    out.to_vec()
}

#[test]
fn the_security_layer() {
    let mechanisms = SaslFrame::Mechanisms(vec![sasl::PLAIN, sasl::ANONYMOUS]);
    let back = through::<their_sasl::SaslMechanisms>(&encode_sasl(&mechanisms));
    assert_eq!(SaslFrame::decode(&back), Ok(mechanisms));

    let init = SaslFrame::Init(SaslInit {
        mechanism: sasl::PLAIN,
        initial_response: Some(Bytes::from_static(b"\0user\0password")),
        hostname: Some("host".into()),
    });
    let back = through::<their_sasl::SaslInit>(&encode_sasl(&init));
    assert_eq!(SaslFrame::decode(&back), Ok(init));

    let outcome = SaslFrame::Outcome { code: SaslCode::Auth, additional_data: None };
    let back = through::<their_sasl::SaslOutcome>(&encode_sasl(&outcome));
    assert_eq!(SaslFrame::decode(&back), Ok(outcome));
}
