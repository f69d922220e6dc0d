//! Acts on many dead letters: asked for once, done in steps by the server, and gone on with after a restart.
//!
//! Each is a register: what is meant, how far it is, and what came of it. A step is one transaction of the store, and is noted
//! after it was done. So a crash between the two repeats a step, which finds nothing left to do in it: what was redriven or
//! discarded does not match any more. What it did is counted from the audit trail then, by the lines since the last note.

use std::collections::{HashMap, HashSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use futures_util::FutureExt as _;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::{MutexGuard, OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

use tidegate_api as shapes;
use tidegate_api::{BulkAct, BulkActRequest, BulkDeed, DeadLetterActed};
use tidegate_model::clock::Timestamp;
use tidegate_model::dead_letter::{DeadLetterFilter, DeadLetterId, DeadLetterStatus};
use tidegate_model::error::{ErrorCode, ErrorKind};
use tidegate_model::ports::{RegisterChange, StoreError};
use tidegate_model::register::{RegisterKey, Version};
use tidegate_model::trail::{Act, action};

use crate::api::actor::Actor;
use crate::api::dead_letter_acts::body;
use crate::api::operations::Operations as _;
use crate::api::page::Page;
use crate::api::parameters::{InPath, Parameters, dead_letter_filter};
use crate::api::{Api, ApiError};

/// The kind of the registers.
const BULK_ACT: &str = "bulk-act";

/// How many acts run at the same time.
const MAX_RUNNING: usize = 4;

/// How many acts are kept, those that ended included.
const MAX_KEPT: usize = 50;

/// How many dead letters one step takes: each is one transaction of the store.
const STEP: usize = 200;

/// How long a step that the store did not take waits for its next try.
const PAUSE: Duration = Duration::from_secs(1);

/// An act as its register has it.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Stored {
    #[serde(flatten)]
    act: BulkAct,
    /// Up to which number dead letters were looked at.
    after: u64,
    /// Up to which line of the audit trail its own are counted; nothing where an earlier version noted the step.
    #[serde(default)]
    counted_to: Option<u64>,
}

/// The acts that run in this process. Clones are the same ones.
#[derive(Clone, Default)]
pub(crate) struct BulkActs(Arc<Mutex<Running>>);

struct Running {
    /// Nothing is begun before a server runs, and after it stops.
    is_open: bool,
    tasks: JoinSet<()>,
    /// Each is held while it is changed: a step and a person who stops it do not cross.
    acts: HashMap<String, Arc<tokio::sync::Mutex<(Stored, Version)>>>,
    /// A seat for each that may run at the same time. Those of an earlier life run also without one.
    seats: Arc<Semaphore>,
}

impl Default for Running {
    fn default() -> Self {
        Self {
            is_open: false,
            tasks: JoinSet::new(),
            acts: HashMap::new(),
            seats: Arc::new(Semaphore::new(MAX_RUNNING)),
        }
    }
}

const FORM: &str = r#"{"act":"redrive","filter":{"cause":"85944171f73967e8"},"reason":"…"}"#;

/// Acts on all dead letters that match, in steps, until all were looked at.
#[utoipa::path(
    post, path = "/api/v1/dead-letter-acts", tag = "dead letters",
    params(
        ("tidegate-user" = Option<String>, Header, description = "The person behind the key, for the audit trail"),
    ),
    request_body(content = shapes::BulkActRequest, description = "What, which, and why"),
    responses(
        (status = 202, body = shapes::BulkAct, description = "It has begun, and goes on by itself, also after a restart"),
        crate::api::openapi::Refused, crate::api::openapi::Conflict, crate::api::openapi::TooLarge, crate::api::openapi::Failed,
    ),
)]
pub(super) async fn start(
    State(api): State<Arc<Api>>,
    actor: Actor,
    request: Result<Json<BulkActRequest>, JsonRejection>,
) -> Result<Response, ApiError> {
    let BulkActRequest { act: deed, mut filter, force, reason } = body(request, FORM)?;
    let act = actor.act(&reason, &*api.clock)?;
    // What comes in later was not seen by who asked for it.
    filter.entry("until".to_owned()).or_insert_with(|| act.at.to_string());
    let meant = meant(deed, force, &filter)?;
    let expected = api.desk.causes(&meant, 0).await?.dead_letters;
    let begun = BulkAct {
        id: format!("{:016x}{:016x}", api.clock.random(), api.clock.random()),
        act: deed,
        filter,
        force,
        reason: act.reason,
        by: act.by,
        started_at: act.at,
        state: "running".to_owned(),
        ended_at: None,
        expected,
        done: 0,
        refused: Default::default(),
        resumed: 0,
        problem: None,
    };
    forget_old(&api).await?;
    let stored = Stored { act: begun.clone(), after: 0, counted_to: Some(last_line(&api).await?) };
    let seat = api.bulk_acts.seat()?;
    let version = write(&api, &stored, Version::NONE).await?;
    api.bulk_acts.run(&api, stored, version, Some(seat))?;
    Ok((StatusCode::ACCEPTED, Json(begun)).into_response())
}

/// The acts on many dead letters, the newest first.
#[utoipa::path(
    get, path = "/api/v1/dead-letter-acts", tag = "dead letters",
    responses(
        (status = 200, content(
            (shapes::Page<shapes::BulkAct> = "application/json"), (shapes::BulkAct = "application/x-ndjson"),
        ), description = "Those that run, and the last ones that ended"),
        crate::api::openapi::Refused, crate::api::openapi::Failed,
    ),
)]
pub(super) async fn list(State(api): State<Arc<Api>>, parameters: Parameters) -> Result<Response, ApiError> {
    parameters.done()?;
    let mut page = Page::new(None);
    for (stored, _) in all(&api).await? {
        page.push(&stored.act);
    }
    Ok(page.finish(None))
}

/// One act on many dead letters.
#[utoipa::path(
    get, path = "/api/v1/dead-letter-acts/{id}", tag = "dead letters",
    params(("id" = String, Path, description = "Its name")),
    responses(
        (status = 200, body = shapes::BulkAct, description = "The act, and how far it is"),
        crate::api::openapi::Refused, crate::api::openapi::NotFound, crate::api::openapi::Failed,
    ),
)]
pub(super) async fn get(
    State(api): State<Arc<Api>>,
    InPath(id): InPath<String>,
    parameters: Parameters,
) -> Result<Response, ApiError> {
    parameters.done()?;
    let found = all(&api).await?.into_iter().find(|(stored, _)| stored.act.id == id);
    Ok(Json(found.ok_or_else(|| gone(&id))?.0.act).into_response())
}

/// Ends an act on many dead letters after the step that is under way. What was done stays done.
#[utoipa::path(
    post, path = "/api/v1/dead-letter-acts/{id}/stop", tag = "dead letters",
    params(
        ("id" = String, Path, description = "Its name"),
        ("tidegate-user" = Option<String>, Header, description = "The person behind the key, for the audit trail"),
    ),
    responses(
        (status = 200, body = shapes::BulkAct, description = "The act as it stands"),
        crate::api::openapi::Refused, crate::api::openapi::NotFound, crate::api::openapi::Failed,
    ),
)]
pub(super) async fn stop(
    State(api): State<Arc<Api>>,
    actor: Actor,
    InPath(id): InPath<String>,
) -> Result<Response, ApiError> {
    let by = actor.act_without_reason("", &*api.clock)?;
    let running = api.bulk_acts.0.lock().acts.get(&id).cloned();
    if let Some(running) = running {
        let mut held = running.lock().await;
        if held.0.act.ended_at.is_none() {
            let mut next = held.0.clone();
            count_done(&api, &mut next).await?;
            end(&mut next.act, "stopped", by.at);
            next.act.problem = Some(format!("stopped by {}", by.by));
            let version = write(&api, &next, held.1).await?;
            *held = (next, version);
        }
    }
    let found = all(&api).await?.into_iter().find(|(stored, _)| stored.act.id == id);
    let (mut stored, version) = found.ok_or_else(|| gone(&id))?;
    let runs = api.bulk_acts.0.lock().acts.contains_key(&id);
    if stored.act.ended_at.is_none() && !runs {
        // Its conditions are not known to this version, or no server runs: nobody does it, and nobody else can end it.
        count_done(&api, &mut stored).await?;
        end(&mut stored.act, "stopped", by.at);
        stored.act.problem = Some(format!("stopped by {}", by.by));
        write(&api, &stored, version).await?;
    }
    Ok(Json(stored.act).into_response())
}

fn gone(id: &str) -> ApiError {
    let shown: String = id.chars().take(64).collect();
    ApiError::not_found(format!("there is no act {shown:?} on many dead letters"))
        .help(format!("the last {MAX_KEPT} are kept; what each did is in the audit trail"))
}

/// Which dead letters are meant. Without a status those that can be acted on.
fn meant(
    deed: BulkDeed,
    force: bool,
    filter: &std::collections::BTreeMap<String, String>,
) -> Result<DeadLetterFilter, ApiError> {
    let mut parameters = Parameters::of(filter.iter().map(|(name, value)| (name.clone(), value.clone())));
    let mut meant = dead_letter_filter(&mut parameters)?;
    parameters.done()?;
    if meant.status.is_empty() {
        meant.status = match (deed, force) {
            (BulkDeed::Redrive, false) => vec![DeadLetterStatus::Open],
            _ => vec![DeadLetterStatus::Open, DeadLetterStatus::Quarantined],
        };
    }
    Ok(meant)
}

/// All acts, the newest first. What cannot be read was written by a later version.
async fn all(api: &Api) -> Result<Vec<(Stored, Version)>, StoreError> {
    let registers = api.store.registers(BULK_ACT).await?.into_iter();
    let mut all: Vec<(Stored, Version)> = registers
        .filter_map(|register| Some((serde_json::from_value(register.value).ok()?, register.version)))
        .collect();
    all.sort_by_key(|(stored, _)| std::cmp::Reverse(stored.act.started_at));
    Ok(all)
}

/// Forgets the oldest acts that ended, so that there is room for one more.
async fn forget_old(api: &Api) -> Result<(), ApiError> {
    let kept = all(api).await?;
    for (stored, version) in kept.into_iter().skip(MAX_KEPT - 1).filter(|(old, _)| old.act.ended_at.is_some())
    {
        change(api, &stored.act.id, version, None).await?;
    }
    Ok(())
}

async fn write(api: &Api, stored: &Stored, from: Version) -> Result<Version, StoreError> {
    let value = serde_json::to_value(stored).expect("an act has a JSON form");
    change(api, &stored.act.id, from, Some(value)).await
}

async fn change(
    api: &Api,
    id: &str,
    from: Version,
    value: Option<serde_json::Value>,
) -> Result<Version, StoreError> {
    let key = RegisterKey::new(BULK_ACT, id);
    let at = api.clock.now();
    api.store
        .change_register(RegisterChange { key, from, value, at, notices: Vec::new(), trail: Vec::new() })
        .await
}

fn end(act: &mut BulkAct, state: &str, at: Timestamp) {
    act.state = state.to_owned();
    act.ended_at = Some(at);
}

impl BulkActs {
    /// Goes on with what an earlier life of the server left, and takes new acts from now on.
    ///
    /// # Errors
    /// When the store does not answer.
    pub(crate) async fn open(&self, api: &Arc<Api>) -> Result<(), StoreError> {
        self.0.lock().is_open = true;
        for (mut stored, version) in all(api).await? {
            if stored.act.ended_at.is_none() {
                stored.act.resumed += 1;
                tracing::info!(
                    act = stored.act.id,
                    by = stored.act.by,
                    done = stored.act.done,
                    expected = stored.act.expected,
                    "an act on many dead letters goes on"
                );
                let seat = self.0.lock().seats.clone().try_acquire_owned().ok();
                if self.run(api, stored, version, seat).is_err() {
                    tracing::warn!(
                        "an act on many dead letters has conditions that this version does not know, and stays as it is"
                    );
                }
            }
        }
        Ok(())
    }

    /// Ends what runs in this process, so that the next one can go on with it.
    pub(crate) async fn close(&self) {
        let mut tasks = {
            let mut running = self.0.lock();
            running.is_open = false;
            running.acts.clear();
            std::mem::take(&mut running.tasks)
        };
        tasks.shutdown().await;
    }

    /// Room for one more to run.
    fn seat(&self) -> Result<OwnedSemaphorePermit, ApiError> {
        let running = self.0.lock();
        if !running.is_open {
            return Err(ApiError::new(
                StatusCode::CONFLICT,
                ErrorCode::CONFLICT,
                "no server runs here that could go on with it",
            )
            .help("start the server: tidegate run; or act in steps: tidegate dead-letters redrive --help"));
        }
        running.seats.clone().try_acquire_owned().map_err(|_| {
            let message = format!("{MAX_RUNNING} acts on many dead letters run already");
            ApiError::new(StatusCode::CONFLICT, ErrorCode::CONFLICT, message)
                .help("wait until one is through, or stop one")
        })
    }

    fn run(
        &self,
        api: &Arc<Api>,
        stored: Stored,
        version: Version,
        seat: Option<OwnedSemaphorePermit>,
    ) -> Result<(), ApiError> {
        let meant = meant(stored.act.act, stored.act.force, &stored.act.filter)?;
        let id = stored.act.id.clone();
        let held = Arc::new(tokio::sync::Mutex::new((stored, version)));
        let mut running = self.0.lock();
        running.acts.insert(id.clone(), held.clone());
        while running.tasks.try_join_next().is_some() {}
        let (acts, api) = (self.clone(), api.clone());
        running.tasks.spawn(async move {
            if AssertUnwindSafe(go(&api, &held, &meant)).catch_unwind().await.is_err() {
                tracing::error!(act = id, "an act on many dead letters panicked: this is a defect");
                fail(&api, &held, "it panicked: this is a defect of the program").await;
            }
            acts.0.lock().acts.remove(&id);
            drop(seat);
        });
        Ok(())
    }
}

/// Steps until all were looked at, or somebody stops it. A store that does not answer is asked again.
async fn go(api: &Api, held: &tokio::sync::Mutex<(Stored, Version)>, meant: &DeadLetterFilter) {
    // Whether a step may have been done whose note was lost.
    let mut repeats = held.lock().await.0.act.resumed > 0;
    loop {
        let mut held = held.lock().await;
        let (stored, version) = &mut *held;
        if stored.act.ended_at.is_some() {
            return;
        }
        let mut next = stored.clone();
        let stepped = match step(api, &mut next, meant, std::mem::replace(&mut repeats, true)).await {
            Err(error) if error.kind() == ErrorKind::Transient => Err(error),
            Err(error) => {
                next = stored.clone();
                // The damage may be where it would be counted.
                let _ = count_done(api, &mut next).await;
                end(&mut next.act, "failed", api.clock.now());
                next.act.problem = Some(error.to_string());
                write(api, &next, *version).await
            }
            Ok(()) => write(api, &next, *version).await,
        };
        api.forget_answers();
        match stepped {
            Ok(written) => {
                (*stored, *version) = (next, written);
                repeats = false;
            }
            // An answer was lost: what was written before counts, and it may say that the act is stopped.
            Err(error @ StoreError::RegisterMoved { .. }) => {
                let id = stored.act.id.clone();
                match all(api).await {
                    Ok(all) => match all.into_iter().find(|(kept, _)| kept.act.id == id) {
                        Some(kept) => (*stored, *version) = kept,
                        None => {
                            return tracing::warn!(act = id, %error, "an act on many dead letters is gone");
                        }
                    },
                    Err(error) => try_again_later(api, held, &error).await,
                }
            }
            Err(error) => try_again_later(api, held, &error).await,
        }
    }
}

async fn try_again_later(api: &Api, held: MutexGuard<'_, (Stored, Version)>, error: &StoreError) {
    tracing::warn!(act = held.0.act.id, %error, "a step of an act on many dead letters is tried again");
    drop(held);
    api.clock.sleep(PAUSE).await;
}

/// Ends an act that cannot go on.
async fn fail(api: &Api, held: &tokio::sync::Mutex<(Stored, Version)>, why: &str) {
    let (mut stored, version) = held.lock().await.clone();
    end(&mut stored.act, "failed", api.clock.now());
    stored.act.problem = Some(why.to_owned());
    if let Err(error) = write(api, &stored, version).await {
        tracing::error!(act = stored.act.id, %error, "that an act on many dead letters failed was not written down");
    }
}

/// One step; it `repeats` where one before it may have been done and not noted.
async fn step(
    api: &Api,
    stored: &mut Stored,
    meant: &DeadLetterFilter,
    repeats: bool,
) -> Result<(), StoreError> {
    let after = Some(DeadLetterId(stored.after));
    let done_before = if repeats { count_done(api, stored).await? } else { HashSet::new() };
    let found = api.store.find_dead_letters(meant, after, STEP).await?;
    let ids: Vec<DeadLetterId> = found.iter().filter(|id| !done_before.contains(id)).copied().collect();
    let by = &stored.act;
    let act = Act { by: by.by.clone(), reason: by.reason.clone(), at: api.clock.now() };
    let acted = match by.act {
        BulkDeed::Redrive => {
            // Asked before the act: a step that is tried again after it would find nothing done, and tell nobody.
            let lanes = api.desk.lanes(&ids).await?;
            let acted = api.store.redrive(&ids, by.force, &act).await?;
            lanes.iter().for_each(|lane| api.processing.parked_changed(lane));
            acted
        }
        BulkDeed::Discard => api.store.discard(&ids, &act).await?,
    };
    for (id, acted) in ids.iter().zip(acted) {
        let DeadLetterActed { result, status, .. } = DeadLetterActed::new(*id, acted);
        match result.as_str() {
            "done" => stored.act.done += 1,
            _ => *stored.act.refused.entry(status.unwrap_or(result)).or_default() += 1,
        }
    }
    match found.last() {
        Some(last) => stored.after = last.0,
        None => end(&mut stored.act, "ended", api.clock.now()),
    }
    stored.counted_to = Some(last_line(api).await?);
    Ok(())
}

/// The number of the last line of the audit trail.
async fn last_line(api: &Api) -> Result<u64, StoreError> {
    Ok(api.desk.newest_trail(None, None, 1).await?.first().map_or(0, |line| line.number))
}

/// Counts on which dead letters it was done since the last step that was noted, by the audit trail: those past that step on
/// which the same person did the same for the same reason.
async fn count_done(api: &Api, stored: &mut Stored) -> Result<HashSet<DeadLetterId>, StoreError> {
    let mut done = HashSet::new();
    let Some(mut counted_to) = stored.counted_to else { return Ok(done) };
    let action = match stored.act.act {
        BulkDeed::Redrive => action::REDRIVE,
        BulkDeed::Discard => action::DISCARD,
    };
    loop {
        let lines = api.store.trail(None, counted_to, STEP).await?;
        let Some(last) = lines.last() else { break };
        counted_to = last.number;
        let ours = lines.iter().filter(|line| {
            line.action == action && line.act.by == stored.act.by && line.act.reason == stored.act.reason
        });
        let ids = ours.filter_map(|line| line.subject.parse().ok().map(DeadLetterId));
        done.extend(ids.filter(|id| id.0 > stored.after));
    }
    stored.act.done += done.len() as u64;
    stored.counted_to = Some(counted_to);
    Ok(done)
}

#[cfg(test)]
mod tests {
    use tidegate_model::clock::{SharedClock, TestClock};

    use super::*;
    use crate::data_dir::{DataDir, IfMissing};
    use crate::node::{Node, NodeConfig};

    #[test]
    fn there_are_as_many_seats_as_acts_may_run() {
        let acts = BulkActs::default();
        assert!(acts.seat().is_err(), "no server runs");
        acts.0.lock().is_open = true;
        let mut seats: Vec<_> = (0..MAX_RUNNING).map(|_| acts.seat().unwrap()).collect();
        assert!(acts.seat().is_err(), "although none of them has begun");
        seats.pop();
        assert!(acts.seat().is_ok());
    }

    /// An act as it was when this process last heard of its register, which was changed twice since.
    async fn moved_on(api: &Api, change: impl Fn(&mut Stored)) -> tokio::sync::Mutex<(Stored, Version)> {
        let act = serde_json::json!({ "id": "0a", "act": "discard", "filter": {}, "force": false, "reason": "of no use",
            "by": "mia", "started_at": api.clock.now(), "state": "running", "ended_at": null, "expected": 3, "done": 0,
            "refused": {}, "resumed": 0, "after": 0 });
        let heard: Stored = serde_json::from_value(act).unwrap();
        let version = write(api, &heard, Version::NONE).await.unwrap();
        let mut newer = heard.clone();
        change(&mut newer);
        let moved = write(api, &newer, version).await.unwrap();
        write(api, &newer, moved).await.unwrap();
        tokio::sync::Mutex::new((heard, version))
    }

    #[tokio::test]
    async fn where_the_register_was_changed_meanwhile_it_is_gone_by() {
        let dir = tempfile::tempdir().unwrap();
        let clock: SharedClock = TestClock::new(Timestamp::from_millis(1_000_000), 1);
        let data_dir = DataDir::open(dir.path(), IfMissing::Create, &*clock).unwrap();
        let node = Node::open(data_dir, NodeConfig::AsItIs, clock.clone()).await.unwrap();
        let api = &*node.api;
        let meant = DeadLetterFilter::default();
        let kept = async || all(api).await.unwrap().pop().unwrap();

        // A person stopped it. The answer to that, and to a step before, was lost.
        let held = moved_on(api, |act| {
            act.act.done = 2;
            end(&mut act.act, "stopped", Timestamp::from_millis(7));
        })
        .await;
        go(api, &held, &meant).await;
        let (stored, version) = held.into_inner();
        assert_eq!((stored.act.state.as_str(), stored.act.done), ("stopped", 2));
        let (register, its_version) = kept().await;
        assert_eq!((register.act, its_version), (stored.act, version), "nothing was written over it");
        change(api, "0a", version, None).await.unwrap();

        // A step was noted, and the answer to that was lost: it goes on after the step, and to the end.
        let held = moved_on(api, |act| (act.act.done, act.after) = (2, 2)).await;
        go(api, &held, &meant).await;
        let (register, _) = kept().await;
        assert_eq!((register.act.state.as_str(), register.act.done, register.after), ("ended", 2, 2));

        // It was forgotten: nobody writes it anew.
        let (_, version) = kept().await;
        let held = moved_on_to_nothing(api, version).await;
        go(api, &held, &meant).await;
        assert!(all(api).await.unwrap().is_empty());
        assert!(held.into_inner().0.act.ended_at.is_none());
    }

    /// An act that runs, as this process knows it, and whose register is gone.
    async fn moved_on_to_nothing(api: &Api, version: Version) -> tokio::sync::Mutex<(Stored, Version)> {
        let (mut stored, _) = all(api).await.unwrap().pop().unwrap();
        (stored.act.ended_at, stored.act.state) = (None, "running".to_owned());
        change(api, &stored.act.id, version, None).await.unwrap();
        tokio::sync::Mutex::new((stored, version))
    }
}
