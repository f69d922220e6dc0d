//! The AMQP front door as a client sees it.

pub(crate) mod client;

mod hasty;
mod hostile;
mod published_keys;
mod metrics;
mod receiving;
mod rights;
mod sending;
