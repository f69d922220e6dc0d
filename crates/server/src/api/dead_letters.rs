//! Dead letters as they are: listed, grouped, shown.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::header::ETAG;
use axum::response::{IntoResponse as _, Response};

use tidegate_api as shapes;
use tidegate_api::{
    DeadLetter, DeadLetterGroup, DeadLetterRef, DocumentState, EventData, ListingOrder, TRUNCATED_HEADER,
    TrailLine,
};
use tidegate_model::clock::Timestamp;
use tidegate_model::dead_letter::{DeadLetterId, StoredDeadLetter};
use tidegate_model::document::Document;

use crate::api::page::{MAX_ITEMS, Page};
use crate::api::parameters::{InPath, NUMBER, ORDER, Parameters, dead_letter_filter};
use crate::api::{Api, ApiError, diff, edit, etag};
use crate::config::elements::duration;

/// A page of the dead letters that match, ordered by number: the oldest first, or the newest.
#[utoipa::path(
    get, path = "/api/v1/dead-letters", tag = "dead letters",
    params(
        shapes::DeadLetterFilter,
        ("order" = Option<shapes::ListingOrder>, Query, description = "`oldest` first, as without it, or `newest` first"),
        ("after" = Option<u64>, Query, description = "The cursor of the page: those that come after this number in the order"),
        ("limit" = Option<u64>, Query, description = "At most so many objects; at most 1000", minimum = 1),
        ("event" = Option<bool>, Query, description = "Each with its `event`: what a redrive gives the function"),
    ),
    responses(
        (status = 200, content(
            (shapes::Page<shapes::DeadLetter> = "application/json"), (shapes::DeadLetter = "application/x-ndjson"),
        ), description = "Dead letters that match, ordered by number"),
        crate::api::openapi::Refused, crate::api::openapi::Failed,
    ),
)]
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    mut parameters: Parameters,
) -> Result<Response, ApiError> {
    let filter = dead_letter_filter(&mut parameters)?;
    let order = parameters.parsed("order", ORDER)?.unwrap_or_default();
    let mut after = parameters.parsed("after", NUMBER)?.map(DeadLetterId);
    let with_event: bool = parameters.parsed("event", "true or false")?.unwrap_or(false);
    let mut page = Page::new(parameters.parsed("limit", NUMBER)?);
    parameters.done()?;
    let mut more = true;
    while more && !page.is_full() {
        let wanted = page.wants();
        let letters = match order {
            ListingOrder::Oldest => api.store.list_dead_letters(&filter, after, wanted).await?,
            ListingOrder::Newest => api.desk.newest(&filter, after, wanted).await?,
        };
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
#[utoipa::path(
    get, path = "/api/v1/dead-letter-ids", tag = "dead letters",
    params(
        shapes::DeadLetterFilter,
        ("after" = Option<u64>, Query, description = "The cursor of the page"),
        ("limit" = Option<u64>, Query, description = "At most so many objects; at most 1000", minimum = 1),
    ),
    responses(
        (status = 200, content(
            (shapes::Page<shapes::DeadLetterRef> = "application/json"), (shapes::DeadLetterRef = "application/x-ndjson"),
        ), description = "The numbers of the dead letters that match"),
        crate::api::openapi::Refused, crate::api::openapi::Failed,
    ),
)]
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
#[utoipa::path(
    get, path = "/api/v1/dead-letter-groups", tag = "dead letters",
    params(
        shapes::DeadLetterFilter,
        ("limit" = Option<u64>, Query, description = "At most so many objects; at most 1000", minimum = 1),
    ),
    responses(
        (status = 200, content(
            (shapes::Page<shapes::DeadLetterGroup> = "application/json"), (shapes::DeadLetterGroup = "application/x-ndjson"),
        ), description = "The causes of the dead letters that match, the most frequent first; `truncated`, or the header `tidegate-truncated`, says that there are more"),
        crate::api::openapi::Refused, crate::api::openapi::Failed,
    ),
)]
pub(super) async fn groups(
    State(api): State<Arc<Api>>,
    mut parameters: Parameters,
) -> Result<Response, ApiError> {
    let filter = dead_letter_filter(&mut parameters)?;
    let limit: Option<usize> = parameters.parsed("limit", NUMBER)?;
    parameters.done()?;
    let limit = limit.unwrap_or(MAX_ITEMS).clamp(1, MAX_ITEMS);
    let mut page = Page::new(Some(limit));
    let work = async { Ok(Arc::new(api.desk.causes(&filter, limit).await?)) };
    let causes = api.groups.get((format!("{filter:?}"), limit), &*api.clock, work).await?;
    for group in &causes.groups {
        page.push(&DeadLetterGroup::from(group.clone()));
    }
    let mut response = page.finish(None);
    if causes.causes > causes.groups.len() as u64 {
        response.headers_mut().insert(TRUNCATED_HEADER, HeaderValue::from_static("true"));
    }
    Ok(response)
}

/// The longest time that a trend covers.
const LONGEST_TREND: Duration = Duration::from_secs(90 * 24 * 60 * 60);

/// How many buckets a trend has at most.
const MAX_BUCKETS: usize = 200;

/// How many causes a trend tells.
const MAX_CAUSES: usize = 100;

/// How many dead letters were set aside over time, cause by cause, whatever became of them later.
#[utoipa::path(
    get, path = "/api/v1/dead-letter-trend", tag = "dead letters",
    params(
        ("within" = Option<String>, Query, description = "How far back, such as `24h`; at most 90d", example = "24h"),
        ("buckets" = Option<u32>, Query, description = "Into how many parts that is divided", minimum = 1, maximum = 200),
    ),
    responses(
        (status = 200, body = shapes::Trend, description = "The causes, the most frequent first, at most 100"),
        crate::api::openapi::Refused, crate::api::openapi::Failed,
    ),
)]
pub(super) async fn trend(
    State(api): State<Arc<Api>>,
    mut parameters: Parameters,
) -> Result<Response, ApiError> {
    let within = parameters.take("within")?;
    let buckets: usize = parameters.parsed("buckets", NUMBER)?.unwrap_or(24).clamp(1, MAX_BUCKETS);
    parameters.done()?;
    let text = within.as_deref().unwrap_or("24h");
    let within = duration::parse(text).filter(|within| *within >= Duration::from_secs(1));
    let within = within.filter(|within| *within <= LONGEST_TREND).ok_or_else(|| {
        let shown: String = text.chars().take(64).collect();
        ApiError::bad_request(format!("a trend cannot go back {shown:?}"))
            .help("`within` is a whole number and one of the units s, m, h, d, such as 24h; at most 90d")
    })?;
    let step_s = within.as_secs().div_ceil(buckets as u64).max(1);
    let step = Duration::from_secs(step_s);
    // Whole steps, so that a bucket means the same a moment later.
    let step_ms = i64::try_from(step.as_millis()).unwrap_or(i64::MAX);
    let end = (api.clock.now().as_millis().div_euclid(step_ms) + 1).saturating_mul(step_ms);
    let from =
        Timestamp::from_millis(end).minus(step.saturating_mul(u32::try_from(buckets).unwrap_or(u32::MAX)));
    let work = async { Ok(Arc::new(api.desk.trend(from, step, buckets).await?)) };
    let causes = api.trends.get((from, step_s, buckets), &*api.clock, work).await?;
    let groups = causes
        .iter()
        .take(MAX_CAUSES)
        .map(|(cause, counts)| shapes::TrendPoint { fingerprint: cause.to_string(), counts: counts.clone() });
    Ok(Json(shapes::Trend { from, step_s, groups: groups.collect() }).into_response())
}

/// One dead letter.
#[utoipa::path(
    get, path = "/api/v1/dead-letters/{id}", tag = "dead letters",
    params(
        ("id" = u64, Path, description = "The number of the dead letter"),
    ),
    responses(
        (status = 200, body = shapes::DeadLetter, description = "The dead letter with what is known around it"),
        crate::api::openapi::Refused, crate::api::openapi::NotFound, crate::api::openapi::Failed,
    ),
)]
pub(super) async fn get(State(api): State<Arc<Api>>, InPath(id): InPath<u64>) -> Result<Response, ApiError> {
    let stored = api.dead_letter(DeadLetterId(id)).await?;
    let (document_now, document_diff) = document_now(&api, &stored).await?;
    let history = api.desk.newest_trail(Some(&stored.id.to_string()), None, HISTORY + 1).await?;
    let history_truncated = history.len() > HISTORY;
    // The newest ones, the oldest of them first.
    let history: Vec<TrailLine> = (history.into_iter().take(HISTORY).rev())
        .filter(|entry| entry.action.starts_with("dead-letter."))
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
    let mut response = Json(&shown).into_response();
    // An edit is decided on the revision; what is shown around it changes by itself.
    let around = etag::digest(&serde_json::to_vec(&shown).unwrap_or_default());
    let etag = etag::quoted(&format!("r{}-{around}", shown.revision));
    response.headers_mut().insert(ETAG, etag);
    Ok(response)
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

impl Api {
    /// The dead letter with this number.
    pub(super) async fn dead_letter(&self, id: DeadLetterId) -> Result<StoredDeadLetter, ApiError> {
        self.store.dead_letter(id).await?.ok_or_else(|| {
            ApiError::not_found(format!("there is no dead letter {id}"))
                .help("list them: tidegate dead-letters list")
        })
    }
}
