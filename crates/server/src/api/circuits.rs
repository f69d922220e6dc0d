//! Circuits and pauses: how they stand, and what a person does about them.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::response::{IntoResponse as _, Response};

use tidegate_api as shapes;
use tidegate_api::{CircuitActed as CircuitActedShape, PauseRequest, PauseResult, ReasonRequest};
use tidegate_host::circuit::acts::{self, CircuitActed, PauseTarget};
use tidegate_host::circuit::{CircuitSettings, CircuitStatus, status};
use tidegate_model::checkpoint::{FunctionName, Lane};
use tidegate_model::circuit::{CIRCUIT, PAUSE, Pause};
use tidegate_model::clock::Timestamp;
use tidegate_model::event::HubName;
use tidegate_model::position::PartitionId;

use crate::api::actor::Actor;
use crate::api::dead_letter_acts::body;
use crate::api::operations::Operations as _;
use crate::api::page::Page;
use crate::api::parameters::{InPath, NAME, Parameters};
use crate::api::{Api, ApiError};

/// How the circuits stand, ordered by name; of one function if given.
#[utoipa::path(
    get, path = "/api/v1/circuits", tag = "circuits",
    params(
        ("function" = Option<String>, Query, description = "Only of this function"),
    ),
    responses(
        (status = 200, content(
            (shapes::Page<shapes::Circuit> = "application/json"), (shapes::Circuit = "application/x-ndjson"),
        ), description = "Circuits, ordered by name"),
        crate::api::openapi::Refused, crate::api::openapi::NotFound, crate::api::openapi::Failed,
    ),
)]
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    mut parameters: Parameters,
) -> Result<Response, ApiError> {
    let function: Option<FunctionName> = parameters.parsed("function", NAME)?;
    parameters.done()?;
    let mut names = names(&api).await?;
    if let Some(function) = &function {
        known(&api, &names, function).await?;
        names.retain(|name| name == function);
    }
    let mut page = Page::new(None);
    for circuit in statuses(&api, names).await? {
        page.push(&shape(&api, circuit));
    }
    Ok(page.finish(None))
}

/// A circuit as JSON. What only the configuration says is null for a function that is not configured here.
fn shape(api: &Api, circuit: CircuitStatus) -> shapes::Circuit {
    let configured = api.circuits.iter().any(|(configured, _)| *configured == circuit.function);
    shapes::Circuit {
        function: circuit.function.to_string(),
        state: circuit.state.as_str().to_owned(),
        since: circuit.since,
        reason: circuit.reason,
        by: circuit.by,
        opened_at: circuit.opened_at,
        manual: circuit.manual,
        next_probe_at: circuit.next_probe_at.filter(|_| configured),
        probe: circuit.probe.map(shapes::Probe::from),
        failed_probes: circuit.failed_probes,
        failures_in_window: circuit.failures_in_window,
        failing_in_window: circuit.failing_in_window,
        succeeded_in_window: circuit.succeeded_in_window,
        threshold: configured.then_some(circuit.threshold),
        window_s: circuit.window_s,
        paused: circuit.paused.map(shapes::Stop::from),
        paused_lanes: (circuit.paused_lanes.into_iter())
            .map(|(lane, pause)| (lane, shapes::Stop::from(pause)))
            .collect(),
    }
}

/// Whose circuits there are: functions that are configured or have run, and whatever has a circuit.
async fn names(api: &Api) -> Result<Vec<FunctionName>, ApiError> {
    let mut names: Vec<FunctionName> = api.configured.iter().map(|(function, _)| function.clone()).collect();
    names.extend(api.circuits.iter().map(|(name, _)| name.clone()));
    names.extend(api.store.checkpoints().await?.into_iter().map(|checkpoint| checkpoint.lane.function));
    let registers = api.store.registers(CIRCUIT).await?;
    names.extend(registers.iter().filter_map(|register| FunctionName::new(&register.name).ok()));
    names.sort_unstable();
    names.dedup();
    Ok(names)
}

pub(super) async fn statuses(api: &Api, names: Vec<FunctionName>) -> Result<Vec<CircuitStatus>, ApiError> {
    let with_settings: Vec<(FunctionName, CircuitSettings)> = names
        .into_iter()
        .map(|name| {
            let settings = api.circuits.iter().find(|(of, _)| *of == name).map(|(_, settings)| *settings);
            (name, settings.unwrap_or_default())
        })
        .collect();
    Ok(status(&*api.store, &with_settings, api.clock.now()).await?)
}

async fn known(api: &Api, names: &[FunctionName], name: &FunctionName) -> Result<(), ApiError> {
    if names.contains(name) { Ok(()) } else { Err(api.no_function(name).await) }
}

/// Opens, closes or probes a circuit.
#[utoipa::path(
    post, path = "/api/v1/circuits/{function}/{action}", tag = "circuits",
    params(
        ("function" = String, Path, description = "The function"),
        ("action" = shapes::CircuitAction, Path, description = "What to do"),
        ("tidegate-user" = Option<String>, Header, description = "The person behind the key, for the audit trail"),
    ),
    request_body(content = shapes::ReasonRequest, description = "Why"),
    responses(
        (status = 200, body = shapes::CircuitActed, description = "How it stands now"),
        crate::api::openapi::Refused, crate::api::openapi::NotFound, crate::api::openapi::Conflict, crate::api::openapi::TooLarge, crate::api::openapi::Failed,
    ),
)]
pub(super) async fn act(
    State(api): State<Arc<Api>>,
    actor: Actor,
    InPath((function, action)): InPath<(String, String)>,
    request: Result<Json<ReasonRequest>, JsonRejection>,
) -> Result<Response, ApiError> {
    let function = function_name(&function)?;
    let request = body(request, r#"{"reason":"…"}"#)?;
    known(&api, &names(&api).await?, &function).await?;
    let act = actor.act(&request.reason, &*api.clock)?;
    let store = &*api.store;
    let acted = match action.as_str() {
        "open" => acts::open(store, &function, &act).await?,
        "close" => acts::close(store, &function, &act).await?,
        "probe" => acts::probe_now(store, &function, &act).await?,
        _ => return Err(no_such_act(&action, "open, close and probe")),
    };
    api.processing.function_changed(&function);
    let circuit = acted.circuit();
    let unchanged = matches!(acted, CircuitActed::Unchanged(_));
    let shape = CircuitActedShape {
        function: function.to_string(),
        state: circuit.state.as_str().to_owned(),
        // One that nothing ever happened to has no register, and is closed since the beginning of time.
        since: (circuit.since != Timestamp::default()).then_some(circuit.since),
        reason: circuit.reason.clone(),
        unchanged,
    };
    Ok(Json(shape).into_response())
}

fn no_such_act(action: &str, acts: &str) -> ApiError {
    let shown: String = action.chars().take(64).collect();
    ApiError::not_found(format!("there is no act {shown:?} here")).help(format!("there are {acts}"))
}

pub(super) fn hub_name(name: &str) -> Result<HubName, ApiError> {
    HubName::new(name).map_err(|error| ApiError::bad_request(error.to_string()))
}

pub(super) fn function_name(name: &str) -> Result<FunctionName, ApiError> {
    FunctionName::new(name).map_err(|error| ApiError::bad_request(error.to_string()))
}

/// What is paused, ordered by name.
#[utoipa::path(
    get, path = "/api/v1/pauses", tag = "circuits",
    responses(
        (status = 200, content(
            (shapes::Page<shapes::Pause> = "application/json"), (shapes::Pause = "application/x-ndjson"),
        ), description = "What is paused, ordered by name"),
        crate::api::openapi::Refused, crate::api::openapi::Failed,
    ),
)]
pub(super) async fn pauses(
    State(api): State<Arc<Api>>,
    parameters: Parameters,
) -> Result<Response, ApiError> {
    parameters.done()?;
    let mut page = Page::new(None);
    for register in api.store.registers(PAUSE).await? {
        // One that cannot be read is a pause all the same: somebody stopped something.
        let pause = serde_json::from_value(register.value).unwrap_or_else(|error| Pause {
            since: register.changed_at,
            reason: format!("the stored pause cannot be read: {error}"),
            by: String::new(),
        });
        let Pause { since, reason, by } = pause;
        page.push(&shapes::Pause { paused: register.name, since, reason, by });
    }
    Ok(page.finish(None))
}

/// Pauses or resumes a function, or one lane of it.
#[utoipa::path(
    post, path = "/api/v1/pauses/{function}/{action}", tag = "circuits",
    params(
        ("function" = String, Path, description = "The function"),
        ("action" = shapes::PauseAction, Path, description = "What to do"),
        ("tidegate-user" = Option<String>, Header, description = "The person behind the key, for the audit trail"),
    ),
    request_body(content = shapes::PauseRequest, description = "What, and why"),
    responses(
        (status = 200, body = shapes::PauseResult, description = "What came of it"),
        crate::api::openapi::Refused, crate::api::openapi::NotFound, crate::api::openapi::Conflict, crate::api::openapi::TooLarge, crate::api::openapi::Failed,
    ),
)]
pub(super) async fn pause(
    State(api): State<Arc<Api>>,
    actor: Actor,
    InPath((function, action)): InPath<(String, String)>,
    request: Result<Json<PauseRequest>, JsonRejection>,
) -> Result<Response, ApiError> {
    let function = function_name(&function)?;
    let request = body(request, r#"{"partition":0,"reason":"…"}"#)?;
    known(&api, &names(&api).await?, &function).await?;
    let hub = request.hub.as_deref().map(hub_name).transpose()?;
    let target = target(&api, &function, hub, request.partition.map(PartitionId)).await?;
    let (result, changed) = match action.as_str() {
        "pause" => {
            let act = actor.act(&request.reason, &*api.clock)?;
            ("paused", acts::pause(&*api.store, &target, &act).await?)
        }
        "resume" => {
            let act = actor.act_without_reason(&request.reason, &*api.clock)?;
            ("resumed", acts::resume(&*api.store, &target, &act).await?)
        }
        _ => return Err(no_such_act(&action, "pause and resume")),
    };
    api.processing.function_changed(&function);
    Ok(Json(PauseResult { paused: target.to_string(), result: result.to_owned(), unchanged: !changed })
        .into_response())
}

async fn target(
    api: &Api,
    function: &FunctionName,
    hub: Option<HubName>,
    partition: Option<PartitionId>,
) -> Result<PauseTarget, ApiError> {
    let Some(partition) = partition else {
        return match hub {
            None => Ok(PauseTarget::Function(function.clone())),
            Some(_) => Err(ApiError::bad_request("a hub is named without a partition")
                .help("a pause is for a whole function, or for one partition: name it with --partition N")),
        };
    };
    let configured = api.configured.iter().filter(|(name, _)| name == function).map(|(_, hub)| hub.clone());
    let mut hubs: Vec<HubName> = configured.collect();
    let checkpoints = api.store.checkpoints().await?;
    let run = checkpoints.into_iter().map(|checkpoint| checkpoint.lane);
    hubs.extend(run.filter(|lane| lane.function == *function).map(|lane| lane.hub));
    hubs.sort_unstable();
    hubs.dedup();
    hubs.retain(|of| hub.as_ref().is_none_or(|hub| hub == of));
    let [hub] = hubs.as_slice() else {
        let names: Vec<&str> = hubs.iter().map(HubName::as_str).collect();
        return Err(ApiError::bad_request(format!(
            "the function {function} reads {} such hubs: {}",
            hubs.len(),
            names.join(", ")
        ))
        .help("name one of its hubs with --hub NAME"));
    };
    let partitions = api.log(hub.as_str())?.partition_count();
    if partition.0 >= partitions {
        return Err(ApiError::not_found(format!(
            "the hub {hub} has no partition {partition}; it has {partitions}"
        )));
    }
    Ok(PauseTarget::Lane(Lane { function: function.clone(), hub: hub.clone(), partition }))
}
