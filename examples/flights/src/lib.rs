//! Position reports of aircraft, folded into one document per aircraft.
//!
//! Reports come late, twice, in the wrong order, and with values missing. What a document says is the newest that is
//! known of each value, whatever the order in which the reports came.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidegate_function::{Event, FoldError, FunctionDefinition, Timestamp, fold, json};

/// The function `aircraft`.
pub fn function() -> FunctionDefinition {
    fold("aircraft").decode(json::<Report>).key(|report| report.icao24.clone()).apply(track)
}

/// What a receiver reports of an aircraft. Values may be null or missing.
#[derive(Debug, Deserialize)]
pub struct Report {
    icao24: String,
    /// Milliseconds since 1970, UTC.
    timestamp: i64,
    callsign: Option<String>,
    latitude: Option<f64>,
    longitude: Option<f64>,
    altitude: Option<f64>,
    groundspeed: Option<f64>,
    track: Option<f64>,
    vertical_rate: Option<f64>,
    onground: Option<bool>,
    squawk: Option<String>,
}

/// What is known of an aircraft: the document.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Aircraft {
    /// The transponder's address.
    pub icao24: String,
    /// How many reports there were.
    pub reports: u64,
    /// The time of the oldest report.
    pub first_seen: Timestamp,
    /// The time of the newest report.
    pub last_seen: Timestamp,
    /// The flights it was seen on, in order, without repetition; the oldest go when there are more than 50.
    pub flights: Vec<String>,
    /// The greatest altitude reported, in feet.
    pub max_altitude: Option<f64>,
    /// Where it was.
    pub position: Option<Latest<Position>>,
    /// In feet.
    pub altitude: Option<Latest<f64>>,
    /// In knots.
    pub groundspeed: Option<Latest<f64>>,
    /// In degrees.
    pub track: Option<Latest<f64>>,
    /// In feet per minute.
    pub vertical_rate: Option<Latest<f64>>,
    /// Whether it was on the ground.
    pub onground: Option<Latest<bool>>,
    /// The code that air traffic control gave it.
    pub squawk: Option<Latest<String>>,
}

/// A place on Earth, in degrees.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Position {
    /// North of the equator.
    pub latitude: f64,
    /// East of Greenwich.
    pub longitude: f64,
}

/// A value and the time of the report that had it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Latest<T> {
    /// The value.
    pub value: T,
    /// The time.
    pub at: Timestamp,
}

/// So many flights are kept.
const MAX_FLIGHTS: usize = 50;

/// How much a receiver's clock may be ahead of ours.
const MAX_AHEAD: Duration = Duration::from_secs(60);

fn track(current: Option<Aircraft>, report: Report, event: &Event) -> Result<Aircraft, FoldError> {
    let at = Timestamp::from_millis(report.timestamp);
    if at < Timestamp::default() || at > event.enqueued_at.plus(MAX_AHEAD) {
        // A time in the future would keep every later report from being the newest.
        return Err(FoldError::reject("the report's timestamp is before 1970 or after the report came"));
    }
    let position = match (report.latitude, report.longitude) {
        (Some(latitude), Some(longitude)) => Some(Position { latitude, longitude }),
        _ => None,
    };
    if position.is_some_and(|place| !(place.latitude.abs() <= 90.0 && place.longitude.abs() <= 180.0)) {
        return Err(FoldError::reject("the report's position is nowhere on Earth"));
    }

    let mut aircraft = current.unwrap_or_else(|| Aircraft::first_seen(report.icao24, at));
    aircraft.reports += 1;
    aircraft.first_seen = aircraft.first_seen.min(at);
    if let Some(callsign) = report.callsign
        && !aircraft.flights.contains(&callsign)
    {
        aircraft.flights.push(callsign);
        if aircraft.flights.len() > MAX_FLIGHTS {
            aircraft.flights.remove(0);
        }
    }
    if let Some(altitude) = report.altitude {
        aircraft.max_altitude = Some(aircraft.max_altitude.map_or(altitude, |most| most.max(altitude)));
    }
    aircraft.last_seen = aircraft.last_seen.max(at);
    Latest::update(&mut aircraft.position, position, at);
    Latest::update(&mut aircraft.altitude, report.altitude, at);
    Latest::update(&mut aircraft.groundspeed, report.groundspeed, at);
    Latest::update(&mut aircraft.track, report.track, at);
    Latest::update(&mut aircraft.vertical_rate, report.vertical_rate, at);
    Latest::update(&mut aircraft.onground, report.onground, at);
    Latest::update(&mut aircraft.squawk, report.squawk, at);
    Ok(aircraft)
}

impl Aircraft {
    fn first_seen(icao24: String, at: Timestamp) -> Self {
        Self { icao24, first_seen: at, last_seen: at, ..Self::default() }
    }
}

impl<T> Latest<T> {
    /// Takes `value` unless it is missing or older than the one that is known.
    fn update(known: &mut Option<Self>, value: Option<T>, at: Timestamp) {
        if let Some(value) = value
            && known.as_ref().is_none_or(|known| known.at <= at)
        {
            *known = Some(Self { value, at });
        }
    }
}

#[cfg(test)]
mod tests;
