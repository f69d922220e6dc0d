//! The search field: from what somebody has in hand to the page about it.

use axum::response::Response;

use crate::api::{address, encoded};
use crate::shell::see_other;
use crate::visit::Visit;

/// Goes where a text leads.
pub(super) async fn find(visit: Visit) -> Response {
    see_other(&target(&visit.parameter("q").unwrap_or_default()))
}

/// Where a text leads (pure): `TG-404` to an error code, `#7` to a dead letter, `hub/3/17` or `function/hub/3/17` to the
/// trace of an event, anything else to what is known of a key.
fn target(text: &str) -> String {
    let upper = text.to_ascii_uppercase();
    if upper.strip_prefix("TG-").is_some_and(|digits| digits.parse::<u32>().is_ok()) {
        return format!("/errors/{}", encoded(&upper));
    }
    if let Some(Ok(id)) = text.strip_prefix('#').map(str::parse::<u64>) {
        return format!("/dead-letters/{id}");
    }
    let parts: Vec<&str> = text.split('/').map(str::trim).collect();
    if let [.., hub, partition, sequence_number] = parts[..]
        && parts.len() <= 4
        && partition.parse::<u32>().is_ok()
        && sequence_number.parse::<u64>().is_ok()
    {
        let event =
            [("hub", Some(hub)), ("partition", Some(partition)), ("sequence_number", Some(sequence_number))];
        return address("/trace", &event);
    }
    address("/trace", &[("key", Some(text).filter(|text| !text.is_empty()))])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_has_in_hand_leads_somewhere() {
        for (text, leads) in [
            ("tg-404", "/errors/TG-404"),
            ("#17", "/dead-letters/17"),
            ("flights/3/120", "/trace?hub=flights&partition=3&sequence_number=120"),
            ("aircraft/flights/3/120", "/trace?hub=flights&partition=3&sequence_number=120"),
            ("3949ed", "/trace?key=3949ed"),
            ("a/b c", "/trace?key=a%2Fb%20c"),
            ("", "/trace"),
        ] {
            assert_eq!(target(text), leads, "{text:?}");
        }
    }
}
