//! Shares the lanes out among the processors of one store.
//!
//! Each processor announces itself in a register that it changes with every heartbeat, watches those of the others, and
//! looks who owns which lane. What follows is [decided](crate::balance) by all alike, and each claims what falls to it and
//! gives up what it has too many of.
//!
//! # What is guaranteed
//!
//! - A lane is taken only from an owner whose register did not change for `expires_after`, measured on this processor's
//!   steady clock while it looked, or is gone. Clocks that differ or jump change nothing; nor does an outage of the store,
//!   in which nobody is heard of.
//! - Should an owner have been alive all the same, it is fenced: every claim has a higher epoch, and the store takes nothing
//!   under a lower one. Two that claim at once settle it that way too.
//! - A name belongs to one running program at a time. A second one under the same name takes nothing until the first was
//!   silent for `expires_after`.
//! - What a processor did not commit, the next owner of its lanes processes again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidegate_model::checkpoint::{FunctionName, Lane, Ownership};
use tidegate_model::clock::{SharedClock, Timestamp, timeout};
use tidegate_model::parking::ParkedVersion;
use tidegate_model::ports::{RegisterChange, Store, StoreError};
use tidegate_model::register::{Register, RegisterKey, Version};
use tokio::sync::watch;
use tracing::{error, info, warn};

use crate::balance::{self, Decision, Instance, LaneOwner, Peers};
use crate::circuit::exchange::{Exchange, exchange};
use crate::circuit::{self, CircuitBreaker};
use crate::lane::OwnedLane;
use crate::workspace::Workspace;

/// The [kind](RegisterKey::kind) of the registers in which processors announce themselves. A register's name is the
/// processor's: its [owner](crate::settings::HostOptions::owner).
pub const INSTANCE: &str = "instance";

/// How many times [`expires_after`](crate::settings::Sharing::Shared) the register of one that is gone is kept.
const KEPT_FOR: u32 = 10;

/// How a processor announces itself. It is the value of a register.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Announcement {
    /// Another one each time that the program runs.
    life: String,
    /// Since when it runs.
    since: Timestamp,
    /// Counts its heartbeats.
    beat: u64,
    /// The functions whose lanes it takes.
    #[serde(default)]
    functions: BTreeSet<FunctionName>,
    /// Lanes that it leaves to others, as text.
    #[serde(default)]
    refuses: BTreeSet<String>,
}

/// Looks after the lanes of a processor that shares its store.
pub(crate) struct Keeper {
    store: Arc<dyn Store>,
    clock: SharedClock,
    workspace: Arc<Workspace>,
    lanes: Arc<[OwnedLane]>,
    /// Where the circuits that each function takes part in tell to step aside.
    gates: BTreeMap<FunctionName, Vec<circuit::Gate>>,
    /// Told who else is there.
    breaker: CircuitBreaker,
    heartbeat: Duration,
    expires_after: Duration,
    owner: String,
    mine: Announcement,
    peers: Peers,
    /// Once it is true nothing is claimed or given up any more.
    draining: watch::Receiver<bool>,
    /// When somebody acted on what is parked, as far as this processor has seen.
    parked: Option<ParkedVersion>,
    /// What was wrong in the last round.
    trouble: Option<String>,
}

/// What a keeper is made for.
pub(crate) struct KeeperSetup {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: SharedClock,
    pub(crate) workspace: Arc<Workspace>,
    pub(crate) lanes: Arc<[OwnedLane]>,
    pub(crate) gates: BTreeMap<FunctionName, Vec<circuit::Gate>>,
    pub(crate) breaker: CircuitBreaker,
    pub(crate) heartbeat: Duration,
    pub(crate) expires_after: Duration,
    pub(crate) owner: String,
    pub(crate) draining: watch::Receiver<bool>,
}

/// Why a round was not made.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the store does not answer")]
    NoAnswer,
    #[error("another running program has the name {0}; each needs its own")]
    NameInUse(String),
    #[error("the register {0} was changed by somebody else")]
    Overtaken(RegisterKey),
}

impl Keeper {
    pub(crate) fn new(setup: KeeperSetup) -> Self {
        let KeeperSetup {
            store,
            clock,
            workspace,
            lanes,
            gates,
            breaker,
            heartbeat,
            expires_after,
            owner,
            draining,
        } = setup;
        let mine = Announcement {
            life: format!("{:016x}", clock.random()),
            since: clock.now(),
            beat: 0,
            functions: BTreeSet::new(),
            refuses: BTreeSet::new(),
        };
        Self {
            store,
            clock,
            workspace,
            lanes,
            gates,
            breaker,
            heartbeat,
            expires_after,
            owner,
            mine,
            peers: Peers::default(),
            draining,
            parked: None,
            trouble: None,
        }
    }

    /// Tells this run of the program from others.
    pub(crate) fn life(&self) -> String {
        self.mine.life.clone()
    }

    /// Announces, looks and acts with every heartbeat until `end` turns true. It ends between two rounds.
    pub(crate) async fn run(mut self, mut end: watch::Receiver<bool>) {
        while !*end.borrow_and_update() {
            // A call that never returns must not keep the processor silent for ever. What was done by it is seen later.
            let (clock, limit) = (self.clock.clone(), self.expires_after);
            let round = timeout(&*clock, limit, self.round()).await.unwrap_or(Err(Trouble::NoAnswer));
            self.tell(round.err());
            tokio::select! {
                biased;
                _ = end.changed() => {}
                () = clock.sleep(self.heartbeat) => {}
            }
        }
    }

    fn tell(&mut self, trouble: Option<Trouble>) {
        let said = trouble.as_ref().map(ToString::to_string);
        if said != self.trouble {
            match &trouble {
                None => info!(owner = self.owner, "lanes are shared out again"),
                Some(Trouble::NameInUse(_)) => error!(error = said, "this processor takes no lanes"),
                Some(_) => warn!(error = said, "lanes are not shared out at the moment"),
            }
        }
        self.trouble = said;
    }

    async fn round(&mut self) -> Result<(), Trouble> {
        let registers = self.store.registers(INSTANCE).await?;
        let seen = registers.iter().map(|register| (register.name.clone(), register.version));
        self.peers.look(self.clock.monotonic(), self.heartbeat * 2, seen);
        self.breaker.set_others(self.others(&registers).map(|register| register.name.clone()));
        self.announce(&registers).await?;
        self.clear_away(&registers).await?;
        self.notice_acts().await?;
        // From before the look: a lane that is released meanwhile is not taken for one that was forgotten.
        let owned: Vec<bool> = self.lanes.iter().map(OwnedLane::is_owned).collect();
        let ownerships = self.store.ownerships().await?;
        self.notice_losses(&ownerships);
        if *self.draining.borrow() {
            return Ok(());
        }
        let (owners, strays) = self.owners(&ownerships, &owned);
        let alive = self.alive(&registers);
        let decision = balance::decide(&self.owner, &alive, &owners);
        self.act(decision, &strays, &ownerships).await
    }

    // ---------------------------------------------------------------- signs of life

    /// Says that this processor is there, and what it takes.
    async fn announce(&mut self, registers: &[Register]) -> Result<(), Trouble> {
        let now = self.clock.monotonic();
        self.mine.beat += 1;
        self.mine.functions = if *self.draining.borrow() {
            BTreeSet::new()
        } else {
            let takes = |gates: &[circuit::Gate]| gates.iter().all(|gate| gate.state().step_aside.is_none());
            self.gates.iter().filter(|(_, gates)| takes(gates)).map(|(name, _)| name.clone()).collect()
        };
        let refused = self.lanes.iter().filter(|lane| lane.is_refused(now));
        self.mine.refuses = refused.map(|lane| lane.lane.to_string()).collect();

        let stored = registers.iter().find(|register| register.name == self.owner);
        let is_ours = stored.and_then(parse).is_some_and(|announced| announced.life == self.mine.life);
        if stored.is_some() && !is_ours && self.peers.is_alive(&self.owner, self.expires_after) {
            return Err(Trouble::NameInUse(self.owner.clone()));
        }
        let value = serde_json::to_value(&self.mine).map_err(|error| StoreError::Refused {
            detail: format!("the announcement is no JSON: {error}"),
        })?;
        let key = RegisterKey::new(INSTANCE, self.owner.clone());
        let change = RegisterChange {
            key: key.clone(),
            from: stored.map_or(Version::NONE, |register| register.version),
            value: Some(value),
            at: self.clock.now(),
            notices: Vec::new(),
            trail: Vec::new(),
        };
        match exchange(&*self.store, change).await? {
            Exchange::Done(_) => Ok(()),
            Exchange::Moved => Err(Trouble::Overtaken(key)),
        }
    }

    /// Removes the registers of processors that are gone for long.
    async fn clear_away(&self, registers: &[Register]) -> Result<(), Trouble> {
        for register in registers.iter().filter(|register| register.name != self.owner) {
            if !self.peers.is_alive(&register.name, self.expires_after * KEPT_FOR) {
                remove(&*self.store, &self.clock, &register.name, register.version).await?;
                info!(instance = register.name, "a processor that was not heard of for long is forgotten");
            }
        }
        Ok(())
    }

    /// The registers of the other processors that are there.
    fn others<'r>(&self, registers: &'r [Register]) -> impl Iterator<Item = &'r Register> {
        registers.iter().filter(|register| {
            register.name != self.owner && self.peers.is_alive(&register.name, self.expires_after)
        })
    }

    /// The processors that are there. Of itself, a processor knows best.
    fn alive(&self, registers: &[Register]) -> Vec<Instance> {
        let instance = |name: &str, announced: Option<Announcement>| {
            // One that cannot be read keeps what it has and takes nothing.
            let (functions, refuses) =
                announced.map(|announced| (announced.functions, announced.refuses)).unwrap_or_default();
            Instance { name: name.to_owned(), functions, refuses }
        };
        let mut alive: Vec<Instance> =
            self.others(registers).map(|register| instance(&register.name, parse(register))).collect();
        alive.push(instance(&self.owner, Some(self.mine.clone())));
        alive
    }

    // ---------------------------------------------------------------- lanes

    /// Has the lanes look again at what is parked when somebody acted on that, perhaps through another processor. It is
    /// looked at first before any lane is claimed, so none can miss what comes later.
    async fn notice_acts(&mut self) -> Result<(), Trouble> {
        let version = self.store.parked_version().await?;
        if self.parked.replace(version).is_some_and(|before| before != version) {
            self.lanes.iter().filter(|lane| lane.is_owned()).for_each(OwnedLane::changed_from_outside);
        }
        Ok(())
    }

    /// Gives up at once what somebody else has claimed, instead of finding out with the next commit.
    fn notice_losses(&self, ownerships: &[Ownership]) {
        for lane in &*self.lanes {
            let Some(stored) = ownerships.iter().find(|stored| stored.lane == lane.lane) else { continue };
            let (tenure, ours) = (*lane.tenure().borrow(), lane.epoch());
            let Some(term) = tenure.owned() else { continue };
            if stored.owner != self.owner && stored.epoch > ours {
                warn!(lane = %lane.lane, owner = stored.owner, "another processor owns the lane now");
                lane.lost(term);
            }
        }
    }

    /// Who owns which lane, and the strays: lanes that belong to this processor although it does not know of it. They were
    /// claimed and the answer was lost, or are from an earlier life.
    fn owners<'s>(
        &self,
        ownerships: &'s [Ownership],
        owned_before: &[bool],
    ) -> (Vec<LaneOwner>, Vec<&'s Ownership>) {
        let (mut owners, mut strays) = (Vec::new(), Vec::new());
        for (lane, owned_before) in self.lanes.iter().zip(owned_before) {
            if lane.assigned().is_some() {
                // The readers of its hub say who owns it.
                continue;
            }
            let stored = ownerships.iter().find(|stored| stored.lane == lane.lane);
            let stored = stored.filter(|stored| !stored.owner.is_empty());
            let owner = match stored {
                _ if lane.is_owned() => Some(self.owner.clone()),
                Some(stored) if stored.owner == self.owner => {
                    if !owned_before {
                        strays.push(stored);
                    }
                    Some(self.owner.clone())
                }
                stored => stored.map(|stored| stored.owner.clone()),
            };
            owners.push(LaneOwner { lane: lane.lane.clone(), owner });
        }
        (owners, strays)
    }

    async fn act(
        &self,
        decision: Decision,
        strays: &[&Ownership],
        ownerships: &[Ownership],
    ) -> Result<(), Trouble> {
        let Decision { mut claim, give_up } = decision;
        for stray in strays {
            if give_up.contains(&stray.lane) {
                self.store.release(&stray.lane, stray.epoch, self.clock.now()).await?;
            } else {
                claim.push(stray.lane.clone());
            }
        }
        for lane in self.named(&give_up) {
            if !lane.is_stopped() {
                lane.leave();
                continue;
            }
            // It has no pump that could give it up. Another processor may have more luck with it.
            let tenure = *lane.tenure().borrow();
            if let Some(term) = tenure.owned() {
                self.store.release(&lane.lane, lane.epoch(), self.clock.now()).await?;
                lane.lost(term);
            }
        }
        for lane in self.named(&claim) {
            if *self.draining.borrow() {
                break;
            }
            if lane.is_stopped() || lane.is_owned() {
                continue;
            }
            let ownership = self.store.claim(&lane.lane, &self.owner, self.clock.now()).await?;
            info!(lane = %lane.lane, epoch = ownership.epoch.0, "the lane is claimed");
            // Others may have changed its documents since this processor had it last.
            self.workspace.forget();
            lane.assign(ownership.epoch, is_in_disorder(ownerships, &lane.lane));
        }
        Ok(())
    }

    fn named<'a>(&'a self, named: &'a [Lane]) -> impl Iterator<Item = &'a OwnedLane> {
        self.lanes.iter().filter(|lane| named.contains(&lane.lane))
    }
}

/// Whether the last owner of a lane has not released it: it did not end in good order, or is still there.
pub(crate) fn is_in_disorder(ownerships: &[Ownership], lane: &Lane) -> bool {
    ownerships.iter().any(|stored| stored.lane == *lane && !stored.owner.is_empty())
}

fn parse(register: &Register) -> Option<Announcement> {
    serde_json::from_value(register.value.clone()).ok()
}

async fn remove(
    store: &dyn Store,
    clock: &SharedClock,
    name: &str,
    from: Version,
) -> Result<Exchange, StoreError> {
    let key = RegisterKey::new(INSTANCE, name);
    let at = clock.now();
    let change = RegisterChange { key, from, value: None, at, notices: Vec::new(), trail: Vec::new() };
    exchange(store, change).await
}

/// Tells the others that a processor is gone, so that they need not wait for that.
pub(crate) async fn sign_off(
    store: &dyn Store,
    clock: &SharedClock,
    owner: &str,
    life: &str,
) -> Result<(), StoreError> {
    let Some(register) = store.register(&RegisterKey::new(INSTANCE, owner)).await? else { return Ok(()) };
    if parse(&register).is_some_and(|announced| announced.life == life) {
        remove(store, clock, owner, register.version).await?;
    }
    Ok(())
}
