//! Bytes to performatives. Fields that are missing at the end count as null.

use bytes::{Buf, Bytes};

use crate::codec::error::{DecodeError, DecodeProblem};
use crate::codec::names::descriptor;
use crate::codec::performative::*;
use crate::codec::read::{self, Decoded, Field, Fields, Reader};

pub(super) fn performative(body: &mut Bytes) -> Decoded<Performative> {
    let mut reader = Reader::new(body);
    let code = reader.descriptor("performative")?;
    let mut fields = reader.fields("performative")?;
    let performative = match code {
        descriptor::TRANSFER => Performative::Transfer(transfer(&mut fields)?),
        descriptor::FLOW => Performative::Flow(Box::new(flow(&mut fields)?)),
        descriptor::DISPOSITION => Performative::Disposition(disposition(&mut fields)?),
        descriptor::OPEN => Performative::Open(Box::new(open(&mut fields)?)),
        descriptor::BEGIN => Performative::Begin(Box::new(begin(&mut fields)?)),
        descriptor::ATTACH => Performative::Attach(Box::new(attach(&mut fields)?)),
        descriptor::DETACH => Performative::Detach(Detach {
            handle: fields.required("detach.handle")?,
            closed: fields.or("detach.closed", false)?,
            error: error(&mut fields, "detach.error")?,
        }),
        descriptor::END => Performative::End(End { error: error(&mut fields, "end.error")? }),
        descriptor::CLOSE => Performative::Close(Close { error: error(&mut fields, "close.error")? }),
        other => return Err(read::unexpected_descriptor("performative", 0, other)),
    };
    let length = reader.at();
    body.advance(length);
    Ok(performative)
}

fn open(fields: &mut Fields<'_>) -> Decoded<Open> {
    Ok(Open {
        container_id: fields.required("open.container-id")?,
        hostname: fields.optional("open.hostname")?,
        max_frame_size: fields.or("open.max-frame-size", u32::MAX)?,
        channel_max: fields.or("open.channel-max", u16::MAX)?,
        idle_timeout: fields.optional("open.idle-time-out")?,
        outgoing_locales: fields.symbols("open.outgoing-locales")?,
        incoming_locales: fields.symbols("open.incoming-locales")?,
        offered_capabilities: fields.symbols("open.offered-capabilities")?,
        desired_capabilities: fields.symbols("open.desired-capabilities")?,
        properties: fields.map("open.properties")?,
    })
}

fn begin(fields: &mut Fields<'_>) -> Decoded<Begin> {
    Ok(Begin {
        remote_channel: fields.optional("begin.remote-channel")?,
        next_outgoing_id: fields.required("begin.next-outgoing-id")?,
        incoming_window: fields.required("begin.incoming-window")?,
        outgoing_window: fields.required("begin.outgoing-window")?,
        handle_max: fields.or("begin.handle-max", u32::MAX)?,
        offered_capabilities: fields.symbols("begin.offered-capabilities")?,
        desired_capabilities: fields.symbols("begin.desired-capabilities")?,
        properties: fields.map("begin.properties")?,
    })
}

fn attach(fields: &mut Fields<'_>) -> Decoded<Attach> {
    let mut attach = Attach {
        name: fields.required("attach.name")?,
        handle: fields.required("attach.handle")?,
        role: fields.required("attach.role")?,
        snd_settle_mode: fields.or("attach.snd-settle-mode", SenderSettleMode::default())?,
        rcv_settle_mode: fields.or("attach.rcv-settle-mode", ReceiverSettleMode::default())?,
        ..Attach::default()
    };
    let at = fields.at();
    attach.source = match fields.composite("attach.source")? {
        None => None,
        Some((descriptor::SOURCE, mut fields)) => Some(source(&mut fields)?),
        Some((other, _)) => return Err(read::unexpected_descriptor("attach.source", at, other)),
    };
    let at = fields.at();
    match fields.composite("attach.target")? {
        None => {}
        Some((descriptor::TARGET, mut fields)) => attach.target = Some(target(&mut fields)?),
        Some((descriptor::COORDINATOR, _)) => attach.coordinator = true,
        Some((other, _)) => return Err(read::unexpected_descriptor("attach.target", at, other)),
    }
    attach.unsettled = fields.map("attach.unsettled")?;
    attach.incomplete_unsettled = fields.or("attach.incomplete-unsettled", false)?;
    attach.initial_delivery_count = fields.optional("attach.initial-delivery-count")?;
    attach.max_message_size = fields.optional("attach.max-message-size")?;
    attach.offered_capabilities = fields.symbols("attach.offered-capabilities")?;
    attach.desired_capabilities = fields.symbols("attach.desired-capabilities")?;
    attach.properties = fields.map("attach.properties")?;
    Ok(attach)
}

fn source(fields: &mut Fields<'_>) -> Decoded<Source> {
    Ok(Source {
        address: fields.address("source.address")?,
        durable: fields.or("source.durable", Durability::None)?,
        expiry_policy: fields.optional("source.expiry-policy")?,
        timeout: fields.or("source.timeout", 0)?,
        dynamic: fields.or("source.dynamic", false)?,
        dynamic_node_properties: fields.map("source.dynamic-node-properties")?,
        distribution_mode: fields.optional("source.distribution-mode")?,
        filter: fields.map("source.filter")?,
        default_outcome: delivery_state(fields, "source.default-outcome")?.map(Box::new),
        outcomes: fields.symbols("source.outcomes")?,
        capabilities: fields.symbols("source.capabilities")?,
    })
}

fn target(fields: &mut Fields<'_>) -> Decoded<Target> {
    Ok(Target {
        address: fields.address("target.address")?,
        durable: fields.or("target.durable", Durability::None)?,
        expiry_policy: fields.optional("target.expiry-policy")?,
        timeout: fields.or("target.timeout", 0)?,
        dynamic: fields.or("target.dynamic", false)?,
        dynamic_node_properties: fields.map("target.dynamic-node-properties")?,
        capabilities: fields.symbols("target.capabilities")?,
    })
}

fn flow(fields: &mut Fields<'_>) -> Decoded<Flow> {
    Ok(Flow {
        next_incoming_id: fields.optional("flow.next-incoming-id")?,
        incoming_window: fields.required("flow.incoming-window")?,
        next_outgoing_id: fields.required("flow.next-outgoing-id")?,
        outgoing_window: fields.required("flow.outgoing-window")?,
        handle: fields.optional("flow.handle")?,
        delivery_count: fields.optional("flow.delivery-count")?,
        link_credit: fields.optional("flow.link-credit")?,
        available: fields.optional("flow.available")?,
        drain: fields.or("flow.drain", false)?,
        echo: fields.or("flow.echo", false)?,
        properties: fields.map("flow.properties")?,
    })
}

fn transfer(fields: &mut Fields<'_>) -> Decoded<Transfer> {
    Ok(Transfer {
        handle: fields.required("transfer.handle")?,
        delivery_id: fields.optional("transfer.delivery-id")?,
        delivery_tag: fields.optional("transfer.delivery-tag")?,
        message_format: fields.optional("transfer.message-format")?,
        settled: fields.optional("transfer.settled")?,
        more: fields.or("transfer.more", false)?,
        rcv_settle_mode: fields.optional("transfer.rcv-settle-mode")?,
        state: delivery_state(fields, "transfer.state")?.map(Box::new),
        resume: fields.or("transfer.resume", false)?,
        aborted: fields.or("transfer.aborted", false)?,
        batchable: fields.or("transfer.batchable", false)?,
    })
}

fn disposition(fields: &mut Fields<'_>) -> Decoded<Disposition> {
    Ok(Disposition {
        role: fields.required("disposition.role")?,
        first: fields.required("disposition.first")?,
        last: fields.optional("disposition.last")?,
        settled: fields.or("disposition.settled", false)?,
        state: delivery_state(fields, "disposition.state")?,
        batchable: fields.or("disposition.batchable", false)?,
    })
}

fn error(fields: &mut Fields<'_>, place: &'static str) -> Decoded<Option<AmqpError>> {
    let at = fields.at();
    match fields.composite(place)? {
        None => Ok(None),
        Some((descriptor::ERROR, mut fields)) => Ok(Some(AmqpError {
            condition: fields.required("error.condition")?,
            description: fields.optional("error.description")?,
            info: fields.map("error.info")?,
        })),
        Some((other, _)) => Err(read::unexpected_descriptor(place, at, other)),
    }
}

fn delivery_state(fields: &mut Fields<'_>, place: &'static str) -> Decoded<Option<DeliveryState>> {
    let Some(reader) = fields.value_reader(place)? else { return Ok(None) };
    let mut ahead = reader.clone();
    // A state named by a symbol that is not of the specification is one of the others.
    let code = ahead.descriptor(place).unwrap_or_default();
    let known = matches!(
        code,
        descriptor::RECEIVED
            | descriptor::ACCEPTED
            | descriptor::REJECTED
            | descriptor::RELEASED
            | descriptor::MODIFIED
    );
    if !known {
        let at = reader.at();
        let value = reader.value(place)?;
        let described = matches!(value, Value::Described(_));
        let problem = DecodeProblem::Invalid("a delivery state is a described value");
        return if described {
            Ok(Some(DeliveryState::Other(value)))
        } else {
            Err(DecodeError::new(place, at, problem))
        };
    }
    let mut fields = ahead.fields(place)?;
    *reader = ahead;
    Ok(Some(match code {
        descriptor::RECEIVED => DeliveryState::Received {
            section_number: fields.required("received.section-number")?,
            section_offset: fields.required("received.section-offset")?,
        },
        descriptor::REJECTED => DeliveryState::Rejected { error: error(&mut fields, "rejected.error")? },
        descriptor::RELEASED => DeliveryState::Released,
        descriptor::MODIFIED => DeliveryState::Modified {
            delivery_failed: fields.or("modified.delivery-failed", false)?,
            undeliverable_here: fields.or("modified.undeliverable-here", false)?,
            message_annotations: fields.map("modified.message-annotations")?,
        },
        _ => DeliveryState::Accepted,
    }))
}

impl Field for Role {
    fn read(reader: &mut Reader<'_>, code: u8, place: &'static str) -> Decoded<Self> {
        Ok(if bool::read(reader, code, place)? { Self::Receiver } else { Self::Sender })
    }
}

impl Field for SenderSettleMode {
    fn read(reader: &mut Reader<'_>, code: u8, place: &'static str) -> Decoded<Self> {
        let at = reader.at();
        match u8::read(reader, code, place)? {
            0 => Ok(Self::Unsettled),
            1 => Ok(Self::Settled),
            2 => Ok(Self::Mixed),
            _ => Err(DecodeError::new(place, at, DecodeProblem::Invalid("not a sender settle mode"))),
        }
    }
}

impl Field for ReceiverSettleMode {
    fn read(reader: &mut Reader<'_>, code: u8, place: &'static str) -> Decoded<Self> {
        let at = reader.at();
        match u8::read(reader, code, place)? {
            0 => Ok(Self::First),
            1 => Ok(Self::Second),
            _ => Err(DecodeError::new(place, at, DecodeProblem::Invalid("not a receiver settle mode"))),
        }
    }
}

impl Field for Durability {
    fn read(reader: &mut Reader<'_>, code: u8, place: &'static str) -> Decoded<Self> {
        let at = reader.at();
        match u32::read(reader, code, place)? {
            0 => Ok(Self::None),
            1 => Ok(Self::Configuration),
            2 => Ok(Self::UnsettledState),
            _ => Err(DecodeError::new(place, at, DecodeProblem::Invalid("not a durability"))),
        }
    }
}
