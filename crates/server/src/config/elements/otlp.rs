//! `[otlp]`: who is sent traces and metrics.

use std::time::Duration;

use toml_edit::Item;

use tidegate_telemetry::otlp::OtlpSettings;

use crate::config::elements::duration::PositiveDuration;
use crate::config::elements::secret::{SecretHeaders, SecretSource};
use crate::config::key::{Element, Key, KeyInfo};
use crate::config::reader::Reader;
use crate::config::value::{Place, Setting};

/// Who is sent traces and metrics.
#[derive(Clone, Debug, PartialEq)]
pub struct OtlpConfig {
    /// Where the receiver is.
    pub endpoint: String,
    /// The headers it wants.
    pub headers: Vec<(String, SecretSource)>,
    /// The share of batches whose traces are sent.
    pub sample_ratio: f64,
    /// How often metrics are sent.
    pub interval: Duration,
}

/// How long a receiver has to answer, as OTLP's specification has it.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The first pause before something is sent again.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

const ENDPOINT: Key<String> = Key::required(
    "endpoint",
    "Where the receiver is, such as `http://127.0.0.1:4318`; traces go to `/v1/traces` below it and metrics to \
     `/v1/metrics`, as protobuf.",
);
const HEADERS: Key<SecretHeaders> =
    Key::with_default("headers", "{}", "Headers that the receiver wants, such as `Authorization`.");
const SAMPLE_RATIO: Key<Ratio> = Key::with_default(
    "sample_ratio",
    "0.05",
    "The share of batches whose traces are sent. Those in which something failed are sent in any case.",
);
const INTERVAL: Key<PositiveDuration> =
    Key::with_default("interval", "\"60s\"", "How often metrics are sent.");

/// The element.
pub(crate) static ELEMENT: Element = Element {
    header: "[otlp]",
    doc: "Sends traces and metrics to an OpenTelemetry receiver. Without this table nothing is sent. What the receiver does \
          not take for a while is dropped and counted: nothing waits for it.",
    keys: &[&ENDPOINT as &dyn KeyInfo, &HEADERS, &SAMPLE_RATIO, &INTERVAL],
    example: "[otlp]\nendpoint = \"http://127.0.0.1:4318\"\nheaders = { Authorization = { env = \"OTLP_AUTHORIZATION\" } }\n",
};

/// Reads the table.
pub(crate) fn read(reader: &mut Reader<'_, '_>) -> Option<OtlpConfig> {
    let (endpoint, headers) = (reader.get(&ENDPOINT), reader.get(&HEADERS));
    let (sample_ratio, interval) = (reader.get(&SAMPLE_RATIO), reader.get(&INTERVAL));
    Some(OtlpConfig {
        endpoint: endpoint?,
        headers: headers?.0,
        sample_ratio: sample_ratio?.0,
        interval: interval?.0,
    })
}

impl OtlpConfig {
    /// The same with its secrets fetched.
    ///
    /// # Errors
    /// Which secret cannot be had, and why.
    pub(crate) fn settings(&self, instance: String) -> Result<OtlpSettings, String> {
        let headers = self.headers.iter().map(|(name, value)| {
            let value = value.fetch().map_err(|why| format!("the header {name} of [otlp]: {why}"))?;
            Ok((name.clone(), value.reveal().to_owned()))
        });
        Ok(OtlpSettings {
            endpoint: self.endpoint.clone(),
            headers: headers.collect::<Result<_, String>>()?,
            sample_ratio: self.sample_ratio,
            interval: self.interval,
            timeout: TIMEOUT,
            first_pause: FIRST_PAUSE,
            instance,
        })
    }
}

/// A share of all.
struct Ratio(f64);

impl Setting for Ratio {
    const TYPE: &'static str = "a number from 0 to 1";
    const EXAMPLE: &'static str = "0.1";

    fn read(item: &Item, place: &mut Place<'_, '_>) -> Option<Self> {
        let whole = |number: i64| {
            if number == 0 {
                0.0
            } else if number == 1 {
                1.0
            } else {
                f64::NAN
            }
        };
        let number = item.as_float().or_else(|| item.as_integer().map(whole));
        let ratio = number.filter(|number| (0.0..=1.0).contains(number));
        if ratio.is_none() {
            place.not_a::<Self>(item);
        }
        ratio.map(Self)
    }
}
