//! Retention: how long a hub keeps events.

use std::time::Duration;

use toml_edit::Item;

use crate::config::value::{Place, Setting};

/// How long events are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetentionTime {
    /// Until they are this old.
    For(Duration),
    /// Without a limit.
    Forever,
}

impl Setting for RetentionTime {
    const TYPE: &'static str = "a duration above zero, or \"forever\"";
    const EXAMPLE: &'static str = "\"7d\"";

    fn read(item: &Item, place: &mut Place<'_, '_>) -> Option<Self> {
        let time = item.as_str().and_then(|text| match text {
            "forever" => Some(Self::Forever),
            _ => super::duration::parse(text).filter(|duration| !duration.is_zero()).map(Self::For),
        });
        if time.is_none() {
            place.not_a::<Self>(item);
        }
        time
    }
}
