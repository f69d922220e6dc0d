//! One event, and everything that happened to it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};

use tidegate_api::{
    Attempt, DeadLetter, DocumentState, Event as EventShape, FunctionTrace, JsonText, Parked, Trace,
    TrailLine,
};
use tidegate_model::checkpoint::{FunctionName, Lane};
use tidegate_model::dead_letter::{DeadLetterFilter, StoredDeadLetter};
use tidegate_model::document::Document;
use tidegate_model::event::{Event, HubName};
use tidegate_model::ports::{EventLog, PartitionStatus, ReadLimit};
use tidegate_model::position::{PartitionId, SequenceNumber};

use crate::api::parameters::{NAME, NUMBER, Parameters};
use crate::api::{Api, ApiError};

/// How many lines of the program's log are shown.
const LOGS: usize = 200;

/// How many lines of the audit trail are looked at for each thing that happened to the event.
const TRAIL: usize = 200;

/// How many dead letters of one event and function are looked at: it gets another with each time it is replayed.
const LETTERS: usize = 20;

/// How long a function may take to say which documents the event is about.
const PLAN_LIMIT: Duration = Duration::from_secs(5);

/// Everything that is known about one event.
#[utoipa::path(
    get, path = "/api/v1/trace", tag = "events",
    params(
        ("hub" = String, Query, description = "The hub"),
        ("partition" = u32, Query, description = "The partition"),
        ("sequence_number" = u64, Query, description = "The event's place in it"),
    ),
    responses(
        (status = 200, body = Trace, description = "What is known; `event` is null where the log has dropped it"),
        crate::api::openapi::Refused, crate::api::openapi::NotFound, crate::api::openapi::Failed,
    ),
)]
pub(super) async fn get(
    State(api): State<Arc<Api>>,
    mut parameters: Parameters,
) -> Result<Response, ApiError> {
    let hub: HubName = parameters.required("hub", NAME)?;
    let partition = PartitionId(parameters.required("partition", NUMBER)?);
    let Some(number) = parameters.sequence_number("sequence_number")? else {
        return Err(ApiError::bad_request("the parameter sequence_number is missing"));
    };
    parameters.done()?;
    let log = api.log(hub.as_str())?;
    let hub = log.hub().clone();
    let status = log.status(partition)?;
    if number >= status.tail {
        return Err(ApiError::not_found(format!(
            "partition {partition} of {hub} has no event {number} yet; the next one will be {}",
            status.tail
        )));
    }
    let event = read(&*log, partition, number, &status).await?;
    let mut functions = Vec::new();
    let mut trail = Vec::new();
    for function in readers(&api, &hub).await? {
        let lane = Lane { function, hub: hub.clone(), partition };
        functions.push(of_function(&api, &*log, lane, number, event.as_ref(), &status, &mut trail).await?);
    }
    trail.sort_by_key(|line: &TrailLine| line.number);
    trail.dedup_by_key(|line| line.number);
    let trace = Trace {
        hub: hub.to_string(),
        partition: partition.0,
        sequence_number: number.0,
        event: event.map(|event| EventShape::new(partition, event)),
        functions,
        logs: api.logged.of_event(&hub, partition, number, LOGS).await,
        trail,
    };
    Ok(Json(trace).into_response())
}

/// The event, if the log has it still.
async fn read(
    log: &dyn EventLog,
    partition: PartitionId,
    number: SequenceNumber,
    status: &PartitionStatus,
) -> Result<Option<Event>, ApiError> {
    if number < status.head {
        return Ok(None);
    }
    let read = log.read(partition, number, ReadLimit { events: 1, bytes: 1 }).await?;
    Ok(read.into_iter().next().filter(|event| event.sequence_number == number))
}

/// The functions that read a hub, or did.
async fn readers(api: &Api, hub: &HubName) -> Result<BTreeSet<FunctionName>, ApiError> {
    let configured = api.configured.iter().filter(|(_, of)| of == hub).map(|(function, _)| function.clone());
    let mut readers: BTreeSet<FunctionName> = configured.collect();
    let run = api.store.checkpoints().await?.into_iter().map(|checkpoint| checkpoint.lane);
    readers.extend(run.filter(|lane| lane.hub == *hub).map(|lane| lane.function));
    Ok(readers)
}

async fn of_function(
    api: &Api,
    log: &dyn EventLog,
    lane: Lane,
    number: SequenceNumber,
    event: Option<&Event>,
    status: &PartitionStatus,
    trail: &mut Vec<TrailLine>,
) -> Result<FunctionTrace, ApiError> {
    let letter = newest_letter(api, log, &lane, number).await?;
    let parked = api.store.parked(&lane, number).await?;
    let parked = parked.map(|stored| stored.parked).filter(|parked| parked.incarnation == log.incarnation());
    let tried = api.store.attempts(&lane).await?.into_iter().find(|one| one.sequence_number == number);
    // Read last: what is recorded of an event that is resolved meanwhile is then no surprise.
    let checkpoint = api.store.checkpoint(&lane).await?;
    let documents = documents(api, &lane, event).await?;
    let is_last_writer =
        |document: &Document| document.partition == lane.partition && document.sequence_number == number;
    let outcome = match &checkpoint {
        None => "pending",
        Some(checkpoint) if number < checkpoint.start && letter.is_none() && parked.is_none() => {
            "before-start"
        }
        Some(checkpoint) if number >= checkpoint.position => "pending",
        Some(_) if parked.is_some() => "parked",
        Some(_) if letter.as_ref().is_some_and(is_set_aside) => "dead-lettered",
        Some(_) if status.lost.iter().any(|lost| lost.contains(&number)) => "lost",
        Some(_) if documents.iter().any(is_last_writer) => "applied",
        Some(_) => "resolved",
    };
    if let Some(letter) = &letter {
        let lines = api.store.trail(Some(&letter.id.to_string()), 0, TRAIL).await?.into_iter();
        trail.extend(lines.filter(|line| line.action.starts_with("dead-letter.")).map(TrailLine::from));
    }
    let of_lane = api.store.trail(Some(&lane.to_string()), 0, TRAIL).await?.into_iter();
    let of_event = of_lane.filter(|line| line.detail["sequence_number"] == number.0);
    trail.extend(of_event.map(TrailLine::from));

    let attempts = match (&letter, &parked, tried) {
        (_, _, Some(tried)) => tried.attempts,
        (_, Some(parked), None) => parked.attempts.clone(),
        (Some(letter), None, None) => letter.letter.attempts.clone(),
        (None, None, None) => Vec::new(),
    };
    let parked = match parked {
        None => None,
        Some(parked) => {
            let first = match parked.key() {
                Some(key) => api.store.parked_of_key(&lane, key, SequenceNumber::ZERO, 1, 0).await?,
                None => Vec::new(),
            };
            let head = first.first().map_or(number, |first| first.parked.event.sequence_number.min(number));
            Some(Parked::new(parked, head))
        }
    };
    let collection = api.running.find(&lane.function);
    let collection = collection.map(|running| running.function.descriptor().collection.to_string());
    Ok(FunctionTrace {
        function: lane.function.to_string(),
        outcome: outcome.to_owned(),
        attempts: attempts.into_iter().map(Attempt::from).collect(),
        dead_letter: letter.map(DeadLetter::from),
        parked,
        documents: documents
            .into_iter()
            .map(|document| DocumentState {
                collection: collection.clone().unwrap_or_default(),
                id: document.id.to_string(),
                body: Some(JsonText::new(&document.body)),
            })
            .collect(),
    })
}

/// Whether a dead letter is where its event is: not redriven to another end.
fn is_set_aside(letter: &StoredDeadLetter) -> bool {
    use tidegate_model::dead_letter::DeadLetterStatus::{Discarded, Open, Quarantined};
    matches!(letter.status, Open | Quarantined | Discarded)
}

/// The newest dead letter that the event became in this life of its hub.
async fn newest_letter(
    api: &Api,
    log: &dyn EventLog,
    lane: &Lane,
    number: SequenceNumber,
) -> Result<Option<StoredDeadLetter>, ApiError> {
    let filter = DeadLetterFilter {
        function: Some(lane.function.clone()),
        hub: Some(lane.hub.clone()),
        partition: Some(lane.partition),
        from_sequence_number: Some(number),
        before_sequence_number: Some(number.next()),
        ..DeadLetterFilter::default()
    };
    let letters = api.store.list_dead_letters(&filter, None, LETTERS).await?;
    Ok(letters.into_iter().rfind(|letter| letter.letter.incarnation == log.incarnation()))
}

/// The documents that the event is about, as they are now, as far as the function runs here and says so.
async fn documents(api: &Api, lane: &Lane, event: Option<&Event>) -> Result<Vec<Document>, ApiError> {
    let (Some(running), Some(event)) = (api.running.find(&lane.function), event) else {
        return Ok(Vec::new());
    };
    let about = api.judge.documents_of(&running.function, vec![event.clone()], PLAN_LIMIT).await?;
    let ids = about.into_iter().next().unwrap_or_default();
    let found = api.store.documents(&running.function.descriptor().collection, &ids).await?;
    Ok(found.into_iter().flatten().collect())
}
