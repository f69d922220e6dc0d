//! Where the log lines of a data directory are.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use prometheus_client::registry::Registry;

use tidegate_api::LogLine;
use tidegate_model::clock::SharedClock;
use tidegate_model::error::ErrorCode;
use tidegate_model::event::HubName;
use tidegate_model::position::{PartitionId, SequenceNumber};
use tidegate_telemetry::logs::{Found, LogQuery, LogStore, LogStoreError, search_in};

use crate::api::running::Logged;
use crate::data_dir::DataDir;
use crate::failure::Failure;
use crate::logging::kept_lines;
use crate::node::NodeConfig;

/// The directory below the data directory.
const DIRECTORY: &str = "logs";

/// The log lines of a data directory. Those of a running server are also written to it.
#[derive(Clone)]
pub(crate) struct Logs {
    directory: PathBuf,
    store: Option<Arc<LogStore>>,
}

impl Logs {
    /// Those of a data directory; a server that runs on it keeps its own there.
    ///
    /// # Errors
    /// When lines are to be kept and cannot be.
    pub(crate) fn of(
        data_dir: &DataDir,
        config: NodeConfig<'_>,
        clock: &SharedClock,
    ) -> Result<Self, Failure> {
        let directory = data_dir.path().join(DIRECTORY);
        let store = match config {
            NodeConfig::Declared(config) => {
                let keep = config.logs.keep.0;
                Some(LogStore::open(&directory, keep, kept_lines(), clock.clone())?)
            }
            NodeConfig::AsItIs | NodeConfig::Known(_) => None,
        };
        Ok(Self { directory, store })
    }

    /// Shows how many were dropped.
    pub(crate) fn register(&self, registry: &mut Registry) {
        kept_lines().register(registry);
    }

    /// The lines that are found; none when the files cannot be read, which is logged.
    async fn lines(&self, query: LogQuery) -> Vec<LogLine> {
        let found = self.search(query).await.inspect_err(|error| {
            tracing::warn!(%error, "log lines cannot be searched");
        });
        found.map_or_else(|_| Vec::new(), |found| found.lines)
    }

    /// Finds lines.
    ///
    /// # Errors
    /// When the files cannot be read.
    pub(crate) async fn search(&self, query: LogQuery) -> Result<Found, LogStoreError> {
        let logs = self.clone();
        let searching = tokio::task::spawn_blocking(move || match &logs.store {
            Some(store) => store.search(&query),
            None => search_in(&logs.directory, &query),
        });
        searching.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
    }
}

#[async_trait]
impl Logged for Logs {
    async fn of_event(
        &self,
        hub: &HubName,
        partition: PartitionId,
        event: SequenceNumber,
        limit: usize,
    ) -> Vec<LogLine> {
        let query = LogQuery {
            hub: Some(hub.to_string()),
            partition: Some(partition.0),
            sequence_number: Some(event.0),
            limit,
            ..LogQuery::default()
        };
        self.lines(query).await
    }
}

impl From<LogStoreError> for Failure {
    fn from(error: LogStoreError) -> Self {
        Self::new(ErrorCode::DATA_DIR_IO, error.to_string())
            .help("check that this user may read and write there, and that the disk has room")
    }
}
