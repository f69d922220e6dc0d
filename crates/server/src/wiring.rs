//! Builds the system from the far end back (store, log, processor, front door) and stops it in the direction of the
//! data.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{RwLock, watch};
use tokio::task::JoinHandle;

use tidegate_host::processor::{Processor, StartError};
use tidegate_host::status::{LaneState, LaneStatus};
use tidegate_model::error::ErrorCode;

use crate::alerting::{self, Alerting};
use crate::config::Config;
use crate::failure::Failure;
use crate::for_ever::for_ever;
use crate::functions::Registry;
use crate::lineup::Lineup;
use crate::node::Node;
use crate::operations::RunningProcessor;
use crate::telemetry::ServerLook;

/// A node whose functions run.
pub(crate) struct System {
    /// The node.
    pub(crate) node: Node,
    processor: Arc<RwLock<Option<Processor>>>,
    /// Ends the wait for sources that are away.
    stop_waiting: watch::Sender<bool>,
    waiting: JoinHandle<()>,
    alerting: Alerting,
    progress_watch: JoinHandle<()>,
    telemetry_watch: JoinHandle<()>,
    causes_shared: JoinHandle<()>,
    drain_timeout: Duration,
}

impl System {
    /// Starts every configured function on an open node, and what tells a person about them. `listen` is where the front
    /// door is, if there is one.
    ///
    /// # Errors
    /// When a function cannot start or a target cannot be used; nothing runs then.
    pub(crate) async fn start(
        node: Node,
        config: &Config,
        registry: &Registry,
        listen: Option<SocketAddr>,
    ) -> Result<Self, Failure> {
        let random = node.clock.random();
        let owner = format!("{}-{random:016x}", std::process::id());
        let lineup = Lineup::new(&node, config, registry, owner.clone())?;
        let away = node.sources.open(config, &lineup.store, &node.clock).await?;
        let alerting = alerting::Prepared::new(&node, config, listen, owner.clone())?;
        if let Some(otlp) = &config.otlp {
            let unusable = |why: String| {
                Failure::usage(ErrorCode::CONFIG_BAD_VALUE, why)
                    .help("correct the table [otlp], or remove it")
            };
            let settings = otlp.settings(owner.clone()).map_err(unusable)?;
            node.telemetry.export(settings).map_err(|error| unusable(error.to_string()))?;
        }
        node.record_functions(config)?;
        let processor = Arc::new(RwLock::new(Some(lineup.start().await?)));
        let seen = processor.clone();
        *node.lanes.lock() = Some(Arc::new(move || {
            // Who holds the lock for itself stops the processor, and there is nothing to see then.
            let processor = seen.try_read();
            processor.ok().and_then(|processor| processor.as_ref().map(Processor::status)).unwrap_or_default()
        }));
        node.running.set(lineup.functions.clone());
        node.processing.set(Some(Arc::new(RunningProcessor(processor.clone()))));
        let alerting = alerting.start();
        let readiness = node.readiness.clone();
        let watches = move || readiness.clone().watch();
        let progress_watch = tokio::spawn(for_ever("watching the progress", node.clock.clone(), watches));
        let (telemetry, look) = (node.telemetry.clone(), Arc::new(ServerLook::new(&node, config)));
        let looks = move || telemetry.clone().watch(look.clone());
        let telemetry_watch = tokio::spawn(for_ever("looking for telemetry", node.clock.clone(), looks));
        node.causes.call_it(owner);
        let causes = node.causes.clone();
        let shares = move || causes.clone().share();
        let causes_shared = tokio::spawn(for_ever("telling why events fail", node.clock.clone(), shares));
        let (stop_waiting, stopped) = watch::channel(false);
        let waiting = tokio::spawn(lineup.complete(away, processor.clone(), stopped));
        let drain_timeout = config.processor.drain_timeout;
        Ok(Self {
            node,
            processor,
            stop_waiting,
            waiting,
            alerting,
            progress_watch,
            telemetry_watch,
            causes_shared,
            drain_timeout,
        })
    }

    /// Waits until everything that was published before is resolved, or stopped for good.
    pub(crate) async fn caught_up(&self) {
        if let Some(processor) = &*self.processor.read().await {
            processor.caught_up().await;
        }
    }

    /// Drains the processor and closes the node. The front door must be closed before. Nothing is watched during the
    /// drain, which looks like standing still; but a person is told what happens in it.
    pub(crate) async fn stop(mut self) -> Result<Vec<LaneStatus>, Failure> {
        self.progress_watch.abort();
        self.telemetry_watch.abort();
        // It was ended, which is what the error says.
        let _ = (&mut self.telemetry_watch).await;
        self.alerting.stop_watching().await;
        *self.node.lanes.lock() = None;
        self.node.running.set(Vec::new());
        self.node.processing.set(None);
        self.stop_waiting.send_replace(true);
        let _ = self.waiting.await;
        let processor = self.processor.write().await.take();
        let status = match processor {
            Some(processor) => processor.drain(self.drain_timeout).await,
            None => Vec::new(),
        };
        for lane in &status {
            if let LaneState::Stopped { error } = &lane.state {
                tracing::warn!(lane = %lane.lane, %error, "the lane was stopped before the drain");
            }
        }
        self.alerting.stop_telling().await;
        self.causes_shared.abort();
        // It was ended, which is what the error says.
        let _ = (&mut self.causes_shared).await;
        if let Err(error) = self.node.causes.share_now().await {
            tracing::debug!(%error, "why events failed last is not told to the other instances");
        }
        self.node.telemetry.close().await;
        self.node.close().await?;
        Ok(status)
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        let code = match &error {
            StartError::Settings { .. } | StartError::Options(_) | StartError::Twice { .. } => {
                ErrorCode::CONFIG_BAD_VALUE
            }
            StartError::BeyondLog { .. } => ErrorCode::CHECKPOINT_BEYOND_LOG,
            StartError::Store(error) => error.code(),
            StartError::Log(error) => error.code(),
        };
        let failure = Self::of_error(code, error.to_string());
        match error {
            StartError::BeyondLog { .. } => {
                failure.help("restore the log and the store from the same moment; `tidegate fsck` shows what the log holds")
            }
            _ => failure,
        }
    }
}
