//! What the AMQP door counts about itself.
//!
//! Labels have as many values as there are in this file, and as there are conditions of errors: nothing that clients bring
//! along is a label.

use std::sync::atomic::AtomicI64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use tidegate_amqp::codec::names::condition;
use tidegate_amqp::codec::performative::AmqpError;

/// One label.
type Label<V = &'static str> = [(&'static str, V); 1];

/// How bytes of a connection travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    /// As they are.
    Plain,
    /// In TLS.
    Tls,
    /// In a WebSocket, with or without TLS around it.
    WebSocket,
}

impl Transport {
    fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "tcp",
            Self::Tls => "tls",
            Self::WebSocket => "websocket",
        }
    }
}

/// What a link is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LinkKind {
    Producer,
    Receiver,
    Cbs,
    Management,
}

impl LinkKind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Producer => "producer",
            Self::Receiver => "receiver",
            Self::Cbs => "cbs",
            Self::Management => "management",
        }
    }
}

/// From clients.
const IN: Label = [("direction", "in")];
/// To clients.
const OUT: Label = [("direction", "out")];

/// The instruments of a door. All clones are the same ones.
#[derive(Clone, Debug, Default)]
pub struct AmqpMetrics {
    connections: Family<Label, Gauge>,
    opened: Family<Label, Counter>,
    failed_handshakes: Counter,
    sessions: Gauge,
    links: Family<Label, Gauge>,
    refused_links: Family<Label<String>, Counter>,
    refused_messages: Family<Label<String>, Counter>,
    messages: Family<Label, Counter>,
    bytes: Family<Label, Counter>,
}

impl AmqpMetrics {
    /// Adds them to what a scrape shows.
    pub fn register(&self, registry: &mut Registry) {
        let all = self.clone();
        registry.register(
            "tidegate_amqp_connections",
            "AMQP connections that are open, by what carries them",
            all.connections,
        );
        registry.register(
            "tidegate_amqp_opened_connections",
            "AMQP connections that were opened, by what carries them",
            all.opened,
        );
        registry.register(
            "tidegate_amqp_failed_handshakes",
            "Connections that ended before they spoke AMQP: no TLS, no WebSocket, or too slow",
            all.failed_handshakes,
        );
        registry.register("tidegate_amqp_sessions", "AMQP sessions that are open", all.sessions);
        registry.register(
            "tidegate_amqp_links",
            "AMQP links that are attached, by what they are for",
            all.links,
        );
        registry.register(
            "tidegate_amqp_refused_links",
            "AMQP links that were refused or detached by the server, by the condition clients were told",
            all.refused_links,
        );
        registry.register(
            "tidegate_amqp_refused_messages",
            "Messages of AMQP producers that were not taken, by the condition clients were told",
            all.refused_messages,
        );
        registry.register(
            "tidegate_amqp_messages",
            "Messages of producers, which may hold many events, and events to receivers",
            all.messages,
        );
        registry.register_with_unit(
            "tidegate_amqp_transferred",
            "Bytes on AMQP connections, without those of TLS and WebSockets",
            Unit::Bytes,
            all.bytes,
        );
        // What never happened is shown as well, so that a rate of it is zero instead of missing.
        for transport in [Transport::Plain, Transport::Tls, Transport::WebSocket] {
            self.connections.get_or_create_owned(&[("transport", transport.as_str())]);
            self.opened.get_or_create_owned(&[("transport", transport.as_str())]);
        }
        for kind in [LinkKind::Producer, LinkKind::Receiver, LinkKind::Cbs, LinkKind::Management] {
            self.links.get_or_create_owned(&[("kind", kind.as_str())]);
        }
        for usual in [condition::UNAUTHORIZED_ACCESS, condition::NOT_FOUND, condition::SERVER_BUSY] {
            let usual = [("condition", usual.as_str().to_owned())];
            self.refused_links.get_or_create_owned(&usual);
            self.refused_messages.get_or_create_owned(&usual);
        }
        for family in [&self.messages, &self.bytes] {
            family.get_or_create_owned(&IN);
            family.get_or_create_owned(&OUT);
        }
    }

    /// A connection ended before it spoke AMQP.
    pub(super) fn handshake_failed(&self) {
        self.failed_handshakes.inc();
    }

    /// What one connection counts; what is open of it is closed when that is dropped.
    pub(super) fn connection(&self, transport: Transport) -> ConnectionMetrics {
        let carried = [("transport", transport.as_str())];
        // Owned ones: a family is locked for as long as something of it is borrowed.
        self.opened.get_or_create_owned(&carried).inc();
        ConnectionMetrics {
            _open: Open::of(self.connections.get_or_create_owned(&carried)),
            received: self.bytes.get_or_create_owned(&IN),
            sent: self.bytes.get_or_create_owned(&OUT),
            messages_in: self.messages.get_or_create_owned(&IN),
            messages_out: self.messages.get_or_create_owned(&OUT),
            door: self.clone(),
        }
    }
}

/// The instruments of one connection.
#[derive(Debug)]
pub(super) struct ConnectionMetrics {
    door: AmqpMetrics,
    pub(super) received: Counter,
    pub(super) sent: Counter,
    pub(super) messages_in: Counter,
    pub(super) messages_out: Counter,
    _open: Open,
}

impl ConnectionMetrics {
    /// A session is open as long as this is kept.
    pub(super) fn session(&self) -> Open {
        Open::of(self.door.sessions.clone())
    }

    /// A link is attached as long as this is kept.
    pub(super) fn link(&self, kind: LinkKind) -> Open {
        Open::of(self.door.links.get_or_create_owned(&[("kind", kind.as_str())]))
    }

    /// A link was refused or detached.
    pub(super) fn link_refused(&self, error: &AmqpError) {
        self.door.refused_links.get_or_create_owned(&label_of(error)).inc();
    }

    /// A message was not taken.
    pub(super) fn message_refused(&self, error: &AmqpError) {
        self.door.refused_messages.get_or_create_owned(&label_of(error)).inc();
    }
}

/// The conditions that the server tells are constants, so there are only so many.
fn label_of(error: &AmqpError) -> Label<String> {
    [("condition", error.condition.as_str().to_owned())]
}

/// Something that is open, counted as long as it is.
#[derive(Debug)]
pub(super) struct Open(Gauge<i64, AtomicI64>);

impl Open {
    fn of(gauge: Gauge<i64, AtomicI64>) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_open_is_counted_until_it_is_dropped() {
        let metrics = AmqpMetrics::default();
        let one = metrics.connection(Transport::Tls);
        let (session, link) = (one.session(), one.link(LinkKind::Producer));
        let open = |transport| metrics.connections.get_or_create_owned(&[("transport", transport)]).get();
        let links = || metrics.links.get_or_create_owned(&[("kind", "producer")]).get();
        assert_eq!((open("tls"), open("tcp"), metrics.sessions.get(), links()), (1, 0, 1, 1));
        drop((session, link, one));
        assert_eq!((open("tls"), metrics.sessions.get(), links()), (0, 0, 0));
        assert_eq!(metrics.opened.get_or_create_owned(&[("transport", "tls")]).get(), 1);
    }
}
