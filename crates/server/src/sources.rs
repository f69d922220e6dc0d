//! The hubs of others that are read: opened when the functions start, or later when they are away then, and known to all
//! who look at hubs from then on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use parking_lot::RwLock;
use tidegate_adapters::event_hubs::blobs::{
    BlobAccount, BlobCheckpoints, BlobContainer, Claims, ConsumerOf, FoundCheckpoint, InvalidAccount, Mirror,
    http_client as blob_client, known_checkpoints,
};
use tidegate_adapters::event_hubs::client::entra::{
    AUTHORITY, Application, ApplicationTokens, EVENT_HUBS_SCOPE, http_client,
};
use tidegate_adapters::event_hubs::client::{Client, ClientError, FailureKind, Remote, platform_tls};
use tidegate_adapters::event_hubs::{RemoteLog, RemoteLogOptions};
use tidegate_api::{SourceState, SourceStatus};
use tidegate_model::checkpoint::{FunctionName, Lane};
use tidegate_model::clock::{SharedClock, Timestamp, timeout};
use tidegate_model::connection_string::{ConnectionString, Endpoint};
use tidegate_model::error::{ErrorCode, ErrorKind};
use tidegate_model::event::HubName;
use tidegate_model::ports::{EventLog, ReadError, RegisterChange, Store, StoreError};
use tidegate_model::position::{PartitionId, StartPosition};
use tidegate_model::register::{RegisterKey, Version};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::config::{CheckpointBlobs, Config, EntraConfig, FunctionConfig, SourceAccess, SourceConfig};
use crate::failure::Failure;
use crate::for_ever::until_stopped;

/// How long the start waits for hubs that are away. Functions on other hubs go on without them then.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often checkpoints are copied where partitions are not claimed.
const COPY_EVERY: Duration = Duration::from_secs(10);

/// How long the last copies of checkpoints and the release of ownerships may take.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// The registers of what this program is called where it claims partitions.
const OWNER: &str = "source-owner";

/// The hubs of others that are open, ordered by name.
#[derive(Clone, Default)]
pub(crate) struct Sources(Arc<RwLock<Open>>);

#[derive(Default)]
struct Open {
    sources: Vec<OpenSource>,
    /// All that are known, open or not.
    known: BTreeMap<HubName, KnownSource>,
}

/// A source that is known by name.
#[derive(Clone)]
struct KnownSource {
    consumer_group: Option<String>,
    status: SourceStatus,
}

/// A source as it is now.
pub(crate) struct SeenSource {
    /// What it is called here.
    pub(crate) name: HubName,
    /// The consumer group that it is read in, where that is known.
    pub(crate) consumer_group: Option<String>,
    /// How it is.
    pub(crate) status: SourceStatus,
    /// Its log, once it is open.
    pub(crate) log: Option<Arc<RemoteLog>>,
}

/// A hub that is read, and what is done for it beside the functions.
struct OpenSource {
    log: Arc<RemoteLog>,
    /// Copies checkpoints.
    copying: Option<Working>,
    /// Claims partitions.
    claiming: Option<Working>,
}

impl OpenSource {
    /// Copies checkpoints a last time, and lets others have the partitions.
    async fn close(self, clock: &SharedClock) {
        let Self { log, copying, claiming } = self;
        let name = log.hub().clone();
        let ended = async {
            // The checkpoints first: who takes a partition over begins there.
            for working in copying.into_iter().chain(claiming) {
                working.end().await;
            }
        };
        if timeout(&**clock, LAST_WORDS, ended).await.is_none() {
            tracing::warn!(source = %name, "the last copies of checkpoints and the ownerships were not written in time");
        }
    }
}

/// Something that goes on beside the functions, and what ends it.
struct Working {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Working {
    /// `what` is the beginning of a sentence.
    fn start<W: Future<Output = ()> + Send + 'static>(
        what: String,
        clock: SharedClock,
        work: impl Fn(watch::Receiver<bool>) -> W + Send + Sync + 'static,
    ) -> Self {
        let (stop, stopped) = watch::channel(false);
        Self { stop, task: tokio::spawn(until_stopped(what, clock, stopped, work)) }
    }

    async fn end(self) {
        self.stop.send_replace(true);
        let _ = self.task.await;
    }
}

/// A function on a source, and where it begins when it never ran.
#[derive(Clone, Debug)]
pub(crate) struct Reader {
    pub(crate) function: FunctionName,
    pub(crate) initial_offset: StartPosition,
}

/// Why a source is not open.
pub(crate) enum NotOpened {
    /// It cannot be reached at the moment, or what belongs to it cannot.
    Away(Failure),
    /// A person has to do something.
    Failed(Failure),
}

impl Sources {
    /// Makes sources known that are not open yet: those that a server read `before`, and those that are `configured`.
    pub(crate) fn declare(&self, before: Vec<HubName>, configured: &[SourceConfig]) {
        let status = SourceStatus { state: SourceState::NotRead, since: None, problem: None };
        let mut open = self.0.write();
        for name in before {
            open.known.insert(name, KnownSource { consumer_group: None, status: status.clone() });
        }
        for source in configured {
            let consumer_group = Some(source.consumer_group.clone());
            open.known.insert(source.name.clone(), KnownSource { consumer_group, status: status.clone() });
        }
    }

    /// Notes how a source is. Since when, is since it is not there or there.
    fn note(&self, name: &HubName, state: SourceState, problem: Option<String>, clock: &SharedClock) {
        if let Some(known) = self.0.write().known.get_mut(name) {
            let was_there = known.status.state == SourceState::There;
            let same = known.status.since.filter(|_| was_there == (state == SourceState::There));
            known.status = SourceStatus { state, since: Some(same.unwrap_or_else(|| clock.now())), problem };
        }
    }

    /// All sources, open or not, ordered by name.
    pub(crate) fn known(&self) -> Vec<SeenSource> {
        let open = self.0.read();
        let known = open.known.iter().map(|(name, known)| {
            let source = open.sources.iter().find(|source| source.log.hub() == name);
            let log = source.map(|source| source.log.clone());
            let mut status = known.status.clone();
            if let Some((since, problem)) = log.as_ref().and_then(|log| log.trouble()) {
                status =
                    SourceStatus { state: SourceState::Away, since: Some(since), problem: Some(problem) };
            }
            SeenSource { name: name.clone(), consumer_group: known.consumer_group.clone(), status, log }
        });
        known.collect()
    }

    /// The sources that cannot be asked at all, and how each is.
    pub(crate) fn not_open(&self) -> Vec<(HubName, SourceStatus)> {
        let known = self.known().into_iter().filter(|source| source.log.is_none());
        known.map(|source| (source.name, source.status)).collect()
    }

    /// The source of this name that cannot be asked, whatever the case of its letters.
    pub(crate) fn not_open_named(&self, name: &str) -> Option<(HubName, SourceStatus)> {
        self.not_open().into_iter().find(|(source, _)| source.as_str().eq_ignore_ascii_case(name))
    }

    /// Whether there is a source of this name, open or not.
    pub(crate) fn is_source(&self, name: &str) -> bool {
        self.0.read().known.keys().any(|source| source.as_str().eq_ignore_ascii_case(name))
    }

    /// Opens what is configured, and begins the checkpoints of its functions. Answers which are away.
    ///
    /// # Errors
    /// When one cannot be opened, whether it is there or not.
    pub(crate) async fn open(
        &self,
        config: &Config,
        store: &Arc<dyn Store>,
        clock: &SharedClock,
    ) -> Result<Vec<SourceConfig>, Failure> {
        refuse_shared_groups(&config.sources, clock)?;
        for source in &config.sources {
            self.note(&source.name, SourceState::Opening, None, clock);
        }
        let opening = config.sources.iter().map(|source| async move {
            let readers = readers_of(config, &source.name);
            (source, self.open_one(source, &readers, store, clock).await)
        });
        let mut away = Vec::new();
        for (source, opened) in join_all(opening).await {
            match opened {
                Ok(()) => {}
                Err(NotOpened::Failed(failure)) => return Err(failure),
                Err(NotOpened::Away(failure)) => {
                    tracing::warn!(
                        source = %source.name, error = failure.on_one_line(),
                        "a source is away: its functions begin when it comes, the others do not wait for it"
                    );
                    away.push(source.clone());
                }
            }
        }
        Ok(away)
    }

    /// Opens a source, and begins the checkpoints of its functions: where their consumer group is, or at their initial
    /// offset. Functions can be run over it then.
    ///
    /// # Errors
    /// Why it is not open.
    pub(crate) async fn open_one(
        &self,
        source: &SourceConfig,
        readers: &[Reader],
        store: &Arc<dyn Store>,
        clock: &SharedClock,
    ) -> Result<(), NotOpened> {
        let opened = self.try_open(source, readers, store, clock).await;
        let (state, problem) = match &opened {
            Ok(()) => (SourceState::There, None),
            Err(NotOpened::Away(failure)) => (SourceState::Away, Some(said(failure))),
            Err(NotOpened::Failed(failure)) => (SourceState::Refused, Some(said(failure))),
        };
        self.note(&source.name, state, problem, clock);
        opened
    }

    async fn try_open(
        &self,
        source: &SourceConfig,
        readers: &[Reader],
        store: &Arc<dyn Store>,
        clock: &SharedClock,
    ) -> Result<(), NotOpened> {
        let log = open(source, clock).await?;
        let blobs = match &source.checkpoint_blobs {
            Some(wanted) => Some(blobs(source, wanted, &log, readers, store, clock).await?),
            None => None,
        };
        begin(&log, readers, store, clock).await?;
        let interval = source.claim_interval();
        let writer = match blobs {
            Some(_) => owner_of(store, &source.name, clock).await.map_err(failed)?,
            None => String::new(),
        };
        let claims = match (&blobs, interval) {
            (Some(blobs), Some(interval)) => Some(Claims {
                log: log.clone(),
                blobs: blobs.clone(),
                functions: readers.iter().map(|reader| reader.function.clone()).collect(),
                store: store.clone(),
                owner: writer.clone(),
                interval,
                clock: clock.clone(),
            }),
            _ => None,
        };
        let mirror = blobs.map(|blobs| Mirror {
            store: store.clone(),
            log: log.clone(),
            blobs,
            writer,
            interval: interval.map_or(COPY_EVERY, |interval| interval.min(COPY_EVERY)),
            clock: clock.clone(),
        });
        let name = &source.name;
        let copying = mirror.map(|mirror| {
            let what = format!("copying the checkpoints of [source.{name}]");
            Working::start(what, clock.clone(), move |stop| mirror.clone().run(stop))
        });
        let claiming = claims.map(|claims| {
            let what = format!("claiming the partitions of [source.{name}]");
            Working::start(what, clock.clone(), move |stop| claims.clone().run(stop))
        });
        let source = OpenSource { log, copying, claiming };
        let mut open = self.0.write();
        open.sources.push(source);
        open.sources.sort_by(|one, other| one.log.hub().cmp(other.log.hub()));
        Ok(())
    }

    /// Takes a source away that functions cannot be run over.
    pub(crate) async fn forget(&self, name: &HubName, clock: &SharedClock) {
        self.note(
            name,
            SourceState::Refused,
            Some("its functions cannot start; see the log".to_owned()),
            clock,
        );
        let forgotten: Vec<OpenSource> =
            self.0.write().sources.extract_if(.., |source| source.log.hub() == name).collect();
        for source in forgotten {
            source.close(clock).await;
        }
    }

    /// Copies checkpoints a last time, and closes all of them.
    pub(crate) async fn close(&self, clock: &SharedClock) {
        let sources = std::mem::take(&mut self.0.write().sources);
        join_all(sources.into_iter().map(|source| source.close(clock))).await;
    }

    /// Which other program reads the partition of a lane, where the readers of its hub share them out, as far as that is
    /// known.
    pub(crate) fn reader_elsewhere(&self, lane: &Lane) -> Option<String> {
        let open = self.0.read();
        open.sources.iter().find(|source| *source.log.hub() == lane.hub)?.log.reader(lane.partition)
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<Arc<dyn EventLog>> {
        self.0.read().sources.iter().map(|source| source.log.clone() as Arc<dyn EventLog>).collect()
    }

    /// When the source of this name told last about itself, and how many bytes are held of it; nothing while it is not open.
    pub(crate) fn liveness(&self, name: &HubName) -> Option<(Timestamp, u64)> {
        let open = self.0.read();
        let log = &open.sources.iter().find(|source| source.log.hub() == name)?.log;
        let partitions = (0..log.partition_count()).map(PartitionId);
        let bytes = partitions.map(|partition| log.buffered(partition).bytes as u64).sum();
        Some((log.answered_at(), bytes))
    }

    /// The one of this name, whatever the case of its letters.
    pub(crate) fn find(&self, name: &str) -> Option<Arc<dyn EventLog>> {
        self.all().into_iter().find(|source| source.hub().as_str().eq_ignore_ascii_case(name))
    }
}

/// What a person is told about a source that cannot be asked.
pub(crate) fn told(source: &HubName, status: &SourceStatus) -> String {
    let since = status.since.map(|since| format!(" since {since}")).unwrap_or_default();
    let problem = status.problem.as_ref().map(|problem| format!(": {problem}")).unwrap_or_default();
    format!("the source {source} is {}{since}{problem}", status.state.as_str())
}

/// The functions on a source.
pub(crate) fn readers_of(config: &Config, source: &HubName) -> Vec<Reader> {
    let of_source = config.functions.iter().filter(|function| function.hub == *source);
    let reader = |function: &FunctionConfig| Reader {
        function: function.name.clone(),
        initial_offset: function.settings.initial_offset,
    };
    of_source.map(reader).collect()
}

fn lanes_of(log: &RemoteLog, reader: &Reader) -> impl Iterator<Item = Lane> {
    let (function, hub) = (reader.function.clone(), log.hub().clone());
    (0..log.partition_count()).map(move |partition| Lane {
        function: function.clone(),
        hub: hub.clone(),
        partition: PartitionId(partition),
    })
}

/// Begins the checkpoints that are not there yet, so that no start of functions asks the hub for anything.
async fn begin(
    log: &RemoteLog,
    readers: &[Reader],
    store: &Arc<dyn Store>,
    clock: &SharedClock,
) -> Result<(), NotOpened> {
    for reader in readers {
        for lane in lanes_of(log, reader) {
            if store.checkpoint(&lane).await.map_err(failed)?.is_none() {
                let start = log.locate(lane.partition, reader.initial_offset).await.map_err(not_located)?;
                store.begin(&lane, log.incarnation(), start, clock.now()).await.map_err(failed)?;
            }
        }
    }
    Ok(())
}

/// What went wrong, as part of a sentence.
fn said(failure: &Failure) -> String {
    let messages: Vec<&str> = failure.problems.iter().map(|problem| problem.message.as_str()).collect();
    messages.join("; ")
}

fn not_located(error: ReadError) -> NotOpened {
    match error.kind() {
        ErrorKind::Transient => NotOpened::Away(error.into()),
        _ => NotOpened::Failed(error.into()),
    }
}

/// Where a blob says that its group is, is not in the hub.
fn not_behind(source: &HubName, blob: &str, error: ReadError) -> NotOpened {
    if let ReadError::BeyondTail { .. } = error {
        let message = format!(
            "where the functions on [source.{source}] begin is not clear: the checkpoint {blob} is past the end of the hub, as \
             after the hub was deleted and made again: {error}"
        );
        return NotOpened::Failed(Failure::new(error.code(), message).help(
            "delete the blob if it is of an earlier hub; the functions begin at `initial_offset` then",
        ));
    }
    not_located(error)
}

fn failed(error: impl Into<Failure>) -> NotOpened {
    NotOpened::Failed(error.into())
}

/// What this program is called where it claims the partitions of a source: the same for as long as its store lives, so that
/// it finds what it left.
async fn owner_of(
    store: &Arc<dyn Store>,
    source: &HubName,
    clock: &SharedClock,
) -> Result<String, StoreError> {
    let key = RegisterKey::new(OWNER, source.as_str());
    let known = |value: &serde_json::Value| Some(value.get("owner")?.as_str()?.to_owned());
    loop {
        let stored = store.register(&key).await?;
        if let Some(owner) = stored.as_ref().and_then(|stored| known(&stored.value)) {
            return Ok(owner);
        }
        let random = (u128::from(clock.random()) << 64) | u128::from(clock.random());
        let owner = uuid::Builder::from_random_bytes(random.to_be_bytes()).into_uuid().to_string();
        let change = RegisterChange {
            key: key.clone(),
            from: stored.map_or(Version::NONE, |stored| stored.version),
            value: Some(serde_json::json!({ "owner": owner })),
            at: clock.now(),
            notices: Vec::new(),
            trail: Vec::new(),
        };
        match store.change_register(change).await {
            Ok(_) => return Ok(owner),
            // Somebody else was faster.
            Err(StoreError::RegisterMoved { .. }) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Two sources that are the same consumer group of the same hub, where a partition of it has one reader: they would send each
/// other away, or each function would get a part of the events.
fn refuse_shared_groups(sources: &[SourceConfig], clock: &SharedClock) -> Result<(), Failure> {
    let mut known: Vec<(&SourceConfig, String)> = Vec::new();
    for source in sources {
        // One that cannot be used is told of when it is opened.
        let Ok(remote) = remote(source, clock) else { continue };
        let group = format!("{}/{}/{}", remote.server, remote.hub, source.consumer_group).to_lowercase();
        let twin = known
            .iter()
            .find(|(other, of)| *of == group && (other.level().is_some() || source.level().is_some()));
        if let Some((twin, _)) = twin {
            let (name, twin, group) = (&source.name, &twin.name, &source.consumer_group);
            let message = format!(
                "[source.{twin}] and [source.{name}] are the same hub in the same consumer group {group:?}, in which a \
                 partition has one reader: their functions would take the events from each other"
            );
            return Err(Failure::new(ErrorCode::CONFIG_BAD_VALUE, message)
                .help("give each source a `consumer_group` of its own; every group gets all events"));
        }
        known.push((source, group));
    }
    Ok(())
}

/// The blobs of a source. Functions that have no checkpoint in the store yet are begun where the blobs say.
async fn blobs(
    source: &SourceConfig,
    wanted: &CheckpointBlobs,
    log: &Arc<RemoteLog>,
    readers: &[Reader],
    store: &Arc<dyn Store>,
    clock: &SharedClock,
) -> Result<Arc<BlobCheckpoints>, NotOpened> {
    let name = &source.name;
    let unusable = |problem: String| {
        let message = format!("`checkpoint_blobs` of [source.{name}] cannot be used: {problem}");
        failed(Failure::new(ErrorCode::CONFIG_BAD_VALUE, message))
    };
    let secret = wanted.connection_string.fetch().map_err(unusable)?;
    let account: BlobAccount =
        secret.reveal().parse().map_err(|invalid: InvalidAccount| unusable(invalid.to_string()))?;
    let client = blob_client(&account).map_err(unusable)?;
    let container = BlobContainer::new(account, wanted.container.clone(), client, clock.clone());
    let remote = log.client().remote();
    let consumer = ConsumerOf {
        namespace: remote.namespace.clone(),
        port: remote.named_port,
        hub: remote.hub.clone(),
        consumer_group: log.consumer_group().to_owned(),
    };
    let mut copies = BlobCheckpoints::new(container, consumer);
    if let Some(prefix) = &wanted.prefix {
        copies = copies.under(prefix.clone());
    }
    if let Some(prefix) = &wanted.legacy_prefix {
        copies = copies.with_legacy(prefix.clone());
    }

    let known = store.checkpoints().await.map_err(failed)?;
    let lanes = readers.iter().flat_map(|reader| lanes_of(log, reader));
    let new: Vec<Lane> =
        lanes.filter(|lane| !known.iter().any(|checkpoint| checkpoint.lane == *lane)).collect();
    let read = async {
        copies.create().await?;
        known_checkpoints(&copies, log.partition_count()).await
    };
    match read.await {
        Ok(positions) => {
            for lane in new {
                let Some(FoundCheckpoint { checkpoint: known, blob, other_prefix }) =
                    positions.get(&lane.partition)
                else {
                    continue;
                };
                let behind =
                    log.locate_behind(lane.partition, known.sequence_number, known.offset.as_deref());
                let start = behind.await.map_err(|error| not_behind(name, blob, error))?;
                let Some(start) = start else { continue };
                store.begin(&lane, log.incarnation(), start, clock.now()).await.map_err(failed)?;
                tracing::info!(%lane, position = %start, blob, "the lane begins where the blobs say that its group is");
                if let (Some(prefix), Some(_)) = (other_prefix, wanted.claim_interval) {
                    tracing::warn!(
                        source = %name, prefix,
                        "the group has checkpoints of a client that names its blobs otherwise; to share partitions with its \
                         processors, write this `prefix` into `checkpoint_blobs`"
                    );
                }
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
            return Err(NotOpened::Away(Failure::new(ErrorCode::SERVER_UNREACHABLE, message).help(
                "check the account and its key; or remove `checkpoint_blobs` to begin at `initial_offset`",
            )));
        }
    }
    Ok(Arc::new(copies))
}

async fn open(source: &SourceConfig, clock: &SharedClock) -> Result<Arc<RemoteLog>, NotOpened> {
    let name = &source.name;
    let remote = remote(source, clock).map_err(|problem| {
        failed(Failure::new(
            ErrorCode::CONFIG_BAD_VALUE,
            format!("[source.{name}] cannot be used: {problem}"),
        ))
    })?;
    let options = RemoteLogOptions {
        consumer_group: source.consumer_group.clone(),
        owner_level: source.level(),
        shares_partitions: source.claim_interval().is_some(),
        prefetch_count: source.prefetch_count,
        prefetch_bytes: source.prefetch_bytes.in_memory(),
        ..RemoteLogOptions::new(name.clone())
    };
    let client = Client::new(remote, clock.clone());
    let mut last = None;
    let opened = timeout(&**clock, PATIENCE, async {
        loop {
            match RemoteLog::open(client.clone(), options.clone(), clock.clone()).await {
                // The client itself paces its attempts.
                Err(error) if error.kind() == FailureKind::Transient => {
                    tracing::debug!(source = %name, %error, "the hub cannot be opened yet");
                    last = Some(error);
                }
                opened => break opened,
            }
        }
    });
    match opened.await {
        Some(Ok(log)) => {
            let (partitions, incarnation) = (log.partition_count(), log.incarnation());
            tracing::info!(source = %name, partitions, %incarnation, "reads a hub of somebody else");
            Ok(log)
        }
        Some(Err(error)) => Err(NotOpened::Failed(not_opened(name, &error))),
        None => {
            let error = last.unwrap_or(ClientError::TimedOut { what: "opening the hub", limit: PATIENCE });
            Err(NotOpened::Away(not_opened(name, &error)))
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
