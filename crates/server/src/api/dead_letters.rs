//! Dead letters.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;

use tidegate_model::attempt::FailureClass;
use tidegate_model::checkpoint::FunctionName;
use tidegate_model::dead_letter::DeadLetterId;
use tidegate_model::event::HubName;
use tidegate_model::ports::DeadLetterFilter;

use crate::api::page::Page;
use crate::api::shapes::DeadLetterShape;
use crate::api::{Api, ApiError};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    function: Option<FunctionName>,
    hub: Option<HubName>,
    class: Option<FailureClass>,
    after: Option<u64>,
    limit: Option<usize>,
}

/// A page of the dead letters that match, ordered by id.
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Response, ApiError> {
    let Query(query) = query.map_err(|error| {
        ApiError::bad_request(error.body_text())
            .help("class is one of permanent, exhausted; after and limit are numbers")
    })?;
    let filter = DeadLetterFilter { function: query.function, hub: query.hub, class: query.class };
    let mut after = query.after.map(DeadLetterId);
    let mut page = Page::new(query.limit);
    let mut more = true;
    while more && !page.is_full() {
        let wanted = page.wants();
        let letters = api.store.list_dead_letters(&filter, after, wanted).await?;
        more = letters.len() == wanted;
        for letter in letters {
            after = Some(letter.id);
            page.push(&DeadLetterShape::from(letter));
        }
    }
    Ok(page.finish(after.filter(|_| more).map(|id| id.to_string())))
}

/// One dead letter.
pub(super) async fn get(
    State(api): State<Arc<Api>>,
    id: Result<Path<u64>, PathRejection>,
) -> Result<Response, ApiError> {
    let Path(id) = id.map_err(|error| ApiError::bad_request(error.body_text()))?;
    match api.store.dead_letter(DeadLetterId(id)).await? {
        Some(letter) => Ok(Json(DeadLetterShape::from(letter)).into_response()),
        None => Err(ApiError::not_found(format!("there is no dead letter {id}"))
            .help("list them: tidegate dead-letters list")),
    }
}
