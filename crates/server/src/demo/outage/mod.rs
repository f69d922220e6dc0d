//! The demo of an outage: what a function depends on goes away while telemetry flows, and comes back.
//!
//! ```text
//! telemetry → hub → positions ──POST──► downstream (goes away)
//!                       │
//!                    circuit opens → mail with a link → a person follows it → everything drains
//! ```
//!
//! Everything is real: the log, the store, the HTTP front door that the link goes to, the mail server that takes the mail,
//! the downstream. Nothing leaves the machine. Each step waits for a fact, never for a time.

mod check;
mod downstream;
mod function;
mod telemetry;

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use http_body_util::BodyExt as _;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use tidegate_alerts::catcher::{Catcher, CaughtMail};
use tidegate_api::FunctionAudit;
use tidegate_eventlog::HubLog;
use tidegate_function::batch;
use tidegate_host::status::LaneState;
use tidegate_model::checkpoint::FunctionName;
use tidegate_model::circuit::{CIRCUIT, Circuit, CircuitState};
use tidegate_model::clock::{SharedClock, Timestamp, timeout};
use tidegate_model::document::CollectionName;
use tidegate_model::error::ErrorCode;
use tidegate_model::event::{EventData, HubName};
use tidegate_model::outcome::OutcomeCounts;
use tidegate_model::ports::{Checkpoints as _, EventLog, Outbox as _, Registers as _};
use tidegate_model::position::PartitionId;
use tidegate_model::register::RegisterKey;

use crate::client::{Connection, Pages, understood};
use crate::config::{Config, Registered};
use crate::data_dir::{DataDir, IfMissing};
use crate::demo::data;
use crate::failure::Failure;
use crate::functions::Registry;
use crate::listener::{self, Bounds};
use crate::node::{Node, NodeConfig};
use crate::telemetry::HttpMetrics;
use crate::wiring::System;
use downstream::Downstream;
use function::Positions;
pub(crate) use telemetry::RATE;

/// The demo's configuration, but for the port of the mail server.
const CONFIG: &str = include_str!("config.toml");

/// The demo's hub.
const HUB: &str = "telemetry";

/// The demo's function, and the collection of its documents.
pub(crate) const FUNCTION: &str = "positions";

/// Who restarts the function.
const PERSON: &str = "you";

/// How many reports are processed before the downstream goes away.
const BEFORE: u64 = 1500;

/// How many reports are published while nothing is fetched, and again after the restart.
const MEANWHILE: usize = 900;

/// How long a step may take before the demo says that it does not happen.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often it is looked whether something has happened.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What happens, as it happens.
pub(crate) enum Step<'a> {
    /// Telemetry flows.
    Flows { downstream: &'a str, mail: String },
    /// The downstream goes away.
    Away { processed: u64 },
    /// The circuit has opened.
    Opened(&'a Opened),
    /// Nothing is fetched.
    Stopped(&'a Stopped),
    /// A mail came.
    Mailed(&'a Mailed),
    /// The downstream is back.
    Back,
    /// The link was followed.
    Followed { link: &'a str, followed: &'a Followed, page: &'a [String] },
    /// Everything is resolved.
    Drained { resolved: u64, closing_mail: &'a str },
}

/// How the circuit opened.
#[derive(Debug, Serialize)]
pub(crate) struct Opened {
    /// When the downstream went away.
    pub(crate) away_at: Timestamp,
    /// When the circuit opened.
    pub(crate) opened_at: Timestamp,
    /// Why, with the numbers.
    pub(crate) reason: String,
    /// The rule that opened it.
    pub(crate) rule: String,
    /// Events that began to fail in the window.
    pub(crate) failures: u64,
    /// Events whose attempts were used up in the window.
    pub(crate) final_failures: u64,
    /// Events that succeeded in the window.
    pub(crate) succeeded: u64,
    /// The threshold.
    pub(crate) threshold: u64,
    /// The window, in seconds.
    pub(crate) window_s: u64,
}

/// What happened while the circuit was open.
#[derive(Debug, Serialize)]
pub(crate) struct Stopped {
    /// How many lanes stood still.
    pub(crate) lanes: usize,
    /// How many reports were published and stored.
    pub(crate) published_while_open: u64,
    /// How many of them the downstream was asked to take.
    pub(crate) requests_while_open: u64,
}

/// The mail that came.
#[derive(Debug, Serialize)]
pub(crate) struct Mailed {
    /// Whom it was for.
    pub(crate) mail_to: Vec<String>,
    /// Its subject.
    pub(crate) mail_subject: String,
    /// Its plain text.
    pub(crate) mail_text: String,
}

/// What the link did.
#[derive(Debug, Serialize)]
pub(crate) struct Followed {
    /// The status of looking at it.
    pub(crate) link_shown: u16,
    /// How the circuit stood after that.
    pub(crate) circuit_after_looking: CircuitState,
    /// The status of pressing the button.
    pub(crate) link_pressed: u16,
    /// The status of pressing it again.
    pub(crate) link_pressed_again: u16,
    /// Who closed the circuit, as it says.
    pub(crate) restarted_by: String,
    /// When it closed.
    pub(crate) closed_at: Timestamp,
}

/// What was found at the end.
#[derive(Debug, Serialize)]
pub(crate) struct Checked {
    /// The subject of the mail that it is over.
    pub(crate) closing_mail_subject: String,
    /// Reports that were published.
    pub(crate) published: u64,
    /// Reports whose effect is in the documents.
    pub(crate) applied: u64,
    /// Dead letters.
    pub(crate) dead_letters: u64,
    /// Events that are parked.
    pub(crate) parked: u64,
    /// Events that are not resolved.
    pub(crate) pending: u64,
    /// How many aircraft there are.
    pub(crate) documents: u64,
    /// How many of their documents are what a fold of the input makes.
    pub(crate) documents_right: u64,
    /// The ids of the others.
    pub(crate) documents_wrong: Vec<String>,
    /// How many reports the downstream took.
    pub(crate) downstream_accepted: u64,
    /// How many different ones.
    pub(crate) downstream_different: u64,
    /// Whether the audit accounts for every event.
    pub(crate) audit_ok: bool,
}

/// The facts of a demo that has run.
#[derive(Debug, Serialize)]
pub(crate) struct Facts {
    /// Whether everything is as it should be.
    pub(crate) ok: bool,
    /// Where everything is.
    pub(crate) data_dir: PathBuf,
    #[serde(flatten)]
    pub(crate) opened: Opened,
    #[serde(flatten)]
    pub(crate) stopped: Stopped,
    #[serde(flatten)]
    pub(crate) mailed: Mailed,
    #[serde(flatten)]
    pub(crate) followed: Followed,
    #[serde(flatten)]
    pub(crate) checked: Checked,
    /// What is not as it should be.
    pub(crate) wrong: Vec<&'static str>,
}

/// What the demo's data directory needs to be served on: it ends when this is dropped.
pub(crate) struct Surroundings {
    /// The configuration.
    pub(crate) config: String,
    /// The function that it names.
    pub(crate) registry: Registry,
    _downstream: Downstream,
    _catcher: Catcher,
}

/// Runs the demo in a new data directory. `tell` is told each step when it has happened.
///
/// # Errors
/// When something fails or does not happen. What was found at the end may still be wrong: that is among the facts.
pub(crate) async fn run(
    data_dir: &Path,
    clock: &SharedClock,
    mut tell: impl FnMut(Step<'_>) -> Result<(), Failure>,
) -> Result<(Facts, Surroundings), Failure> {
    let (catcher, mut mails) = Catcher::listen(0).await.map_err(|error| cannot_listen(&error))?;
    let downstream = Downstream::start(clock.clone()).await?;
    let text = CONFIG.replace("MAIL_PORT", &catcher.address().port().to_string());
    let mut registry = Registry::default();
    registry.register(batch(FUNCTION, Positions::new(downstream.url.clone(), clock.clone())).into());
    let stage = Stage::build(data_dir, clock, &text, &registry).await?;
    tell(Step::Flows { downstream: &downstream.url, mail: catcher.address().to_string() })?;

    let events = data::events()?.into_iter().filter(|event| data::label_of(&event.properties).is_none());
    let events: Arc<[EventData]> = events.collect();
    let (acknowledged, mut published) = watch::channel(0);
    let (stop, stopping) = watch::channel(false);
    let publishing =
        telemetry::publish(stage.hub.clone(), events.clone(), acknowledged, stopping, clock.clone());
    let mut publishing = tokio::spawn(publishing);

    let outage = async {
        let processed = stage.until("reports are processed", async || {
            let applied = stage.counts().await?.applied;
            Ok((applied >= BEFORE).then_some(applied))
        });
        let processed = processed.await?;
        downstream.go_away();
        let away_at = clock.now();
        tell(Step::Away { processed })?;

        let opened = stage.until_open(away_at).await?;
        tell(Step::Opened(&opened))?;
        let stopped = stage.stands_still(&downstream, &mut published).await?;
        tell(Step::Stopped(&stopped))?;
        let (mailed, link) = stage.until_mailed(&mut mails).await?;
        tell(Step::Mailed(&mailed))?;

        downstream.come_back();
        tell(Step::Back)?;
        let (followed, page) = stage.follow(&link).await?;
        tell(Step::Followed { link: &link, followed: &followed, page: &page })?;
        wait_for(&mut published, MEANWHILE).await?;
        Ok::<_, Failure>((opened, stopped, mailed, followed))
    };
    let (opened, stopped, mailed, followed) = tokio::select! {
        biased;
        done = outage => done?,
        ended = &mut publishing => {
            joined(ended)?;
            return Err(Failure::new(ErrorCode::TIMEOUT, "the demo's telemetry ran out before the outage was over")
                .help("this machine is very slow at the moment: try again"));
        }
    };
    stop.send_replace(true);
    joined(publishing.await)?;
    let published = *published.borrow();

    let closing = stage.until_told(&mut mails, "working again").await?;
    let closing_mail_subject = closing.header("Subject").unwrap_or_default();
    let resolved = stage.until("everything is resolved", async || {
        let counts = stage.counts().await?;
        Ok((counts.total() == published as u64 && counts.parked == 0).then_some(counts.total()))
    });
    let resolved = resolved.await?;
    tell(Step::Drained { resolved, closing_mail: &closing_mail_subject })?;

    let checked = stage.check(&downstream, &events[..published], closing_mail_subject).await?;
    stage.strike().await?;
    let mut facts = Facts {
        ok: false,
        data_dir: data_dir.to_owned(),
        opened,
        stopped,
        mailed,
        followed,
        checked,
        wrong: Vec::new(),
    };
    facts.wrong = what_is_wrong(&facts);
    facts.ok = facts.wrong.is_empty();
    // Later mails are taken as well, and nobody reads them.
    tokio::spawn(async move { while mails.recv().await.is_some() {} });
    Ok((facts, Surroundings { config: text, registry, _downstream: downstream, _catcher: catcher }))
}

/// What is not as it should be (pure).
fn what_is_wrong(facts: &Facts) -> Vec<&'static str> {
    let Facts { opened, stopped, mailed, followed, checked, .. } = facts;
    // Failures in half of the lanes and no success anywhere open it too, however few they are.
    let is_above_threshold =
        opened.rule == "every-lane" || opened.failures.max(opened.final_failures) > opened.threshold;
    let holds = [
        (is_above_threshold, "the circuit opened below its threshold"),
        (opened.opened_at >= opened.away_at, "the circuit opened before the downstream was away"),
        (stopped.requests_while_open == 0, "events were fetched while the circuit was open"),
        (mailed.mail_subject.contains(FUNCTION), "the mail does not say what it is about"),
        (followed.link_shown == 200, "the link did not show the circuit"),
        (followed.circuit_after_looking == CircuitState::Open, "looking at the link changed something"),
        (followed.link_pressed == 200, "the link did not restart the function"),
        (followed.link_pressed_again == 410, "the link worked twice"),
        (followed.restarted_by.starts_with(PERSON), "it is not known who restarted the function"),
        (checked.closing_mail_subject.contains(FUNCTION), "nobody was told that it is over"),
        (checked.applied == checked.published, "reports were not applied exactly once"),
        (checked.dead_letters == 0, "reports were set aside"),
        (checked.parked == 0 && checked.pending == 0, "reports were left over"),
        (checked.documents > 0 && checked.documents_right == checked.documents, "documents are wrong"),
        (checked.documents_wrong.is_empty(), "there are documents that should not be"),
        (checked.downstream_different == checked.published, "the downstream did not get every report"),
        (checked.audit_ok, "the audit does not account for every event"),
    ];
    holds.into_iter().filter(|(holds, _)| !holds).map(|(_, wrong)| wrong).collect()
}

/// A running server with the demo's function.
struct Stage {
    system: System,
    hub: Arc<HubLog>,
    function: FunctionName,
    clock: SharedClock,
    server: JoinHandle<()>,
    close_door: oneshot::Sender<()>,
    client: Client<HttpConnector, Body>,
}

impl Stage {
    async fn build(
        data_dir: &Path,
        clock: &SharedClock,
        config: &str,
        registry: &Registry,
    ) -> Result<Self, Failure> {
        let named =
            |error: &dyn std::fmt::Display| Failure::new(ErrorCode::CONFIG_BAD_VALUE, error.to_string());
        let hub_name = HubName::new(HUB).map_err(|error| named(&error))?;
        let function = FunctionName::new(FUNCTION).map_err(|error| named(&error))?;
        let config = Config::parse(config, "the demo's configuration", Registered::Only(&registry.names()))?;

        let opened = DataDir::open_when_free(data_dir, IfMissing::Create, &**clock).await?;
        let node = Node::open(opened, NodeConfig::Declared(&config), clock.clone()).await?;
        let hub = node.hub(&hub_name)?;
        refuse_used(&hub, data_dir)?;
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(|error| cannot_listen(&error))?;
        let local = listener.local_addr().map_err(|error| cannot_listen(&error))?;
        let router = node.router();
        let system = System::start(node, &config, registry, Some(local)).await?;
        let (close_door, door_closes) = oneshot::channel::<()>();
        let door_closes = async {
            let _ = door_closes.await;
        };
        let (bounds, metrics) = (Bounds::default(), HttpMetrics::default());
        let serving = listener::serve(listener, router, bounds, metrics, clock.clone(), door_closes);
        let server = tokio::spawn(serving);
        let client = Client::builder(TokioExecutor::new()).build(HttpConnector::new());
        Ok(Self { system, hub, function, clock: clock.clone(), server, close_door, client })
    }

    /// Stops everything.
    async fn strike(self) -> Result<(), Failure> {
        let _ = self.close_door.send(());
        drop(self.client);
        // A panic of a request was told where it happened.
        let _ = self.server.await;
        self.system.stop().await.map(drop)
    }

    /// Looks until something is there.
    async fn until<T>(
        &self,
        what: &str,
        mut look: impl AsyncFnMut() -> Result<Option<T>, Failure>,
    ) -> Result<T, Failure> {
        let began = self.clock.monotonic();
        loop {
            if let Some(found) = look().await? {
                return Ok(found);
            }
            if self.clock.monotonic().saturating_sub(began) > PATIENCE {
                return Err(does_not_happen(what));
            }
            self.clock.sleep(LOOK_EVERY).await;
        }
    }

    /// How the events of all lanes ended so far.
    async fn counts(&self) -> Result<OutcomeCounts, Failure> {
        let mut counts = OutcomeCounts::default();
        self.system
            .node
            .store
            .checkpoints()
            .await?
            .into_iter()
            .for_each(|checkpoint| counts += checkpoint.counts);
        Ok(counts)
    }

    async fn circuit(&self) -> Result<Option<Circuit>, Failure> {
        let key = RegisterKey::new(CIRCUIT, self.function.as_str());
        let register = self.system.node.store.register(&key).await?;
        Ok(register.and_then(|register| serde_json::from_value(register.value).ok()))
    }

    async fn until_open(&self, away_at: Timestamp) -> Result<Opened, Failure> {
        let circuit = self.until("the circuit opens", async || {
            Ok(self.circuit().await?.filter(|circuit| circuit.state == CircuitState::Open))
        });
        let circuit = circuit.await?;
        // The notice was made in the transaction that opened it.
        let notices = self.system.node.store.recent_notices(50).await?;
        let notice = notices.into_iter().find(|notice| notice.notice.kind == "circuit.opened");
        let data = notice.map(|notice| notice.notice.data).unwrap_or_default();
        let number = |name: &str| data[name].as_u64().unwrap_or_default();
        Ok(Opened {
            away_at,
            opened_at: circuit.opened_at.unwrap_or(circuit.since),
            reason: circuit.reason,
            rule: data["rule"].as_str().unwrap_or_default().to_owned(),
            failures: number("failing"),
            final_failures: number("failures"),
            succeeded: number("succeeded"),
            threshold: number("threshold"),
            window_s: number("window_s"),
        })
    }

    /// Waits until all lanes stand still, and then until more was published: was any of it fetched?
    async fn stands_still(
        &self,
        downstream: &Downstream,
        published: &mut watch::Receiver<usize>,
    ) -> Result<Stopped, Failure> {
        let lanes = self.until("all partitions stand still", async || {
            let lanes = (self.system.node.lanes.lock().as_ref()).map_or_else(Vec::new, |lanes| lanes());
            let all =
                !lanes.is_empty() && lanes.iter().all(|lane| matches!(lane.state, LaneState::Gated { .. }));
            Ok(all.then_some(lanes.len()))
        });
        let lanes = lanes.await?;
        let (requests, before) = (downstream.requests(), *published.borrow());
        wait_for(published, MEANWHILE).await?;
        Ok(Stopped {
            lanes,
            published_while_open: (*published.borrow() - before) as u64,
            requests_while_open: downstream.requests() - requests,
        })
    }

    /// The mail that it is open, and the link in it.
    async fn until_mailed(
        &self,
        mails: &mut mpsc::Receiver<CaughtMail>,
    ) -> Result<(Mailed, String), Failure> {
        let mail = self.until_told(mails, "circuit is open").await?;
        let text = mail.text();
        let link = text.split_whitespace().find(|word| word.contains("/restart/")).map(str::to_owned);
        let link = link.ok_or_else(|| {
            Failure::new(ErrorCode::NOT_FOUND, format!("the mail has no restart link:\n{text}"))
        })?;
        let subject = mail.header("Subject").unwrap_or_default();
        Ok((Mailed { mail_to: mail.to, mail_subject: subject, mail_text: text }, link))
    }

    async fn until_told(
        &self,
        mails: &mut mpsc::Receiver<CaughtMail>,
        subject: &str,
    ) -> Result<CaughtMail, Failure> {
        let next = async {
            while let Some(mail) = mails.recv().await {
                if mail.header("Subject").is_some_and(|found| found.contains(subject)) {
                    return Some(mail);
                }
            }
            None
        };
        let mail = timeout(&*self.clock, PATIENCE, next).await.flatten();
        mail.ok_or_else(|| does_not_happen(&format!("a mail comes with {subject:?} in its subject")))
    }

    /// Follows the link, as a person does: looks, and presses the button. And once more.
    async fn follow(&self, link: &str) -> Result<(Followed, Vec<String>), Failure> {
        let (shown, page) = self.request(Method::GET, link).await?;
        let after_looking = self.circuit().await?.map_or(CircuitState::Closed, |circuit| circuit.state);
        let (pressed, _) = self.request(Method::POST, link).await?;
        let (again, _) = self.request(Method::POST, link).await?;
        let circuit = self.circuit().await?.filter(|circuit| circuit.state == CircuitState::Closed);
        let circuit = circuit.ok_or_else(|| does_not_happen("the link closes the circuit"))?;
        let followed = Followed {
            link_shown: shown.as_u16(),
            circuit_after_looking: after_looking,
            link_pressed: pressed.as_u16(),
            link_pressed_again: again.as_u16(),
            restarted_by: circuit.by,
            closed_at: circuit.since,
        };
        Ok((followed, rows_of(&page)))
    }

    async fn request(&self, method: Method, address: &str) -> Result<(StatusCode, String), Failure> {
        let unreachable = |error: &dyn std::fmt::Display| {
            Failure::new(ErrorCode::SERVER_UNREACHABLE, format!("the link cannot be followed: {error}"))
        };
        let body = match method {
            Method::POST => Body::from(format!("name={PERSON}")),
            _ => Body::empty(),
        };
        let request = Request::builder()
            .method(method)
            .uri(address)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(body)
            .map_err(|error| unreachable(&error))?;
        let answer = self.client.request(request).await.map_err(|error| unreachable(&error))?;
        let status = answer.status();
        let body = answer.into_body().collect().await.map_err(|error| unreachable(&error))?.to_bytes();
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    }

    async fn check(
        &self,
        downstream: &Downstream,
        published: &[EventData],
        closing_mail_subject: String,
    ) -> Result<Checked, Failure> {
        let collection = CollectionName::new(FUNCTION)
            .map_err(|error| Failure::new(ErrorCode::CONFIG_BAD_VALUE, error.to_string()))?;
        let node = &self.system.node;
        let compared = check::documents(&*node.store, &collection, published).await?;
        let connection = Connection::to_router(node.router(), node.root_key()?)?;
        let mut accounts = Pages::new(&connection, "/api/v1/audit".to_owned(), "after", None);
        let mut account: Option<FunctionAudit> = None;
        while let Some(line) = accounts.next().await? {
            account = Some(understood(&line)?);
        }
        let account = account.ok_or_else(|| {
            Failure::new(ErrorCode::AUDIT_GAP, "the audit says nothing about the demo's hub")
        })?;
        let (accepted, different) = downstream.accepted();
        Ok(Checked {
            closing_mail_subject,
            published: published.len() as u64,
            applied: account.totals.applied,
            dead_letters: account.totals.dead_lettered,
            parked: account.totals.parked,
            pending: account.totals.pending,
            documents: compared.expected,
            documents_right: compared.right,
            documents_wrong: compared.wrong,
            downstream_accepted: accepted,
            downstream_different: different,
            audit_ok: account.ok && account.totals.published == published.len() as u64,
        })
    }
}

/// The demo knows what it published itself, and nothing of what was there before.
fn refuse_used(hub: &HubLog, data_dir: &Path) -> Result<(), Failure> {
    for partition in (0..EventLog::partition_count(hub)).map(PartitionId) {
        if hub.status(partition)?.tail.0 > 0 {
            let message = format!("the hub {HUB} in {} has events already", data_dir.display());
            return Err(Failure::usage(ErrorCode::CONFLICT, message).help(
                "this demo compares every document with what it published: name a new --data-dir, or none",
            ));
        }
    }
    Ok(())
}

/// Waits until so many more are published.
async fn wait_for(published: &mut watch::Receiver<usize>, more: usize) -> Result<(), Failure> {
    let goal = *published.borrow() + more;
    // If nobody publishes any more, who publishes has said why.
    published
        .wait_for(|count| *count >= goal)
        .await
        .map(drop)
        .map_err(|_| does_not_happen("telemetry is published"))
}

fn joined(ended: Result<Result<(), Failure>, tokio::task::JoinError>) -> Result<(), Failure> {
    ended.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

fn does_not_happen(what: &str) -> Failure {
    Failure::new(
        ErrorCode::TIMEOUT,
        format!("the demo waited for {} s, and it did not happen that {what}", PATIENCE.as_secs()),
    )
    .help("if this machine is not busy with something else, this is a defect: please report it")
}

fn cannot_listen(error: &std::io::Error) -> Failure {
    Failure::new(ErrorCode::SERVER_UNREACHABLE, format!("cannot listen on 127.0.0.1: {error}"))
}

/// The rows of the table on a page, as text (pure).
fn rows_of(page: &str) -> Vec<String> {
    let text = |html: &str| {
        let mut text = String::new();
        let mut in_tag = false;
        for character in html.chars() {
            match character {
                '<' => in_tag = true,
                '>' => in_tag = false,
                character if !in_tag => text.push(character),
                _ => {}
            }
        }
        let entities = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&amp;", "&")];
        entities.into_iter().fold(text, |text, (entity, character)| text.replace(entity, character))
    };
    page.split("<tr>")
        .skip(1)
        .filter_map(|row| row.split_once("</tr>"))
        .map(|(row, _)| text(&row.replace("</th>", ": ")).trim().to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_is_right() {
        let text = CONFIG.replace("MAIL_PORT", "2525");
        let config = Config::parse(&text, "the demo's configuration", Registered::Only(&[FUNCTION])).unwrap();
        assert_eq!((config.functions.len(), config.emails.len()), (1, 1));
    }

    #[test]
    fn the_rows_of_a_page_are_its_text() {
        let page =
            "<table>\n<tr><th scope=\"row\">Reason</th><td>a &lt; b &amp; c</td></tr>\n</table><p>no row</p>";
        assert_eq!(rows_of(page), ["Reason: a < b & c"]);
    }
}
