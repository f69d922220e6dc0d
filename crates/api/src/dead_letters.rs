//! Dead letters: as they are, in groups, and what a person does with them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use tidegate_model::clock::Timestamp;
use tidegate_model::dead_letter::{self, Acted, DeadLetterId, DocumentSnapshot, StoredDeadLetter};

use crate::{Attempt, EventData, EventEdit, JsonText, Properties, TrailLine};

/// A dead letter. The last members are there for a single one only.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DeadLetter {
    /// Its number, from 1.
    pub id: u64,
    /// `open`, `redriving`, `redriven`, `discarded`, `quarantined` or `replayed`.
    #[schema(example = "open")]
    pub status: String,
    /// Since when.
    pub changed_at: Timestamp,
    /// What its cause has in common with others: 16 hexadecimal digits.
    #[schema(example = "85944171f73967e8")]
    pub fingerprint: String,
    /// How often it was redriven.
    pub redrives: u32,
    /// How often it came back from that.
    pub returns: u32,
    /// How often its event was edited.
    pub revision: u32,
    /// Who works on it.
    pub lease: Option<Lease>,
    /// How often it was leased.
    pub leases: u32,
    /// The function that could not process it.
    pub function: String,
    /// The version of that function.
    pub function_version: String,
    /// The hub it came from.
    pub hub: String,
    /// The life of that hub.
    #[schema(format = "uuid")]
    pub incarnation: String,
    /// The partition it came from.
    pub partition: u32,
    /// Its place in the partition.
    pub sequence_number: u64,
    /// Its place as clients of Event Hubs name it.
    pub offset: String,
    /// When the log took it.
    pub enqueued_at: Timestamp,
    /// When it was set aside.
    pub dead_lettered_at: Timestamp,
    /// Its key.
    pub partition_key: Option<String>,
    /// The producer's own properties, as they were read.
    #[schema(value_type = Object)]
    pub properties: Properties,
    /// What the protocol carried beside them.
    #[schema(value_type = Object)]
    pub system_properties: Properties,
    /// `permanent`: can never be processed; `exhausted`: its attempts were used up.
    #[schema(example = "permanent")]
    pub class: String,
    /// Why, for a person.
    pub reason: String,
    /// Every failed attempt, oldest first.
    pub attempts: Vec<Attempt>,
    /// The body as it was read.
    pub body_base64: String,
    /// The newest revision of the event, once there is one.
    pub edited: Option<EventData>,
    /// The document it was meant for as it was then.
    pub document: Option<DocumentState>,
    /// What a redrive gives the function, in the form of an edit. In a listing where it is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<EventData>,
    /// What the edits changed, all together, for a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edited_diff: Option<String>,
    /// The document it was meant for as it is now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document_now: Option<DocumentState>,
    /// What changed in the document since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document_diff: Option<String>,
    /// What was done to it, oldest first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<Vec<TrailLine>>,
    /// Whether more was done than `history` holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history_truncated: Option<bool>,
}

/// Who works on a dead letter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Lease {
    /// Who.
    pub holder: String,
    /// From this time on it is anybody's again.
    pub until: Timestamp,
}

/// A document as it is or was.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DocumentState {
    /// Its collection.
    pub collection: String,
    /// Its id.
    pub id: String,
    /// The document; null where there is none.
    #[schema(value_type = Option<Object>)]
    pub body: Option<JsonText>,
}

impl From<DocumentSnapshot> for DocumentState {
    fn from(snapshot: DocumentSnapshot) -> Self {
        let DocumentSnapshot { collection, id, body } = snapshot;
        let body = body.as_ref().map(JsonText::new);
        Self { collection: collection.to_string(), id: id.to_string(), body }
    }
}

impl From<StoredDeadLetter> for DeadLetter {
    fn from(stored: StoredDeadLetter) -> Self {
        let letter = stored.letter;
        let event = letter.event;
        Self {
            id: stored.id.0,
            status: stored.status.as_str().to_owned(),
            changed_at: stored.changed_at,
            fingerprint: stored.fingerprint.to_string(),
            redrives: stored.redrives,
            returns: stored.returns,
            revision: stored.revision,
            lease: stored.lease.map(|lease| Lease { holder: lease.holder, until: lease.until }),
            leases: stored.leases,
            function: letter.lane.function.to_string(),
            function_version: letter.function_version,
            hub: letter.lane.hub.to_string(),
            incarnation: letter.incarnation.to_string(),
            partition: letter.lane.partition.0,
            sequence_number: event.sequence_number.0,
            offset: event.offset().to_string(),
            enqueued_at: event.enqueued_at,
            dead_lettered_at: letter.dead_lettered_at,
            partition_key: event.data.partition_key.as_ref().map(ToString::to_string),
            class: letter.class.as_str().to_owned(),
            reason: letter.reason,
            attempts: letter.attempts.into_iter().map(Attempt::from).collect(),
            body_base64: STANDARD.encode(event.body()),
            properties: Properties::from(&event.data.properties),
            system_properties: Properties::from(&event.data.system_properties),
            edited: stored.edited.as_ref().map(EventData::from),
            document: letter.document.map(DocumentState::from),
            event: None,
            edited_diff: None,
            document_now: None,
            document_diff: None,
            history: None,
            history_truncated: None,
        }
    }
}

/// Which dead letters are meant; an absent condition is true.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct DeadLetterFilter {
    /// Of this function.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub function: Option<String>,
    /// From this hub.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hub: Option<String>,
    /// From this partition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partition: Option<u32>,
    /// From this sequence number on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from_sequence: Option<u64>,
    /// Before this sequence number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before_sequence: Option<u64>,
    /// With this partition key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Of this class: `permanent` or `exhausted`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// With this cause: the 16 hexadecimal digits of a fingerprint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// Set aside at this time or later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Set aside before this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// In one of these states, joined by commas: `open`, `redriving`, `redriven`, `discarded`, `quarantined`, `replayed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
}

/// The number of a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeadLetterRef {
    /// Its number.
    pub id: u64,
}

/// Dead letters that have one cause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeadLetterGroup {
    /// The cause: 16 hexadecimal digits.
    #[schema(example = "85944171f73967e8")]
    pub fingerprint: String,
    /// The function.
    pub function: String,
    /// The class.
    pub class: String,
    /// The reason of the newest of them.
    pub reason: String,
    /// How many there are.
    pub count: u64,
    /// When the first of them was set aside.
    pub first_at: Timestamp,
    /// When the last of them was.
    pub last_at: Timestamp,
    /// The newest of them.
    pub example: u64,
}

impl From<dead_letter::DeadLetterGroup> for DeadLetterGroup {
    fn from(group: dead_letter::DeadLetterGroup) -> Self {
        Self {
            fingerprint: group.fingerprint.to_string(),
            function: group.function.to_string(),
            class: group.class.as_str().to_owned(),
            reason: group.reason,
            count: group.count,
            first_at: group.first_at,
            last_at: group.last_at,
            example: group.newest.0,
        }
    }
}

/// How many dead letters were set aside over time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Trend {
    /// The beginning of the first bucket.
    pub from: Timestamp,
    /// How long a bucket is, in seconds.
    pub step_s: u64,
    /// The causes that have dead letters in this time, the most frequent first.
    pub groups: Vec<TrendPoint>,
}

/// The dead letters of one cause over time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TrendPoint {
    /// The cause: 16 hexadecimal digits.
    pub fingerprint: String,
    /// How many were set aside in each bucket, the oldest bucket first.
    pub counts: Vec<u64>,
}

/// Which dead letters an act is about, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ManyRequest {
    /// Their numbers: 1 to 1000.
    #[schema(min_items = 1, max_items = 1000)]
    pub ids: Vec<u64>,
    /// Also quarantined ones.
    #[serde(default)]
    pub force: bool,
    /// Why; kept in the audit trail.
    #[serde(default)]
    pub reason: String,
}

/// What an act on one dead letter came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeadLetterActed {
    /// Its number.
    pub id: u64,
    /// `done`, `not-found`, `wrong-status`, `leased`, `other-incarnation` or `other-revision`.
    #[schema(example = "done")]
    pub result: String,
    /// The status that did not allow it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
}

impl DeadLetterActed {
    /// Of the dead letter with this number.
    pub fn new(id: DeadLetterId, acted: Acted) -> Self {
        let (result, status) = match acted {
            Acted::Done => ("done", None),
            Acted::NotFound => ("not-found", None),
            Acted::WrongStatus(status) => ("wrong-status", Some(status.as_str().to_owned())),
            Acted::Leased => ("leased", None),
            Acted::OtherIncarnation => ("other-incarnation", None),
            Acted::OtherRevision(_) => ("other-revision", None),
        };
        Self { id: id.0, result: result.to_owned(), status }
    }
}

/// An edit of a dead letter's event.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EditRequest {
    /// The newest revision that the person saw. May be left out where the header `If-Match` says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u32>,
    /// What changes.
    pub event: EventEdit,
    /// Why; kept in the audit trail.
    #[serde(default)]
    pub reason: String,
    /// Only says what would change, and what the function would answer.
    #[serde(default)]
    pub dry_run: bool,
}

/// What an edit came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EditResult {
    /// The number of the dead letter.
    pub id: u64,
    /// `edited`, `would-be-edited`, or `unchanged`: the event is like that already.
    #[schema(example = "edited")]
    pub result: String,
    /// The newest revision.
    pub revision: u32,
    /// What changed, for a person.
    pub diff: String,
    /// In a dry run: what the function says about the event as it would be. Absent where the function does not run here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judged: Option<crate::DryRun>,
}

/// A note about a dead letter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NoteRequest {
    /// What there is to say, at most 1024 bytes.
    #[schema(example = "the vendor's firmware 2.1 sends this; fixed in 2.2")]
    pub note: String,
}

/// A note that was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Note {
    /// The number of the dead letter.
    pub id: u64,
    /// Who wrote it.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// What it says.
    pub note: String,
}
