//! `initial_offset`: where a partition without checkpoint begins.

use toml_edit::Item;

use tidegate_model::clock::Timestamp;
use tidegate_model::position::StartPosition;

use crate::config::value::{Place, Setting};

impl Setting for StartPosition {
    const TYPE: &'static str = "\"earliest\", \"latest\" or a time such as \"2026-01-31T12:00:00Z\"";
    const EXAMPLE: &'static str = "\"earliest\"";

    fn read(item: &Item, place: &mut Place<'_, '_>) -> Option<Self> {
        // A time may be written as a text or as TOML's own type.
        let text = match (item.as_str(), item.as_datetime()) {
            (Some(text), _) => Some(text.to_owned()),
            (None, Some(time)) => Some(time.to_string()),
            (None, None) => None,
        };
        let start = text.and_then(|text| match text.as_str() {
            "earliest" => Some(Self::Earliest),
            "latest" => Some(Self::Latest),
            time => time.parse::<Timestamp>().ok().map(Self::EnqueuedTime),
        });
        if start.is_none() {
            place.not_a::<Self>(item);
        }
        start
    }
}
