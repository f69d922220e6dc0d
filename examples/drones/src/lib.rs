//! The drone telemetry of the serverless reference implementation, folded into one document per drone.
//!
//! The events and the documents have the original's formats, so its producers and its readers work unchanged. What the
//! original gets wrong is right here, and the tests say so one by one.

mod telemetry;

use prost::Message as _;
use serde::{Deserialize, Serialize};
use tidegate_function::{Event, FoldError, FunctionDefinition, Rejection, Verdict, fold};

pub use telemetry::{Health, Position, Telemetry};

/// The function `drones`.
pub fn function() -> FunctionDefinition {
    fold("drones").decode(decode).key(|frame: &Telemetry| frame.device_id.clone()).apply(update)
}

/// What is known of a drone: the document, as the original writes it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DeviceState {
    /// The device's id.
    #[serde(rename = "id")]
    pub id: String,
    /// The battery's charge, from 0 to 1.
    pub battery: Option<f64>,
    /// What the drone does; see [`Telemetry::flight_mode`].
    pub flight_mode: Option<i32>,
    /// Degrees north.
    pub latitude: Option<f64>,
    /// Degrees east.
    pub longitude: Option<f64>,
    /// Altitude, in the unit of the sender.
    pub altitude: Option<f64>,
    /// Whether the gyrometer works.
    #[serde(rename = "GyrometerOK")]
    pub gyrometer_ok: Option<bool>,
    /// Whether the accelerometer works.
    #[serde(rename = "AccelerometerOK")]
    pub accelerometer_ok: Option<bool>,
    /// Whether the magnetometer works.
    #[serde(rename = "MagnetometerOK")]
    pub magnetometer_ok: Option<bool>,
}

fn decode(event: &Event) -> Result<Telemetry, Rejection> {
    let refuse = |reason: String| Err(Rejection { reason });
    let frame = match Telemetry::decode(&event.body()[..]) {
        Ok(frame) => frame,
        Err(error) => return refuse(format!("the body is no drone telemetry: {error}")),
    };
    // Any bytes that happen to be protobuf decode to something; what names no device is not telemetry.
    if frame.device_id.as_deref().is_none_or(str::is_empty) {
        return refuse("the telemetry has no DeviceId".to_owned());
    }
    let place = frame.position.unwrap_or_default();
    let numbers = [frame.battery, place.latitude, place.longitude, place.altitude];
    if numbers.into_iter().flatten().any(|number| !number.is_finite()) {
        return refuse("the telemetry has a number that is NaN or infinite".to_owned());
    }
    Ok(frame)
}

fn update(
    current: Option<DeviceState>,
    frame: Telemetry,
    _event: &Event,
) -> Result<Verdict<DeviceState>, FoldError> {
    let says_nothing = frame.battery.is_none()
        && frame.flight_mode.is_none()
        && frame.position.is_none()
        && frame.health.is_none();
    if says_nothing && current.is_some() {
        return Ok(Verdict::Filter);
    }
    let mut state = current.unwrap_or_default();
    state.id = frame.device_id.unwrap_or_default();
    state.battery = frame.battery.or(state.battery);
    state.flight_mode = frame.flight_mode.or(state.flight_mode);
    if let Some(position) = frame.position {
        state.latitude = Some(position.latitude());
        state.longitude = Some(position.longitude());
        state.altitude = Some(position.altitude());
    }
    if let Some(health) = frame.health {
        state.gyrometer_ok = Some(health.gyrometer_ok());
        state.accelerometer_ok = Some(health.accelerometer_ok());
        state.magnetometer_ok = Some(health.magnetometer_ok());
    }
    Ok(Verdict::Apply(state))
}

#[cfg(test)]
mod tests;
