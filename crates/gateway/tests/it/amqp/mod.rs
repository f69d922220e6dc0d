//! The AMQP front door as a client sees it.

pub(crate) mod client;

mod receiving;
mod rights;
mod sending;
