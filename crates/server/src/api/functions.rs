//! Functions: how they are set, and what they would say about an event.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};

use tidegate_api::{
    CircuitSettings, DryRun, DryRunRequest, Function, FunctionSettings, JsonText, RetrySettings,
};
use tidegate_host::circuit::ProbePolicy;
use tidegate_host::invoker::NotInvoked;
use tidegate_host::judge::{Judged, JudgedDocument, Judgement};
use tidegate_host::retry::RetryPolicy;
use tidegate_host::settings::{FunctionSettings as HostSettings, Order};
use tidegate_model::checkpoint::FunctionName;
use tidegate_model::document::CollectionName;
use tidegate_model::error::ErrorCode;
use tidegate_model::event::{Event, EventData, HubName};
use tidegate_model::position::SequenceNumber;

use crate::api::circuits::function_name;
use crate::api::dead_letter_acts::body;
use crate::api::edit::edited;
use crate::api::page::Page;
use crate::api::parameters::InPath;
use crate::api::parameters::Parameters;
use crate::api::{Api, ApiError, diff};
use crate::config::FunctionKind;

/// How long a person waits for what a function would say, however long the function may take in earnest.
const LONGEST_DRY_RUN: Duration = Duration::from_secs(10);

/// What is known of a function on a hub.
#[derive(Default)]
pub(super) struct Known {
    pub(super) collection: Option<CollectionName>,
    pub(super) kind: Option<&'static str>,
    version: Option<String>,
    pub(super) settings: Option<HostSettings>,
    running: bool,
}

/// What the configuration and the running program know of a function.
pub(super) fn known(api: &Api, function: &FunctionName, hub: &HubName) -> Known {
    let mut known = Known::default();
    let of_it = |config: &&crate::config::FunctionConfig| config.name == *function && config.hub == *hub;
    if let Some(config) = api.function_configs.iter().find(of_it) {
        known.settings = Some(config.settings.clone());
        known.kind = Some(match &config.kind {
            FunctionKind::Rust => "rust",
            FunctionKind::Upsert(upsert) => {
                known.collection = Some(upsert.collection.clone());
                "upsert"
            }
        });
    }
    if let Some(running) = api.running.find(function).filter(|running| running.hub == *hub) {
        let descriptor = running.function.descriptor();
        known.collection = Some(descriptor.collection.clone());
        known.version = Some(descriptor.version.clone());
        known.settings = Some(running.settings);
        known.running = true;
    }
    known
}

/// Every function that is configured or has run, ordered by name and hub.
#[utoipa::path(
    get, path = "/api/v1/functions", tag = "functions",
    responses(
        (status = 200, content(
            (tidegate_api::Page<Function> = "application/json"), (Function = "application/x-ndjson"),
        ), description = "Functions, ordered by name and hub"),
        crate::api::openapi::Refused, crate::api::openapi::Failed,
    ),
)]
pub(super) async fn list(State(api): State<Arc<Api>>, parameters: Parameters) -> Result<Response, ApiError> {
    parameters.done()?;
    let mut page = Page::new(None);
    for (function, hub) in pairs(&api).await? {
        page.push(&shape(&api, &function, &hub));
    }
    Ok(page.finish(None))
}

/// One function. One that reads several hubs has several objects; this is the one it is configured for.
#[utoipa::path(
    get, path = "/api/v1/functions/{function}", tag = "functions",
    params(("function" = String, Path, description = "Its name")),
    responses(
        (status = 200, body = Function, description = "The function"),
        crate::api::openapi::Refused, crate::api::openapi::NotFound, crate::api::openapi::Failed,
    ),
)]
pub(super) async fn get(
    State(api): State<Arc<Api>>,
    InPath(name): InPath<String>,
    parameters: Parameters,
) -> Result<Response, ApiError> {
    parameters.done()?;
    let name = function_name(&name)?;
    let configured = api.configured.iter().find(|(function, _)| *function == name).cloned();
    let found = match configured {
        Some(found) => Some(found),
        None => pairs(&api).await?.into_iter().find(|(function, _)| *function == name),
    };
    match found {
        Some((function, hub)) => Ok(Json(shape(&api, &function, &hub)).into_response()),
        None => Err(api.no_function(&name).await),
    }
}

async fn pairs(api: &Api) -> Result<BTreeSet<(FunctionName, HubName)>, ApiError> {
    let mut pairs: BTreeSet<(FunctionName, HubName)> = api.configured.iter().cloned().collect();
    let run = api.store.checkpoints().await?.into_iter().map(|checkpoint| checkpoint.lane);
    pairs.extend(run.map(|lane| (lane.function, lane.hub)));
    Ok(pairs)
}

fn shape(api: &Api, function: &FunctionName, hub: &HubName) -> Function {
    let known = known(api, function, hub);
    Function {
        function: function.to_string(),
        hub: hub.to_string(),
        collection: known.collection.map(|collection| collection.to_string()),
        kind: known.kind.map(str::to_owned),
        version: known.version,
        settings: known.settings.as_ref().map(settings),
        running: known.running,
    }
}

/// The word for an order.
pub(super) fn order(order: Order) -> &'static str {
    match order {
        Order::Partition => "partition",
        Order::Key => "key",
        Order::None => "none",
    }
}

fn settings(settings: &HostSettings) -> FunctionSettings {
    let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let (strategy, max_attempts, first, longest) = match settings.retry {
        RetryPolicy::FixedDelay { max_attempts, delay } => ("fixed-delay", max_attempts, delay, delay),
        RetryPolicy::ExponentialBackoff { max_attempts, min_interval, max_interval } => {
            ("exponential-backoff", max_attempts, min_interval, max_interval)
        }
    };
    let circuit = &settings.circuit;
    let (probe, probe_after_s) = match circuit.probe {
        ProbePolicy::Automatic { after, .. } => ("automatic", Some(after.as_secs())),
        ProbePolicy::Manual => ("manual", None),
    };
    FunctionSettings {
        order: order(settings.order).to_owned(),
        max_event_batch_size: settings.max_event_batch_size as u64,
        min_event_batch_size: settings.min_event_batch_size as u64,
        max_wait_time_ms: milliseconds(settings.max_wait_time),
        invocation_timeout_ms: milliseconds(settings.timeout),
        retry: RetrySettings {
            strategy: strategy.to_owned(),
            max_attempts,
            delay_ms: milliseconds(first),
            max_delay_ms: milliseconds(longest),
        },
        circuit: CircuitSettings {
            enabled: circuit.enabled,
            threshold: circuit.threshold,
            window_s: circuit.window.as_secs(),
            minimum_volume: circuit.minimum_volume,
            failure_ratio: circuit.failure_ratio,
            probe: probe.to_owned(),
            probe_after_s,
        },
    }
}

/// What a function would say about an event. Documents, checkpoints and everything else of the program stay as they are; a
/// function that has effects elsewhere has them.
#[utoipa::path(
    post, path = "/api/v1/functions/{function}/dry-run", tag = "functions",
    params(("function" = String, Path, description = "Its name")),
    request_body(content = DryRunRequest, description = "The event, in the form of an edit"),
    responses(
        (status = 200, body = DryRun, description = "What the function says"),
        (status = 409, body = tidegate_api::Problem, content_type = "application/problem+json", description = "The function does not run in this program"),
        crate::api::openapi::Refused, crate::api::openapi::NotFound, crate::api::openapi::TooLarge,
        crate::api::openapi::Failed,
    ),
)]
pub(super) async fn dry_run(
    State(api): State<Arc<Api>>,
    InPath(name): InPath<String>,
    parameters: Parameters,
    request: Result<Json<DryRunRequest>, JsonRejection>,
) -> Result<Response, ApiError> {
    parameters.done()?;
    let name = function_name(&name)?;
    let DryRunRequest { mut event } = body(request, r#"{"event":{"body":"…"}}"#)?;
    let key = event.partition_key.take().flatten();
    let blank = EventData { partition_key: key.map(Into::into), ..EventData::default() };
    let data = edited(&blank, event)?;
    match judged(&api, &name, data, SequenceNumber::ZERO).await? {
        Some(judged) => Ok(Json(judged).into_response()),
        None if pairs(&api).await?.iter().any(|(function, _)| *function == name) => Err(ApiError::new(
            StatusCode::CONFLICT,
            ErrorCode::CONFLICT,
            format!("the function {name} does not run in this program"),
        )
        .help("ask a running server that has it in its configuration")),
        None => Err(api.no_function(&name).await),
    }
}

/// What a function says about an event, as if it came now; `None` when the function does not run here.
pub(super) async fn judged(
    api: &Api,
    function: &FunctionName,
    data: EventData,
    sequence_number: SequenceNumber,
) -> Result<Option<DryRun>, ApiError> {
    let Some(running) = api.running.find(function) else { return Ok(None) };
    let event = Event { sequence_number, enqueued_at: api.clock.now(), data };
    let limit = running.settings.timeout.min(LONGEST_DRY_RUN);
    let Judgement { verdict, documents } = api.judge.ask(&running.function, event, limit).await?;
    let (outcome, reason) = match verdict {
        Judged::Applied => ("applied", None),
        Judged::Filtered => ("filtered", None),
        Judged::Rejected { reason } => ("rejected", Some(reason)),
        Judged::Failed { error } => ("failed", Some(error)),
    };
    let written = documents.iter().filter(|document| document.after.is_some()).count() as u64;
    // The first that would change, else the first that it is about.
    let place = documents.iter().position(|document| document.after.is_some()).unwrap_or(0);
    let document: Option<JudgedDocument> = documents.into_iter().nth(place);
    let diff = document.as_ref().and_then(|document| {
        let after = document.after.as_ref()?;
        Some(diff::of(document.before.as_deref().unwrap_or_default(), after))
    });
    let (document_id, before, after) = match document {
        Some(JudgedDocument { id, before, after }) => (Some(id.to_string()), before, after),
        None => (None, None, None),
    };
    Ok(Some(DryRun {
        outcome: outcome.to_owned(),
        collection: running.function.descriptor().collection.to_string(),
        document_id,
        before: before.as_ref().map(JsonText::new),
        after: after.as_ref().map(JsonText::new),
        diff,
        reason,
        documents: written,
    }))
}

impl From<NotInvoked> for ApiError {
    fn from(error: NotInvoked) -> Self {
        let unavailable = |message: &str| {
            Self::new(StatusCode::SERVICE_UNAVAILABLE, ErrorCode::STOPPING, message.to_owned())
                .help("ask again in a moment")
        };
        match error {
            NotInvoked::Store(error) => error.into(),
            NotInvoked::Rewound | NotInvoked::InUse => {
                unavailable("the function could not be asked just now")
            }
            NotInvoked::TooManyAbandoned => {
                unavailable("too many invocations that were given up have not returned")
            }
            NotInvoked::NoThread => unavailable("no thread is free to ask the function"),
        }
    }
}
