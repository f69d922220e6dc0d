//! Tells a person: starts and stops what watches the functions and what carries the notices, and restarts a function
//! when somebody uses the link in a mail.

mod observe;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::http::Uri;
use tokio::task::JoinHandle;

use tidegate_alerts::dispatcher::{Dispatcher, Publisher};
use tidegate_alerts::engine::Engine;
use tidegate_alerts::links::{Issuer, Restart, RestartError};
use tidegate_alerts::target::{InvalidTarget, Target};
use tidegate_host::circuit::acts;
use tidegate_model::checkpoint::FunctionName;
use tidegate_model::clock::SharedClock;
use tidegate_model::error::ErrorCode;
use tidegate_model::ports::Store;
use tidegate_model::trail::Act;

use crate::api::{Operations as _, Processing};
use crate::config::Config;
use crate::failure::Failure;
use crate::for_ever::for_ever;
use crate::node::Node;
use observe::StoreObserver;

/// The targets of a configuration, with their secrets.
///
/// # Errors
/// When a secret cannot be had. Nothing was started then.
fn targets(config: &Config) -> Result<Vec<Target>, Failure> {
    let emails = config.emails.iter().map(|email| email.target());
    let webhooks = config.webhooks.iter().map(|webhook| webhook.target());
    emails.chain(webhooks).collect::<Result<_, String>>().map_err(|why| {
        Failure::usage(ErrorCode::CONFIG_MISSING, why)
            .help("set it before the start, or give the secret in another way: a text, { env = \"NAME\" } or { file = \"PATH\" }")
    })
}

/// What is to watch and tell.
pub(crate) struct Prepared {
    engine: Arc<Engine>,
    dispatcher: Arc<Dispatcher>,
    evaluation_interval: Duration,
    clock: SharedClock,
}

/// What watches and tells, while it runs.
pub(crate) struct Alerting {
    engine: JoinHandle<()>,
    dispatcher: JoinHandle<()>,
}

impl Prepared {
    /// What is to watch the functions of a node and to tell the targets of its configuration. `listen` is where the front
    /// door is, if there is one.
    ///
    /// # Errors
    /// When a secret cannot be had or a target cannot be used.
    pub(crate) fn new(
        node: &Node,
        config: &Config,
        listen: Option<SocketAddr>,
        instance: String,
    ) -> Result<Self, Failure> {
        let targets = targets(config)?;
        let base_url = config.alerts.base_url.clone().or_else(|| listen.and_then(reachable));
        if base_url.is_none() && listen.is_some() && !config.emails.is_empty() {
            tracing::warn!(
                "mails have no restart link, because nobody can tell from outside where this server is: set base_url in [alerts]"
            );
        }
        let store: Arc<dyn Store> = Arc::<tidegate_store::SqliteStore>::clone(&node.store);
        let issuer = base_url
            .as_deref()
            .map(|base_url| Issuer::new(node.link_key.clone(), base_url, config.alerts.link_lifetime));
        let source = base_url.unwrap_or_else(|| "urn:tidegate".to_owned());
        let host = source.parse::<Uri>().ok().and_then(|uri| uri.host().map(str::to_owned));
        let publisher =
            Publisher { origin: host.unwrap_or_else(|| "localhost".to_owned()), source, instance };
        let dispatcher = Dispatcher::new(&store, &targets, &publisher, issuer, node.clock.clone())?
            .with_causes(node.causes.clone());
        let observer = Arc::new(StoreObserver::new(node, config));
        let rules = config.alerts.rules.clone();
        let engine = Engine::new(&store, observer, rules, dispatcher.delivery_names(), node.clock.clone());

        Ok(Self {
            engine: Arc::new(engine),
            dispatcher: Arc::new(dispatcher),
            evaluation_interval: config.alerts.evaluation_interval,
            clock: node.clock.clone(),
        })
    }

    /// Begins.
    pub(crate) fn start(self) -> Alerting {
        let Self { engine, dispatcher, evaluation_interval, clock } = self;
        let watches = move || {
            let engine = Arc::clone(&engine);
            async move { engine.run(evaluation_interval).await }
        };
        let tells = move || {
            let dispatcher = Arc::clone(&dispatcher);
            async move { dispatcher.run().await }
        };
        Alerting {
            engine: tokio::spawn(for_ever("watching the functions", clock.clone(), watches)),
            dispatcher: tokio::spawn(for_ever("telling a person", clock, tells)),
        }
    }
}

impl Alerting {
    /// Stops to watch; what has been found is still told.
    pub(crate) async fn stop_watching(&mut self) {
        end(&mut self.engine).await;
    }

    /// Stops to tell. What nobody was told yet is told after the next start.
    pub(crate) async fn stop_telling(mut self) {
        end(&mut self.dispatcher).await;
    }
}

impl Drop for Alerting {
    fn drop(&mut self) {
        self.engine.abort();
        self.dispatcher.abort();
    }
}

async fn end(task: &mut JoinHandle<()>) {
    task.abort();
    // It was ended, which is what the error says.
    let _ = task.await;
}

/// How the server is reached, as far as its address says so: a server that listens everywhere does not know.
fn reachable(listen: SocketAddr) -> Option<String> {
    (!listen.ip().is_unspecified()).then(|| format!("http://{listen}"))
}

/// Restarts a function for the link in a mail.
pub(crate) struct RestartByLink {
    /// Where its circuit is.
    pub(crate) store: Arc<dyn Store>,
    /// Who is told that it closed.
    pub(crate) processing: Processing,
    /// The clock the act is dated by.
    pub(crate) clock: SharedClock,
    /// Whoever looks afterwards is to see it.
    pub(crate) forget_answers: Arc<dyn Fn() + Send + Sync>,
}

#[async_trait]
impl Restart for RestartByLink {
    async fn restart(&self, function: &FunctionName, by: &str) -> Result<(), RestartError> {
        let act = Act {
            by: by.to_owned(),
            reason: "restarted by the link in the mail".to_owned(),
            at: self.clock.now(),
        };
        match acts::close(&*self.store, function, &act).await {
            Ok(_) => {
                self.processing.function_changed(function);
                (self.forget_answers)();
                Ok(())
            }
            Err(error) => Err(RestartError(error.to_string())),
        }
    }
}

impl From<InvalidTarget> for Failure {
    fn from(invalid: InvalidTarget) -> Self {
        Self::usage(invalid.code(), invalid.to_string())
            .help("correct the table [email.NAME] or [webhook.NAME] of this target, or its secret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_looks_after_a_restart_by_the_link_sees_it() {
        use std::sync::atomic::{AtomicUsize, Ordering};
        use tidegate_model::clock::{Clock as _, TestClock, Timestamp};
        use tidegate_model::memory::MemoryStore;

        let clock = TestClock::new(Timestamp::default(), 7);
        let (store, forgotten) = (Arc::new(MemoryStore::new()), Arc::new(AtomicUsize::new(0)));
        let counted = forgotten.clone();
        let restart = RestartByLink {
            store: store.clone(),
            processing: Processing::default(),
            clock: clock.clone(),
            forget_answers: Arc::new(move || {
                counted.fetch_add(1, Ordering::Relaxed);
            }),
        };
        let function = FunctionName::new("f").unwrap();
        let act = Act { by: "ada".to_owned(), reason: "r".to_owned(), at: clock.now() };
        acts::open(&*store, &function, &act).await.unwrap();
        restart.restart(&function, "mia").await.unwrap();
        assert_eq!(forgotten.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_server_that_listens_everywhere_does_not_know_where_it_is() {
        let reached = |text: &str| reachable(text.parse().unwrap());
        assert_eq!(reached("127.0.0.1:8780").as_deref(), Some("http://127.0.0.1:8780"));
        assert_eq!(reached("[::1]:80").as_deref(), Some("http://[::1]:80"));
        assert_eq!((reached("0.0.0.0:8780"), reached("[::]:8780")), (None, None));
    }
}
