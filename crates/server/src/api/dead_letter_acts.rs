//! What a person does with dead letters: redrive, discard, edit, lease. Each act says who and why, is one transaction in the
//! store, and may be repeated: what is done already is answered so.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};

use tidegate_api as shapes;
use tidegate_api::{
    DeadLetter, DeadLetterActed, EditRequest, EditResult, EventData, ManyRequest, ReasonRequest,
};
use tidegate_model::dead_letter::{Acted, DeadLetterId};
use tidegate_model::error::ErrorCode;
use tidegate_model::trail::NewTrailEntry;

use crate::api::actor::Actor;
use crate::api::edit::{EditError, difference, edited};
use crate::api::etag::Expected;
use crate::api::operations::Operations as _;
use crate::api::page::{MAX_ITEMS, Page};
use crate::api::parameters::{InPath, NUMBER, Parameters, dead_letter_filter};
use crate::api::{Api, ApiError, functions};
use crate::config::elements::duration;

/// The longest lease.
const LONGEST_LEASE: Duration = Duration::from_secs(24 * 60 * 60);

/// The dead letters that a request names.
fn ids(request: &ManyRequest) -> Result<Vec<DeadLetterId>, ApiError> {
    if request.ids.is_empty() || request.ids.len() > MAX_ITEMS {
        return Err(ApiError::bad_request(format!(
            "a request names 1 to {MAX_ITEMS} dead letters, and this one {}",
            request.ids.len()
        )));
    }
    Ok(request.ids.iter().copied().map(DeadLetterId).collect())
}

/// Parks the events of dead letters in their lanes again.
#[utoipa::path(
    post, path = "/api/v1/dead-letters/redrive", tag = "dead letters",
    params(
        ("tidegate-user" = Option<String>, Header, description = "The person behind the key, for the audit trail"),
    ),
    request_body(content = shapes::ManyRequest, description = "Which, and why"),
    responses(crate::api::openapi::ManyActed),
)]
pub(super) async fn redrive(
    State(api): State<Arc<Api>>,
    actor: Actor,
    request: Result<Json<ManyRequest>, JsonRejection>,
) -> Result<Response, ApiError> {
    let request = body(request, MANY)?;
    let (ids, act) = (ids(&request)?, actor.act(&request.reason, &*api.clock)?);
    // Asked before the act: after it nothing may fail any more that would say that it was not done.
    let lanes = api.desk.lanes(&ids).await?;
    let acted = api.store.redrive(&ids, request.force, &act).await?;
    if acted.contains(&Acted::Done) {
        lanes.iter().for_each(|lane| api.processing.parked_changed(lane));
    }
    Ok(answers(&ids, acted))
}

/// Discards dead letters.
#[utoipa::path(
    post, path = "/api/v1/dead-letters/discard", tag = "dead letters",
    params(
        ("tidegate-user" = Option<String>, Header, description = "The person behind the key, for the audit trail"),
    ),
    request_body(content = shapes::ManyRequest, description = "Which, and why"),
    responses(crate::api::openapi::ManyActed),
)]
pub(super) async fn discard(
    State(api): State<Arc<Api>>,
    actor: Actor,
    request: Result<Json<ManyRequest>, JsonRejection>,
) -> Result<Response, ApiError> {
    let request = body(request, MANY)?;
    let (ids, act) = (ids(&request)?, actor.act(&request.reason, &*api.clock)?);
    let acted = api.store.discard(&ids, &act).await?;
    Ok(answers(&ids, acted))
}

/// Gives leases back.
#[utoipa::path(
    post, path = "/api/v1/dead-letters/release", tag = "dead letters",
    params(
        ("tidegate-user" = Option<String>, Header, description = "The person behind the key, for the audit trail"),
    ),
    request_body(content = shapes::ManyRequest, description = "Which"),
    responses(crate::api::openapi::ManyActed),
)]
pub(super) async fn release(
    State(api): State<Arc<Api>>,
    actor: Actor,
    request: Result<Json<ManyRequest>, JsonRejection>,
) -> Result<Response, ApiError> {
    let request = body(request, MANY)?;
    let (ids, act) = (ids(&request)?, actor.act_without_reason(&request.reason, &*api.clock)?);
    let acted = api.store.extend_lease(&ids, act.at, &act).await?;
    Ok(answers(&ids, acted))
}

/// Moves the ends of leases.
#[utoipa::path(
    post, path = "/api/v1/dead-letters/extend-lease", tag = "dead letters",
    params(
        ("tidegate-user" = Option<String>, Header, description = "The person behind the key, for the audit trail"),
        ("for" = String, Query, description = "How long from now, such as `5m`; at most 24 hours"),
    ),
    request_body(content = shapes::ManyRequest, description = "Which"),
    responses(crate::api::openapi::ManyActed),
)]
pub(super) async fn extend(
    State(api): State<Arc<Api>>,
    actor: Actor,
    mut parameters: Parameters,
    request: Result<Json<ManyRequest>, JsonRejection>,
) -> Result<Response, ApiError> {
    let length = lease_length(&mut parameters)?;
    parameters.done()?;
    let request = body(request, MANY)?;
    let (ids, act) = (ids(&request)?, actor.act_without_reason(&request.reason, &*api.clock)?);
    let acted = api.store.extend_lease(&ids, act.at.plus(length), &act).await?;
    Ok(answers(&ids, acted))
}

/// Leases the first dead letters that match and are nobody's.
#[utoipa::path(
    post, path = "/api/v1/dead-letters/lease", tag = "dead letters",
    params(
        shapes::DeadLetterFilter,
        ("tidegate-user" = Option<String>, Header, description = "The person behind the key, for the audit trail"),
        ("limit" = u64, Query, description = "How many", minimum = 1, maximum = 100),
        ("for" = String, Query, description = "For how long, such as `5m`; at most 24 hours"),
    ),
    request_body(content = shapes::ReasonRequest, description = "Why; may be empty"),
    responses(
        (status = 200, content(
            (shapes::Page<shapes::DeadLetter> = "application/json"), (shapes::DeadLetter = "application/x-ndjson"),
        ), description = "Those that were leased"),
        crate::api::openapi::Refused, crate::api::openapi::TooLarge, crate::api::openapi::Failed,
    ),
)]
pub(super) async fn lease(
    State(api): State<Arc<Api>>,
    actor: Actor,
    mut parameters: Parameters,
    request: Result<Json<ReasonRequest>, JsonRejection>,
) -> Result<Response, ApiError> {
    let filter = dead_letter_filter(&mut parameters)?;
    let limit: usize = parameters.required("limit", NUMBER)?;
    let length = lease_length(&mut parameters)?;
    parameters.done()?;
    if limit == 0 || limit > MAX_LEASED {
        return Err(ApiError::bad_request(format!(
            "1 to {MAX_LEASED} dead letters are leased at once, not {limit}"
        )));
    }
    let request = body(request, r#"{"reason":"…"}"#)?;
    let act = actor.act_without_reason(&request.reason, &*api.clock)?;
    let until = act.at.plus(length);
    let mut page = Page::new(Some(limit));
    for letter in api.store.lease_dead_letters(&filter, limit, until, &act).await? {
        page.push(&DeadLetter::from(letter));
    }
    Ok(page.finish(None))
}

/// How many dead letters are leased at once: they are answered whole, on one page.
const MAX_LEASED: usize = 100;

fn lease_length(parameters: &mut Parameters) -> Result<Duration, ApiError> {
    let text = parameters.take("for")?.unwrap_or_default();
    let length = duration::parse(&text).filter(|length| !length.is_zero() && *length <= LONGEST_LEASE);
    length.ok_or_else(|| {
        ApiError::bad_request(format!("a lease cannot be {text:?} long"))
            .help("`for` is a whole number and one of the units ms, s, m, h, such as 5m; at most 24h")
    })
}

/// Makes a new revision of a dead letter's event.
#[utoipa::path(
    post, path = "/api/v1/dead-letters/{id}/edit", tag = "dead letters",
    params(
        ("id" = u64, Path, description = "The number of the dead letter"),
        ("if-match" = Option<String>, Header, description = "The ETag of the dead letter as it was seen"),
        ("tidegate-user" = Option<String>, Header, description = "The person behind the key, for the audit trail"),
    ),
    request_body(content = shapes::EditRequest, description = "What changes, and why"),
    responses(
        (status = 200, body = shapes::EditResult, description = "What came of it"),
        (status = 412, body = shapes::Problem, content_type = "application/problem+json", description = "It is at another revision than `If-Match` says"),
        crate::api::openapi::Refused, crate::api::openapi::NotFound, crate::api::openapi::Conflict, crate::api::openapi::TooLarge, crate::api::openapi::Failed,
    ),
)]
pub(super) async fn edit(
    State(api): State<Arc<Api>>,
    actor: Actor,
    InPath(id): InPath<u64>,
    headers: HeaderMap,
    request: Result<Json<EditRequest>, JsonRejection>,
) -> Result<Response, ApiError> {
    let id = DeadLetterId(id);
    let EditRequest { revision, event, reason, dry_run } =
        body(request, r#"{"revision":0,"event":{"body":"…"},"reason":"…"}"#)?;
    let expected = Expected::of(&headers);
    let revision = revision.or(expected.single()).ok_or_else(|| {
        ApiError::bad_request("the request does not say which revision it edits")
            .help("`revision` is the newest revision that you saw; or send the ETag you got in If-Match")
    })?;
    let stored = api.dead_letter(id).await?;
    expected.check(stored.revision)?;
    let current = stored.edited.as_ref().unwrap_or(&stored.letter.event.data);
    let event = edited(current, event)?;
    let diff = difference(current, &event);
    let answer = |result: &str, revision, diff, judged| {
        let result = EditResult { id: id.0, result: result.to_owned(), revision, diff, judged };
        Ok(Json(result).into_response())
    };
    let judged = match dry_run {
        true => {
            let lane = &stored.letter.lane;
            let number = stored.letter.event.sequence_number;
            functions::judged(&api, &lane.function, event.clone(), number).await?
        }
        false => None,
    };
    if event == *current {
        // Also after an edit whose answer got lost: it is made once.
        return answer("unchanged", stored.revision, diff, judged);
    }
    if dry_run {
        return answer("would-be-edited", stored.revision, diff, judged);
    }
    let new_revision = revision.saturating_add(1);
    let detail = serde_json::json!({
        "revision": new_revision,
        "diff": diff,
        "event": EventData::from(&event),
    });
    let act = actor.act(&reason, &*api.clock)?;
    let entry = NewTrailEntry { action: "dead-letter.edit", subject: id.to_string(), act, detail };
    done(id, api.store.edit(id, revision, &event, entry).await?)?;
    answer("edited", new_revision, diff, None)
}

/// Writes a note about a dead letter, which is kept in the audit trail and shown with it.
#[utoipa::path(
    post, path = "/api/v1/dead-letters/{id}/note", tag = "dead letters",
    params(
        ("id" = u64, Path, description = "The number of the dead letter"),
        ("tidegate-user" = Option<String>, Header, description = "The person behind the key, for the audit trail"),
    ),
    request_body(content = shapes::NoteRequest, description = "The note"),
    responses(
        (status = 201, body = shapes::Note, description = "The note as it was written"),
        crate::api::openapi::Refused, crate::api::openapi::NotFound, crate::api::openapi::TooLarge,
        crate::api::openapi::Failed,
    ),
)]
pub(super) async fn note(
    State(api): State<Arc<Api>>,
    actor: Actor,
    InPath(id): InPath<u64>,
    request: Result<Json<shapes::NoteRequest>, JsonRejection>,
) -> Result<Response, ApiError> {
    let id = DeadLetterId(id);
    let request = body(request, r#"{"note":"…"}"#)?;
    let act = actor.act(&request.note, &*api.clock)?;
    if !api.desk.note(id, &act).await? {
        return done(id, Acted::NotFound).map(|()| StatusCode::NO_CONTENT.into_response());
    }
    let note = shapes::Note { id: id.0, by: act.by, at: act.at, note: act.reason };
    Ok((StatusCode::CREATED, Json(note)).into_response())
}

/// An act on one dead letter that was not done is an error.
fn done(id: DeadLetterId, acted: Acted) -> Result<(), ApiError> {
    let conflict = |message: String| {
        Err(ApiError::new(StatusCode::CONFLICT, ErrorCode::CONFLICT, message)
            .help(format!("look at it: tidegate dead-letters show {id}")))
    };
    match acted {
        Acted::Done => Ok(()),
        Acted::NotFound => Err(ApiError::not_found(format!("there is no dead letter {id}"))
            .help("list them: tidegate dead-letters list")),
        Acted::WrongStatus(status) => conflict(format!("the dead letter {id} is {}", status.as_str())),
        Acted::Leased => conflict(format!("somebody else has leased the dead letter {id}")),
        Acted::OtherIncarnation => {
            conflict(format!("the hub of the dead letter {id} was made anew: its place in the order is gone"))
        }
        Acted::OtherRevision(newest) => {
            conflict(format!("the newest revision of the dead letter {id} is {newest} by now"))
        }
    }
}

const MANY: &str = r#"{"ids":[1,2],"reason":"…"}"#;

/// The body of a request; `form` shows a person what it must be.
pub(crate) fn body<T>(request: Result<Json<T>, JsonRejection>, form: &str) -> Result<T, ApiError> {
    match request {
        Ok(Json(request)) => Ok(request),
        Err(error) if error.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, ErrorCode::TOO_LARGE, error.body_text()))
        }
        Err(error) => Err(ApiError::bad_request(error.body_text())
            .help(format!("send {form} with content-type application/json"))),
    }
}

fn answers(ids: &[DeadLetterId], acted: Vec<Acted>) -> Response {
    let mut page = Page::new(None);
    for (id, acted) in ids.iter().zip(acted) {
        page.push(&DeadLetterActed::new(*id, acted));
    }
    page.finish(None)
}

impl From<EditError> for ApiError {
    fn from(error: EditError) -> Self {
        match error {
            EditError::TooLarge(_) => {
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, ErrorCode::TOO_LARGE, error.to_string())
            }
            _ => Self::bad_request(error.to_string()),
        }
    }
}
