//! The AMQP front door as a client sees it.

pub(crate) mod client;

mod hasty;
mod hostile;
mod metrics;
mod published_keys;
mod receiving;
mod rights;
mod sending;
