//! The crate against real sockets: mail servers and webhooks that fail in every way, a clock that the test moves.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod alerts;
mod catcher;
mod clock;
mod crash;
mod email;
mod frozen;
mod hook;
mod incidents;
mod links;
mod setup;
mod smtp;
mod webhooks;
