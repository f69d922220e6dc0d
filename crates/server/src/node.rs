//! An open data directory: the log, the store, the front door and the API over them, with or without a processor.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::http::StatusCode;
use axum::middleware::from_fn;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use tidegate_access::{Door, Role};
use tidegate_alerts::links::{self, LinkKey, Links};
use tidegate_eventlog::{HubLog, HubSettings, Log, LogError, LogOptions};
use tidegate_gateway::Gateway;
use tidegate_gateway::admission::Limits;
use tidegate_gateway::auth::Authorizer;
use tidegate_gateway::namespace::{ConsumerGroupName, ConsumerGroups};
use tidegate_host::judge::Judge;
use tidegate_host::settings::Sharing;
use tidegate_host::status::LaneStatus;
use tidegate_model::checkpoint::FunctionName;
use tidegate_model::clock::SharedClock;
use tidegate_model::error::ErrorCode;
use tidegate_model::event::HubName;
use tidegate_model::ports::{Checkpoints as _, EventLog, Observer, Store};
use tidegate_store::query::{QueryError, QueryLimits, QueryResult};
use tidegate_store::{SqliteStore, StoreOptions};
use tidegate_telemetry::Telemetry;

use crate::access::{self, Guard};
use crate::alerting::RestartByLink;
use crate::api::cached::Cached;
use crate::api::running::Running;
use crate::api::{Api, ApiError, BulkActs, DocumentQuery, LaneStatuses, OVERVIEW_AGE, Processing, Settings};
use crate::causes::Causes;
use crate::config::{Config, FunctionConfig, HubConfig, SourceConfig};
use crate::data_dir::DataDir;
use crate::failure::Failure;
use crate::files;
use crate::health;
use crate::hubs::{self, Declared, Hubs};
use crate::keys::{self, Guests, Keys};
use crate::readiness::{self, Readiness};
use crate::retention::{self, Places};
use crate::sources::Sources;
use crate::telemetry::{DEFAULT_POLICY, Logs, Seen, reading_routes};

const FUNCTIONS_FILE: &str = "functions.json";

/// What a data directory is opened for.
#[derive(Clone, Copy)]
pub(crate) enum NodeConfig<'c> {
    /// For what is in it.
    AsItIs,
    /// For what is in it, seen with a configuration.
    Known(&'c Config),
    /// For what a configuration declares as well: hubs that do not exist yet are made.
    Declared(&'c Config),
}

/// An open data directory.
pub(crate) struct Node {
    pub(crate) log: Arc<Log>,
    pub(crate) store: Arc<SqliteStore>,
    pub(crate) clock: SharedClock,
    pub(crate) lanes: LaneView,
    /// The running processor, to be told what a person changed.
    pub(crate) processing: Processing,
    /// The functions that run, to be asked what they would say.
    pub(crate) running: Running,
    /// The configuration as it holds, to be shown.
    pub(crate) settings: Settings,
    /// Whether the lanes make progress.
    pub(crate) readiness: Arc<Readiness>,
    /// The hubs of others that are read, once functions run.
    pub(crate) sources: Sources,
    /// The places in the log that somebody may go back to.
    pub(crate) places: Places,
    /// What the API reads, for tests of what it does by itself.
    #[cfg(test)]
    pub(crate) api: Arc<Api>,
    /// Who is let in.
    pub(crate) door: Arc<Door>,
    /// What signs the links in mails.
    pub(crate) link_key: LinkKey,
    /// What can be published to and received from.
    pub(crate) gateway: Arc<Gateway>,
    /// What can be seen of it.
    pub(crate) telemetry: Arc<Telemetry>,
    /// Why events failed, on all instances.
    pub(crate) causes: Arc<Causes>,
    bulk_acts: BulkActs,
    keys: Keys,
    router: Router,
    // Last, so that the lock is held until everything else is closed.
    pub(crate) data_dir: DataDir,
}

/// The lanes of the processor, once one runs: how the API and the health check look at it.
pub(crate) type LaneView = Arc<Mutex<Option<LaneStatuses>>>;

/// Which functions read which hubs, and which hubs are declared, as the last server was configured; an audit and changes
/// without a server ask for it.
#[derive(Default, Serialize, Deserialize)]
struct Functions {
    functions: Vec<FunctionOnHub>,
    #[serde(default)]
    hubs: Vec<DeclaredHub>,
    /// The names of the sources.
    #[serde(default)]
    sources: Vec<HubName>,
}

#[derive(Serialize, Deserialize)]
struct DeclaredHub {
    hub: HubName,
    consumer_groups: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct FunctionOnHub {
    function: FunctionName,
    hub: HubName,
}

impl Node {
    /// Opens everything in a data directory.
    ///
    /// # Errors
    /// When something of it cannot be read, is of another version, or contradicts the configuration.
    pub(crate) async fn open(
        data_dir: DataDir,
        config: NodeConfig<'_>,
        clock: SharedClock,
    ) -> Result<Self, Failure> {
        Self::open_to(Guests::default(), data_dir, config, clock).await
    }

    /// The same, with others let in beside the holders of its keys.
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    pub(crate) async fn open_to(
        guests: Guests,
        data_dir: DataDir,
        config: NodeConfig<'_>,
        clock: SharedClock,
    ) -> Result<Self, Failure> {
        let keys = Keys::open(data_dir.path(), &*clock)?;
        let provider = guests.oidc.clone().map(|oidc| access::provider(oidc, &clock)).transpose()?;
        let authorizer = Arc::new(keys.authorizer(guests)?);
        let link_key = keys::link_key(data_dir.path(), &*clock)?;
        let hubs = match config {
            NodeConfig::AsItIs | NodeConfig::Known(_) => Vec::new(),
            NodeConfig::Declared(config) => config.hubs.clone(),
        };
        let (log, store) = open_log_and_store(&data_dir, clock.clone()).await?;
        let groups = hubs::finish(&log, &store, &clock).await?;
        let log = make_hubs(log, &store, hubs).await?;
        let (configured, declared, sources_before) = match config {
            NodeConfig::AsItIs | NodeConfig::Known(_) => read_functions(data_dir.path())?,
            NodeConfig::Declared(config) => {
                let read = |function: &FunctionConfig| (function.name.clone(), function.hub.clone());
                let functions = config.functions.iter().map(read).collect();
                (functions, config.hubs.iter().map(Declared::from).collect(), Vec::new())
            }
        };
        let circuits = match config {
            NodeConfig::AsItIs => Vec::new(),
            NodeConfig::Known(config) | NodeConfig::Declared(config) => config.circuits(),
        };
        let lanes = LaneView::default();
        let telemetry = Telemetry::new(env!("CARGO_PKG_VERSION"), clock.clone());
        telemetry.register(|registry| log.metrics().register(registry));
        let logs = Logs::of(&data_dir, config, &clock)?;
        telemetry.register(|registry| logs.register(registry));
        let observer = telemetry.observer();
        let gateway =
            gateway(&log, &store, config, &declared, groups, &authorizer, &lanes, observer, &clock)?;
        telemetry.register(|registry| gateway.quota().register(registry));
        let hubs = Hubs::new(
            log.clone(),
            store.clone(),
            gateway.clone(),
            declared,
            configured.clone(),
            config.sources().iter().map(|source| source.name.clone()).collect(),
            clock.clone(),
        );
        let processing = Processing::default();
        let (running, settings) = (Running::default(), Settings::default());
        let read_apis = match config {
            NodeConfig::AsItIs => Vec::new(),
            NodeConfig::Known(config) | NodeConfig::Declared(config) => config.read_apis.clone(),
        };
        let function_configs = match config {
            NodeConfig::AsItIs => Vec::new(),
            NodeConfig::Known(config) | NodeConfig::Declared(config) => config.functions.clone(),
        };
        let (sources, places) = (Sources::default(), Places::default());
        sources.declare(sources_before, config.sources());
        let causes =
            Arc::new(Causes::new(telemetry.clone(), store.clone(), clock.clone(), function_configs.clone()));
        let api = Arc::new(Api {
            hubs,
            sources: sources.clone(),
            places: places.clone(),
            store: store.clone() as Arc<dyn Store>,
            query: store.clone(),
            configured,
            circuits,
            lanes: statuses(&lanes),
            processing: processing.clone(),
            clock: clock.clone(),
            started_at: clock.now(),
            function_configs,
            read_apis,
            openapi: OnceLock::new(),
            running: running.clone(),
            judge: Judge::new(store.clone(), clock.clone()),
            telemetry: telemetry.clone(),
            logged: Arc::new(logs.clone()),
            settings: settings.clone(),
            desk: store.clone(),
            overviews: Cached::new(OVERVIEW_AGE),
            groups: Cached::new(Duration::ZERO),
            trends: Cached::new(Duration::ZERO),
            bulk_acts: BulkActs::default(),
            causes: causes.clone(),
        });
        let bulk_acts = api.bulk_acts.clone();
        if let NodeConfig::Declared(_) = config {
            bulk_acts.open(&api).await?;
        }
        let store_port: Arc<dyn Store> = store.clone();
        let answering = api.clone();
        let restart = RestartByLink {
            store: store_port.clone(),
            processing: processing.clone(),
            clock: clock.clone(),
            forget_answers: Arc::new(move || answering.forget_answers()),
        };
        let links = Links::new(link_key.clone(), &store_port, Arc::new(restart), clock.clone());
        let sharing = match config {
            NodeConfig::AsItIs => Sharing::Alone,
            NodeConfig::Known(config) | NodeConfig::Declared(config) => config.processor.host.sharing,
        };
        let readiness = Readiness::new(
            log.clone(),
            sources.clone(),
            lanes.clone(),
            store.clone(),
            sharing,
            clock.clone(),
        );
        let known = match config {
            NodeConfig::AsItIs => None,
            NodeConfig::Known(config) | NodeConfig::Declared(config) => Some(config),
        };
        #[cfg(test)]
        let api_seen = api.clone();
        let policy = known.map_or(DEFAULT_POLICY, |config| config.scale.policy);
        let door = access::door(known, &authorizer, &store_port, &clock);
        let router = routes(gateway.clone(), api, Seen { telemetry: telemetry.clone(), logs, policy }, &door)
            .merge(access::routes(&door, provider, &store_port, data_dir.path(), &clock))
            .merge(links::routes(Arc::new(links)))
            .merge(readiness::route(readiness.clone()))
            .fallback(tidegate_gateway::http::no_such_address);
        let router = access::with_headers(router);
        Ok(Self {
            log,
            store,
            clock,
            lanes,
            processing,
            running,
            settings,
            readiness,
            sources,
            places,
            #[cfg(test)]
            api: api_seen,
            door,
            link_key,
            gateway,
            telemetry,
            causes,
            bulk_acts,
            keys,
            router,
            data_dir,
        })
    }

    /// The front door and the API, authorisation included.
    pub(crate) fn router(&self) -> Router {
        self.router.clone()
    }

    /// A key that may do everything.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn root_key(&self) -> Result<&str, Failure> {
        self.keys.root()
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        self.data_dir.path()
    }

    /// A hub of the log.
    pub(crate) fn hub(&self, name: &HubName) -> Result<Arc<HubLog>, Failure> {
        self.log
            .hub(name)
            .ok_or_else(|| Failure::new(ErrorCode::NOT_FOUND, format!("the log has no hub {name}")))
    }

    /// Records which functions are configured.
    pub(crate) fn record_functions(&self, config: &Config) -> Result<(), Failure> {
        let functions = config
            .functions
            .iter()
            .map(|function| FunctionOnHub { function: function.name.clone(), hub: function.hub.clone() });
        let hubs = config.hubs.iter().map(|hub| DeclaredHub {
            hub: hub.name.clone(),
            consumer_groups: hub.consumer_groups.iter().map(|group| group.as_str().to_owned()).collect(),
        });
        let sources = config.sources.iter().map(|source| source.name.clone()).collect();
        let known = Functions { functions: functions.collect(), hubs: hubs.collect(), sources };
        let json = serde_json::to_vec(&known).expect("names have JSON forms");
        let path = self.path().join(FUNCTIONS_FILE);
        files::write_atomically(&path, &json, files::Mode::Public)
            .map_err(|error| files::failure(&path, "write", error))
    }

    /// Closes everything, in the direction of the data.
    ///
    /// # Errors
    /// When the store cannot be brought to disk; what was committed is then found again by the next start.
    pub(crate) async fn close(self) -> Result<(), Failure> {
        self.processing.set(None);
        self.bulk_acts.close().await;
        self.sources.close(&self.clock).await;
        let log = self.log.clone();
        // Closing waits for writers; a panic of theirs is theirs.
        let _ = tokio::task::spawn_blocking(move || log.close()).await;
        Ok(self.store.close().await?)
    }
}

impl<'c> NodeConfig<'c> {
    /// The sources that are configured.
    fn sources(self) -> &'c [SourceConfig] {
        match self {
            NodeConfig::AsItIs => &[],
            NodeConfig::Known(config) | NodeConfig::Declared(config) => &config.sources,
        }
    }
}

async fn open_log_and_store(
    data_dir: &DataDir,
    clock: SharedClock,
) -> Result<(Arc<Log>, Arc<SqliteStore>), Failure> {
    let (log_path, store_path) = (data_dir.log(), data_dir.store());
    let opened = tokio::task::spawn_blocking(move || {
        let directory = store_path.parent().unwrap_or(&store_path);
        std::fs::create_dir_all(directory).map_err(|error| files::failure(directory, "create", error))?;
        let store = SqliteStore::open(&store_path, &StoreOptions::default(), clock.clone())
            .map_err(|error| not_reached(error.into(), directory))?;
        let log = Log::open(&log_path, LogOptions::default(), clock)
            .map_err(|error| not_reached(error.into(), &log_path))?;
        Ok((Arc::new(log), Arc::new(store)))
    });
    opened.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

/// The way out where the operating system refuses a file below `directory`.
fn not_reached(failure: Failure, directory: &Path) -> Failure {
    match failure.code() {
        Some(ErrorCode::DATA_DIR_IO) => failure.help(format!(
            "check that {} is there and mounted, that this user may read and write it, and that the disk is sound; \
             nothing was changed, and the start can be tried again",
            directory.display()
        )),
        _ => failure,
    }
}

/// Makes the hubs that do not exist yet. A hub that has checkpoints but no log has lost its log; a new one in its place
/// would hide that.
async fn make_hubs(log: Arc<Log>, store: &SqliteStore, hubs: Vec<HubConfig>) -> Result<Arc<Log>, Failure> {
    let checkpoints = store.checkpoints().await?;
    for hub in &hubs {
        let begun = checkpoints.iter().find(|checkpoint| checkpoint.lane.hub == hub.name);
        if let (None, Some(checkpoint)) = (log.hub(&hub.name), begun) {
            let message = format!(
                "the log has no hub {}, but there are checkpoints for it, such as {} at {}: acknowledged events are missing",
                hub.name, checkpoint.lane, checkpoint.position
            );
            return Err(Failure::new(ErrorCode::CHECKPOINT_BEYOND_LOG, message).help(
                "restore the directory log/ that belongs to the store, or begin with a new --data-dir",
            ));
        }
    }
    let making = tokio::task::spawn_blocking(move || {
        for hub in hubs {
            let settings = HubSettings { retention: Some(retention::policy(&hub)) };
            let made = log.create_hub_with(&hub.name, hub.partitions, settings).map_err(hub_failure)?;
            // Kept with the hub, so that it is known also when the hub is declared no more.
            if made.settings() != settings {
                made.change_settings(settings)?;
            }
        }
        Ok(log)
    });
    making.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

fn hub_failure(error: LogError) -> Failure {
    let failure = Failure::from(error);
    match failure.code() {
        Some(ErrorCode::PARTITION_COUNT_CHANGED) => {
            failure.help("set `partitions` back, or declare a hub with another name for new events")
        }
        _ => failure,
    }
}

#[expect(clippy::too_many_arguments, reason = "each is another thing that the gateway stands on")]
fn gateway(
    log: &Arc<Log>,
    store: &Arc<SqliteStore>,
    config: NodeConfig<'_>,
    declared: &[Declared],
    mut added: BTreeMap<HubName, Vec<ConsumerGroupName>>,
    authorizer: &Arc<Authorizer>,
    lanes: &LaneView,
    observer: Arc<dyn Observer>,
    clock: &SharedClock,
) -> Result<Arc<Gateway>, Failure> {
    let (lanes, health_log, health_store) = (statuses(lanes), Arc::clone(log), Arc::clone(store));
    let health = move || health::of(&health_log.hubs(), health_store.failure(), &lanes());
    let config = match config {
        NodeConfig::AsItIs | NodeConfig::Known(_) => None,
        NodeConfig::Declared(config) => Some(config),
    };
    let mut gateway = Gateway::new(authorizer.clone(), Limits::default(), clock.clone())
        .with_health_check(Arc::new(health))
        .with_observer(observer);
    if let Some(units) = config.and_then(|config| config.throughput) {
        gateway = gateway.with_throughput(units);
    }
    let refused = |why: String| Failure::new(ErrorCode::CONFIG_BAD_VALUE, why);
    for hub in log.hubs() {
        let name = EventLog::hub(&*hub);
        let declared = declared.iter().find(|declared| declared.name == *name);
        let groups = declared.map_or(&[][..], |declared| &declared.groups).iter().cloned();
        let groups = groups.chain(added.remove(name).unwrap_or_default());
        let groups =
            ConsumerGroups::of(groups).map_err(|error| refused(format!("the hub {name}: {error}")))?;
        gateway
            .open_hub_with(Arc::clone(&hub) as _, Some(hub as _), groups)
            .map_err(|error| refused(error.to_string()))?;
    }
    Ok(Arc::new(gateway))
}

/// Each route of the API behind the role that it needs.
fn routes(gateway: Arc<Gateway>, api: Arc<Api>, seen: Seen, door: &Arc<Door>) -> Router {
    let for_hub = Guard::new(door, Role::Reader).for_hub_in_path("hub");
    tidegate_gateway::http::routes(gateway)
        .merge(for_hub.before(crate::api::hub_router(api.clone())))
        .merge(
            Guard::new(door, Role::Reader)
                .before(crate::api::router(api.clone()).merge(reading_routes(seen))),
        )
        .merge(read_apis(&api, door))
        .merge(Guard::new(door, Role::Operator).before(crate::api::operate_router(api.clone())))
        .merge(Guard::new(door, Role::Admin).before(crate::api::administer_router(api)))
}

/// The addresses that the configuration adds.
fn read_apis(api: &Arc<Api>, door: &Arc<Door>) -> Router {
    let router = crate::api::read_api_router(api);
    // A guard wants something to guard.
    if api.read_apis.is_empty() {
        return router;
    }
    Guard::new(door, Role::Reader).before(router).layer(from_fn(crate::api::unauthorised))
}

fn statuses(lanes: &LaneView) -> LaneStatuses {
    let lanes = lanes.clone();
    Arc::new(move || -> Vec<LaneStatus> {
        lanes.lock().as_ref().map_or_else(Vec::new, |statuses| statuses())
    })
}

/// Which functions read which hubs, which hubs are declared, and which are sources.
type Known = (Vec<(FunctionName, HubName)>, Vec<Declared>, Vec<HubName>);

fn read_functions(path: &Path) -> Result<Known, Failure> {
    let file = path.join(FUNCTIONS_FILE);
    let bytes = match std::fs::read(&file) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Known::default()),
        Err(error) => return Err(files::failure(&file, "read", error)),
    };
    let bad = |problem: String| {
        Failure::new(
            ErrorCode::DATA_DIR_FORMAT,
            format!("{} cannot be understood: {problem}", file.display()),
        )
        .help("remove it; the next start of the server writes it anew")
    };
    let known: Functions = serde_json::from_slice(&bytes).map_err(|error| bad(error.to_string()))?;
    let functions = known.functions.into_iter().map(|one| (one.function, one.hub)).collect();
    let declared = known.hubs.into_iter().map(|hub| {
        let groups = hub.consumer_groups.iter().map(|group| ConsumerGroupName::new(group));
        let groups = groups.collect::<Result<_, _>>().map_err(|error| bad(error.to_string()))?;
        Ok(Declared { name: hub.hub, groups })
    });
    Ok((functions, declared.collect::<Result<_, Failure>>()?, known.sources))
}

#[async_trait]
impl DocumentQuery for SqliteStore {
    async fn answer(&self, sql: &str) -> Result<QueryResult, ApiError> {
        self.query(sql, QueryLimits::default()).await.map_err(|error| match error {
            QueryError::Store(error) => error.into(),
            refused => ApiError::new(StatusCode::BAD_REQUEST, refused.code(), refused.to_string()),
        })
    }
}
