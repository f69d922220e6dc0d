//! Well-formed bytes that changes begin with: what clients of Event Hubs say, and what is said to them.

use bytes::{Bytes, BytesMut};
use tidegate_amqp::codec::frame::{EMPTY_FRAME, ProtocolHeader, write_frame, write_sasl, write_transfer};
use tidegate_amqp::codec::message::{BatchBuilder, Header, MessageBuilder, Properties};
use tidegate_amqp::codec::names::{MESSAGE_FORMAT_BATCH, condition};
use tidegate_amqp::codec::performative::{
    AmqpError, Attach, Begin, Close, DeliveryState, DeliveryTag, Detach, Disposition, Encode, End, Flow,
    Open, Role, Source, Target, Transfer,
};
use tidegate_amqp::codec::sasl::{self, SaslFrame, SaslInit};
use tidegate_amqp::codec::value::{Array, Described, Map, Symbol, Value};

/// The hub that the frames are about.
pub const HUB: &str = "flights";

/// A value of every type.
pub fn values() -> Vec<Vec<u8>> {
    let long = "x".repeat(300);
    let text = |text: &str| Value::String(text.into());
    let map = Map::new().with("k", Value::Int(1)).with(Symbol::new("s"), text("v"));
    let values = [
        Value::Null,
        Value::Boolean(true),
        Value::Ubyte(200),
        Value::Ushort(60_000),
        Value::Uint(0),
        Value::Uint(70_000),
        Value::Ulong(1 << 40),
        Value::Byte(-3),
        Value::Short(-300),
        Value::Int(-70_000),
        Value::Long(-(1 << 40)),
        Value::Timestamp(1_700_000_000_000),
        Value::Binary(Bytes::from_static(b"bytes")),
        text("text"),
        text(&long),
        Value::Symbol(Symbol::new("symbol")),
        Value::List(vec![Value::Int(1), text("two"), Value::List(Vec::new())]),
        Value::Map(map),
        Value::Array(Array::of_strings(["a", "b"])),
        Value::Described(Box::new(Described { descriptor: Value::Ulong(0x70), value: text("inside") })),
    ];
    let encoded = values.iter().map(|value| {
        let mut out = BytesMut::new();
        value.encode(&mut out);
        out.to_vec()
    });
    encoded.collect()
}

fn frame(channel: u16, performative: &impl Encode) -> Vec<u8> {
    let mut out = BytesMut::new();
    write_frame(&mut out, channel, performative);
    out.to_vec()
}

fn attach(name: &str, handle: u32, role: Role, address: &str) -> Attach {
    let source = Source::at(address).with_selector("amqp.annotation.x-opt-offset > '-1'");
    Attach {
        name: name.into(),
        handle,
        role,
        source: Some(if role == Role::Receiver { source } else { Source::default() }),
        target: Some(Target::at(address)),
        initial_delivery_count: Some(0),
        properties: Map::new().with(Symbol::new("com.microsoft:epoch"), Value::Long(1)),
        ..Attach::default()
    }
}

/// A transfer frame with a message of this format.
pub fn transfer(handle: u32, id: u32, message_format: u32, message: &[u8], more: bool) -> Vec<u8> {
    let transfer = Transfer {
        handle,
        delivery_id: Some(id),
        delivery_tag: Some(DeliveryTag::from_number(id)),
        message_format: Some(message_format),
        settled: Some(false),
        more,
        ..Transfer::default()
    };
    let mut out = BytesMut::new();
    write_transfer(&mut out, 0, &transfer, message, u32::MAX);
    out.to_vec()
}

/// Messages with every section, and batches of them.
pub fn messages() -> Vec<Vec<u8>> {
    let full = MessageBuilder::new()
        .header(Header { durable: true, ..Header::default() })
        .annotation("x-opt-partition-key", Value::String("key".into()))
        .annotation("iothub-connection-device-id", Value::String("drone-1".into()))
        .properties(Properties {
            subject: Some("subject".into()),
            content_type: Some(Symbol::new("application/json")),
            ..Properties::default()
        })
        .application_property("level", Value::Int(3))
        .application_property("name", Value::String("x".into()))
        .data(Bytes::from_static(b"{\"id\":1}"))
        .encode();
    let plain = MessageBuilder::new().data(Bytes::from_static(b"hostile")).encode();
    let value = MessageBuilder::new().value(Value::String("a value".into())).encode();
    let mut batch = BatchBuilder::new(Some("key"));
    for message in [&full, &plain, &value] {
        batch.add(message);
    }
    [full, plain, value, batch.finish()].iter().map(|message| message.to_vec()).collect()
}

/// A request to `$cbs`.
pub fn put_token() -> Vec<u8> {
    MessageBuilder::new()
        .application_property("operation", Value::String("put-token".into()))
        .application_property("type", Value::String("servicebus.windows.net:sastoken".into()))
        .application_property("name", Value::String("sb://localhost/flights".into()))
        .value(Value::String(
            "SharedAccessSignature sr=sb%3a%2f%2flocalhost%2fflights&sig=x&se=9&skn=k".into(),
        ))
        .encode()
        .to_vec()
}

/// The frames of a conversation, in an order that makes sense.
pub fn frames() -> Vec<Vec<u8>> {
    let partition = format!("{HUB}/ConsumerGroups/$Default/Partitions/0");
    let begin =
        Begin { incoming_window: 5000, outgoing_window: 5000, next_outgoing_id: 1, ..Begin::default() };
    let batch = messages().pop().unwrap_or_default();
    let flow = Flow {
        next_incoming_id: Some(1),
        incoming_window: 5000,
        next_outgoing_id: 1,
        outgoing_window: 5000,
        handle: Some(1),
        delivery_count: Some(0),
        link_credit: Some(100),
        ..Flow::default()
    };
    let settled = Disposition {
        role: Role::Receiver,
        first: 0,
        last: Some(9),
        settled: true,
        state: Some(DeliveryState::Accepted),
        batchable: false,
    };
    let error = AmqpError::new(condition::NOT_FOUND, "nothing is there");
    vec![
        frame(0, &Open { container_id: "hostile".into(), max_frame_size: 65_536, ..Open::default() }),
        frame(0, &begin),
        frame(0, &attach("sends", 0, Role::Sender, HUB)),
        frame(0, &attach("receives", 1, Role::Receiver, &partition)),
        frame(0, &attach("cbs", 2, Role::Sender, "$cbs")),
        frame(0, &attach("cbs answers", 3, Role::Receiver, "$cbs")),
        frame(0, &attach("management", 4, Role::Sender, "$management")),
        frame(0, &flow),
        frame(0, &Flow { drain: true, echo: true, ..flow.clone() }),
        transfer(0, 0, MESSAGE_FORMAT_BATCH, &batch, false),
        transfer(0, 1, 0, &messages()[0], false),
        transfer(0, 2, 0, &messages()[1], true),
        transfer(2, 3, 0, &put_token(), false),
        frame(0, &settled),
        frame(1, &begin),
        EMPTY_FRAME.to_vec(),
        frame(0, &Detach { handle: 0, closed: true, error: Some(error) }),
        frame(0, &End::default()),
        frame(0, &Close::default()),
    ]
}

/// The frames before the connection is open: headers and the security layer's.
pub fn greetings() -> Vec<Vec<u8>> {
    let init = |mechanism: Symbol, response: &'static [u8]| {
        let mut out = BytesMut::new();
        let init = SaslInit {
            mechanism,
            initial_response: Some(Bytes::from_static(response)),
            hostname: Some("localhost".into()),
        };
        write_sasl(&mut out, &SaslFrame::Init(init));
        out.to_vec()
    };
    vec![
        ProtocolHeader::SASL.to_bytes().to_vec(),
        init(sasl::ANONYMOUS, b"anonymous"),
        init(sasl::PLAIN, b"\0reader\0secret"),
        init(sasl::MSSBCBS, b""),
        ProtocolHeader::AMQP.to_bytes().to_vec(),
    ]
}

/// Whole conversations: without a security layer, and with it.
pub fn conversations() -> Vec<Vec<u8>> {
    let plain = [vec![ProtocolHeader::AMQP.to_bytes().to_vec()], frames()].concat().concat();
    let greetings = greetings();
    let with_sasl = [&greetings[0], &greetings[1], &greetings[4]].into_iter().flatten().copied();
    vec![plain, with_sasl.chain(frames().concat()).collect()]
}
