//! The link in the mail about an open circuit: it lets whoever got the mail restart the function, once.
//!
//! - It is *signed*: nobody can make one up ([`token`]).
//! - It *expires*, and belongs to one outage: when the circuit has closed, or has opened anew, it does nothing.
//! - It works *once*: its use is a register, made by compare-and-set before anything is restarted.
//! - *Looking changes nothing*: mail scanners fetch every link in a mail. `GET` shows how the circuit stands, with a
//!   button; only the button's `POST` restarts.
//!
//! A crash between the use and the restart leaves a use that is not done. After [`RETRY_AFTER`] the same link may be used
//! to try again; so may it at once when the restart said that it failed. Restarting what runs changes nothing.

mod pages;
mod routes;
pub mod token;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tidegate_model::checkpoint::FunctionName;
use tidegate_model::circuit::{CIRCUIT, Circuit, CircuitState};
use tidegate_model::clock::{SharedClock, Timestamp};
use tidegate_model::error::ErrorKind;
use tidegate_model::health::InstanceHealth;
use tidegate_model::notice::Notice;
use tidegate_model::ports::{Commits, RegisterChange, Registers, Store, StoreError};
use tidegate_model::register::{RegisterKey, Version};
use tidegate_model::trail::{Act, NewTrailEntry};

use crate::incident;
pub use routes::routes;
pub use token::LinkKey;
use token::{Claim, Unacceptable};

/// The [kind](RegisterKey::kind) of the registers that hold the uses of links. A register's name is the link's nonce.
pub const LINK_USE: &str = "link-use";

/// The action in the audit trail.
pub const ACTION: &str = "circuit.restart-link";

/// How long a link works if nothing else is configured.
pub const DEFAULT_LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// A use that is not done after this time was cut short by a crash: the link may be used again.
pub const RETRY_AFTER: Duration = Duration::from_secs(60);

/// How far back the page shows how events fared.
pub(crate) const HEALTH_WINDOW: Duration = Duration::from_secs(600);

/// Restarts a function whose circuit is open. Restarting one that is not stopped changes nothing.
#[async_trait]
pub trait Restart: Send + Sync + 'static {
    /// Restarts `function` in the name of `by`.
    async fn restart(&self, function: &FunctionName, by: &str) -> Result<(), RestartError>;
}

/// Why a function was not restarted, for a person.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RestartError(pub String);

/// Makes links.
#[derive(Clone)]
pub struct Issuer {
    key: LinkKey,
    base_url: String,
    lifetime: Duration,
}

impl Issuer {
    /// Makes links that begin with `base_url` (`https://tide.example.com`, where [`routes`] is mounted) and work for
    /// `lifetime`.
    pub fn new(key: LinkKey, base_url: &str, lifetime: Duration) -> Self {
        Self { key, base_url: base_url.trim_end_matches('/').to_owned(), lifetime }
    }

    /// A link that ends the outage that `circuit` is in. The same notice to the same receiver has the same nonce, so that
    /// the links in a mail that arrives twice are one.
    pub(crate) fn link(
        &self,
        function: &FunctionName,
        version: Version,
        circuit: &Circuit,
        notice: &Notice,
        sent_to: &str,
        now: Timestamp,
    ) -> String {
        let claim = Claim {
            function: function.clone(),
            version,
            opened_at: incident::outage_of(circuit),
            expires_at: now.plus(self.lifetime),
            nonce: self.key.nonce(&crate::cloud_event::event_id(notice), sent_to),
            sent_to: sent_to.to_owned(),
        };
        format!("{}{}{}", self.base_url, routes::PATH_PREFIX, self.key.sign(&claim))
    }
}

/// What the routes need.
pub struct Links {
    key: LinkKey,
    registers: Arc<dyn Registers>,
    health: Arc<dyn Commits>,
    restart: Arc<dyn Restart>,
    clock: SharedClock,
}

impl Links {
    /// Checks links signed with `key`, against `store`.
    pub fn new(key: LinkKey, store: &Arc<dyn Store>, restart: Arc<dyn Restart>, clock: SharedClock) -> Self {
        Self {
            key,
            registers: Arc::<dyn Store>::clone(store),
            health: Arc::<dyn Store>::clone(store),
            restart,
            clock,
        }
    }
}

/// A use of a link. It is the value of a register.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LinkUse {
    function: FunctionName,
    by: String,
    at: Timestamp,
    /// True when the restart went through.
    done: bool,
    /// What the restart said, if it failed.
    error: Option<String>,
    /// When the link expires: then its use need not be known any more.
    expires_at: Timestamp,
}

/// How a link stands.
pub(crate) enum Standing {
    /// It can be used.
    Usable(Box<Usable>),
    /// It cannot, and why.
    Unusable(Unusable),
}

/// A link that can be used.
pub(crate) struct Usable {
    claim: Claim,
    circuit: Circuit,
    health: Vec<InstanceHealth>,
    /// The version of its use: `NONE`, or that of a use that was cut short or failed.
    use_version: Version,
    last_error: Option<String>,
}

/// Why a link cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unusable {
    Forged,
    Expired { at: Timestamp },
    Used { at: Timestamp, by: String },
    InProgress { at: Timestamp, by: String },
    AlreadyClosed { function: FunctionName, since: Timestamp, by: String },
    OtherOutage { function: FunctionName, opened_at: Timestamp },
}

/// What pressing the button came to.
pub(crate) enum Pressed {
    Restarted { function: FunctionName, by: String, at: Timestamp },
    Failed { function: FunctionName, detail: String },
    Unusable(Unusable),
}

impl Links {
    /// How a link stands now. Changes nothing.
    pub(crate) async fn look(&self, token: &str) -> Result<Standing, StoreError> {
        let now = self.clock.now();
        let claim = match self.key.verify(token, now) {
            Ok(claim) => claim,
            Err(Unacceptable::Forged) => return Ok(Standing::Unusable(Unusable::Forged)),
            Err(Unacceptable::Expired(at)) => return Ok(Standing::Unusable(Unusable::Expired { at })),
        };
        let mut use_version = Version::NONE;
        let mut last_error = None;
        if let Some(register) = self.registers.register(&use_key(&claim)).await? {
            use_version = register.version;
            let used: LinkUse =
                serde_json::from_value(register.value).map_err(|error| StoreError::Damaged {
                    detail: format!("the use of a link, {LINK_USE}/{}, cannot be read: {error}", claim.nonce),
                })?;
            let LinkUse { at, by, done, error, .. } = used;
            if done {
                return Ok(Standing::Unusable(Unusable::Used { at, by }));
            }
            if error.is_none() && now.since(at) < RETRY_AFTER {
                return Ok(Standing::Unusable(Unusable::InProgress { at, by }));
            }
            last_error = error;
        }
        let circuit = self.circuit(&claim.function).await?;
        let function = claim.function.clone();
        if circuit.state == CircuitState::Closed {
            let Circuit { since, by, .. } = circuit;
            return Ok(Standing::Unusable(Unusable::AlreadyClosed { function, since, by }));
        }
        let opened_at = incident::outage_of(&circuit);
        if opened_at != claim.opened_at {
            return Ok(Standing::Unusable(Unusable::OtherOutage { function, opened_at }));
        }
        let health = self.health.health(&claim.function, now.minus(HEALTH_WINDOW)).await?;
        Ok(Standing::Usable(Box::new(Usable { claim, circuit, health, use_version, last_error })))
    }

    /// Uses a link: `name` is what the person called themselves; may be empty.
    pub(crate) async fn press(&self, token: &str, name: &str) -> Result<Pressed, StoreError> {
        let usable = match self.look(token).await? {
            Standing::Usable(usable) => *usable,
            Standing::Unusable(why) => return Ok(Pressed::Unusable(why)),
        };
        let Usable { claim, circuit, use_version, .. } = usable;
        let now = self.clock.now();
        // The name is what somebody typed; the address is where the link went. The trail holds both.
        let by = match name {
            "" => format!("the link to {}", claim.sent_to),
            name => format!("{name} by the link to {}", claim.sent_to),
        };
        let mut used = LinkUse {
            function: claim.function.clone(),
            by: by.clone(),
            at: now,
            done: false,
            error: None,
            expires_at: claim.expires_at,
        };
        let act = Act { by: by.clone(), reason: circuit.reason.clone(), at: now };
        let entry = NewTrailEntry {
            action: ACTION,
            subject: claim.function.to_string(),
            act,
            detail: serde_json::json!({
                "name": name,
                "sent_to": claim.sent_to,
                "link": claim.nonce,
                "issued_on_version": claim.version,
                "circuit_opened_at": claim.opened_at,
            }),
        };
        let use_version = match self.record_use(&claim, use_version, &used, now, vec![entry]).await {
            Ok(version) => version,
            // Somebody pressed at the same moment.
            Err(error) if error.kind() == ErrorKind::Conflict => {
                return Ok(Pressed::Unusable(match self.look(token).await? {
                    Standing::Unusable(why) => why,
                    Standing::Usable(_) => Unusable::InProgress { at: now, by: String::new() },
                }));
            }
            Err(error) => return Err(error),
        };

        let function = claim.function.clone();
        // An incident only tells the story: it keeps nobody from restarting.
        self.log_failure(incident::restarting(&*self.registers, function.as_str(), &circuit, &by, now).await);
        let restarted = self.restart.restart(&function, &by).await;
        let done_at = self.clock.now();
        used.done = restarted.is_ok();
        used.error = restarted.as_ref().err().map(|error| crate::mail::shortened(&error.0, 400));
        // If this is not recorded the link can be used again, which restarts what already runs and changes nothing.
        self.log_failure(self.record_use(&claim, use_version, &used, done_at, Vec::new()).await.map(drop));
        match restarted {
            Ok(()) => Ok(Pressed::Restarted { function, by, at: now }),
            Err(RestartError(detail)) => {
                let note = format!("the restart failed: {}", crate::mail::shortened(&detail, 400));
                self.log_failure(
                    incident::restart_failed(&*self.registers, function.as_str(), &circuit, &note, done_at)
                        .await,
                );
                Ok(Pressed::Failed { function, detail })
            }
        }
    }

    async fn circuit(&self, function: &FunctionName) -> Result<Circuit, StoreError> {
        let key = RegisterKey::new(CIRCUIT, function.as_str());
        match self.registers.register(&key).await? {
            // A circuit that nothing ever happened to has no register.
            None => Ok(Circuit::closed(self.clock.now())),
            Some(register) => serde_json::from_value(register.value)
                .map_err(|error| StoreError::Damaged { detail: format!("{key} cannot be read: {error}") }),
        }
    }

    async fn record_use(
        &self,
        claim: &Claim,
        from: Version,
        used: &LinkUse,
        at: Timestamp,
        trail: Vec<NewTrailEntry>,
    ) -> Result<Version, StoreError> {
        let value = Some(serde_json::json!(used));
        let change = RegisterChange { key: use_key(claim), from, value, at, notices: Vec::new(), trail };
        self.registers.change_register(change).await
    }

    fn log_failure(&self, result: Result<(), StoreError>) {
        if let Err(error) = result {
            tracing::warn!(%error, "a restart by link was not recorded in full");
        }
    }
}

fn use_key(claim: &Claim) -> RegisterKey {
    RegisterKey::new(LINK_USE, claim.nonce.to_string())
}

/// Forgets the uses of links that have expired: those links are refused for that.
pub async fn prune(registers: &dyn Registers, now: Timestamp) -> Result<(), StoreError> {
    for register in registers.registers(LINK_USE).await? {
        let expired = serde_json::from_value::<LinkUse>(register.value)
            .is_ok_and(|used| used.expires_at.plus(RETRY_AFTER) < now);
        if expired {
            let change = RegisterChange {
                key: RegisterKey::new(LINK_USE, register.name),
                from: register.version,
                value: None,
                at: now,
                notices: Vec::new(),
                trail: Vec::new(),
            };
            match registers.change_register(change).await {
                Err(error) if error.kind() != ErrorKind::Conflict => return Err(error),
                _ => {}
            }
        }
    }
    Ok(())
}
