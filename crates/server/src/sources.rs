//! The hubs of others that are read: opened when the functions start, and known to all who look at hubs from then on.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use tidegate_adapters::event_hubs::blobs::{
    self, BlobAccount, BlobCheckpoints, BlobContainer, ConsumerOf, InvalidAccount, Mirror, first_positions,
};
use tidegate_adapters::event_hubs::client::entra::{
    AUTHORITY, Application, ApplicationTokens, EVENT_HUBS_SCOPE, http_client,
};
use tidegate_adapters::event_hubs::client::{Client, ClientError, FailureKind, Remote, platform_tls};
use tidegate_adapters::event_hubs::{RemoteLog, RemoteLogOptions};
use tidegate_model::checkpoint::{FunctionName, Lane};
use tidegate_model::clock::{SharedClock, timeout};
use tidegate_model::connection_string::{ConnectionString, Endpoint};
use tidegate_model::error::ErrorCode;
use tidegate_model::event::HubName;
use tidegate_model::ports::{EventLog, Store};
use tidegate_model::position::{PartitionId, StartPosition};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::config::{CheckpointBlobs, Config, EntraConfig, SourceAccess, SourceConfig};
use crate::failure::Failure;

/// How long the start waits for a hub that is away.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long the last copies of checkpoints may take.
const LAST_COPIES: Duration = Duration::from_secs(10);

/// The hubs of others that are open, ordered by name.
#[derive(Clone, Default)]
pub(crate) struct Sources(Arc<RwLock<Open>>);

#[derive(Default)]
struct Open {
    logs: Vec<Arc<RemoteLog>>,
    copying: Vec<Copying>,
}

/// Something that copies checkpoints, and what ends it.
struct Copying {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Sources {
    /// Opens what is configured, and begins the checkpoints of functions that go on where their consumer group is.
    ///
    /// # Errors
    /// When one cannot be opened; the others stay closed then.
    pub(crate) async fn open(
        &self,
        config: &Config,
        store: &Arc<dyn Store>,
        clock: &SharedClock,
    ) -> Result<(), Failure> {
        let mut opened = Open::default();
        for source in &config.sources {
            let log = open(source, clock).await?;
            if let Some(blobs) = &source.checkpoint_blobs {
                let functions = config.functions.iter().filter(|function| function.hub == source.name);
                let functions: Vec<_> = functions.map(|function| &function.name).collect();
                let mirror = mirror(source, blobs, &log, &functions, store, clock).await?;
                let (stop, stopped) = watch::channel(false);
                opened.copying.push(Copying { stop, task: tokio::spawn(mirror.run(stopped)) });
            }
            opened.logs.push(log);
        }
        *self.0.write() = opened;
        Ok(())
    }

    /// Copies checkpoints a last time, and closes all of them.
    pub(crate) async fn close(&self, clock: &SharedClock) {
        let Open { logs, copying } = std::mem::take(&mut *self.0.write());
        let copies = async {
            for Copying { stop, task } in copying {
                stop.send_replace(true);
                let _ = task.await;
            }
        };
        if timeout(&**clock, LAST_COPIES, copies).await.is_none() {
            tracing::warn!("the last copies of checkpoints were not written in time");
        }
        drop(logs);
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<Arc<dyn EventLog>> {
        self.0.read().logs.iter().map(|source| Arc::clone(source) as Arc<dyn EventLog>).collect()
    }

    /// The one of this name, whatever the case of its letters.
    pub(crate) fn find(&self, name: &str) -> Option<Arc<dyn EventLog>> {
        self.all().into_iter().find(|source| source.hub().as_str().eq_ignore_ascii_case(name))
    }
}

/// What copies the checkpoints of a source. Functions that have none in the store yet are begun where the blobs say.
async fn mirror(
    source: &SourceConfig,
    wanted: &CheckpointBlobs,
    log: &Arc<RemoteLog>,
    functions: &[&FunctionName],
    store: &Arc<dyn Store>,
    clock: &SharedClock,
) -> Result<Mirror, Failure> {
    let name = &source.name;
    let unusable = |problem: String| {
        let message = format!("`checkpoint_blobs` of [source.{name}] cannot be used: {problem}");
        Failure::new(ErrorCode::CONFIG_BAD_VALUE, message)
    };
    let secret = wanted.connection_string.fetch().map_err(unusable)?;
    let account: BlobAccount =
        secret.reveal().parse().map_err(|invalid: InvalidAccount| unusable(invalid.to_string()))?;
    let client = blobs::http_client(&account).map_err(unusable)?;
    let container = BlobContainer::new(account, wanted.container.clone(), client, clock.clone());
    let remote = log.client().remote();
    let consumer = ConsumerOf {
        namespace: remote.namespace.clone(),
        hub: remote.hub.clone(),
        consumer_group: log.consumer_group().to_owned(),
    };
    let copies = BlobCheckpoints::new(container, &consumer);

    let known = store.checkpoints().await?;
    let lanes = functions.iter().flat_map(|function| {
        (0..log.partition_count()).map(|partition| Lane {
            function: (*function).clone(),
            hub: name.clone(),
            partition: PartitionId(partition),
        })
    });
    let new: Vec<Lane> =
        lanes.filter(|lane| !known.iter().any(|checkpoint| checkpoint.lane == *lane)).collect();
    let read = async {
        copies.create().await?;
        first_positions(&copies, log.partition_count()).await
    };
    match read.await {
        Ok(positions) => {
            for lane in new {
                let Some(position) = positions.get(&lane.partition) else { continue };
                let start = log.locate(lane.partition, StartPosition::SequenceNumber(*position)).await?;
                store.begin(&lane, log.incarnation(), start, clock.now()).await?;
                tracing::info!(%lane, position = %start, "the lane begins where the blobs say that its group is");
            }
        }
        // Whoever has begun needs no blobs to go on.
        Err(error) if new.is_empty() => {
            tracing::warn!(source = %name, %error, "checkpoints are not copied yet")
        }
        Err(error) => {
            let message = format!(
                "where the functions on [source.{name}] begin is not known, since the blobs cannot be read: {error}"
            );
            return Err(Failure::new(ErrorCode::SERVER_UNREACHABLE, message).help(
                "check the account and its key; or remove `checkpoint_blobs` to begin at `initial_offset`",
            ));
        }
    }
    Ok(Mirror { store: Arc::clone(store), log: Arc::clone(log), blobs: copies, clock: clock.clone() })
}

async fn open(source: &SourceConfig, clock: &SharedClock) -> Result<Arc<RemoteLog>, Failure> {
    let name = &source.name;
    let remote = remote(source, clock).map_err(|problem| {
        Failure::new(ErrorCode::CONFIG_BAD_VALUE, format!("[source.{name}] cannot be used: {problem}"))
    })?;
    let options = RemoteLogOptions {
        consumer_group: source.consumer_group.clone(),
        owner_level: source.owner_level,
        prefetch_count: source.prefetch_count,
        prefetch_bytes: source.prefetch_bytes.in_memory(),
        ..RemoteLogOptions::new(name.clone())
    };
    let client = Client::new(remote, clock.clone());
    let give_up = clock.monotonic().saturating_add(PATIENCE);
    loop {
        match RemoteLog::open(client.clone(), options.clone(), clock.clone()).await {
            Ok(log) => {
                let (partitions, incarnation) = (log.partition_count(), log.incarnation());
                tracing::info!(source = %name, partitions, %incarnation, "reads a hub of somebody else");
                return Ok(log);
            }
            // The client itself paces its attempts.
            Err(error) if error.kind() == FailureKind::Transient && clock.monotonic() < give_up => {
                tracing::warn!(source = %name, %error, "the hub cannot be opened yet");
            }
            Err(error) => return Err(not_opened(name, &error)),
        }
    }
}

fn not_opened(name: &HubName, error: &ClientError) -> Failure {
    let (code, help) = match error.kind() {
        FailureKind::Unauthorized => {
            (ErrorCode::UNAUTHORIZED, "check the key or the application, and that it has the right Listen")
        }
        FailureKind::NotFound => {
            (ErrorCode::NOT_FOUND, "check the names of the hub and of the consumer group")
        }
        _ => (
            ErrorCode::SERVER_UNREACHABLE,
            "check that the namespace can be reached from here, and start again",
        ),
    };
    Failure::new(code, format!("[source.{name}] cannot be read: {error}")).help(help)
}

/// Which hub is meant, and how to get in. The error is for a person, without secrets.
fn remote(source: &SourceConfig, clock: &SharedClock) -> Result<Remote, String> {
    let roots = match &source.roots {
        Some(path) => {
            Some(std::fs::read(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))?)
        }
        None => None,
    };
    let remote = match &source.access {
        SourceAccess::ConnectionString(secret) => {
            let connection: ConnectionString =
                secret.fetch()?.reveal().parse().map_err(|invalid| format!("{invalid}"))?;
            Remote::of_connection_string(&connection, source.hub.as_deref(), roots.as_deref(), clock.clone())
        }
        SourceAccess::Entra { namespace, application } => {
            let EntraConfig { tenant_id, client_id, client_secret, authority } = application;
            let application = Application {
                authority: authority.clone().unwrap_or_else(|| AUTHORITY.to_owned()),
                tenant_id: tenant_id.clone(),
                client_id: client_id.clone(),
                client_secret: client_secret.fetch()?.reveal().to_owned(),
                scope: EVENT_HUBS_SCOPE,
            };
            let client = http_client(platform_tls()?)?;
            let tokens = Arc::new(ApplicationTokens::new(application, client, clock.clone()));
            let endpoint = Endpoint::new(namespace, None).map_err(|invalid| invalid.to_string())?;
            let hub = source.hub.clone().unwrap_or_default();
            Remote::with_tokens(&endpoint, hub, roots.as_deref(), tokens)
        }
    };
    remote.map_err(|invalid| invalid.to_string())
}
