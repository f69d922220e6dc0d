//! The telemetry on the wire: one protobuf message an event, without framing.
//!
//! A drone sends *key frames*, which hold its whole state, and between them *deltas*, which hold what changed and most
//! often nothing but the device's id. All parts are optional on the wire, and what is missing says nothing.

/// What a drone sends.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Telemetry {
    /// Who sends it.
    #[prost(string, optional, tag = "1")]
    pub device_id: Option<String>,
    /// The battery's charge, from 0 to 1.
    #[prost(double, optional, tag = "2")]
    pub battery: Option<f64>,
    /// What the drone does: 0 unknown, 1 ready, 2 takeoff, 3 in flight, 4 landing, 5 offline. Newer drones may send
    /// other numbers.
    #[prost(int32, optional, tag = "3")]
    pub flight_mode: Option<i32>,
    /// Where it is.
    #[prost(message, optional, tag = "4")]
    pub position: Option<Position>,
    /// How its sensors are.
    #[prost(message, optional, tag = "5")]
    pub health: Option<Health>,
    /// True for a key frame.
    #[prost(bool, tag = "6")]
    pub is_key_frame: bool,
}

/// A place. The original writes all three members, zero included; other writers may leave out zeros.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Position {
    /// Degrees north.
    #[prost(double, optional, tag = "1")]
    pub latitude: Option<f64>,
    /// Degrees east.
    #[prost(double, optional, tag = "2")]
    pub longitude: Option<f64>,
    /// Altitude, in the unit of the sender.
    #[prost(double, optional, tag = "3")]
    pub altitude: Option<f64>,
}

/// Whether the sensors work. The original writes all three members, false included; other writers may leave out false.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Health {
    /// The gyrometer.
    #[prost(bool, optional, tag = "1")]
    pub gyrometer_ok: Option<bool>,
    /// The accelerometer.
    #[prost(bool, optional, tag = "2")]
    pub accelerometer_ok: Option<bool>,
    /// The magnetometer.
    #[prost(bool, optional, tag = "3")]
    pub magnetometer_ok: Option<bool>,
}
