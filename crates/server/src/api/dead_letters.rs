//! Dead letters as they are: listed, grouped, shown.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};

use tidegate_api::{DeadLetter, DeadLetterGroup, DeadLetterRef, DocumentState, EventData, TrailLine};
use tidegate_model::dead_letter::{DeadLetterId, StoredDeadLetter};
use tidegate_model::document::Document;

use crate::api::page::{MAX_ITEMS, Page};
use crate::api::parameters::{NUMBER, Parameters, dead_letter_filter};
use crate::api::{Api, ApiError, diff, edit};

/// A page of the dead letters that match, ordered by id.
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    mut parameters: Parameters,
) -> Result<Response, ApiError> {
    let filter = dead_letter_filter(&mut parameters)?;
    let mut after = parameters.parsed("after", NUMBER)?.map(DeadLetterId);
    let with_event: bool = parameters.parsed("event", "true or false")?.unwrap_or(false);
    let mut page = Page::new(parameters.parsed("limit", NUMBER)?);
    parameters.done()?;
    let mut more = true;
    while more && !page.is_full() {
        let wanted = page.wants();
        let letters = api.store.list_dead_letters(&filter, after, wanted).await?;
        more = letters.len() == wanted;
        for letter in letters {
            after = Some(letter.id);
            let event = with_event.then(|| newest(&letter));
            page.push(&DeadLetter { event, ..DeadLetter::from(letter) });
        }
    }
    Ok(page.finish(after.filter(|_| more).map(|id| id.to_string())))
}

fn newest(stored: &StoredDeadLetter) -> EventData {
    EventData::from(stored.edited.as_ref().unwrap_or(&stored.letter.event.data))
}

/// A page of the numbers of the dead letters that match.
pub(super) async fn ids(
    State(api): State<Arc<Api>>,
    mut parameters: Parameters,
) -> Result<Response, ApiError> {
    let filter = dead_letter_filter(&mut parameters)?;
    let after = parameters.parsed("after", NUMBER)?.map(DeadLetterId);
    let limit: Option<usize> = parameters.parsed("limit", NUMBER)?;
    parameters.done()?;
    let limit = limit.unwrap_or(MAX_ITEMS).clamp(1, MAX_ITEMS);
    let found = api.store.find_dead_letters(&filter, after, limit).await?;
    let next = found.last().filter(|_| found.len() == limit).map(ToString::to_string);
    let mut page = Page::new(Some(limit));
    found.into_iter().for_each(|id| page.push(&DeadLetterRef { id: id.0 }));
    Ok(page.finish(next))
}

/// The causes of the dead letters that match, the most frequent first.
pub(super) async fn groups(
    State(api): State<Arc<Api>>,
    mut parameters: Parameters,
) -> Result<Response, ApiError> {
    let filter = dead_letter_filter(&mut parameters)?;
    let limit: Option<usize> = parameters.parsed("limit", NUMBER)?;
    parameters.done()?;
    // Reasons without what differs from event to event: there are few, and the most frequent ones are what counts.
    let limit = limit.unwrap_or(MAX_ITEMS).clamp(1, MAX_ITEMS);
    let mut page = Page::new(Some(limit));
    for group in api.store.group_dead_letters(&filter).await?.into_iter().take(limit) {
        page.push(&DeadLetterGroup::from(group));
    }
    Ok(page.finish(None))
}

/// One dead letter.
pub(super) async fn get(
    State(api): State<Arc<Api>>,
    id: Result<Path<u64>, PathRejection>,
) -> Result<Response, ApiError> {
    let stored = api.dead_letter(id_in(id)?).await?;
    let (document_now, document_diff) = document_now(&api, &stored).await?;
    let history = api.store.trail(Some(&stored.id.to_string()), 0, HISTORY + 1).await?;
    let history_truncated = history.len() > HISTORY;
    let history: Vec<TrailLine> = (history.into_iter())
        .filter(|entry| entry.action.starts_with("dead-letter."))
        .take(HISTORY)
        .map(TrailLine::from)
        .collect();
    let shown = DeadLetter {
        event: Some(newest(&stored)),
        edited_diff: (stored.edited.as_ref())
            .map(|edited| edit::difference(&stored.letter.event.data, edited)),
        document_now,
        document_diff,
        history: Some(history),
        history_truncated: Some(history_truncated),
        ..DeadLetter::from(stored)
    };
    Ok(Json(shown).into_response())
}

/// How many lines of the audit trail are shown with a dead letter.
const HISTORY: usize = 200;

/// The document it was meant for as it is now, and what changed in it since.
async fn document_now(
    api: &Api,
    stored: &StoredDeadLetter,
) -> Result<(Option<DocumentState>, Option<String>), ApiError> {
    let Some(then) = &stored.letter.document else { return Ok((None, None)) };
    let found = api.store.documents(&then.collection, std::slice::from_ref(&then.id)).await?;
    let body = found.into_iter().flatten().next().map(|Document { body, .. }| body);
    let diff = diff::of(then.body.as_deref().unwrap_or_default(), body.as_deref().unwrap_or_default());
    let mut now = then.clone();
    now.body = body;
    Ok((Some(DocumentState::from(now)), Some(diff)))
}

/// The number in the address.
pub(super) fn id_in(id: Result<Path<u64>, PathRejection>) -> Result<DeadLetterId, ApiError> {
    let Path(id) = id.map_err(|error| ApiError::bad_request(error.body_text()))?;
    Ok(DeadLetterId(id))
}

impl Api {
    /// The dead letter with this number.
    pub(super) async fn dead_letter(&self, id: DeadLetterId) -> Result<StoredDeadLetter, ApiError> {
        self.store.dead_letter(id).await?.ok_or_else(|| {
            ApiError::not_found(format!("there is no dead letter {id}"))
                .help("list them: tidegate dead-letters list")
        })
    }
}
