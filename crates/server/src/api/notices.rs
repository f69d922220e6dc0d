//! Notices: what was told to whom, and what could not be told yet and why.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;

use tidegate_api::{Notice, NoticeDelivery};
use tidegate_model::notice::{self, Delivery, DeliveryState};

use crate::api::page::Page;
use crate::api::parameters::{NUMBER, Parameters};
use crate::api::{Api, ApiError};

/// What was to be told, the newest first, with how far it got with each target. A notice is kept for a day after the last
/// target has it.
#[utoipa::path(
    get, path = "/api/v1/notices", tag = "alerts",
    params(("limit" = Option<u64>, Query, description = "At most so many; at most 1000", minimum = 1)),
    responses(
        (status = 200, content(
            (tidegate_api::Page<Notice> = "application/json"), (Notice = "application/x-ndjson"),
        ), description = "Notices, the newest first"),
        crate::api::openapi::Refused, crate::api::openapi::Failed,
    ),
)]
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    mut parameters: Parameters,
) -> Result<Response, ApiError> {
    let mut page = Page::new(parameters.parsed("limit", NUMBER)?);
    parameters.done()?;
    for notice in api.store.recent_notices(page.room()).await? {
        page.push(&shape(notice));
    }
    Ok(page.finish(None))
}

fn shape(notice: notice::Notice) -> Notice {
    let notice::Notice { id, notice, deliveries } = notice;
    Notice {
        id: id.0,
        kind: notice.kind,
        subject: notice.subject,
        at: notice.at,
        deliveries: deliveries.into_iter().map(delivery).collect(),
    }
}

fn delivery(delivery: Delivery) -> NoticeDelivery {
    let (state, at) = match delivery.state {
        DeliveryState::Due(at) => ("due", at),
        DeliveryState::Delivered(at) => ("delivered", at),
        DeliveryState::GivenUp(at) => ("given-up", at),
    };
    let Delivery { target, tries, error, .. } = delivery;
    NoticeDelivery { target, state: state.to_owned(), at, tries, error }
}
