//! The history of a document: which events of the log made it.
//!
//! The store keeps a document's newest state and its last writer. The log keeps the events. So the log is read backwards from
//! the last writer, a bounded part of it at a time, and the function itself says which documents each event is about.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};

use tidegate_api::{DocumentHistory, Writer};
use tidegate_model::checkpoint::{FunctionName, Lane};
use tidegate_model::dead_letter::{DeadLetterFilter, DeadLetterId};
use tidegate_model::document::{CollectionName, Document};
use tidegate_model::event::{Event, HubName};
use tidegate_model::ports::{EventLog, ReadLimit};
use tidegate_model::position::{PartitionId, SequenceNumber};

use crate::api::documents::{collection_name, document_id, no_document};
use crate::api::parameters::InPath;
use crate::api::parameters::{NUMBER, Parameters};
use crate::api::running::RunningFunction;
use crate::api::{Api, ApiError};

/// How many events are looked at for one page.
const LOOKED_AT: u64 = 5000;

/// How many events are read at a time.
const STRETCH: u64 = 500;

/// How many bytes of events are read at a time.
const STRETCH_BYTES: usize = 4 * 1024 * 1024;

/// How many events a page tells, unless fewer are asked for.
const MAX_WRITERS: usize = 100;

/// How much of a body is shown, in characters.
const PREVIEW: usize = 240;

/// How long the function may take to say what a stretch of events is about.
const PLAN_LIMIT: Duration = Duration::from_secs(5);

/// The events of the log that made a document, the newest first.
#[utoipa::path(
    get, path = "/api/v1/collections/{collection}/documents/{id}/history", tag = "documents",
    params(
        ("collection" = String, Path, description = "The collection"),
        ("id" = String, Path, description = "The document's id, percent-encoded"),
        ("partition" = Option<u32>, Query, description = "The partition to look at; that of the last writer if left out"),
        ("before" = Option<u64>, Query, description = "Only events before this sequence number: the cursor"),
        ("limit" = Option<usize>, Query, minimum = 1, maximum = 100, description = "At most so many events"),
    ),
    responses(
        (status = 200, body = DocumentHistory, description = "The part of the history that was asked for"),
        crate::api::openapi::Refused, crate::api::openapi::NotFound, crate::api::openapi::Failed,
    ),
)]
pub(super) async fn get(
    State(api): State<Arc<Api>>,
    InPath((collection, id)): InPath<(String, String)>,
    mut parameters: Parameters,
) -> Result<Response, ApiError> {
    let partition = parameters.partition()?;
    let before = parameters.sequence_number("before")?;
    let limit: usize = parameters.parsed("limit", NUMBER)?.unwrap_or(MAX_WRITERS).clamp(1, MAX_WRITERS);
    parameters.done()?;
    let (collection, id) = (collection_name(&collection)?, document_id(&id)?);
    let found = api.store.documents(&collection, std::slice::from_ref(&id)).await?;
    let Some(document) = found.into_iter().flatten().next() else {
        return Err(no_document(&api, &collection, &id).await?);
    };
    let Some((function, hub, running)) = writer_of(&api, &collection) else {
        let message = format!("no function is known here that writes the collection {collection}");
        return Err(ApiError::not_found(message)
            .help("ask a running server that has the function in its configuration"));
    };
    let lane = Lane { function, hub, partition: partition.unwrap_or(document.partition) };
    let log = api.log(lane.hub.as_str())?;
    let history = history(&api, &*log, lane, running.as_ref(), &collection, &document, before, limit).await?;
    Ok(Json(history).into_response())
}

/// The function that writes a collection, and the hub it reads.
fn writer_of(
    api: &Api,
    collection: &CollectionName,
) -> Option<(FunctionName, HubName, Option<RunningFunction>)> {
    let running = api.running.all();
    let writes = |running: &&RunningFunction| running.function.descriptor().collection == *collection;
    if let Some(running) = running.iter().find(writes) {
        let name = running.function.descriptor().name.clone();
        return Some((name, running.hub.clone(), Some(running.clone())));
    }
    let configured = api.function_configs.iter().find(|config| match &config.kind {
        crate::config::FunctionKind::Upsert(upsert) => upsert.collection == *collection,
        crate::config::FunctionKind::Rust => false,
    });
    configured.map(|config| (config.name.clone(), config.hub.clone(), None))
}

#[expect(clippy::too_many_arguments, reason = "the parts of one request")]
async fn history(
    api: &Api,
    log: &dyn EventLog,
    lane: Lane,
    running: Option<&RunningFunction>,
    collection: &CollectionName,
    document: &Document,
    before: Option<SequenceNumber>,
    limit: usize,
) -> Result<DocumentHistory, ApiError> {
    let ends = log.ends(lane.partition)?;
    // The events that are not resolved yet are among it: they will write the document next.
    let mut end = before.unwrap_or(ends.tail).min(ends.tail);
    let key = last_key(log, document).await;
    let (mut found, mut looked_at) = (Vec::new(), 0);
    while end > ends.head && looked_at < LOOKED_AT && found.len() < limit {
        let start = SequenceNumber(end.0.saturating_sub(STRETCH)).max(ends.head);
        let mut events = read(log, lane.partition, start, end).await?;
        looked_at += events.len() as u64;
        let about = match running {
            Some(running) => api.judge.documents_of(&running.function, events.clone(), PLAN_LIMIT).await?,
            // Without the function, events with the key of the last writer are taken for its history.
            None => {
                let same = |event: &Event| key.is_some() && event.data.partition_key == key;
                events
                    .iter()
                    .map(|event| if same(event) { vec![document.id.clone()] } else { vec![] })
                    .collect()
            }
        };
        for (event, about) in events.drain(..).zip(about).rev() {
            if found.len() == limit {
                break;
            }
            end = event.sequence_number;
            if about.contains(&document.id) {
                found.push(event);
            }
        }
        if found.len() < limit {
            end = start;
        }
    }
    let writers = writers(api, &lane, found).await?;
    Ok(DocumentHistory {
        collection: collection.to_string(),
        id: document.id.to_string(),
        function: lane.function.to_string(),
        hub: lane.hub.to_string(),
        partition: lane.partition.0,
        partition_key: key.map(|key| key.to_string()),
        writers,
        next: (end > ends.head).then_some(end.0),
        head: ends.head.0,
        looked_at,
    })
}

/// The key of the event that a document was written by last, if the log has it still.
async fn last_key(log: &dyn EventLog, document: &Document) -> Option<bytestring::ByteString> {
    let one = ReadLimit { events: 1, bytes: 1 };
    let read = log.read(document.partition, document.sequence_number, one).await.ok()?;
    let last = read.into_iter().next().filter(|event| event.sequence_number == document.sequence_number)?;
    last.data.partition_key
}

/// The events from `start` to before `end` that the log has.
async fn read(
    log: &dyn EventLog,
    partition: PartitionId,
    start: SequenceNumber,
    end: SequenceNumber,
) -> Result<Vec<Event>, ApiError> {
    let (mut events, mut from) = (Vec::new(), start);
    while from < end {
        let limit = ReadLimit {
            events: usize::try_from(end.distance_from(from)).unwrap_or(usize::MAX),
            bytes: STRETCH_BYTES,
        };
        let read = log.read(partition, from, limit).await?;
        let Some(last) = read.last() else { break };
        from = last.sequence_number.next();
        events.extend(read.into_iter().filter(|event| event.sequence_number < end));
    }
    Ok(events)
}

/// What became of events of a lane; they are given the newest first.
async fn writers(api: &Api, lane: &Lane, events: Vec<Event>) -> Result<Vec<Writer>, ApiError> {
    let (Some(newest), Some(oldest)) = (events.first(), events.last()) else { return Ok(Vec::new()) };
    let (from, before) = (oldest.sequence_number, newest.sequence_number.next());
    let position = api.store.checkpoint(lane).await?.map(|checkpoint| checkpoint.position);
    let mut dead: HashMap<SequenceNumber, DeadLetterId> = HashMap::new();
    let filter = DeadLetterFilter {
        function: Some(lane.function.clone()),
        hub: Some(lane.hub.clone()),
        partition: Some(lane.partition),
        from_sequence_number: Some(from),
        before_sequence_number: Some(before),
        ..DeadLetterFilter::default()
    };
    for letter in api.store.list_dead_letters(&filter, None, MAX_WRITERS).await? {
        dead.insert(letter.letter.event.sequence_number, letter.id);
    }
    let mut writers = Vec::with_capacity(events.len());
    for event in events {
        let number = event.sequence_number;
        let dead_letter = dead.get(&number).copied();
        let is_pending = position.is_none_or(|position| number >= position);
        let outcome = match dead_letter {
            _ if is_pending => "pending",
            Some(_) => "dead-lettered",
            None if api.store.parked(lane, number).await?.is_some() => "parked",
            None => "resolved",
        };
        writers.push(Writer {
            partition: lane.partition.0,
            sequence_number: number.0,
            enqueued_at: event.enqueued_at,
            outcome: outcome.to_owned(),
            dead_letter: dead_letter.map(|id| id.0),
            preview: std::str::from_utf8(event.body()).ok().map(|text| text.chars().take(PREVIEW).collect()),
        });
    }
    Ok(writers)
}
