//! Tells a person when something is wrong, and takes the answer.
//!
//! ```text
//! circuit ──────────────► outbox ──► dispatcher ──► webhook: CloudEvents, Event Grid
//! observation → rules ──►   (the store)        └──► mail ──► link ──► restart
//!               engine        incident: opened → notified → waiting → restarting → closed
//! ```
//!
//! What is to be told becomes a *notice* in the transaction in which it became true, so a crash cannot lose it; the
//! [`dispatcher`] carries notices to every target until the target has them. Decisions are pure functions ([`rules`],
//! [`schedule`], [`incident`], [`links::token`]); the rest applies them to the registers and the outbox of the store.

pub mod engine;
pub mod incident;
pub mod rules;

pub mod dispatcher;
pub mod schedule;
pub mod target;

pub mod cloud_event;
pub mod email;
pub mod mail;
pub mod signature;
pub mod webhook;

pub mod links;

pub mod catcher;

mod html;
