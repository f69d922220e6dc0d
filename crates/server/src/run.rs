//! The running server: listens, processes, drops what is old, and stops without losing anything.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use tidegate_api::Setting;
use tidegate_gateway::amqp::{AmqpBounds, AmqpDoor};
use tidegate_model::clock::{SharedClock, timeout};
use tidegate_model::connection_string::{ConnectionString, Endpoint, InvalidConnectionString};
use tidegate_model::error::ErrorCode;
use tidegate_model::event::HubName;
use tidegate_model::ports::EventLog;
use tidegate_telemetry::scale::{self, KedaScaler};

use crate::access;
use crate::client::user_name;
use crate::config::{Config, FILE_NAME};
use crate::data_dir::{DataDir, IfMissing, ServerAddress};
use crate::failure::{Exit, Failure};
use crate::for_ever::for_ever;
use crate::functions::Registry;
use crate::keys::{Guests, ROOT_KEY_NAME};
use crate::listener::{self, Bounds};
use crate::node::{Node, NodeConfig};
use crate::retention;
use crate::telemetry::{Certificates, HttpMetrics};
use crate::tls::Certificate;
use crate::wiring::System;

/// What a server is started with.
pub(crate) struct Options {
    /// What it is to be.
    pub(crate) config: Config,
    /// Where it keeps its data.
    pub(crate) data_dir: PathBuf,
    /// Where it listens.
    pub(crate) listen: SocketAddr,
    /// The configuration as it holds, to be shown.
    pub(crate) settings: Vec<Setting>,
    /// Whether whoever starts it is offered a link to sign in with, where the page is served.
    pub(crate) offers_sign_in: bool,
}

/// The configuration file to use: the one given, else the one in the data directory, else the one in the current
/// directory.
pub(crate) fn find_config(given: Option<&Path>, data_dir: &Path) -> Option<PathBuf> {
    if let Some(given) = given {
        return Some(given.to_owned());
    }
    [data_dir.join(FILE_NAME), PathBuf::from(FILE_NAME)].into_iter().find(|path| path.is_file())
}

/// A server that accepts work.
pub(crate) struct Started<'a> {
    /// Where it is.
    pub(crate) address: &'a ServerAddress,
    /// What a client of Event Hubs needs to connect, its key included; `None` without an AMQP front door.
    pub(crate) connection_string: Option<ConnectionString>,
    /// The hubs there are, declared or made by command, with their partitions.
    pub(crate) hubs: Vec<(HubName, u32)>,
    /// The address that signs whoever started it in on the page, once, if it was asked for.
    pub(crate) sign_in_link: Option<String>,
}

/// Runs a server until it is told to stop. `started` is called once it accepts work.
///
/// # Errors
/// When it cannot start, or cannot stop cleanly.
pub(crate) async fn serve(
    options: Options,
    registry: &Registry,
    clock: SharedClock,
    started: impl FnOnce(&Started<'_>) -> Result<(), Failure>,
) -> Result<Exit, Failure> {
    let mut signals = Signals::new()?;
    // What cannot work is found before anything is opened.
    let amqp = &options.config.amqp;
    amqp.development_key.check(std::iter::once(options.listen).chain(amqp.listen))?;
    let tls = amqp_tls(&options.config)?;
    let guests = Guests::of(&options.config)?;
    let data_dir = DataDir::open_when_free(&options.data_dir, IfMissing::Create, &*clock).await?;
    // A taken port is found before anything starts.
    let listener = bind(options.listen).await?;
    let local = listener.local_addr().map_err(|error| cannot_listen(options.listen, &error))?;
    if !local.ip().is_loopback() {
        tracing::warn!(%local, "listening on other than the loopback: the traffic is not encrypted");
    }

    let amqp_listener = match options.config.amqp.listen {
        Some(address) => Some(bind_amqp(address).await?),
        None => None,
    };

    let scale_listener = match options.config.scale.listen {
        Some(address) => Some(bind_scale(address).await?),
        None => None,
    };

    let node = Node::open_to(guests, data_dir, NodeConfig::Declared(&options.config), clock.clone()).await?;
    *node.settings.lock() = options.settings.into();
    let certificates = Certificates(tls.iter().map(|tls| ("amqp", Arc::clone(tls))).collect());
    node.telemetry.register(|registry| registry.register_collector(Box::new(certificates)));
    let doors = Doors::new(amqp_listener, tls, &options.config, &node)?;
    let http = HttpMetrics::default();
    node.telemetry.register(|registry| http.register(registry));
    let router = http.around(node.router().merge(doors.routes()), &clock);
    let (console, router) = match options.config.console.enabled {
        true => {
            let (console, router) = crate::console::before(&node, router, &http);
            (Some(console), router)
        }
        false => (None, router),
    };
    let system = System::start(node, &options.config, registry, Some(local)).await?;
    let (close_door, door_closes) = oneshot::channel::<()>();
    let door_closes = async {
        // An error means that the sender is gone, which also ends the server.
        let _ = door_closes.await;
    };
    let mut server =
        tokio::spawn(listener::serve(listener, router, Bounds::default(), http, clock.clone(), door_closes));
    let old_events = {
        let (places, log, store) =
            (system.node.places.clone(), system.node.log.clone(), system.node.store.clone());
        let (config, time) = (Arc::new(options.config.clone()), clock.clone());
        let drops =
            move || retention::run(places.clone(), log.clone(), store.clone(), time.clone(), config.clone());
        tokio::spawn(for_ever("dropping old events", clock.clone(), drops))
    };

    let mut amqp = doors.open();
    let scaler = scale_listener.map(|listener| {
        let scaler = KedaScaler::new(system.node.telemetry.clone(), options.config.scale.policy);
        tokio::spawn(async move {
            // It holds nothing that must be brought to an end: it is cut off when the server stops.
            if let Err(error) = scale::serve(listener, scaler, std::future::pending()).await {
                tracing::error!(%error, "KEDA cannot ask any more how many instances there are to be");
            }
        })
    });

    let address = ServerAddress {
        http: format!("http://{local}"),
        amqp: amqp.local.map(|local| local.to_string()),
        pid: std::process::id(),
    };
    system.node.data_dir.announce(&address)?;
    tracing::info!(http = %address.http, data_dir = %options.data_dir.display(), "accepting work");
    let connection_string = amqp.connection_string(system.node.root_key()?)?;
    let hubs = system.node.log.hubs();
    let hubs = hubs.iter().map(|hub| (EventLog::hub(&**hub).clone(), EventLog::partition_count(&**hub)));
    let hubs = hubs.collect();
    let sign_in_link = match options.offers_sign_in && console.is_some() {
        true => sign_in_link(&system.node, local).await,
        false => None,
    };
    let announced = started(&Started { address: &address, connection_string, hubs, sign_in_link });
    let mut fallen = None;
    if announced.is_ok() {
        fallen = tokio::select! {
            () = signals.next() => None,
            () = ended(Some(&mut server)) => Some("HTTP"),
            () = ended(amqp.listening.as_mut()) => Some("AMQP"),
        };
        match fallen {
            None => tracing::info!(
                "stopping: no new work is taken, what is under way is finished; a second signal aborts"
            ),
            // Without its door the program would look alive and take nothing. Whoever supervises it starts it again.
            Some(door) => tracing::error!(
                "stopping: the front door for {door} came to its end, which is a defect; nothing acknowledged is lost"
            ),
        }
    }

    let stop = async {
        system.node.data_dir.retract()?;
        // The sender may be gone only if the server ended by itself.
        let _ = close_door.send(());
        // Who looks at a live page would be waited for.
        if let Some(console) = console {
            console.close();
        }
        amqp.stop().await;
        let is_over = server.is_finished();
        if !is_over && timeout(&*clock, options.config.processor.drain_timeout, &mut server).await.is_none() {
            server.abort();
            tracing::warn!(
                "requests that did not end in time are cut off; their senders were not acknowledged"
            );
        }
        old_events.abort();
        if let Some(scaler) = scaler {
            scaler.abort();
        }
        system.stop().await
    };
    tokio::select! {
        stopped = stop => stopped.map(drop)?,
        () = signals.next() => {
            tracing::warn!("aborted: what was not finished is processed after the next start");
            return Ok(Exit::Failed);
        }
    }
    announced?;
    tracing::info!("stopped");
    Ok(if fallen.is_some() { Exit::Failed } else { Exit::Done })
}

/// Returns when a task has ended, also by a panic; never where there is none.
async fn ended(task: Option<&mut JoinHandle<()>>) {
    match task {
        Some(task) => drop(task.await),
        None => std::future::pending().await,
    }
}

/// A link for whoever starts the server; a server without one is better than none.
async fn sign_in_link(node: &Node, local: SocketAddr) -> Option<String> {
    let origin = format!("http://{}", reached(local));
    match access::links::for_who_starts(node, &origin, user_name()).await {
        Ok(url) => Some(url),
        Err(error) => {
            tracing::warn!(%error, "no link to sign in with could be made");
            None
        }
    }
}

/// How somebody on this machine reaches an address that is listened at: where it is every address, the loopback is one of them.
fn reached(local: SocketAddr) -> SocketAddr {
    match local.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => (Ipv4Addr::LOCALHOST, local.port()).into(),
        IpAddr::V6(ip) if ip.is_unspecified() => (Ipv6Addr::LOCALHOST, local.port()).into(),
        _ => local,
    }
}

/// The AMQP front door: on a port of its own, and through WebSockets at the HTTP front door.
struct Doors {
    door: Arc<AmqpDoor>,
    listener: Option<TcpListener>,
    /// Where it listens.
    local: Option<SocketAddr>,
    is_encrypted: bool,
    websocket: bool,
    close: watch::Sender<bool>,
}

impl Doors {
    fn new(
        listener: Option<TcpListener>,
        tls: Option<Arc<Certificate>>,
        config: &Config,
        node: &Node,
    ) -> Result<Self, Failure> {
        let local = listener.as_ref().map(TcpListener::local_addr).transpose();
        let local = local.map_err(|error| cannot_listen_for_amqp(listener_address(config), &error))?;
        let is_encrypted = tls.is_some();
        if let Some(local) = local.filter(|local| !local.ip().is_loopback() && !is_encrypted) {
            tracing::warn!(%local, "listening for AMQP on other than the loopback: the traffic is not encrypted");
        }
        let amqp = &config.amqp;
        let bounds = AmqpBounds {
            connections: usize::try_from(amqp.max_connections).unwrap_or(usize::MAX),
            max_frame_size: amqp.max_frame_size,
            idle_timeout: amqp.idle_timeout,
            drain: config.processor.drain_timeout,
            ..AmqpBounds::default()
        };
        let mut door = AmqpDoor::new(node.gateway.clone(), bounds);
        if let Some(tls) = tls {
            door = door.with_tls(Arc::new(move || tls.current()));
        }
        node.telemetry.register(|registry| door.metrics().register(registry));
        let (door, close) = (Arc::new(door), watch::Sender::new(false));
        Ok(Self { door, listener, local, is_encrypted, websocket: amqp.websocket, close })
    }

    /// What it adds to the HTTP front door.
    fn routes(&self) -> Router {
        if self.websocket { self.door.routes(self.close.subscribe()) } else { Router::new() }
    }

    /// Takes connections from now on.
    fn open(self) -> Amqp {
        let Self { door, listener, local, is_encrypted, close, .. } = self;
        let listening = listener.map(|listener| {
            let (door, closes) = (door.clone(), close.subscribe());
            tokio::spawn(async move { door.serve(listener, closes).await })
        });
        Amqp { door, local, is_encrypted, close, listening }
    }
}

/// The AMQP front door while it is open.
struct Amqp {
    door: Arc<AmqpDoor>,
    local: Option<SocketAddr>,
    is_encrypted: bool,
    close: watch::Sender<bool>,
    listening: Option<JoinHandle<()>>,
}

impl Amqp {
    /// What a client needs to connect; nothing where it would need a proxy in front.
    fn connection_string(&self, key: &str) -> Result<Option<ConnectionString>, Failure> {
        let Some(local) = self.local else { return Ok(None) };
        let unusable =
            |error: InvalidConnectionString| Failure::new(ErrorCode::CONFIG_BAD_VALUE, error.to_string());
        // Where it listens on every address, the loopback is one of them.
        let host = match local.ip() {
            ip if ip.is_unspecified() => "127.0.0.1".to_owned(),
            ip => ip.to_string(),
        };
        let endpoint = Endpoint::new(&host, Some(local.port())).map_err(unusable)?;
        let string = ConnectionString::with_key(endpoint, ROOT_KEY_NAME, key).map_err(unusable)?;
        // Clients do without TLS only for the emulator.
        Ok(Some(if self.is_encrypted { string } else { string.for_development() }))
    }

    async fn stop(self) {
        let _ = self.close.send(true);
        let listening = async {
            if let Some(listening) = self.listening.filter(|listening| !listening.is_finished()) {
                let _ = listening.await;
            }
        };
        tokio::join!(listening, self.door.end_upgraded());
    }
}

fn listener_address(config: &Config) -> SocketAddr {
    config.amqp.listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)))
}

/// What the AMQP front door is encrypted with.
fn amqp_tls(config: &Config) -> Result<Option<Arc<Certificate>>, Failure> {
    let made = config.amqp.tls.clone().map(Certificate::load).transpose();
    made.map(|made| made.map(Arc::new)).map_err(|why| {
        Failure::usage(ErrorCode::CONFIG_BAD_VALUE, why)
            .help("name a certificate and its private key in `tls` of [amqp], both as PEM files")
    })
}

async fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| cannot_listen(address, &error))
}

async fn bind_scale(address: SocketAddr) -> Result<TcpListener, Failure> {
    let listener = TcpListener::bind(address).await.map_err(|error| {
        let message = format!("cannot listen for KEDA on {address}: {error}");
        Failure::new(ErrorCode::SERVER_UNREACHABLE, message)
            .help("another program may use the port: choose one with `listen` of [scale]")
    })?;
    if !address.ip().is_loopback() {
        tracing::warn!(%address, "whoever reaches this address may ask how many instances there are to be");
    }
    Ok(listener)
}

async fn bind_amqp(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| cannot_listen_for_amqp(address, &error))
}

fn cannot_listen_for_amqp(address: SocketAddr, error: &std::io::Error) -> Failure {
    Failure::new(ErrorCode::SERVER_UNREACHABLE, format!("cannot listen for AMQP on {address}: {error}")).help(
        "another program may use the port: choose one with --amqp 127.0.0.1:PORT; port 0 takes a free one",
    )
}

fn cannot_listen(address: SocketAddr, error: &std::io::Error) -> Failure {
    Failure::new(ErrorCode::SERVER_UNREACHABLE, format!("cannot listen on {address}: {error}")).help(
        "another program may use the port: choose one with --http 127.0.0.1:PORT; port 0 takes a free one",
    )
}

/// The signals that end the program.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> Result<Self, Failure> {
        let listen = |kind| {
            signal(kind).map_err(|error| {
                Failure::new(ErrorCode::DATA_DIR_IO, format!("cannot listen for signals: {error}"))
            })
        };
        Ok(Self { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_end_of_a_door_is_noticed_also_when_it_panicked() {
        ended(Some(&mut tokio::spawn(async {}))).await;
        ended(Some(&mut tokio::spawn(async { panic!("on purpose") }))).await;
        let mut open = tokio::spawn(std::future::pending());
        tokio::select! {
            biased;
            () = ended(Some(&mut open)) => panic!("it is open"),
            () = ended(None) => panic!("there is none"),
            () = tokio::task::yield_now() => {}
        }
    }
}
