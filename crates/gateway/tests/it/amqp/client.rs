//! A client of the AMQP front door: the protocol's other half over a pipe in memory.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tidegate_amqp::codec::message::{BatchBuilder, Message, MessageBuilder, MessageId, Properties};
use tidegate_amqp::codec::names::{MESSAGE_FORMAT_BATCH, MESSAGE_FORMAT_PLAIN};
use tidegate_amqp::codec::performative::{AmqpError, Attach, DeliveryState, Role, Source, Target};
use tidegate_amqp::codec::value::{Map, Value};
use tidegate_amqp::connection::{
    Connection, CreditPolicy, Ending, Event, LinkId, Login, Options, Outgoing, Part, SessionId,
};
use tidegate_gateway::Gateway;
use tidegate_gateway::amqp::{AmqpBounds, AmqpDoor, AmqpMetrics};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::watch;

/// The door with a switch that stops it.
pub(crate) struct Door {
    door: Arc<AmqpDoor>,
    pub(crate) stop: watch::Sender<bool>,
}

impl Door {
    pub(crate) fn new(gateway: &Arc<Gateway>) -> Self {
        Self {
            door: Arc::new(AmqpDoor::new(gateway.clone(), AmqpBounds::default())),
            stop: watch::Sender::new(false),
        }
    }

    /// What it counts.
    pub(crate) fn metrics(&self) -> &AmqpMetrics {
        self.door.metrics()
    }

    /// A pipe to the door.
    pub(crate) fn connect(&self) -> DuplexStream {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let (door, stop) = (self.door.clone(), self.stop.subscribe());
        tokio::spawn(async move { door.serve_stream(theirs, stop).await });
        ours
    }

    /// A client that has opened its connection and a session.
    pub(crate) async fn client(&self) -> Client {
        self.client_as(Login::Anonymous).await.expect("it is let in")
    }

    pub(crate) async fn client_as(&self, login: Login) -> Result<Client, Ending> {
        self.client_with(Options::new("test"), login).await
    }

    pub(crate) async fn client_with(&self, options: Options, login: Login) -> Result<Client, Ending> {
        let mut client = Client {
            engine: Connection::client(options, login, Duration::ZERO),
            pipe: self.connect(),
            session: None,
            events: VecDeque::new(),
            outcomes: HashMap::new(),
            names: 0,
        };
        client
            .wait(|event| matches!(event, Event::Opened(_) | Event::Closed(_)).then(|| event.clone()))
            .await
            .and_then(|event| match event {
                Event::Closed(ending) => Err(ending),
                _ => Ok(()),
            })?;
        client.session = Some(client.engine.begin().unwrap());
        Ok(client)
    }
}

pub(crate) struct Client {
    pub(crate) engine: Connection,
    pub(crate) pipe: DuplexStream,
    session: Option<SessionId>,
    /// Events that nobody has waited for.
    events: VecDeque<Event>,
    /// Outcomes that nobody has asked for: one disposition may tell several.
    outcomes: HashMap<u32, DeliveryState>,
    names: u32,
}

impl Client {
    /// Waits for the first event that `wanted` takes; others are kept. The end of the connection ends it.
    pub(crate) async fn wait<T>(&mut self, mut wanted: impl FnMut(&Event) -> Option<T>) -> Result<T, Ending> {
        if let Some(index) = self.events.iter().position(|event| wanted(event).is_some()) {
            let event = self.events.remove(index).unwrap();
            return Ok(wanted(&event).unwrap());
        }
        loop {
            while let Some(event) = self.engine.next_event() {
                if let Some(found) = wanted(&event) {
                    return Ok(found);
                }
                if let Event::Closed(ending) = event {
                    return Err(ending);
                }
                self.events.push_back(event);
            }
            while self.engine.wants_write() {
                if self.pipe.write_buf(self.engine.output()).await.is_err() {
                    break;
                }
            }
            if matches!(self.pipe.read_buf(self.engine.read_buffer()).await, Ok(0) | Err(_)) {
                self.engine.transport_closed();
            }
        }
    }

    /// The session that links are attached in.
    pub(crate) fn session(&self) -> SessionId {
        self.session.unwrap()
    }

    /// Writes what there is to write.
    pub(crate) async fn flush(&mut self) {
        while self.engine.wants_write() {
            self.pipe.write_buf(self.engine.output()).await.unwrap();
        }
    }

    fn attach_with(&mut self, attach: Attach) -> LinkId {
        self.names += 1;
        let attach = Attach { name: format!("link-{}", self.names).into(), ..attach };
        self.engine.attach(self.session.unwrap(), attach).unwrap()
    }

    async fn attached(&mut self, link: LinkId) -> Result<LinkId, AmqpError> {
        let answer = self
            .wait(|event| match event {
                Event::Attached { link: attached, .. } if *attached == link => Some(Ok(link)),
                Event::Detached { link: refused, error, .. } if *refused == link => {
                    Some(Err(error.clone().unwrap_or_default()))
                }
                _ => None,
            })
            .await;
        answer.expect("the connection lives")
    }

    /// A link to send on.
    pub(crate) async fn sender(&mut self, address: &str) -> Result<LinkId, AmqpError> {
        let attach = Attach {
            role: Role::Sender,
            source: Some(Source::default()),
            target: Some(Target::at(address)),
            ..Attach::default()
        };
        let link = self.attach_with(attach);
        self.attached(link).await
    }

    /// A link to receive on, with this much credit at a time.
    pub(crate) async fn receiver(
        &mut self,
        source: Source,
        properties: Map,
        credit: u32,
    ) -> Result<LinkId, AmqpError> {
        let attach = Attach {
            role: Role::Receiver,
            source: Some(source),
            target: Some(Target::at("me")),
            properties,
            ..Attach::default()
        };
        let link = self.attach_with(attach);
        self.engine.set_credit_policy(link, CreditPolicy::Window(credit)).unwrap();
        self.attached(link).await
    }

    /// A receiver of a partition of `flights`.
    pub(crate) async fn consumer(&mut self, partition: u32, selector: &str) -> Result<LinkId, AmqpError> {
        let source = consumer_group(partition).with_selector(selector);
        self.receiver(source, Map::new(), 100).await
    }

    /// A receiver with an epoch.
    pub(crate) async fn epoch_consumer(&mut self, partition: u32, epoch: i64) -> Result<LinkId, AmqpError> {
        let properties = Map::new().with(
            tidegate_amqp::codec::value::Symbol::from_static("com.microsoft:epoch"),
            Value::Long(epoch),
        );
        self.receiver(consumer_group(partition), properties, 100).await
    }

    /// Waits until a message can be sent.
    pub(crate) async fn credit(&mut self, link: LinkId) {
        while !self.engine.can_send(link) {
            self.wait(|event| matches!(event, Event::Credit { .. }).then_some(())).await.unwrap();
        }
    }

    /// Sends a message and waits for its outcome.
    pub(crate) async fn send(&mut self, link: LinkId, format: u32, message: Bytes) -> DeliveryState {
        self.credit(link).await;
        let outgoing = Outgoing { message_format: format, ..Outgoing::default() };
        let id = self.engine.send(link, &outgoing, &[Part::Share(&message)]).unwrap();
        self.outcome(id).await
    }

    /// Waits for the outcome of a delivery.
    pub(crate) async fn outcome(&mut self, id: u32) -> DeliveryState {
        while !self.outcomes.contains_key(&id) {
            let (settled, state) = self
                .wait(|event| match event {
                    Event::Settled { first, last, state, .. } => Some((*first..=*last, state.clone()?)),
                    _ => None,
                })
                .await
                .expect("the connection lives");
            self.outcomes.extend(settled.map(|id| (id, state.clone())));
        }
        self.outcomes.remove(&id).unwrap()
    }

    /// Sends a batch of bodies.
    pub(crate) async fn send_batch(
        &mut self,
        link: LinkId,
        key: Option<&str>,
        bodies: &[&str],
    ) -> DeliveryState {
        self.send(link, MESSAGE_FORMAT_BATCH, batch(key, bodies)).await
    }

    /// Sends one event.
    pub(crate) async fn send_one(&mut self, link: LinkId, body: &str) -> DeliveryState {
        let message = MessageBuilder::new().data(Bytes::copy_from_slice(body.as_bytes())).encode();
        self.send(link, MESSAGE_FORMAT_PLAIN, message).await
    }

    /// The next message on a link.
    pub(crate) async fn receive(&mut self, link: LinkId) -> Message {
        let payload = self
            .wait(|event| match event {
                Event::Delivery(delivery) if delivery.link == link => Some(delivery.payload.clone()),
                _ => None,
            })
            .await
            .expect("the connection lives");
        Message::parse(payload).unwrap()
    }

    /// The bodies of the next messages on a link.
    pub(crate) async fn bodies(&mut self, link: LinkId, count: usize) -> Vec<String> {
        let mut bodies = Vec::new();
        for _ in 0..count {
            let message = self.receive(link).await;
            bodies.push(String::from_utf8(message.data().unwrap().to_vec()).unwrap());
        }
        bodies
    }

    /// Why a link was detached.
    pub(crate) async fn detached(&mut self, link: LinkId) -> AmqpError {
        self.wait(|event| match event {
            Event::Detached { link: gone, error, .. } if *gone == link => {
                Some(error.clone().unwrap_or_default())
            }
            _ => None,
        })
        .await
        .expect("the connection lives")
    }

    /// Sends a request to a node and gives the reply.
    pub(crate) async fn request(&mut self, node: &str, request: MessageBuilder) -> Message {
        let sender = self.sender(node).await.unwrap();
        let receiver = self.receiver(Source::at(node), Map::new(), 10).await.unwrap();
        let id = MessageId::Ulong(u64::from(self.names));
        let properties = Properties { message_id: Some(id.clone()), ..Properties::default() };
        let request = request.properties(properties).encode();
        assert_eq!(self.send(sender, MESSAGE_FORMAT_PLAIN, request).await, DeliveryState::Accepted);
        let reply = self.receive(receiver).await;
        assert_eq!(reply.properties().unwrap().unwrap().correlation_id, Some(id), "of the same type");
        let _ = self.engine.detach(sender, true, None);
        let _ = self.engine.detach(receiver, true, None);
        reply
    }

    /// Puts a token, and gives the status.
    pub(crate) async fn put_token(&mut self, audience: &str, token: &str) -> i64 {
        let request = MessageBuilder::new()
            .application_property("operation", Value::String("put-token".into()))
            .application_property("type", Value::String("servicebus.windows.net:sastoken".into()))
            .application_property("name", Value::String(audience.into()))
            .value(Value::String(token.into()));
        let reply = self.request("$cbs", request).await;
        reply.application_property("status-code").unwrap().unwrap().as_i64().unwrap()
    }
}

pub(crate) fn consumer_group(partition: u32) -> Source {
    Source::at(format!("flights/ConsumerGroups/$Default/Partitions/{partition}"))
}

/// A batch of bodies.
pub(crate) fn batch(key: Option<&str>, bodies: &[&str]) -> Bytes {
    let mut batch = BatchBuilder::new(key);
    for body in bodies {
        batch.add(&MessageBuilder::new().data(Bytes::copy_from_slice(body.as_bytes())).encode());
    }
    batch.finish()
}
