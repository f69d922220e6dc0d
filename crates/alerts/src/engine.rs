//! Applies the [rules](crate::rules): every instance looks, and the fleet tells once.
//!
//! Before it gathers its numbers an engine reads what was told so far. A change is made by compare-and-set on what it
//! read, with the notice in the same transaction: of several engines that see the same, one tells, and an engine whose
//! numbers are older than what another has told changes nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::json;
use tidegate_model::clock::{SharedClock, Timestamp};
use tidegate_model::error::ErrorKind;
use tidegate_model::notice::NewNotice;
use tidegate_model::ports::{Outbox, RegisterChange, Registers, Store, StoreError};
use tidegate_model::register::{RegisterKey, Version};

use crate::incident;
use crate::rules::{AlertState, Condition, Decision, Finding, Observation, RuleSettings, decide, findings};

/// The [kind](RegisterKey::kind) of the registers that hold alerts. A register's name is the rule's notice kind, `@`, and
/// the subject.
pub const ALERT: &str = "alert";

/// Gathers the numbers.
#[async_trait]
pub trait Observe: Send + Sync + 'static {
    /// The numbers as they are now: all of them, or an error. Then nothing is decided.
    async fn observe(&self, now: Timestamp) -> Result<Observation, StoreError>;
}

/// Watches, and makes notices.
pub struct Engine {
    registers: Arc<dyn Registers>,
    outbox: Arc<dyn Outbox>,
    observe: Arc<dyn Observe>,
    settings: RuleSettings,
    targets: Vec<String>,
    clock: SharedClock,
}

/// What one look came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Looked {
    /// How many notices it made.
    pub told: usize,
    /// How many changes another instance had made already.
    pub outrun: usize,
}

impl Engine {
    /// An engine over a store. `targets` are the names of all deliveries, from
    /// [`Dispatcher::delivery_names`](crate::dispatcher::Dispatcher::delivery_names).
    pub fn new(
        store: &Arc<dyn Store>,
        observe: Arc<dyn Observe>,
        settings: RuleSettings,
        targets: Vec<String>,
        clock: SharedClock,
    ) -> Self {
        Self {
            registers: Arc::<dyn Store>::clone(store),
            outbox: Arc::<dyn Store>::clone(store),
            observe,
            settings,
            targets,
            clock,
        }
    }

    /// Looks again and again, with a pause of `every` in between. It ends when it is dropped, at any point.
    pub async fn run(&self, every: Duration) -> std::convert::Infallible {
        loop {
            if let Err(error) = self.look().await {
                tracing::warn!(%error, "nothing could be watched; it is tried again in {every:?}");
            }
            self.clock.sleep(every).await;
        }
    }

    /// Looks once: decides every alert and brings every incident where it belongs.
    ///
    /// # Errors
    /// When the store or the observation fails. What was changed before stays; the next look goes on.
    pub async fn look(&self) -> Result<Looked, StoreError> {
        let before = self.told_so_far().await?;
        let now = self.clock.now();
        let observation = self.observe.observe(now).await?;
        let mut found = findings(&observation, &self.settings, now);
        found.extend(gone(&before, &found));

        let mut looked = Looked::default();
        for finding in &found {
            let (version, state) = match before.get(&name_of(finding)) {
                Some((version, state)) => (*version, state.as_ref()),
                None => (Version::NONE, None),
            };
            let decision =
                decide(state, finding.rule, &finding.subject, finding.condition, &self.settings, now);
            let Some(change) = change_of(finding, version, decision, now) else { continue };
            let notices = change.notices.len();
            match self.registers.change_register(change).await {
                Ok(_) => looked.told += notices,
                Err(error) if error.kind() == ErrorKind::Conflict => looked.outrun += 1,
                Err(error) => return Err(error),
            }
        }
        incident::advance(&*self.registers, &*self.outbox, &self.targets, now).await?;
        Ok(looked)
    }

    async fn told_so_far(&self) -> Result<BTreeMap<String, (Version, Option<AlertState>)>, StoreError> {
        let alerts = self.registers.registers(ALERT).await?;
        Ok(alerts
            .into_iter()
            .map(|register| {
                let state = serde_json::from_value(register.value)
                    .inspect_err(|error| {
                        tracing::warn!(alert = register.name, %error, "an alert cannot be read and begins anew");
                    })
                    .ok();
                (register.name, (register.version, state))
            })
            .collect())
    }
}

/// All alerts, firing or over, ordered by rule and subject; for the console.
pub async fn list(registers: &dyn Registers) -> Result<Vec<AlertState>, StoreError> {
    let alerts = registers.registers(ALERT).await?;
    Ok(alerts.into_iter().filter_map(|register| serde_json::from_value(register.value).ok()).collect())
}

/// Alerts of things that are not there any more: they are clear.
fn gone(before: &BTreeMap<String, (Version, Option<AlertState>)>, found: &[Finding]) -> Vec<Finding> {
    before
        .values()
        .filter_map(|(_, state)| state.as_ref())
        .filter(|state| {
            !found.iter().any(|finding| finding.rule == state.rule && finding.subject == state.subject)
        })
        .map(|state| Finding {
            rule: state.rule,
            subject: state.subject.clone(),
            condition: Condition::Clear,
            numbers: json!({ "gone": true }),
        })
        .collect()
}

fn name_of(finding: &Finding) -> String {
    format!("{}@{}", finding.rule.notice_kind(), finding.subject)
}

fn change_of(finding: &Finding, from: Version, decision: Decision, now: Timestamp) -> Option<RegisterChange> {
    let (state, notice) = match decision {
        Decision::Nothing => return None,
        Decision::Forget => (None, None),
        Decision::Remember(state) => (Some(state), None),
        Decision::Fire(state) | Decision::Repeat(state) => {
            let notice = notice_of(finding, finding.rule.notice_kind().to_owned(), &state, now);
            (Some(state), Some(notice))
        }
        Decision::Resolve(state) => {
            let kind = format!("{}{RESOLVED}", finding.rule.notice_kind());
            let notice = notice_of(finding, kind, &state, now);
            (Some(state), Some(notice))
        }
    };
    Some(RegisterChange {
        key: RegisterKey::new(ALERT, name_of(finding)),
        from,
        value: state.map(|state| json!(state)),
        at: now,
        notices: notice.into_iter().collect(),
        trail: Vec::new(),
    })
}

/// What the kind of a notice that an alert is over ends in.
pub const RESOLVED: &str = ".resolved";

fn notice_of(finding: &Finding, kind: String, state: &AlertState, at: Timestamp) -> NewNotice {
    let mut data = finding.numbers.clone();
    if let Some(data) = data.as_object_mut() {
        data.insert("since".to_owned(), json!(state.since));
        data.insert("told".to_owned(), json!(state.told));
    }
    NewNotice { kind, subject: finding.subject.clone(), at, data }
}
