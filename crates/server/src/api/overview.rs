//! Everything at a glance.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};

use tidegate_api::{
    CollectionOverview, FunctionCircuit, FunctionOverview, HubOverview, LaneOverview, Latency, Overview,
    Pause, SourceState, SourceStatus,
};
use tidegate_host::circuit::CircuitStatus;
use tidegate_host::status::{LaneState, LaneStatus};
use tidegate_host::watchdog::WATCHDOG;
use tidegate_model::checkpoint::{Checkpoint, FunctionName, Lane, Ownership};
use tidegate_model::clock::Timestamp;
use tidegate_model::event::HubName;
use tidegate_model::ports::{EventLog, ReadLimit};
use tidegate_model::position::{PartitionId, SequenceNumber};

use tidegate_telemetry::sampler::Rates;

use crate::api::parameters::Parameters;
use crate::api::{Api, ApiError, alerts, checkpoints, circuits, functions};

/// One event: of the first that is unresolved, only its time is of interest.
const ONE: ReadLimit = ReadLimit { events: 1, bytes: 1 };

/// How many lanes are asked for the age of their oldest unresolved event; those with the most to do first.
const AGED_LANES: usize = 256;

/// The flow as it is now.
#[utoipa::path(
    get, path = "/api/v1/overview", tag = "overview",
    responses(
        (status = 200, body = Overview, description = "The flow as it is now: at most a second old, and never older than the last act of a person"),
        crate::api::openapi::Refused, crate::api::openapi::Failed,
    ),
)]
pub(super) async fn get(State(api): State<Arc<Api>>, parameters: Parameters) -> Result<Response, ApiError> {
    parameters.done()?;
    let overview = api.overviews.get((), &*api.clock, async { overview(&api).await.map(Arc::new) }).await?;
    Ok(Json(&*overview).into_response())
}

/// What is read of all lanes at once.
struct Facts {
    lanes: HashMap<Lane, LaneStatus>,
    checkpoints: BTreeMap<Lane, Checkpoint>,
    ownerships: HashMap<Lane, Ownership>,
    watchdog: HashMap<String, serde_json::Value>,
    /// When the oldest unresolved event of a lane was enqueued.
    oldest: HashMap<Lane, Timestamp>,
}

async fn overview(api: &Api) -> Result<Overview, ApiError> {
    let (now, rates) = (api.clock.now(), api.telemetry.rates());
    let mut pairs: BTreeSet<(FunctionName, HubName)> = api.configured.iter().cloned().collect();
    let facts = facts(api).await?;
    pairs.extend(facts.checkpoints.keys().map(|lane| (lane.function.clone(), lane.hub.clone())));
    let names: BTreeSet<FunctionName> = pairs.iter().map(|(function, _)| function.clone()).collect();
    let circuits: HashMap<FunctionName, CircuitStatus> =
        (circuits::statuses(api, names.into_iter().collect()).await?.into_iter())
            .map(|circuit| (circuit.function.clone(), circuit))
            .collect();
    let mut functions: Vec<FunctionOverview> = (pairs.iter())
        .map(|(function, hub)| {
            function_overview(api, function, hub, &facts, circuits.get(function), &rates, now)
        })
        .collect();
    let causes = api.causes.of(None).await?;
    for ((function, _), overview) in pairs.iter().zip(&mut functions) {
        overview.failure = causes.iter().find(|cause| cause.function == function.as_str()).cloned();
    }
    let stopped = facts.lanes.values().any(|lane| matches!(lane.state, LaneState::Stopped { .. }));
    let collections = api.store.collections().await?.into_iter();
    Ok(Overview {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_at: api.started_at,
        now,
        ready: !facts.lanes.is_empty() && !stopped,
        hubs: hubs(api, &rates),
        functions,
        collections: collections
            .map(|(collection, documents)| CollectionOverview {
                collection: collection.to_string(),
                documents,
            })
            .collect(),
        alerts: alerts::all(api).await?.into_iter().filter(|alert| alert.open).collect(),
    })
}

fn hubs(api: &Api, rates: &Rates) -> Vec<HubOverview> {
    let sources: BTreeMap<HubName, SourceStatus> =
        api.sources.known().into_iter().map(|source| (source.name, source.status)).collect();
    let shape = |log: Arc<dyn EventLog>| {
        let partitions = (0..log.partition_count()).map(PartitionId);
        let rates = rates.hubs.get(log.hub());
        let status = sources.get(log.hub()).cloned();
        HubOverview {
            hub: log.hub().to_string(),
            source: status.is_some(),
            away: status.as_ref().is_some_and(cannot_be_read),
            status,
            partitions: log.partition_count(),
            published: partitions
                .filter_map(|partition| log.ends(partition).ok())
                .map(|ends| ends.tail.0)
                .sum(),
            incoming_per_s: rates.and_then(|rates| rates.incoming_per_s),
            bytes_per_s: rates.and_then(|rates| rates.bytes_per_s),
        }
    };
    let mut all: Vec<HubOverview> = api.logs().into_iter().map(shape).collect();
    let is_open = |name: &HubName| all.iter().any(|hub| hub.hub == name.as_str());
    // Where no server runs, nobody has tried to reach the hub of somebody else.
    let not_open: Vec<HubOverview> = sources
        .iter()
        .filter(|(name, status)| status.state != SourceState::NotRead && !is_open(name))
        .map(|(name, status)| not_open(name, status))
        .collect();
    all.extend(not_open);
    all.sort_by(|one, other| one.hub.cmp(&other.hub));
    all
}

fn cannot_be_read(status: &SourceStatus) -> bool {
    matches!(status.state, SourceState::Away | SourceState::Refused)
}

fn not_open(hub: &HubName, status: &SourceStatus) -> HubOverview {
    HubOverview {
        hub: hub.to_string(),
        source: true,
        away: cannot_be_read(status),
        status: Some(status.clone()),
        partitions: 0,
        published: 0,
        incoming_per_s: None,
        bytes_per_s: None,
    }
}

async fn facts(api: &Api) -> Result<Facts, ApiError> {
    let lanes = (api.lanes)().into_iter().map(|status| (status.lane.clone(), status)).collect();
    let checkpoints: BTreeMap<Lane, Checkpoint> =
        (api.store.checkpoints().await?.into_iter()).map(|one| (one.lane.clone(), one)).collect();
    let ownerships = api.store.ownerships().await?.into_iter().map(|one| (one.lane.clone(), one)).collect();
    let watchdog = api.store.registers(WATCHDOG).await?.into_iter();
    let watchdog = watchdog.map(|register| (register.name, register.value)).collect();
    let oldest = oldest(api, &checkpoints).await?;
    Ok(Facts { lanes, checkpoints, ownerships, watchdog, oldest })
}

/// When the oldest unresolved event of each lane was enqueued, where that can be had: the first one that is parked, or the
/// one at the position.
async fn oldest(
    api: &Api,
    checkpoints: &BTreeMap<Lane, Checkpoint>,
) -> Result<HashMap<Lane, Timestamp>, ApiError> {
    let lag = |checkpoint: &Checkpoint| {
        let log = api.log(checkpoint.lane.hub.as_str()).ok()?;
        let ends = log.ends(checkpoint.lane.partition).ok()?;
        Some(ends.tail.distance_from(checkpoint.position))
    };
    let mut behind: Vec<(u64, &Checkpoint)> = (checkpoints.values())
        .map(|checkpoint| (lag(checkpoint).unwrap_or(0), checkpoint))
        .filter(|(lag, checkpoint)| *lag > 0 || checkpoint.counts.parked > 0)
        .collect();
    behind.sort_by_key(|(lag, _)| std::cmp::Reverse(*lag));
    let mut oldest = HashMap::new();
    for (lag, checkpoint) in behind.into_iter().take(AGED_LANES) {
        let lane = &checkpoint.lane;
        let mut at = None;
        if checkpoint.counts.parked > 0 {
            let parked = api.store.list_parked(lane, SequenceNumber::ZERO, 1).await?;
            at = parked.first().map(|first| first.parked.event.enqueued_at);
        }
        if at.is_none() && lag > 0 {
            // What cannot be read now is told elsewhere: by the lane, which cannot read it either.
            let log = api.log(lane.hub.as_str())?;
            let read = log.read(lane.partition, checkpoint.position, ONE).await.unwrap_or_default();
            at = read.first().map(|event| event.enqueued_at);
        }
        if let Some(at) = at {
            oldest.insert(lane.clone(), at);
        }
    }
    Ok(oldest)
}

fn function_overview(
    api: &Api,
    function: &FunctionName,
    hub: &HubName,
    facts: &Facts,
    circuit: Option<&CircuitStatus>,
    rates: &Rates,
    now: Timestamp,
) -> FunctionOverview {
    let configured_circuit = api.circuits.iter().any(|(name, _)| name == function);
    let rates = rates.functions.get(function);
    let known = functions::known(api, function, hub);
    let log = api.log(hub.as_str()).ok();
    let partitions = log.as_ref().map_or(0, |log| log.partition_count());
    let mut lanes = Vec::new();
    let mut overview = FunctionOverview {
        function: function.to_string(),
        hub: hub.to_string(),
        collection: known.collection.map(|collection| collection.to_string()),
        kind: known.kind.map(str::to_owned),
        order: known.settings.as_ref().map(|settings| functions::order(settings.order).to_owned()),
        circuit: FunctionCircuit {
            state: circuit.map_or("closed", |circuit| circuit.state.as_str()).to_owned(),
            since: circuit.and_then(|circuit| circuit.since),
            reason: circuit.map(|circuit| circuit.reason.clone()).unwrap_or_default(),
            failures_in_window: circuit.map_or(0, |circuit| circuit.failures_in_window),
            threshold: circuit.filter(|_| configured_circuit).map(|circuit| circuit.threshold),
            window_s: circuit.map_or(0, |circuit| circuit.window_s),
        },
        paused: circuit.map(pauses).unwrap_or_default(),
        lag_events: 0,
        lag_s: None,
        workable: 0,
        parked: 0,
        held: 0,
        dead_letters: 0,
        oldest_unresolved_at: None,
        incoming_per_s: rates.and_then(|rates| rates.incoming_per_s),
        processed_per_s: rates.and_then(|rates| rates.processed_per_s),
        dead_lettered_per_s: rates.and_then(|rates| rates.dead_lettered_per_s),
        failed_per_s: rates.and_then(|rates| rates.failed_per_s),
        latency_ms: rates.and_then(|rates| rates.latency_ms).map(|latency| Latency {
            p50: latency.p50,
            p99: latency.p99,
            p999: latency.p999,
        }),
        failure: None,
        lanes: Vec::new(),
    };
    for partition in (0..partitions).map(PartitionId) {
        let lane = Lane { function: function.clone(), hub: hub.clone(), partition };
        let tail = log.as_ref().and_then(|log| log.ends(partition).ok()).map(|ends| ends.tail);
        let shown = lane_overview(facts, &lane, tail);
        overview.lag_events += shown.lag;
        overview.parked += shown.parked;
        overview.held += shown.held;
        let flows = facts.lanes.get(&lane).is_none_or(|status| {
            !matches!(
                status.state,
                LaneState::Held { .. } | LaneState::Gated { .. } | LaneState::Stopped { .. }
            )
        });
        overview.workable += if flows { shown.lag } else { 0 };
        overview.dead_letters += facts.checkpoints.get(&lane).map_or(0, |one| one.counts.dead_lettered);
        let oldest = facts.oldest.get(&lane).copied();
        overview.oldest_unresolved_at = [overview.oldest_unresolved_at, oldest].into_iter().flatten().min();
        lanes.push(shown);
    }
    overview.lag_s = overview.oldest_unresolved_at.map(|oldest| now.since(oldest).as_secs_f64());
    overview.lanes = lanes;
    overview
}

fn pauses(circuit: &CircuitStatus) -> Vec<Pause> {
    let own = circuit.paused.iter().map(|pause| (circuit.function.to_string(), pause));
    let of_lanes = circuit.paused_lanes.iter().map(|(lane, pause)| (lane.clone(), pause));
    own.chain(of_lanes)
        .map(|(paused, pause)| Pause {
            paused,
            since: pause.since,
            reason: pause.reason.clone(),
            by: pause.by.clone(),
        })
        .collect()
}

fn lane_overview(facts: &Facts, lane: &Lane, tail: Option<SequenceNumber>) -> LaneOverview {
    let checkpoint = facts.checkpoints.get(lane);
    let status = facts.lanes.get(lane);
    let (state, detail) = status.map_or((None, None), |status| {
        let (state, detail) = checkpoints::described(&status.state);
        (Some(state.to_owned()), detail)
    });
    let position = checkpoint.map(|checkpoint| checkpoint.position);
    let owner = facts.ownerships.get(lane).filter(|ownership| !ownership.owner.is_empty());
    let watchdog = facts.watchdog.get(&lane.to_string());
    LaneOverview {
        partition: lane.partition.0,
        state,
        detail,
        position: position.map(|position| position.0),
        tail: tail.map(|tail| tail.0),
        lag: match (position, tail) {
            (Some(position), Some(tail)) => tail.distance_from(position),
            _ => 0,
        },
        parked: checkpoint.map_or(0, |checkpoint| checkpoint.counts.parked),
        held: status.map_or(0, |status| status.held),
        owner: owner.map(|ownership| ownership.owner.clone()),
        epoch: facts.ownerships.get(lane).map(|ownership| ownership.epoch.0),
        progressed_at: status
            .and_then(|status| status.progressed_at)
            .or_else(|| checkpoint.map(|checkpoint| checkpoint.updated_at)),
        watchdog: watchdog.and_then(|value| value["what"].as_str()).map(str::to_owned),
    }
}
