//! Which functions run: those whose hubs are there. A source that is away at the start holds up nobody; when it comes, the
//! processor is drained, and begins again with the functions on it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tidegate_eventlog::Log;
use tidegate_host::processor::{FunctionSetup, Processor};
use tidegate_host::settings::{HostOptions, Sharing};
use tidegate_model::clock::SharedClock;
use tidegate_model::error::ErrorCode;
use tidegate_model::event::HubName;
use tidegate_model::ports::{EventLog, Store};
use tidegate_telemetry::Telemetry;
use tokio::sync::{RwLock, watch};

use crate::api::running::RunningFunction;
use crate::config::{Config, SourceConfig};
use crate::failure::Failure;
use crate::functions::Registry;
use crate::node::Node;
use crate::sources::{NotOpened, Reader, Sources, readers_of};

/// The pause between two attempts to open a source that is away.
const AGAIN: Duration = Duration::from_secs(5);

/// The configured functions, and what is needed to run them.
pub(crate) struct Lineup {
    pub(crate) functions: Vec<RunningFunction>,
    /// The names of the sources, and the functions on each.
    readers: Vec<(HubName, Vec<Reader>)>,
    options: HostOptions,
    drain_timeout: Duration,
    sources: Sources,
    log: Arc<Log>,
    pub(crate) store: Arc<dyn Store>,
    clock: SharedClock,
    telemetry: Arc<Telemetry>,
}

impl Lineup {
    /// Builds the functions.
    ///
    /// # Errors
    /// When one is not registered, or a source has the name of a hub of ours.
    pub(crate) fn new(
        node: &Node,
        config: &Config,
        registry: &Registry,
        owner: String,
    ) -> Result<Self, Failure> {
        if let Some(source) = config.sources.iter().find(|source| node.log.hub(&source.name).is_some()) {
            let name = &source.name;
            let message = format!("[source.{name}] has the name of a hub that is there already");
            return Err(Failure::new(ErrorCode::CONFIG_BAD_VALUE, message)
                .help("give the source another name, or delete the hub if it is not needed"));
        }
        let mut functions = Vec::new();
        for configured in &config.functions {
            let function = registry.build(configured).ok_or_else(|| {
                Failure::usage(
                    ErrorCode::CONFIG_MISSING,
                    format!("no function {} is registered", configured.name),
                )
            })?;
            let mut settings = configured.settings.clone();
            if config.processor.host.sharing == Sharing::Alone {
                // Nobody is there to leave the lanes to: what the store tells of others was this program before a restart.
                settings.circuit.step_aside = Duration::ZERO;
            }
            functions.push(RunningFunction { function, hub: configured.hub.clone(), settings });
        }
        let readers = config.sources.iter().map(|source| &source.name);
        Ok(Self {
            functions,
            readers: readers.map(|name| (name.clone(), readers_of(config, name))).collect(),
            options: HostOptions { owner, ..config.processor.host.clone() },
            drain_timeout: config.processor.drain_timeout,
            sources: node.sources.clone(),
            log: node.log.clone(),
            store: node.store.clone(),
            clock: node.clock.clone(),
            telemetry: node.telemetry.clone(),
        })
    }

    /// Starts the functions whose hubs are there.
    ///
    /// # Errors
    /// When one cannot start; none runs then.
    pub(crate) async fn start(&self) -> Result<Processor, Failure> {
        self.start_without(None).await
    }

    /// The same, but for the functions on one of the hubs.
    async fn start_without(&self, left_out: Option<&HubName>) -> Result<Processor, Failure> {
        let mut setups = Vec::new();
        let functions = self.functions.iter().filter(|function| Some(&function.hub) != left_out);
        for RunningFunction { function, hub, settings } in functions {
            let log: Arc<dyn EventLog> = if self.readers.iter().any(|(source, _)| source == hub) {
                let Some(log) = self.sources.find(hub.as_str()) else { continue };
                log
            } else {
                let missing = || Failure::new(ErrorCode::NOT_FOUND, format!("the log has no hub {hub}"));
                self.log.hub(hub).ok_or_else(missing)?
            };
            setups.push(FunctionSetup { function: function.clone(), log, settings: settings.clone() });
        }
        let (store, clock, options) = (self.store.clone(), self.clock.clone(), self.options.clone());
        let observer = Some(self.telemetry.observer());
        Ok(Processor::start_observed(store, clock, options, setups, observer).await?)
    }

    /// Waits for the sources that are `away`, and starts the functions on each when it has come; until `stop` turns true,
    /// or all are there.
    pub(crate) async fn complete(
        self,
        away: Vec<SourceConfig>,
        processor: Arc<RwLock<Option<Processor>>>,
        mut stop: watch::Receiver<bool>,
    ) {
        let mut arriving: FuturesUnordered<_> = away.iter().map(|source| self.arrival(source)).collect();
        loop {
            let source = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return,
                Some(source) = arriving.next() => source,
                else => return,
            };
            let mut place = processor.write().await;
            let Some(running) = place.take() else { return };
            running.drain(self.drain_timeout).await;
            *place = self.start_with(source, &mut stop).await;
            if place.is_none() {
                return;
            }
        }
    }

    /// Starts the functions again, with those on a source that has come. Where those are at fault the others go on without
    /// them; where nothing can be started, such as on a full disk, it is tried again. `None` when `stop` turns true first.
    async fn start_with(&self, source: &HubName, stop: &mut watch::Receiver<bool>) -> Option<Processor> {
        loop {
            let failure = match self.start().await {
                Ok(started) => {
                    tracing::info!(%source, "the source has come, and its functions run");
                    return Some(started);
                }
                Err(failure) => failure,
            };
            match self.start_without(Some(source)).await {
                Ok(started) => {
                    let error = failure.on_one_line();
                    tracing::error!(%source, error, "the functions on the source cannot start; the others go on without them");
                    self.sources.forget(source, &self.clock).await;
                    return Some(started);
                }
                Err(failure) => {
                    let error = failure.on_one_line();
                    tracing::error!(error, "no function can be started at the moment; trying again");
                }
            }
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return None,
                () = self.clock.sleep(AGAIN) => {}
            }
        }
    }

    /// Opens a source, however long it is away.
    async fn arrival<'a>(&self, source: &'a SourceConfig) -> &'a HubName {
        let name = &source.name;
        let readers = self.readers.iter().find(|(of, _)| of == name).map_or(&[][..], |(_, readers)| readers);
        loop {
            match self.sources.open_one(source, readers, &self.store, &self.clock).await {
                Ok(()) => return name,
                Err(NotOpened::Away(failure)) => {
                    tracing::warn!(source = %name, error = failure.on_one_line(), "the source is still away");
                }
                Err(NotOpened::Failed(failure)) => {
                    tracing::error!(source = %name, error = failure.on_one_line(), "the source cannot be opened");
                }
            }
            self.clock.sleep(AGAIN).await;
        }
    }
}
