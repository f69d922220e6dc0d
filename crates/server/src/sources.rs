//! The hubs of others that are read: opened when the functions start, and known to all who look at hubs from then on.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use tidegate_adapters::event_hubs::client::entra::{
    AUTHORITY, Application, ApplicationTokens, EVENT_HUBS_SCOPE, http_client,
};
use tidegate_adapters::event_hubs::client::{Client, ClientError, FailureKind, Remote, platform_tls};
use tidegate_adapters::event_hubs::{RemoteLog, RemoteLogOptions};
use tidegate_model::clock::SharedClock;
use tidegate_model::connection_string::{ConnectionString, Endpoint};
use tidegate_model::error::ErrorCode;
use tidegate_model::event::HubName;
use tidegate_model::ports::EventLog;

use crate::config::{EntraConfig, SourceAccess, SourceConfig};
use crate::failure::Failure;

/// How long the start waits for a hub that is away.
const PATIENCE: Duration = Duration::from_secs(60);

/// The hubs of others that are open, ordered by name.
#[derive(Clone, Default)]
pub(crate) struct Sources(Arc<RwLock<Vec<Arc<RemoteLog>>>>);

impl Sources {
    /// Opens what is configured.
    ///
    /// # Errors
    /// When one cannot be opened; the others stay closed then.
    pub(crate) async fn open(&self, sources: &[SourceConfig], clock: &SharedClock) -> Result<(), Failure> {
        let mut opened = Vec::new();
        for source in sources {
            opened.push(open(source, clock).await?);
        }
        *self.0.write() = opened;
        Ok(())
    }

    /// Closes all of them.
    pub(crate) fn close(&self) {
        self.0.write().clear();
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<Arc<dyn EventLog>> {
        self.0.read().iter().map(|source| Arc::clone(source) as Arc<dyn EventLog>).collect()
    }

    /// The one of this name, whatever the case of its letters.
    pub(crate) fn find(&self, name: &str) -> Option<Arc<dyn EventLog>> {
        self.all().into_iter().find(|source| source.hub().as_str().eq_ignore_ascii_case(name))
    }
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
