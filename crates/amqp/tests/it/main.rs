//! The codec and the connection, from outside.

mod codec;
mod connection_clients;
mod connection_hostile;
mod connection_pair;
mod connection_support;
mod connection_time;
