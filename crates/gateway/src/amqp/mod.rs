//! The front door for AMQP 1.0 clients: those of Event Hubs connect unchanged.
//!
//! ```text
//! socket ─► listener: AMQP, TLS or WebSocket ─► connection: one task a client
//! GET /$servicebus/websocket ─► upgrade ───────►     │
//!                                                 ├─ $cbs, $management ─► requests: tokens, hubs and partitions
//!                                                 ├─ senders ─► events ─► EventAppender ─► accepted, after durability
//!                                                 └─ receivers ◄─ consumer ◄─ EventLog::read_batch
//! ```
//!
//! The protocol itself is [`tidegate_amqp`]; here is what Event Hubs means by it. What a client is told when something goes
//! wrong is in `refusals`, which answers wait in `held`, who may receive beside whom in `seats`.

mod connection;
mod consumer;
mod held;
mod listener;
mod metrics;
mod node;
mod refusals;
mod requests;
mod seats;
mod selector;
mod upgrade;
mod websocket;

use tidegate_messages as events;

pub use listener::{AmqpBounds, AmqpDoor, Tls};
pub use metrics::AmqpMetrics;
