//! The front doors of Tidegate: sends become durable appends.
//!
//! ```text
//! request → auth → admission → http: event │ batch │ bulk lines → EventAppender → 201 Created
//! ```
//!
//! A [`Gateway`] knows the hubs, who may use them ([`auth`]) and how much work it takes on at a time ([`admission`]).
//! [`http`] is the front door for HTTP clients; it speaks Event Hubs' REST send requests and adds bulk uploads of lines.
//! Nothing is answered with success before the log says that it is durable.

pub mod admission;
pub mod auth;
pub mod http;
pub mod json_pointer;

mod gateway;

pub use gateway::{Gateway, Health, HealthCheck, Hub, HubNameTaken, PublishError};
