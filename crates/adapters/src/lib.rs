//! The ports of the model on engines outside of this program, one folder and one cargo feature each.
//!
//! | feature | folder | what it is |
//! |---|---|---|
//! | `event-hubs` | [`event_hubs`] | hubs that are read over AMQP: Event Hubs, the built-in endpoint of IoT Hub, another Tidegate |
//!
//! No type of an engine leaves its folder: who uses an adapter sees the port, and the settings to make one.

#[cfg(feature = "event-hubs")]
pub mod event_hubs;
