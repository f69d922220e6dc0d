//! Requests of clients: tokens for `$cbs`, and questions to `$management`.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tidegate_amqp::codec::message::{Body, Message, MessageBuilder, MessageId, Properties};
use tidegate_amqp::codec::names::MESSAGE_FORMAT_PLAIN;
use tidegate_amqp::codec::performative::{Attach, DeliveryState, Role, Source, Target};
use tidegate_amqp::codec::value::Value;
use tidegate_amqp::connection::{CreditPolicy, Event, Outgoing, Part};
use tidegate_model::position::PartitionId;
use tokio::sync::Notify;

use super::client::{Client, Turn};
use crate::clock::BEGINNING;
use crate::scenario::hub_name;
use crate::site::{KEY, KEY_NAME};

const ID: MessageId = MessageId::Ulong(1);

/// What `$management` says of a partition.
#[derive(Clone, Copy, Debug)]
pub(super) struct About {
    /// The number of its first event.
    pub(super) head: i64,
    /// The number of its last event; -1 when there never was one.
    pub(super) last: i64,
}

impl Client {
    /// Puts a token that is good for so long; whether it was accepted.
    pub(super) async fn put_token(&mut self, lifetime: Duration, until: Duration) -> bool {
        let audience = format!("sb%3A%2F%2Flocalhost%2F{}", hub_name());
        let ends = BEGINNING.plus(self.now() + lifetime).as_millis() / 1000;
        let mut mac = Hmac::<Sha256>::new_from_slice(KEY.as_bytes()).expect("keys have any length");
        mac.update(format!("{audience}\n{ends}").as_bytes());
        let signature = STANDARD.encode(mac.finalize().into_bytes());
        let signature = signature.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
        let token = format!("SharedAccessSignature sr={audience}&sig={signature}&se={ends}&skn={KEY_NAME}");
        let request = MessageBuilder::new()
            .application_property("operation", "put-token")
            .application_property("type", "servicebus.windows.net:sastoken")
            .application_property("name", format!("sb://localhost/{}", hub_name()))
            .value(Value::String(token.into()));
        self.ask("$cbs", request, until).await.is_some_and(|reply| status(&reply) == Some(202))
    }

    /// Asks about a partition.
    pub(super) async fn ask_about(&mut self, partition: PartitionId, until: Duration) -> Option<About> {
        let request = MessageBuilder::new()
            .application_property("operation", "READ")
            .application_property("type", "com.microsoft:partition")
            .application_property("name", hub_name().as_str())
            .application_property("partition", partition.to_string())
            .value(Value::Null);
        let reply =
            self.ask("$management", request, until).await.filter(|reply| status(reply) == Some(200))?;
        let Ok(Body::Value(Value::Map(body))) = reply.body() else { return None };
        let number = |name: &str| body.get(name).and_then(Value::as_i64);
        Some(About { head: number("begin_sequence_number")?, last: number("last_enqueued_sequence_number")? })
    }

    /// Asks a node, on a session of its own; the reply.
    async fn ask(&mut self, node: &'static str, request: MessageBuilder, until: Duration) -> Option<Message> {
        let session = self.begin()?;
        let name = format!("{node}-{}", self.now().as_micros());
        let of = |role| Attach { name: name.as_str().into(), role, ..Attach::default() };
        let (here, there) = ("replies", node);
        let sending =
            Attach { source: Some(Source::at(here)), target: Some(Target::at(there)), ..of(Role::Sender) };
        let receiving =
            Attach { source: Some(Source::at(there)), target: Some(Target::at(here)), ..of(Role::Receiver) };
        let sender = self.engine.attach(session, sending).ok()?;
        let receiver = self.engine.attach(session, receiving).ok()?;
        self.engine.set_credit_policy(receiver, CreditPolicy::Window(10)).ok()?;
        let properties =
            Properties { message_id: Some(ID), reply_to: Some(here.into()), ..Properties::default() };
        let request = request.properties(properties).encode();
        let (nobody, mut is_sent, mut attached) = (Notify::new(), false, 0);
        loop {
            if !is_sent && attached == 2 && self.engine.can_send(sender) {
                let outgoing = Outgoing { message_format: MESSAGE_FORMAT_PLAIN, ..Outgoing::default() };
                self.engine.send(sender, &outgoing, &[Part::Share(&request)]).ok()?;
                is_sent = true;
            }
            match self.turn(until, &nobody).await {
                Turn::Event(Event::Attached { link, .. }) if link == sender || link == receiver => {
                    attached += 1
                }
                Turn::Event(Event::Delivery(reply)) if reply.link == receiver => {
                    if !reply.settled {
                        let (link, id) = (reply.link, reply.delivery_id);
                        let _ = self.engine.settle(link, id, id, &DeliveryState::Accepted);
                    }
                    let _ = self.engine.end(session, None);
                    return Message::parse(reply.payload).ok().filter(is_for_us);
                }
                Turn::Event(Event::Detached { link, .. }) if link == sender || link == receiver => {
                    return None;
                }
                Turn::Event(Event::SessionEnded { session: ended, .. }) if ended == session => return None,
                Turn::Time | Turn::Over => return None,
                Turn::Event(_) | Turn::Nudged => {}
            }
        }
    }
}

fn is_for_us(reply: &Message) -> bool {
    let properties = reply.properties().ok().flatten().unwrap_or_default();
    properties.correlation_id == Some(ID)
}

fn status(reply: &Message) -> Option<i64> {
    reply.application_property("status-code").ok()??.as_i64()
}
