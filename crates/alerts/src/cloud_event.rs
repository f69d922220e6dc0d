//! A notice as programs read it: CloudEvents 1.0 in structured JSON, or the Event Grid schema.

use serde_json::{Value, json};
use tidegate_model::notice::Notice;

/// What the type of every event begins with.
pub const TYPE_PREFIX: &str = "io.tidegate.";

/// The content type of one CloudEvent in structured mode.
pub const CLOUD_EVENT_CONTENT_TYPE: &str = "application/cloudevents+json; charset=utf-8";

/// The version of what is in `data`; it changes when a field is taken away or means something else.
pub const DATA_VERSION: &str = "1.0";

/// The id of a notice's event: the same in every try and to every target, and never that of another notice, also if the
/// store is made anew and counts from 1 again.
pub fn event_id(notice: &Notice) -> String {
    format!("{}-{}", notice.id.0, notice.notice.at.as_millis())
}

/// The notice as a CloudEvent. `source` is a URI that names this Tidegate.
pub fn cloud_event(notice: &Notice, source: &str) -> Value {
    json!({
        "specversion": "1.0",
        "type": format!("{TYPE_PREFIX}{}", notice.notice.kind),
        "source": source,
        "id": event_id(notice),
        "subject": notice.notice.subject,
        "time": notice.notice.at,
        "datacontenttype": "application/json",
        "data": notice.notice.data,
    })
}

/// The notice in the Event Grid schema: an array of one event. It names no topic: Event Grid fills in its own, and refuses
/// another.
pub fn event_grid_events(notice: &Notice) -> Value {
    json!([{
        "id": event_id(notice),
        "subject": notice.notice.subject,
        "eventType": format!("{TYPE_PREFIX}{}", notice.notice.kind),
        "eventTime": notice.notice.at,
        "data": notice.notice.data,
        "dataVersion": DATA_VERSION,
        "metadataVersion": "1",
    }])
}

#[cfg(test)]
mod tests {
    use tidegate_model::clock::Timestamp;
    use tidegate_model::notice::{NewNotice, NoticeId};

    use super::*;

    fn notice() -> Notice {
        Notice {
            id: NoticeId(7),
            notice: NewNotice {
                kind: "circuit.opened".to_owned(),
                subject: "aircraft".to_owned(),
                at: Timestamp::from_millis(1_633_608_001_250),
                data: json!({"reason": "120 failures in 30 s"}),
            },
            deliveries: Vec::new(),
        }
    }

    #[test]
    fn a_notice_is_a_cloud_event() {
        assert_eq!(
            cloud_event(&notice(), "https://tide.example.com"),
            json!({
                "specversion": "1.0",
                "type": "io.tidegate.circuit.opened",
                "source": "https://tide.example.com",
                "id": "7-1633608001250",
                "subject": "aircraft",
                "time": "2021-10-07T12:00:01.250Z",
                "datacontenttype": "application/json",
                "data": {"reason": "120 failures in 30 s"},
            })
        );
    }

    #[test]
    fn a_notice_is_an_array_of_one_event_grid_event() {
        assert_eq!(
            event_grid_events(&notice()),
            json!([{
                "id": "7-1633608001250",
                "subject": "aircraft",
                "eventType": "io.tidegate.circuit.opened",
                "eventTime": "2021-10-07T12:00:01.250Z",
                "data": {"reason": "120 failures in 30 s"},
                "dataVersion": "1.0",
                "metadataVersion": "1",
            }])
        );
    }
}
