//! Carries notices from the outbox to every target, until the target has them or they are given up.
//!
//! ```text
//!   due ──► sending ──► delivered          each target by itself, in the order of the notices
//!    ▲         │   └──► given up
//!    └─────────┘ failed: later
//! ```
//!
//! Due, delivered and given up are in the outbox; *sending* is a lease on the target: a register of kind
//! [`DISPATCHER`], taken by compare-and-set before each try, for a little longer than a try can take. Of several instances
//! one sends, and another goes on when the lease of one that crashed has run out.
//!
//! | a crash | leaves | then |
//! |---|---|---|
//! | before the lease | due | it is sent once |
//! | after the lease, before the target has it | due, lease | it is sent once, when the lease has run out |
//! | after the target has it, before that is recorded | due, lease | it is sent **again**, with the same id |
//! | after that is recorded | delivered | nothing |
//!
//! The third case cannot be told from the second: the target's answer was lost with the process. A notice is rather told
//! twice than never, so it is sent again under the same `Message-ID`, `webhook-id` and event id, by which the receiver
//! recognises it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tidegate_model::checkpoint::FunctionName;
use tidegate_model::circuit::{CIRCUIT, Circuit, CircuitState};
use tidegate_model::clock::{SharedClock, Timestamp};
use tidegate_model::error::ErrorKind;
use tidegate_model::notice::{DeliveryState, NewNotice, Notice, NoticeId};
use tidegate_model::ports::{Outbox, RegisterChange, Registers, Store, StoreError};
use tidegate_model::register::{RegisterKey, Version};
use tokio::sync::watch;

use crate::email::{Accepted, EmailSender};
use crate::incident::{CIRCUIT_OPENED, CIRCUIT_PROBE_FAILED, outage_of};
use crate::links::{self, Issuer};
use crate::mail::{self, WhyItFails};
use crate::schedule::{Failure, GIVE_UP_AFTER, Mood, Next, Pending, after_failure, mood_after, next};
use crate::target::{InvalidTarget, Target};
use crate::webhook::WebhookSender;

/// The [kind](RegisterKey::kind) of the registers that say who sends to a target. A register's name is the delivery's.
pub const DISPATCHER: &str = "dispatcher";

/// How often it is looked for notices that other instances made.
pub const LOOK_EVERY: Duration = Duration::from_secs(2);

/// How much longer than a try a lease is.
pub const LEASE_MARGIN: Duration = Duration::from_secs(30);

/// The pause while the store does not answer.
const STORE_PAUSE: Duration = Duration::from_secs(2);

/// How often what need not be kept is forgotten.
const PRUNE_EVERY: Duration = Duration::from_secs(3600);

/// How many waiting notices are looked at for one try.
const LOOKED_AT: usize = 64;

/// Who tells.
#[derive(Clone, Debug)]
pub struct Publisher {
    /// Names this Tidegate as a URI: the `source` of its CloudEvents.
    pub source: String,
    /// Names it as a host, such as `tide.example.com`: what targets with a handshake agree to.
    pub origin: String,
    /// Names this instance: the id of the running program.
    pub instance: String,
}

/// Carries the notices.
pub struct Dispatcher {
    registers: Arc<dyn Registers>,
    outbox: Arc<dyn Outbox>,
    instance: String,
    issuer: Option<Issuer>,
    causes: Option<Arc<dyn WhyItFails>>,
    lines: Vec<Line>,
    clock: SharedClock,
    wake: watch::Sender<()>,
}

/// Wakes the dispatcher of this instance: there is a new notice.
#[derive(Clone)]
pub struct Waker(watch::Sender<()>);

impl Waker {
    /// Wakes it.
    pub fn wake(&self) {
        self.0.send_replace(());
    }
}

/// One delivery's way to its target.
struct Line {
    name: String,
    sender: Sender,
}

enum Sender {
    Webhook(Box<WebhookSender>),
    Email(Box<EmailSender>),
}

/// Who sends to a target at the moment. It is the value of a register.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sending {
    /// The instance; empty when nobody does.
    holder: String,
    /// After this its try is over, whatever became of it.
    until: Timestamp,
    /// The notice.
    notice: Option<NoticeId>,
}

impl Dispatcher {
    /// A dispatcher for these targets. Without an issuer, mails about open circuits have no link.
    ///
    /// # Errors
    /// When a target cannot be used as it is configured, or two have one name.
    pub fn new(
        store: &Arc<dyn Store>,
        targets: &[Target],
        publisher: &Publisher,
        issuer: Option<Issuer>,
        clock: SharedClock,
    ) -> Result<Self, InvalidTarget> {
        Self::over(
            Arc::<dyn Store>::clone(store),
            Arc::<dyn Store>::clone(store),
            targets,
            publisher,
            issuer,
            clock,
        )
    }

    /// With somebody who knows why events fail: a mail about a circuit that opened says it.
    #[must_use]
    pub fn with_causes(self, causes: Arc<dyn WhyItFails>) -> Self {
        Self { causes: Some(causes), ..self }
    }

    /// The same over the two ports that it needs.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn over(
        registers: Arc<dyn Registers>,
        outbox: Arc<dyn Outbox>,
        targets: &[Target],
        publisher: &Publisher,
        issuer: Option<Issuer>,
        clock: SharedClock,
    ) -> Result<Self, InvalidTarget> {
        let mut lines: Vec<Line> = Vec::new();
        for target in targets {
            target.validate()?;
            let senders: Vec<Sender> = match target {
                Target::Webhook(webhook) => {
                    let sender = WebhookSender::new(webhook, &publisher.source, &publisher.origin)?;
                    vec![Sender::Webhook(Box::new(sender))]
                }
                Target::Email(email) => EmailSender::all(email)?
                    .into_iter()
                    .map(|sender| Sender::Email(Box::new(sender)))
                    .collect(),
            };
            for (name, sender) in target.delivery_names().into_iter().zip(senders) {
                if lines.iter().any(|line| line.name == name) {
                    return Err(InvalidTarget::new(
                        &name,
                        "there are two targets of this name; give them different ones",
                    ));
                }
                lines.push(Line { name, sender });
            }
        }
        Ok(Self {
            registers,
            outbox,
            instance: publisher.instance.clone(),
            issuer,
            causes: None,
            lines,
            clock,
            wake: watch::Sender::new(()),
        })
    }

    /// The names of all deliveries, as the outbox has them.
    pub fn delivery_names(&self) -> Vec<String> {
        self.lines.iter().map(|line| line.name.clone()).collect()
    }

    /// Wakes this dispatcher when there is a new notice. Without it new notices are found within [`LOOK_EVERY`].
    pub fn waker(&self) -> Waker {
        Waker(self.wake.clone())
    }

    /// Carries notices until it is dropped, which may be at any point.
    pub async fn run(&self) -> std::convert::Infallible {
        let lines = join_all(self.lines.iter().map(|line| self.serve(line)));
        let (never, _) = futures_util::future::join(self.prune(), lines).await;
        never
    }

    /// Sends to one target for ever. Targets do not wait for each other.
    async fn serve(&self, line: &Line) -> std::convert::Infallible {
        let mut woken = self.wake.subscribe();
        // After a start everything that waits is tried, in order, whether due or not.
        let mut mood = Mood::Back;
        loop {
            let pause = match self.send_what_waits(line, &mut mood).await {
                Ok(until) => until.map_or(LOOK_EVERY, |until| until.since(self.clock.now()).min(LOOK_EVERY)),
                Err(error) => {
                    tracing::warn!(target_name = line.name, %error, "notices cannot be sent at the moment");
                    STORE_PAUSE
                }
            };
            tokio::select! {
                () = self.clock.sleep(pause) => {}
                _ = woken.changed() => {}
            }
        }
    }

    /// Sends what can be sent now. Returns until when there is nothing to do.
    async fn send_what_waits(&self, line: &Line, mood: &mut Mood) -> Result<Option<Timestamp>, StoreError> {
        let mut lease: Option<Version> = None;
        loop {
            let waiting = self.waiting(line).await?;
            let pending: Vec<Pending> = waiting.iter().map(|notice| pending_at(notice, &line.name)).collect();
            let now = self.clock.now();
            let place = match next(&pending, *mood, now) {
                Next::Try(place) => place,
                Next::Wait(until) => {
                    self.end_lease(line, lease).await?;
                    self.give_up_untried(line, &waiting, now).await;
                    return Ok(Some(until));
                }
                Next::Idle => {
                    self.end_lease(line, lease).await?;
                    return Ok(None);
                }
            };
            let Some(chosen) = waiting.get(place) else { return Ok(None) };
            let held = lease.is_some();
            match self.take_lease(line, lease, chosen.id, now).await? {
                Lease::Held(version) => lease = Some(version),
                Lease::Others { until } => return Ok(Some(until)),
            }
            // What was read before the lease may have been sent by who had it. What is read under it stays so.
            if !held {
                let again = self.waiting(line).await?;
                let still = again.get(place).is_some_and(|notice| {
                    notice.id == chosen.id && pending_at(notice, &line.name) == pending_at(chosen, &line.name)
                });
                if !still {
                    continue;
                }
            }
            *mood = self.try_once(line, chosen, *mood).await?;
        }
    }

    /// Gives up notices that a target was down for since they were made, a day long. The outbox would forget them without a
    /// word.
    async fn give_up_untried(&self, line: &Line, waiting: &[Notice], now: Timestamp) {
        for notice in waiting {
            let untried = pending_at(notice, &line.name).tries == 0;
            if untried && now.since(notice.notice.at) >= GIVE_UP_AFTER {
                let error = "the target took nothing for a day, and this notice's turn did not come";
                log(line, notice, 0, DeliveryState::GivenUp(now), Some(error));
                self.record(line, notice.id, DeliveryState::GivenUp(now), Some(error)).await;
            }
        }
    }

    /// All notices that the target has yet to get, due or not, in the order they were made.
    async fn waiting(&self, line: &Line) -> Result<Vec<Notice>, StoreError> {
        let end_of_time = Timestamp::from_millis(i64::MAX);
        self.outbox.due_notices(std::slice::from_ref(&line.name), end_of_time, LOOKED_AT).await
    }

    /// Tries one notice, and records what became of it.
    async fn try_once(&self, line: &Line, notice: &Notice, mood: Mood) -> Result<Mood, StoreError> {
        let tries = pending_at(notice, &line.name).tries.saturating_add(1);
        let link = match &line.sender {
            Sender::Webhook(_) => None,
            Sender::Email(_) => self.restart_link(notice, &line.name).await?,
        };
        let now = self.clock.now();
        let result: Result<Option<Accepted>, Failure> = match &line.sender {
            Sender::Webhook(webhook) => webhook.send(notice, now, tries, &*self.clock).await.map(|()| None),
            Sender::Email(email) => {
                let mail = mail::compose(&notice.notice, link, self.causes(&notice.notice).await);
                email.send(notice, &mail, now, tries, &*self.clock).await.map(Some)
            }
        };

        let now = self.clock.now();
        let (state, error) = match &result {
            Ok(_) => (DeliveryState::Delivered(now), None),
            Err(failure) => {
                let state = after_failure(failure, tries, notice.notice.at, now, self.clock.random());
                (state, Some(failure.detail.as_str()))
            }
        };
        log(line, notice, tries, state, error);
        self.record(line, notice.id, state, error).await;
        let mood = mood_after(mood, result.as_ref().map(drop).map_err(|failure| failure.kind), tries);
        if let Ok(Some(accepted)) = result {
            accepted.quit(&*self.clock).await;
        }
        Ok(mood)
    }

    /// Records how a delivery stands, for as long as it takes: what was sent must not be sent again because the store was
    /// away for a moment.
    async fn record(&self, line: &Line, notice: NoticeId, state: DeliveryState, error: Option<&str>) {
        loop {
            match self.outbox.record_delivery(notice, &line.name, state, error).await {
                Err(failed) if failed.kind() == ErrorKind::Transient => {
                    tracing::warn!(target_name = line.name, error = %failed, "a delivery cannot be recorded yet");
                    self.clock.sleep(STORE_PAUSE).await;
                }
                Err(failed) => {
                    tracing::error!(target_name = line.name, error = %failed, "a delivery is not recorded");
                    return;
                }
                Ok(()) => return,
            }
        }
    }

    /// Why events fail, for a mail about a circuit that opened.
    async fn causes(&self, notice: &NewNotice) -> Vec<String> {
        match &self.causes {
            Some(causes) if matches!(notice.kind.as_str(), CIRCUIT_OPENED | CIRCUIT_PROBE_FAILED) => {
                causes.lines(&notice.subject, notice.at).await
            }
            _ => Vec::new(),
        }
    }

    /// The link for a mail about a circuit that is still open.
    async fn restart_link(&self, notice: &Notice, sent_to: &str) -> Result<Option<String>, StoreError> {
        let Some(issuer) = &self.issuer else { return Ok(None) };
        if !matches!(notice.notice.kind.as_str(), CIRCUIT_OPENED | CIRCUIT_PROBE_FAILED) {
            return Ok(None);
        }
        let Ok(function) = FunctionName::new(&notice.notice.subject) else { return Ok(None) };
        let key = RegisterKey::new(CIRCUIT, function.as_str());
        let Some(register) = self.registers.register(&key).await? else { return Ok(None) };
        let Ok(circuit) = serde_json::from_value::<Circuit>(register.value) else { return Ok(None) };
        let is_this_outage = circuit.state != CircuitState::Closed && outage_of(&circuit) <= notice.notice.at;
        let now = self.clock.now();
        Ok(is_this_outage.then(|| issuer.link(&function, register.version, &circuit, notice, sent_to, now)))
    }

    async fn take_lease(
        &self,
        line: &Line,
        held: Option<Version>,
        notice: NoticeId,
        now: Timestamp,
    ) -> Result<Lease, StoreError> {
        let from = match held {
            Some(version) => version,
            None => match self.registers.register(&lease_key(line)).await? {
                None => Version::NONE,
                Some(register) => {
                    let until = serde_json::from_value::<Sending>(register.value)
                        .ok()
                        .filter(|sending| !sending.holder.is_empty() && sending.until > now)
                        // A clock that went back must not keep a target waiting for ever.
                        .map(|sending| sending.until.min(now.plus(line.longest_lease())));
                    if let Some(until) = until {
                        return Ok(Lease::Others { until });
                    }
                    register.version
                }
            },
        };
        let sending = Sending {
            holder: self.instance.clone(),
            until: now.plus(line.longest_lease()),
            notice: Some(notice),
        };
        match self.registers.change_register(lease_change(line, from, &sending, now)).await {
            Ok(version) => Ok(Lease::Held(version)),
            Err(error) if error.kind() == ErrorKind::Conflict => {
                Ok(Lease::Others { until: now.plus(LOOK_EVERY) })
            }
            Err(error) => Err(error),
        }
    }

    async fn end_lease(&self, line: &Line, held: Option<Version>) -> Result<(), StoreError> {
        let Some(from) = held else { return Ok(()) };
        let now = self.clock.now();
        let nobody = Sending { holder: String::new(), until: now, notice: None };
        match self.registers.change_register(lease_change(line, from, &nobody, now)).await {
            Err(error) if error.kind() != ErrorKind::Conflict => Err(error),
            _ => Ok(()),
        }
    }

    /// Forgets what need not be kept any more.
    async fn prune(&self) -> std::convert::Infallible {
        loop {
            let now = self.clock.now();
            if let Err(error) = self.outbox.prune_notices(now).await {
                tracing::warn!(%error, "old notices cannot be forgotten yet");
            }
            if let Err(error) = links::prune(&*self.registers, now).await {
                tracing::warn!(%error, "expired links cannot be forgotten yet");
            }
            self.clock.sleep(PRUNE_EVERY).await;
        }
    }
}

enum Lease {
    Held(Version),
    Others { until: Timestamp },
}

impl Line {
    fn longest_lease(&self) -> Duration {
        let one_try = match &self.sender {
            Sender::Webhook(webhook) => webhook.timeout(),
            Sender::Email(email) => email.timeout(),
        };
        one_try.saturating_add(LEASE_MARGIN)
    }
}

fn lease_key(line: &Line) -> RegisterKey {
    RegisterKey::new(DISPATCHER, line.name.clone())
}

fn lease_change(line: &Line, from: Version, sending: &Sending, at: Timestamp) -> RegisterChange {
    RegisterChange {
        key: lease_key(line),
        from,
        value: Some(json!(sending)),
        at,
        notices: Vec::new(),
        trail: Vec::new(),
    }
}

fn pending_at(notice: &Notice, target: &str) -> Pending {
    let delivery = notice.deliveries.iter().find(|delivery| delivery.target == target);
    Pending {
        id: notice.id,
        tries: delivery.map_or(0, |delivery| delivery.tries),
        due: delivery.and_then(|delivery| match delivery.state {
            DeliveryState::Due(at) => Some(at),
            DeliveryState::Delivered(_) | DeliveryState::GivenUp(_) => None,
        }),
    }
}

fn log(line: &Line, notice: &Notice, tries: u32, state: DeliveryState, error: Option<&str>) {
    let (target_name, kind, id) = (&line.name, &notice.notice.kind, notice.id.0);
    let error = error.unwrap_or_default();
    match state {
        DeliveryState::Delivered(_) => tracing::info!(target_name, kind, id, tries, "a notice was delivered"),
        DeliveryState::Due(until) => {
            tracing::warn!(target_name, kind, id, tries, error, %until, "a notice was not taken, it is tried again");
        }
        DeliveryState::GivenUp(_) => {
            tracing::error!(
                target_name,
                kind,
                id,
                tries,
                error,
                "a notice is given up: the target does not have it"
            );
        }
    }
}
