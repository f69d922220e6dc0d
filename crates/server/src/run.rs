//! The running server: listens, processes, drops what is old, and stops without losing anything.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use tidegate_model::clock::{SharedClock, timeout};
use tidegate_model::error::ErrorCode;

use crate::config::{Config, FILE_NAME};
use crate::data_dir::{DataDir, IfMissing, ServerAddress};
use crate::failure::{Exit, Failure};
use crate::functions::Registry;
use crate::listener::{self, Bounds};
use crate::node::{Node, NodeConfig};
use crate::retention;
use crate::wiring::System;

/// What a server is started with.
pub(crate) struct Options {
    /// What it is to be.
    pub(crate) config: Config,
    /// Where it keeps its data.
    pub(crate) data_dir: PathBuf,
    /// Where it listens.
    pub(crate) listen: SocketAddr,
}

/// The configuration file to use: the one given, else the one in the data directory, else the one in the current
/// directory.
pub(crate) fn find_config(given: Option<&Path>, data_dir: &Path) -> Option<PathBuf> {
    if let Some(given) = given {
        return Some(given.to_owned());
    }
    [data_dir.join(FILE_NAME), PathBuf::from(FILE_NAME)].into_iter().find(|path| path.is_file())
}

/// Runs a server until it is told to stop. `started` is called with its address once it accepts work.
///
/// # Errors
/// When it cannot start, or cannot stop cleanly.
pub(crate) async fn serve(
    options: Options,
    registry: &Registry,
    clock: SharedClock,
    started: impl FnOnce(&ServerAddress) -> Result<(), Failure>,
) -> Result<Exit, Failure> {
    let mut signals = Signals::new()?;
    let data_dir = DataDir::open_when_free(&options.data_dir, IfMissing::Create, &*clock).await?;
    // A taken port is found before anything starts.
    let listener = bind(options.listen).await?;
    let local = listener.local_addr().map_err(|error| cannot_listen(options.listen, &error))?;
    if !local.ip().is_loopback() {
        tracing::warn!(%local, "listening on other than the loopback: the traffic is not encrypted");
    }

    let node = Node::open(data_dir, NodeConfig::Declared(&options.config), clock.clone()).await?;
    let router = node.router();
    let system = System::start(node, &options.config, registry, Some(local)).await?;
    let (close_door, door_closes) = oneshot::channel::<()>();
    let door_closes = async {
        // An error means that the sender is gone, which also ends the server.
        let _ = door_closes.await;
    };
    let mut server =
        tokio::spawn(listener::serve(listener, router, Bounds::default(), clock.clone(), door_closes));
    let old_events = tokio::spawn(retention::run(
        system.node.log.clone(),
        system.node.store.clone(),
        clock.clone(),
        options.config.clone(),
    ));

    let address = ServerAddress { http: format!("http://{local}"), pid: std::process::id() };
    system.node.data_dir.announce(&address)?;
    tracing::info!(http = %address.http, data_dir = %options.data_dir.display(), "accepting work");
    let announced = started(&address);
    if announced.is_ok() {
        signals.next().await;
        tracing::info!(
            "stopping: no new work is taken, what is under way is finished; a second signal aborts"
        );
    }

    let stop = async {
        system.node.data_dir.retract()?;
        // The sender may be gone only if the server ended by itself.
        let _ = close_door.send(());
        if timeout(&*clock, options.config.processor.drain_timeout, &mut server).await.is_none() {
            server.abort();
            tracing::warn!(
                "requests that did not end in time are cut off; their senders were not acknowledged"
            );
        }
        old_events.abort();
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
    Ok(Exit::Done)
}

async fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| cannot_listen(address, &error))
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
