//! The front doors of Tidegate: sends become durable appends.
//!
//! ```text
//! request → auth → admission → http: event │ batch │ bulk lines → EventAppender → 201 Created
//! ```
//!
//! A [`Gateway`] knows the hubs and their consumer groups ([`namespace`]), who may use them ([`auth`], [`audience`]), how
//! much work it takes on at a time ([`admission`]), and how fast, where a limit is wanted ([`throughput`]).
//! [`amqp`] is the front door for clients of Event Hubs, unchanged.
//! [`http`] is the front door for HTTP clients; it speaks Event Hubs' REST send requests and adds bulk uploads of lines.
//! Nothing is answered with success before the log says that it is durable.

pub mod admission;
pub mod amqp;
pub mod audience;
pub mod auth;
pub mod http;
pub mod json_pointer;
pub mod namespace;
pub mod throughput;

mod gateway;

pub use gateway::{Gateway, Health, HealthCheck, Hub, HubNameTaken, PublishError};
