//! Values, performatives and messages of all shapes.

use bytes::Bytes;
use bytestring::ByteString;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use tidegate_amqp::codec::message::{Body, Header, MessageBuilder, MessageId, Properties};
use tidegate_amqp::codec::performative::*;
use tidegate_amqp::codec::value::{Array, Described, Map, Symbol, Value};
use uuid::Uuid;

pub(super) fn text() -> BoxedStrategy<ByteString> {
    prop_oneof![
        8 => "[a-z$/@ ]{0,12}".prop_map(ByteString::from),
        2 => any::<String>().prop_map(ByteString::from),
        1 => (250usize..270).prop_map(|length| ByteString::from("x".repeat(length))),
    ]
    .boxed()
}

pub(super) fn symbol() -> BoxedStrategy<Symbol> {
    "[a-z:.-]{1,30}".prop_map(|text| Symbol::new(&text)).boxed()
}

fn binary() -> BoxedStrategy<Bytes> {
    prop_oneof![8 => vec(any::<u8>(), 0..20), 1 => vec(any::<u8>(), 250..270)].prop_map(Bytes::from).boxed()
}

/// A strategy for each primitive type.
fn primitives() -> Vec<BoxedStrategy<Value>> {
    vec![
        any::<bool>().prop_map(Value::Boolean).boxed(),
        any::<u8>().prop_map(Value::Ubyte).boxed(),
        any::<u16>().prop_map(Value::Ushort).boxed(),
        prop_oneof![Just(0), 0..300u32, any::<u32>()].prop_map(Value::Uint).boxed(),
        prop_oneof![Just(0), 0..300u64, any::<u64>()].prop_map(Value::Ulong).boxed(),
        any::<i8>().prop_map(Value::Byte).boxed(),
        any::<i16>().prop_map(Value::Short).boxed(),
        prop_oneof![-200..200i32, any::<i32>()].prop_map(Value::Int).boxed(),
        prop_oneof![-200..200i64, any::<i64>()].prop_map(Value::Long).boxed(),
        any::<f32>().prop_map(Value::Float).boxed(),
        any::<f64>().prop_map(Value::Double).boxed(),
        any::<[u8; 4]>().prop_map(Value::Decimal32).boxed(),
        any::<[u8; 8]>().prop_map(Value::Decimal64).boxed(),
        any::<[u8; 16]>().prop_map(Value::Decimal128).boxed(),
        any::<char>().prop_map(Value::Char).boxed(),
        any::<i64>().prop_map(Value::Timestamp).boxed(),
        any::<[u8; 16]>().prop_map(|bytes| Value::Uuid(Uuid::from_bytes(bytes))).boxed(),
        binary().prop_map(Value::Binary).boxed(),
        text().prop_map(Value::String).boxed(),
        symbol().prop_map(Value::Symbol).boxed(),
    ]
}

pub(super) fn primitive() -> BoxedStrategy<Value> {
    prop_oneof![1 => Just(Value::Null), 20 => proptest::strategy::Union::new(primitives())].boxed()
}

fn array() -> BoxedStrategy<Array> {
    let of_one_type: Vec<_> = primitives().into_iter().map(|item| vec(item, 0..6).boxed()).collect();
    proptest::strategy::Union::new(of_one_type).prop_map(|items| Array::new(items).unwrap()).boxed()
}

fn descriptor() -> BoxedStrategy<Value> {
    prop_oneof![any::<u64>().prop_map(Value::Ulong), symbol().prop_map(Value::Symbol)].boxed()
}

/// Any value, a few levels deep.
pub(super) fn value() -> BoxedStrategy<Value> {
    let leaf = prop_oneof![8 => primitive(), 1 => array().prop_map(Value::Array)];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Value::List),
            vec((primitive(), inner.clone()), 0..4).prop_map(|pairs| Value::Map(pairs.into_iter().collect())),
            (descriptor(), inner.clone())
                .prop_map(|(descriptor, value)| Value::Described(Box::new(Described { descriptor, value }))),
            (descriptor(), array()).prop_map(|(descriptor, array)| {
                let items = array.items().iter().map(|value| {
                    Value::Described(Box::new(Described {
                        descriptor: descriptor.clone(),
                        value: value.clone(),
                    }))
                });
                Value::Array(Array::new(items.collect()).unwrap())
            }),
            vec(vec(inner, 0..3), 0..3).prop_map(|lists| {
                Value::Array(Array::new(lists.into_iter().map(Value::List).collect()).unwrap())
            }),
            vec(array(), 0..3).prop_map(|arrays| {
                Value::Array(Array::new(arrays.into_iter().map(Value::Array).collect()).unwrap())
            }),
        ]
    })
    .boxed()
}

/// A map with symbols as keys, each of which comes once.
pub(super) fn fields() -> BoxedStrategy<Map> {
    proptest::collection::btree_map(symbol(), primitive(), 0..4)
        .prop_map(|pairs| pairs.into_iter().map(|(key, value)| (Value::Symbol(key), value)).collect())
        .boxed()
}

fn symbols() -> BoxedStrategy<Vec<Symbol>> {
    vec(symbol(), 0..4).boxed()
}

pub(super) fn error() -> BoxedStrategy<AmqpError> {
    (symbol(), option::of(text()), fields())
        .prop_map(|(condition, description, info)| AmqpError { condition, description, info })
        .boxed()
}

pub(super) fn delivery_state() -> BoxedStrategy<DeliveryState> {
    prop_oneof![
        (any::<u32>(), any::<u64>()).prop_map(|(section_number, section_offset)| DeliveryState::Received {
            section_number,
            section_offset
        }),
        outcome(),
    ]
    .boxed()
}

fn outcome() -> BoxedStrategy<DeliveryState> {
    prop_oneof![
        Just(DeliveryState::Accepted),
        option::of(error()).prop_map(|error| DeliveryState::Rejected { error }),
        Just(DeliveryState::Released),
        (any::<bool>(), any::<bool>(), fields()).prop_map(
            |(delivery_failed, undeliverable_here, message_annotations)| DeliveryState::Modified {
                delivery_failed,
                undeliverable_here,
                message_annotations
            }
        ),
    ]
    .boxed()
}

fn durability() -> BoxedStrategy<Durability> {
    prop_oneof![Just(Durability::None), Just(Durability::Configuration), Just(Durability::UnsettledState)]
        .boxed()
}

fn expiry_policy() -> BoxedStrategy<Option<Symbol>> {
    option::of(
        prop_oneof![Just("link-detach"), Just("connection-close"), Just("never")].prop_map(Symbol::new),
    )
    .boxed()
}

pub(super) fn source() -> BoxedStrategy<Source> {
    let first = (option::of(text()), durability(), expiry_policy(), any::<u32>(), any::<bool>(), fields());
    let mode = option::of(prop_oneof![Just("move"), Just("copy")].prop_map(Symbol::new));
    let rest = (mode, option::of(text()), fields(), option::of(outcome()), symbols(), symbols());
    (first, rest)
        .prop_map(
            |(
                (address, durable, expiry_policy, timeout, dynamic, dynamic_node_properties),
                (distribution_mode, selector, filter, default_outcome, outcomes, capabilities),
            )| {
                let source = Source {
                    address,
                    durable,
                    expiry_policy,
                    timeout,
                    dynamic,
                    dynamic_node_properties,
                    distribution_mode,
                    filter,
                    default_outcome: default_outcome.map(Box::new),
                    outcomes,
                    capabilities,
                };
                match selector {
                    Some(expression) => source.with_selector(expression),
                    None => source,
                }
            },
        )
        .boxed()
}

pub(super) fn target() -> BoxedStrategy<Target> {
    (option::of(text()), durability(), expiry_policy(), any::<u32>(), any::<bool>(), fields(), symbols())
        .prop_map(
            |(address, durable, expiry_policy, timeout, dynamic, dynamic_node_properties, capabilities)| {
                Target {
                    address,
                    durable,
                    expiry_policy,
                    timeout,
                    dynamic,
                    dynamic_node_properties,
                    capabilities,
                }
            },
        )
        .boxed()
}

fn role() -> BoxedStrategy<Role> {
    prop_oneof![Just(Role::Sender), Just(Role::Receiver)].boxed()
}

fn rcv_settle_mode() -> BoxedStrategy<ReceiverSettleMode> {
    prop_oneof![Just(ReceiverSettleMode::First), Just(ReceiverSettleMode::Second)].boxed()
}

pub(super) fn open() -> BoxedStrategy<Open> {
    let first = (text(), option::of(text()), any::<u32>(), any::<u16>(), option::of(any::<u32>()));
    (first, symbols(), symbols(), symbols(), symbols(), fields())
        .prop_map(
            |(
                (container_id, hostname, max_frame_size, channel_max, idle_timeout),
                outgoing_locales,
                incoming_locales,
                offered_capabilities,
                desired_capabilities,
                properties,
            )| Open {
                container_id,
                hostname,
                max_frame_size,
                channel_max,
                idle_timeout,
                outgoing_locales,
                incoming_locales,
                offered_capabilities,
                desired_capabilities,
                properties,
            },
        )
        .boxed()
}

pub(super) fn begin() -> BoxedStrategy<Begin> {
    let numbers = (option::of(any::<u16>()), any::<u32>(), any::<u32>(), any::<u32>(), any::<u32>());
    (numbers, symbols(), symbols(), fields())
        .prop_map(
            |(
                (remote_channel, next_outgoing_id, incoming_window, outgoing_window, handle_max),
                offered_capabilities,
                desired_capabilities,
                properties,
            )| Begin {
                remote_channel,
                next_outgoing_id,
                incoming_window,
                outgoing_window,
                handle_max,
                offered_capabilities,
                desired_capabilities,
                properties,
            },
        )
        .boxed()
}

pub(super) fn attach() -> BoxedStrategy<Attach> {
    let snd_settle_mode = prop_oneof![
        Just(SenderSettleMode::Unsettled),
        Just(SenderSettleMode::Settled),
        Just(SenderSettleMode::Mixed)
    ];
    let first = (text(), any::<u32>(), role(), snd_settle_mode, rcv_settle_mode());
    let ends = (option::of(source()), option::of(target()));
    let numbers = (any::<bool>(), option::of(any::<u32>()), option::of(any::<u64>()));
    (first, ends, numbers, symbols(), symbols(), fields())
        .prop_map(
            |(
                (name, handle, role, snd_settle_mode, rcv_settle_mode),
                (source, target),
                (incomplete_unsettled, initial_delivery_count, max_message_size),
                offered_capabilities,
                desired_capabilities,
                properties,
            )| Attach {
                name,
                handle,
                role,
                snd_settle_mode,
                rcv_settle_mode,
                source,
                target,
                coordinator: false,
                unsettled: Map::new(),
                incomplete_unsettled,
                initial_delivery_count,
                max_message_size,
                offered_capabilities,
                desired_capabilities,
                properties,
            },
        )
        .boxed()
}

pub(super) fn flow() -> BoxedStrategy<Flow> {
    let number = || option::of(any::<u32>());
    let session = (number(), any::<u32>(), any::<u32>(), any::<u32>());
    let link = (number(), number(), number(), number());
    (session, link, any::<bool>(), any::<bool>(), fields())
        .prop_map(
            |(
                (next_incoming_id, incoming_window, next_outgoing_id, outgoing_window),
                (handle, delivery_count, link_credit, available),
                drain,
                echo,
                properties,
            )| Flow {
                next_incoming_id,
                incoming_window,
                next_outgoing_id,
                outgoing_window,
                handle,
                delivery_count,
                link_credit,
                available,
                drain,
                echo,
                properties,
            },
        )
        .boxed()
}

pub(super) fn transfer() -> BoxedStrategy<Transfer> {
    let tag = vec(any::<u8>(), 0..=MAX_DELIVERY_TAG).prop_map(|tag| DeliveryTag::new(&tag).unwrap());
    let number = || option::of(prop_oneof![0..300u32, any::<u32>()]);
    let first = (any::<u32>(), number(), option::of(tag), number(), option::of(any::<bool>()), any::<bool>());
    let state = option::of(delivery_state().prop_map(Box::new));
    (first, option::of(rcv_settle_mode()), state, any::<bool>(), any::<bool>(), any::<bool>())
        .prop_map(
            |(
                (handle, delivery_id, delivery_tag, message_format, settled, more),
                rcv_settle_mode,
                state,
                resume,
                aborted,
                batchable,
            )| Transfer {
                handle,
                delivery_id,
                delivery_tag,
                message_format,
                settled,
                more,
                rcv_settle_mode,
                state,
                resume,
                aborted,
                batchable,
            },
        )
        .boxed()
}

pub(super) fn disposition() -> BoxedStrategy<Disposition> {
    let last = option::of(any::<u32>());
    (role(), any::<u32>(), last, any::<bool>(), option::of(delivery_state()), any::<bool>())
        .prop_map(|(role, first, last, settled, state, batchable)| Disposition {
            role,
            first,
            last,
            settled,
            state,
            batchable,
        })
        .boxed()
}

pub(super) fn detach() -> BoxedStrategy<Detach> {
    (any::<u32>(), any::<bool>(), option::of(error()))
        .prop_map(|(handle, closed, error)| Detach { handle, closed, error })
        .boxed()
}

pub(super) fn performative() -> BoxedStrategy<Performative> {
    prop_oneof![
        open().prop_map(|open| Performative::Open(Box::new(open))),
        begin().prop_map(|begin| Performative::Begin(Box::new(begin))),
        attach().prop_map(|attach| Performative::Attach(Box::new(attach))),
        flow().prop_map(|flow| Performative::Flow(Box::new(flow))),
        transfer().prop_map(Performative::Transfer),
        disposition().prop_map(Performative::Disposition),
        detach().prop_map(Performative::Detach),
        option::of(error()).prop_map(|error| Performative::End(End { error })),
        option::of(error()).prop_map(|error| Performative::Close(Close { error })),
    ]
    .boxed()
}

fn message_id() -> BoxedStrategy<MessageId> {
    prop_oneof![
        any::<u64>().prop_map(MessageId::Ulong),
        any::<[u8; 16]>().prop_map(|bytes| MessageId::Uuid(Uuid::from_bytes(bytes))),
        binary().prop_map(MessageId::Binary),
        text().prop_map(MessageId::String),
    ]
    .boxed()
}

pub(super) fn properties() -> BoxedStrategy<Properties> {
    let names = (option::of(message_id()), option::of(binary()), option::of(text()), option::of(text()));
    let answers = (option::of(text()), option::of(message_id()));
    let content = (option::of(symbol()), option::of(symbol()));
    let times = (option::of(any::<i64>()), option::of(any::<i64>()));
    let group = (option::of(text()), option::of(any::<u32>()), option::of(text()));
    (names, answers, content, times, group)
        .prop_map(
            |(
                (message_id, user_id, to, subject),
                (reply_to, correlation_id),
                (content_type, content_encoding),
                (absolute_expiry_time, creation_time),
                (group_id, group_sequence, reply_to_group_id),
            )| Properties {
                message_id,
                user_id,
                to,
                subject,
                reply_to,
                correlation_id,
                content_type,
                content_encoding,
                absolute_expiry_time,
                creation_time,
                group_id,
                group_sequence,
                reply_to_group_id,
            },
        )
        .boxed()
}

pub(super) fn header() -> BoxedStrategy<Header> {
    (any::<bool>(), any::<u8>(), option::of(any::<u32>()), any::<bool>(), any::<u32>())
        .prop_map(|(durable, priority, ttl, first_acquirer, delivery_count)| Header {
            durable,
            priority,
            ttl,
            first_acquirer,
            delivery_count,
        })
        .boxed()
}

pub(super) fn body() -> BoxedStrategy<Body> {
    prop_oneof![
        4 => binary().prop_map(Body::Data),
        1 => vec(binary(), 2..4).prop_map(Body::Parts),
        1 => vec(value(), 0..4).prop_map(Body::Sequence),
        1 => value().prop_map(Body::Value),
    ]
    .boxed()
}

/// The parts of a message. Names come once; some annotations have names that the broker keeps for itself.
#[derive(Clone, Debug)]
pub(super) struct Parts {
    pub(super) header: Option<Header>,
    pub(super) annotations: Vec<(ByteString, Value)>,
    pub(super) properties: Option<Properties>,
    pub(super) application_properties: Vec<(ByteString, Value)>,
    pub(super) body: Body,
}

impl Parts {
    pub(super) fn encode(&self) -> Bytes {
        let mut builder = MessageBuilder::new().body(self.body.clone());
        if let Some(header) = self.header {
            builder = builder.header(header);
        }
        if let Some(properties) = &self.properties {
            builder = builder.properties(properties.clone());
        }
        for (name, value) in &self.annotations {
            builder = builder.annotation(name, value.clone());
        }
        for (name, value) in &self.application_properties {
            builder = builder.application_property(name.clone(), value.clone());
        }
        builder.encode()
    }
}

pub(super) fn parts() -> BoxedStrategy<Parts> {
    let name = prop_oneof![
        6 => "[a-z-]{1,25}".prop_map(ByteString::from),
        1 => prop_oneof![
            Just("x-opt-sequence-number"),
            Just("x-opt-offset"),
            Just("x-opt-enqueued-time"),
            Just("x-opt-partition-key"),
        ].prop_map(ByteString::from_static),
    ];
    let annotations = proptest::collection::hash_map(name, primitive(), 0..5).prop_map(|map| {
        map.into_iter()
            .map(|(name, value)| match &*name {
                "x-opt-partition-key" => (name, Value::from("a key")),
                _ => (name, value),
            })
            .collect()
    });
    let application_properties = proptest::collection::hash_map(text(), primitive(), 0..5)
        .prop_map(|map| map.into_iter().collect::<Vec<_>>());
    (option::of(header()), annotations, option::of(properties()), application_properties, body())
        .prop_map(|(header, annotations, properties, application_properties, body)| Parts {
            header,
            annotations,
            properties,
            application_properties,
            body,
        })
        .boxed()
}
