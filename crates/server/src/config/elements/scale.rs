//! `[scale]`: how many instances there are to be, for whoever starts and stops them.

use std::net::SocketAddr;

use tidegate_telemetry::scale::Policy;

use crate::config::elements::number::Count;
use crate::config::key::{Element, Key, KeyInfo};
use crate::config::reader::Reader;

/// How many instances there are to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScaleConfig {
    /// Where KEDA asks.
    pub listen: Option<SocketAddr>,
    /// What is said.
    pub policy: Policy,
}

const LISTEN: Key<SocketAddr> = Key::optional(
    "listen",
    "nobody can ask by gRPC",
    "The address and port where KEDA's external scaler asks, without encryption or sign-in: it tells numbers and changes \
     nothing. `GET /api/v1/scale?function=NAME` tells the same.",
);
const TARGET_LAG: Key<Count> = Key::with_default(
    "target_lag",
    "1000",
    "How many events one instance is to have before it that could be processed now. What is parked or held back does not count.",
);
const TO_ZERO: Key<bool> = Key::with_default(
    "to_zero",
    "false",
    "Whether there may be no instance while there is nothing to do. What starts one again must then see from elsewhere that \
     there is.",
);

/// The element.
pub(crate) static ELEMENT: Element = Element {
    header: "[scale]",
    doc: "How many instances of a function there are to be: as many as its lag asks for, no more than partitions, and one \
          while a circuit is open.",
    keys: &[&LISTEN as &dyn KeyInfo, &TARGET_LAG, &TO_ZERO],
    example: "[scale]\nlisten = \"127.0.0.1:8790\"\ntarget_lag = 5000\n",
};

/// Reads the table.
pub(crate) fn read(reader: &mut Reader<'_, '_>) -> Option<ScaleConfig> {
    let (listen, target_lag, to_zero) =
        (reader.get_optional(&LISTEN), reader.get(&TARGET_LAG), reader.get(&TO_ZERO));
    let policy = Policy { target_lag: target_lag?.0, to_zero: to_zero? };
    Some(ScaleConfig { listen: listen?, policy })
}
