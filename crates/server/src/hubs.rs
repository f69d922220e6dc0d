//! Hubs at run time: made, changed and deleted by command, and the same after a crash at any moment.
//!
//! What a command begins is a register in the store first, then it is done in the log, then the register says that it is
//! done, with the line in the audit trail:
//!
//! ```text
//! create   {"state":"creating", …} → the log makes the hub  → {"state":"standing", …} + trail → it is opened to clients
//! delete   {"state":"deleting", …} → closed to clients → the log deletes it → what waits is settled → no register + trail
//! ```
//!
//! A start finishes what it finds begun ([`finish`]). So a hub is there whole or not at all, and a hub whose register stands
//! and which the log has not is a lost one, never one to be made anew.
//!
//! The hubs that the configuration declares are not made here. Consumer groups may be added to them, and are kept beside
//! those that the configuration names.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use tidegate_eventlog::{HubLog, HubSettings, Log, LogError, MAX_PARTITIONS, RetentionPolicy};
use tidegate_gateway::Gateway;
use tidegate_gateway::namespace::{ConsumerGroupName, ConsumerGroups, MAX_CONSUMER_GROUPS};
use tidegate_model::checkpoint::FunctionName;
use tidegate_model::clock::SharedClock;
use tidegate_model::error::ErrorCode;
use tidegate_model::event::HubName;
use tidegate_model::ports::{Checkpoints as _, EventLog as _, RegisterChange, Registers as _, StoreError};
use tidegate_model::position::{Incarnation, PartitionId};
use tidegate_model::register::{RegisterKey, Version};
use tidegate_model::trail::{Act, NewTrailEntry};
use tidegate_store::{Settled, SqliteStore};

use crate::config::{HubConfig, RESERVED, is_reserved};
use crate::failure::Failure;

/// The registers of hubs.
const HUB: &str = "hub";

/// How many hubs there are at most, as on a Dedicated cluster of Event Hubs.
pub(crate) const MAX_HUBS: usize = 1000;

/// How many parked events and dead letters of a deleted hub go in one transaction, so that commits do not wait for long.
const SETTLE_STEP: usize = 500;

/// A hub that the configuration declares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Declared {
    /// Its name.
    pub(crate) name: HubName,
    /// The consumer groups that the configuration names.
    pub(crate) groups: Vec<ConsumerGroupName>,
}

impl From<&HubConfig> for Declared {
    fn from(hub: &HubConfig) -> Self {
        Self { name: hub.name.clone(), groups: hub.consumer_groups.clone() }
    }
}

/// What a hub is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NewHub {
    /// Its name.
    pub(crate) name: HubName,
    /// How many partitions it has.
    pub(crate) partitions: u32,
    /// How long it keeps events.
    pub(crate) retention: RetentionPolicy,
    /// Its consumer groups beside `$Default`.
    pub(crate) groups: Vec<ConsumerGroupName>,
}

/// What went with a hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Deleted {
    /// Its partitions.
    pub(crate) partitions: u32,
    /// Its events.
    pub(crate) events: u64,
    /// The checkpoints of functions that read it once.
    pub(crate) checkpoints: u64,
    /// Parked events that were made dead letters, and discarded.
    pub(crate) parked: u64,
    /// Dead letters that were discarded, those included.
    pub(crate) dead_letters: u64,
}

/// The hubs of an open data directory, to be changed.
pub(crate) struct Hubs {
    log: Arc<Log>,
    store: Arc<SqliteStore>,
    gateway: Arc<Gateway>,
    declared: Vec<Declared>,
    configured: Vec<(FunctionName, HubName)>,
    /// The names by which functions read hubs of others.
    sources: Vec<HubName>,
    clock: SharedClock,
    /// One change at a time.
    changing: Mutex<()>,
}

/// Where a hub stands, as its register says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
enum Record {
    /// It is being made.
    Creating {
        partitions: u32,
        max_age_ms: Option<u64>,
        max_bytes: Option<u64>,
        consumer_groups: Vec<String>,
        act: Act,
    },
    /// It is there.
    Standing { consumer_groups: Vec<String> },
    /// It is being deleted, this life of it.
    Deleting { incarnation: Incarnation, partitions: u32, events: u64, act: Act },
}

/// A register with its version.
struct Stored {
    version: Version,
    record: Record,
}

/// Why a hub is not made, changed or deleted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HubError {
    /// There is none of this name.
    #[error("there is no hub {name:?}")]
    NotThere { name: String },
    /// It cannot be.
    #[error("{problem}")]
    Refused { problem: String, help: String },
    /// It is in a state that does not allow this.
    #[error("{problem}")]
    Conflict { problem: String, help: String },
    /// It is there, and the store could not be told.
    #[error(
        "the hub {name} is made, but that could not be recorded, and clients cannot use it yet: {source}"
    )]
    NotRecorded { name: HubName, source: StoreError },
    /// The log refused or failed.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The store refused or failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl HubError {
    /// The code a person looks it up by.
    pub(crate) fn code(&self) -> ErrorCode {
        match self {
            Self::NotThere { .. } => ErrorCode::NOT_FOUND,
            Self::Refused { .. } => ErrorCode::BAD_REQUEST,
            Self::Conflict { .. } => ErrorCode::CONFLICT,
            Self::Log(error) => error.code(),
            Self::Store(error) | Self::NotRecorded { source: error, .. } => error.code(),
        }
    }
}

impl Hubs {
    pub(crate) fn new(
        log: Arc<Log>,
        store: Arc<SqliteStore>,
        gateway: Arc<Gateway>,
        declared: Vec<Declared>,
        configured: Vec<(FunctionName, HubName)>,
        sources: Vec<HubName>,
        clock: SharedClock,
    ) -> Arc<Self> {
        Arc::new(Self {
            log,
            store,
            gateway,
            declared,
            configured,
            sources,
            clock,
            changing: Mutex::default(),
        })
    }

    /// Every hub, ordered by name.
    pub(crate) fn all(&self) -> Vec<Arc<HubLog>> {
        self.log.hubs()
    }

    /// The hub of this name, whatever the case of its letters.
    pub(crate) fn find(&self, name: &str) -> Option<Arc<HubLog>> {
        self.all().into_iter().find(|hub| name_of(hub).as_str().eq_ignore_ascii_case(name))
    }

    /// Whether the configuration declares it.
    pub(crate) fn is_declared(&self, name: &HubName) -> bool {
        self.declared.iter().any(|declared| declared.name == *name)
    }

    /// The functions that are configured to read it.
    pub(crate) fn readers(&self, name: &HubName) -> Vec<&FunctionName> {
        self.configured.iter().filter(|(_, hub)| hub == name).map(|(function, _)| function).collect()
    }

    /// Its consumer groups, ordered by name.
    pub(crate) fn groups(&self, name: &HubName) -> Vec<ConsumerGroupName> {
        self.gateway.hub(name.as_str()).map_or_else(Vec::new, |hub| hub.consumer_groups().all())
    }

    /// Makes a hub and opens it to clients. It goes on to its end also when nobody waits for it any more. What an attempt before
    /// made and could not record is finished.
    ///
    /// # Errors
    /// When it is there already or cannot be; nothing of it stays then, except when the answer says otherwise.
    pub(crate) async fn create(self: &Arc<Self>, new: NewHub, act: Act) -> Result<Arc<HubLog>, HubError> {
        let hubs = Arc::clone(self);
        to_its_end(async move { hubs.create_now(new, act).await }).await
    }

    async fn create_now(&self, new: NewHub, act: Act) -> Result<Arc<HubLog>, HubError> {
        let _changing = self.changing.lock().await;
        let before = self.stored(&new.name).await?;
        if let (Some(stored), Some(made)) = (&before, self.not_open(&new.name)) {
            return self.go_on(&new, stored, made, act).await;
        }
        self.refuse_bad(&new)?;
        let version = match before {
            None => Version::NONE,
            Some(Stored { record: Record::Deleting { .. }, .. }) => return Err(not_finished(&new.name)),
            // What an attempt before left, which could not make the hub.
            Some(stored) => stored.version,
        };
        let checkpoints = self.store.checkpoints().await?;
        if let Some(checkpoint) = checkpoints.iter().find(|checkpoint| checkpoint.lane.hub == new.name) {
            return Err(HubError::Conflict {
                problem: format!(
                    "the log has no hub {}, but there are checkpoints for it, such as {} at {}: acknowledged events are \
                     missing",
                    new.name, checkpoint.lane, checkpoint.position
                ),
                help: "restore the directory log/ that belongs to the store, or give the hub another name"
                    .to_owned(),
            });
        }
        let creating = Record::creating(&new, act.clone());
        let version = self.change(&new.name, version, Some(&creating), None).await?;
        let made = match make(&self.log, &new).await {
            Ok(made) => made,
            Err(error) => {
                // If this fails too, the next start or the next attempt makes it.
                let _ = self.change(&new.name, version, None, None).await;
                return Err(error.into());
            }
        };
        self.record_made(&new, version, act).await?;
        self.open(&new, made)
    }

    /// The hub of this name if the log has it and clients cannot use it.
    fn not_open(&self, name: &HubName) -> Option<Arc<HubLog>> {
        self.log.hub(name).filter(|_| self.gateway.hub(name.as_str()).is_none())
    }

    /// Finishes a hub that an attempt before made, and could not record or open.
    async fn go_on(
        &self,
        new: &NewHub,
        stored: &Stored,
        made: Arc<HubLog>,
        act: Act,
    ) -> Result<Arc<HubLog>, HubError> {
        let is_same = match &stored.record {
            Record::Deleting { .. } => return Err(not_finished(&new.name)),
            Record::Creating { act: begun, .. } => stored.record == Record::creating(new, begun.clone()),
            Record::Standing { consumer_groups } => {
                let NewHub { partitions, retention, .. } = new;
                *consumer_groups == texts(&new.groups)
                    && (made.partition_count(), made.settings().retention) == (*partitions, Some(*retention))
            }
        };
        if !is_same {
            return Err(HubError::Conflict {
                problem: format!(
                    "the hub {} was begun with other settings and {} partitions, and could not be finished",
                    new.name,
                    made.partition_count()
                ),
                help: format!(
                    "finish it: make it with those settings, or start the server again; or delete it: tidegate hubs delete {}",
                    new.name
                ),
            });
        }
        if matches!(stored.record, Record::Creating { .. }) {
            self.record_made(new, stored.version, act).await?;
        }
        self.open(new, made)
    }

    /// Says in the store that a hub is there, with its line in the audit trail.
    async fn record_made(&self, new: &NewHub, from: Version, act: Act) -> Result<(), HubError> {
        let standing = Record::Standing { consumer_groups: texts(&new.groups) };
        match self.change(&new.name, from, Some(&standing), Some(created(new, act))).await {
            Ok(_) => Ok(()),
            Err(source) => Err(HubError::NotRecorded { name: new.name.clone(), source }),
        }
    }

    /// Opens a hub to clients.
    fn open(&self, new: &NewHub, made: Arc<HubLog>) -> Result<Arc<HubLog>, HubError> {
        let groups = ConsumerGroups::of(new.groups.iter().cloned()).map_err(|error| HubError::Refused {
            problem: error.to_string(),
            help: "name fewer".to_owned(),
        })?;
        self.gateway
            .open_hub_with(Arc::clone(&made) as _, Some(Arc::clone(&made) as _), groups)
            .map_err(|taken| HubError::Conflict { problem: taken.to_string(), help: String::new() })?;
        tracing::info!(hub = %new.name, partitions = new.partitions, "made a hub");
        Ok(made)
    }

    fn refuse_bad(&self, new: &NewHub) -> Result<(), HubError> {
        let refused = |problem: String, help: &str| Err(HubError::Refused { problem, help: help.to_owned() });
        if let Some(there) = self.find(new.name.as_str()) {
            let (name, partitions) = (name_of(&there), there.partition_count());
            return Err(HubError::Conflict {
                problem: match *name == new.name {
                    true => format!("the hub {name} is there already, with {partitions} partitions"),
                    false => format!(
                        "there is a hub {name}, and names must differ in more than the case of their letters"
                    ),
                },
                help: "give the hub another name".to_owned(),
            });
        }
        let is_taken = |source: &&HubName| source.as_str().eq_ignore_ascii_case(new.name.as_str());
        if let Some(source) = self.sources.iter().find(is_taken) {
            return Err(HubError::Conflict {
                problem: format!(
                    "{source} is the name of a source: functions read a hub of somebody else by it"
                ),
                help: "give the hub another name".to_owned(),
            });
        }
        if is_reserved(new.name.as_str()) {
            return refused(RESERVED.to_owned(), "give the hub another name");
        }
        if !(1..=MAX_PARTITIONS).contains(&new.partitions) {
            let problem = format!("a hub has 1 to {MAX_PARTITIONS} partitions, not {}", new.partitions);
            return refused(problem, "keys are spread over the partitions; 4 are the default");
        }
        if self.all().len() >= MAX_HUBS {
            return refused(
                format!("there are {MAX_HUBS} hubs, and no more can be"),
                "delete one that is not needed",
            );
        }
        if new.groups.len() >= MAX_CONSUMER_GROUPS {
            return refused(format!("a hub has {MAX_CONSUMER_GROUPS} consumer groups at most"), "name fewer");
        }
        Ok(())
    }

    /// Deletes a hub with its events and the checkpoints of functions that read it once. It goes on to its end also when
    /// nobody waits for it any more.
    ///
    /// # Errors
    /// When somebody needs it, or it cannot be deleted; it goes on as before then, except when the answer says otherwise.
    pub(crate) async fn delete(self: &Arc<Self>, name: &str, act: Act) -> Result<Deleted, HubError> {
        let (hubs, name) = (Arc::clone(self), name.to_owned());
        to_its_end(async move { hubs.delete_now(&name, act).await }).await
    }

    async fn delete_now(&self, name: &str, act: Act) -> Result<Deleted, HubError> {
        let _changing = self.changing.lock().await;
        let Some(hub) = self.find(name) else { return Err(HubError::NotThere { name: shown(name) }) };
        let name = name_of(&hub);
        self.refuse_needed(name)?;
        let before = self.stored(name).await?;
        let version = before.as_ref().map_or(Version::NONE, |stored| stored.version);
        let (incarnation, partitions) =
            (tidegate_model::ports::EventLog::incarnation(&*hub), hub.partition_count());
        let deleting =
            Record::Deleting { incarnation, partitions, events: events_of(&hub), act: act.clone() };
        let version = self.change(name, version, Some(&deleting), None).await?;
        let groups = self.groups(name);
        self.gateway.close_hub(name);
        let (log, hub_name) = (Arc::clone(&self.log), name.clone());
        if let Err(error) = blocking(move || log.delete_hub(&hub_name)).await {
            if self.log.hub(name).is_some() {
                self.take_back(name, version, before, Arc::clone(&hub), groups).await;
            }
            return Err(error.into());
        }
        let deleted = end(&self.store, name, version, &deleting).await?;
        tracing::info!(hub = %name, events = deleted.events, "a hub is gone");
        Ok(deleted)
    }

    /// A hub that could not be deleted goes on.
    async fn take_back(
        &self,
        name: &HubName,
        version: Version,
        before: Option<Stored>,
        hub: Arc<HubLog>,
        groups: Vec<ConsumerGroupName>,
    ) {
        if let Err(error) =
            self.change(name, version, before.map(|stored| stored.record).as_ref(), None).await
        {
            tracing::error!(hub = %name, %error, "a hub could not be deleted, and the next start will try it again");
        }
        let opened = ConsumerGroups::of(groups)
            .ok()
            .map(|groups| self.gateway.open_hub_with(Arc::clone(&hub) as _, Some(hub as _), groups));
        if !matches!(opened, Some(Ok(()))) {
            tracing::error!(hub = %name, "a hub could not be opened again; the next start does");
        }
    }

    fn refuse_needed(&self, name: &HubName) -> Result<(), HubError> {
        let readers: Vec<&str> = self.readers(name).into_iter().map(FunctionName::as_str).collect();
        if !readers.is_empty() {
            let functions = readers.join(", ");
            return Err(HubError::Conflict {
                problem: format!("the hub {name} is read by {functions}"),
                help: format!(
                    "take [function.{}] out of the configuration and start the server with it; then delete the hub",
                    readers.join("] and [function.")
                ),
            });
        }
        if self.is_declared(name) {
            return Err(HubError::Conflict {
                problem: format!("the configuration declares the hub {name}, and would make it again"),
                help: format!(
                    "take [hub.{name}] out of the configuration and start the server with it; then delete the hub"
                ),
            });
        }
        Ok(())
    }

    /// Adds a consumer group; false when it is there already.
    ///
    /// # Errors
    /// When there is no such hub, or it has as many groups as it may.
    pub(crate) async fn add_group(
        self: &Arc<Self>,
        hub: &str,
        group: ConsumerGroupName,
        act: Act,
    ) -> Result<bool, HubError> {
        let (hubs, hub) = (Arc::clone(self), hub.to_owned());
        to_its_end(async move { hubs.add_group_now(&hub, group, act).await }).await
    }

    async fn add_group_now(&self, hub: &str, group: ConsumerGroupName, act: Act) -> Result<bool, HubError> {
        let _changing = self.changing.lock().await;
        let (name, open, stored) = self.to_group(hub).await?;
        if open.consumer_groups().find(group.as_str()).is_some() {
            return Ok(false);
        }
        if open.consumer_groups().all().len() >= MAX_CONSUMER_GROUPS {
            let problem =
                format!("the hub {name} has {MAX_CONSUMER_GROUPS} consumer groups, and no more can be");
            return Err(HubError::Refused {
                problem,
                help: format!("remove one: tidegate hubs groups {name} remove GROUP"),
            });
        }
        let (version, mut groups) = stored;
        groups.push(group.as_str().to_owned());
        let entry = about_group("hub.group-add", &name, &group, act);
        self.change(&name, version, Some(&Record::Standing { consumer_groups: groups }), Some(entry)).await?;
        // It was counted under the lock.
        let _ = open.consumer_groups().add(group);
        Ok(true)
    }

    /// Removes a consumer group; who receives in it is detached.
    ///
    /// # Errors
    /// When there is no such hub or group, or the group has to be.
    pub(crate) async fn remove_group(
        self: &Arc<Self>,
        hub: &str,
        group: ConsumerGroupName,
        act: Act,
    ) -> Result<(), HubError> {
        let (hubs, hub) = (Arc::clone(self), hub.to_owned());
        to_its_end(async move { hubs.remove_group_now(&hub, group, act).await }).await
    }

    async fn remove_group_now(&self, hub: &str, group: ConsumerGroupName, act: Act) -> Result<(), HubError> {
        let _changing = self.changing.lock().await;
        let (name, open, stored) = self.to_group(hub).await?;
        if group == ConsumerGroupName::default() {
            let problem = format!("every hub has the consumer group {group}");
            return Err(HubError::Refused { problem, help: "leave it unused".to_owned() });
        }
        if open.consumer_groups().find(group.as_str()).is_none() {
            return Err(HubError::NotThere { name: format!("{name}/ConsumerGroups/{group}") });
        }
        let declared = self.declared.iter().find(|declared| declared.name == name);
        if declared.is_some_and(|declared| declared.groups.contains(&group)) {
            return Err(HubError::Conflict {
                problem: format!(
                    "the configuration names the consumer group {group} of {name}, and would add it again"
                ),
                help: format!(
                    "take it out of `consumer_groups` of [hub.{name}], and start the server with that"
                ),
            });
        }
        let (version, mut groups) = stored;
        groups.retain(|other| !other.eq_ignore_ascii_case(group.as_str()));
        let entry = about_group("hub.group-remove", &name, &group, act);
        self.change(&name, version, Some(&Record::Standing { consumer_groups: groups }), Some(entry)).await?;
        self.gateway.remove_consumer_group(&open, &group);
        Ok(())
    }

    /// The hub whose groups are to be changed, and those of them that its register has.
    async fn to_group(
        &self,
        hub: &str,
    ) -> Result<(HubName, Arc<tidegate_gateway::Hub>, (Version, Vec<String>)), HubError> {
        let Some(open) = self.gateway.hub(hub) else { return Err(HubError::NotThere { name: shown(hub) }) };
        let name = open.name().clone();
        let stored = match self.stored(&name).await? {
            None => (Version::NONE, Vec::new()),
            Some(Stored { version, record: Record::Standing { consumer_groups } }) => {
                (version, consumer_groups)
            }
            Some(Stored { record: Record::Creating { .. } | Record::Deleting { .. }, .. }) => {
                return Err(not_finished(&name));
            }
        };
        Ok((name, open, stored))
    }

    async fn stored(&self, name: &HubName) -> Result<Option<Stored>, StoreError> {
        let register = self.store.register(&key_of(name)).await?;
        register.map(|register| stored(&register)).transpose()
    }

    async fn change(
        &self,
        name: &HubName,
        from: Version,
        record: Option<&Record>,
        entry: Option<NewTrailEntry>,
    ) -> Result<Version, StoreError> {
        self.store.change_register(change(name, from, record, entry, &self.clock)).await
    }
}

impl Record {
    fn creating(new: &NewHub, act: Act) -> Self {
        let millis = |age: Duration| u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        Self::Creating {
            partitions: new.partitions,
            max_age_ms: new.retention.max_age.map(millis),
            max_bytes: new.retention.max_bytes,
            consumer_groups: texts(&new.groups),
            act,
        }
    }
}

/// Finishes what was begun before the start: hubs that were being made are there now, and hubs that were being deleted are
/// gone. The consumer groups that were added by command, by hub.
///
/// # Errors
/// When it cannot be finished, or a hub that was made by command is lost.
pub(crate) async fn finish(
    log: &Arc<Log>,
    store: &SqliteStore,
    clock: &SharedClock,
) -> Result<BTreeMap<HubName, Vec<ConsumerGroupName>>, Failure> {
    let mut groups = BTreeMap::new();
    for register in store.registers(HUB).await? {
        let unreadable = |problem: String| StoreError::Damaged {
            detail: format!("the register of the hub {:?}: {problem}", register.name),
        };
        let name = HubName::new(&register.name).map_err(|error| unreadable(error.to_string()))?;
        let Stored { version, record } = stored(&register)?;
        let consumer_groups = match record {
            Record::Standing { consumer_groups } => {
                if log.hub(&name).is_none() {
                    let message = format!(
                        "the log has no hub {name}, which was made by command: acknowledged events may be missing"
                    );
                    return Err(Failure::new(ErrorCode::CHECKPOINT_BEYOND_LOG, message).help(
                        "restore the directory log/ that belongs to the store, or begin with a new --data-dir",
                    ));
                }
                consumer_groups
            }
            Record::Creating { partitions, max_age_ms, max_bytes, consumer_groups, act } => {
                let retention = RetentionPolicy { max_age: max_age_ms.map(Duration::from_millis), max_bytes };
                let groups = names(&consumer_groups).map_err(unreadable)?;
                let new = NewHub { name: name.clone(), partitions, retention, groups };
                make(log, &new).await?;
                let standing = Record::Standing { consumer_groups: consumer_groups.clone() };
                let entry = created(&new, act);
                store.change_register(change(&name, version, Some(&standing), Some(entry), clock)).await?;
                tracing::info!(hub = %name, "made a hub, which had been begun");
                consumer_groups
            }
            deleting @ Record::Deleting { incarnation, .. } => {
                let same =
                    |hub: &Arc<HubLog>| tidegate_model::ports::EventLog::incarnation(&**hub) == incarnation;
                if log.hub(&name).is_some_and(|hub| same(&hub)) {
                    let (log, name) = (Arc::clone(log), name.clone());
                    blocking(move || log.delete_hub(&name)).await?;
                }
                end(store, &name, version, &deleting).await?;
                tracing::info!(hub = %name, "deleted a hub, which had been begun");
                continue;
            }
        };
        groups.insert(name, names(&consumer_groups).map_err(unreadable)?);
    }
    Ok(groups)
}

/// Ends what the store has of a hub that the log has not any more.
async fn end(
    store: &SqliteStore,
    name: &HubName,
    version: Version,
    deleting: &Record,
) -> Result<Deleted, StoreError> {
    let Record::Deleting { partitions, events, act, .. } = deleting else {
        return Err(StoreError::Refused { detail: format!("the hub {name} is not being deleted") });
    };
    let (mut parked, mut dead_letters) = (0, 0);
    loop {
        let settled = store.settle_hub(name, act.at, SETTLE_STEP).await?;
        if settled == Settled::default() {
            break;
        }
        parked += settled.parked;
        dead_letters += settled.dead_letters;
    }
    let lanes = store.checkpoints().await?.into_iter().filter(|checkpoint| checkpoint.lane.hub == *name);
    let checkpoints = lanes.count() as u64;
    let deleted = Deleted { partitions: *partitions, events: *events, checkpoints, parked, dead_letters };
    let detail = serde_json::to_value(deleted).expect("numbers have JSON forms");
    let entry = NewTrailEntry { action: "hub.delete", subject: name.to_string(), act: act.clone(), detail };
    let change = RegisterChange {
        key: key_of(name),
        from: version,
        value: None,
        at: act.at,
        notices: Vec::new(),
        trail: vec![entry],
    };
    store.forget_hub(name, change).await?;
    Ok(deleted)
}

/// Makes the hub in the log; it may be there.
async fn make(log: &Arc<Log>, new: &NewHub) -> Result<Arc<HubLog>, LogError> {
    let (log, name, partitions) = (Arc::clone(log), new.name.clone(), new.partitions);
    let settings = HubSettings { retention: Some(new.retention) };
    blocking(move || log.create_hub_with(&name, partitions, settings)).await
}

/// Runs what blocks where it may.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

/// Runs a change to its end, whether or not somebody waits for it.
async fn to_its_end<T: Send + 'static>(
    change: impl Future<Output = Result<T, HubError>> + Send + 'static,
) -> Result<T, HubError> {
    match tokio::spawn(change).await {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(StoreError::Unavailable { detail: "the program is stopping".to_owned() }.into()),
    }
}

fn change(
    name: &HubName,
    from: Version,
    record: Option<&Record>,
    entry: Option<NewTrailEntry>,
    clock: &SharedClock,
) -> RegisterChange {
    let value = record.map(|record| serde_json::to_value(record).expect("a record has a JSON form"));
    let trail = entry.into_iter().collect();
    RegisterChange { key: key_of(name), from, value, at: clock.now(), notices: Vec::new(), trail }
}

fn stored(register: &tidegate_model::register::Register) -> Result<Stored, StoreError> {
    let record = serde_json::from_value(register.value.clone()).map_err(|error| StoreError::Damaged {
        detail: format!("the register of the hub {:?} cannot be understood: {error}", register.name),
    })?;
    Ok(Stored { version: register.version, record })
}

fn created(new: &NewHub, act: Act) -> NewTrailEntry {
    let detail = serde_json::json!({ "partitions": new.partitions, "consumer_groups": texts(&new.groups) });
    NewTrailEntry { action: "hub.create", subject: new.name.to_string(), act, detail }
}

fn about_group(action: &'static str, hub: &HubName, group: &ConsumerGroupName, act: Act) -> NewTrailEntry {
    let detail = serde_json::json!({ "consumer_group": group.as_str() });
    NewTrailEntry { action, subject: hub.to_string(), act, detail }
}

fn not_finished(name: &HubName) -> HubError {
    HubError::Conflict {
        problem: format!("a change of the hub {name} was begun and could not be finished"),
        help: "start the server again: it finishes what was begun".to_owned(),
    }
}

fn events_of(hub: &HubLog) -> u64 {
    let partitions = (0..hub.partition_count()).map(PartitionId);
    let statuses = partitions.filter_map(|partition| hub.status(partition).ok());
    statuses.map(|status| status.tail.distance_from(status.head)).sum()
}

fn key_of(name: &HubName) -> RegisterKey {
    RegisterKey::new(HUB, name.as_str())
}

fn name_of(hub: &HubLog) -> &HubName {
    tidegate_model::ports::EventLog::hub(hub)
}

fn texts(groups: &[ConsumerGroupName]) -> Vec<String> {
    groups.iter().map(|group| group.as_str().to_owned()).collect()
}

fn names(groups: &[String]) -> Result<Vec<ConsumerGroupName>, String> {
    groups.iter().map(|group| ConsumerGroupName::new(group).map_err(|error| error.to_string())).collect()
}

/// As much of a name as a message shows.
fn shown(name: &str) -> String {
    name.chars().take(64).collect()
}

#[cfg(test)]
mod tests;
