//! Takes HTTP connections: a bounded number at a time, each with a bounded time for the head of its next request.
//!
//! ```text
//! room for one more → accept → requests, one after the other → closed, and its room is free again
//! ```
//!
//! What is beyond the bound waits in the operating system's queue. Bodies have limits of their own, in the gateway.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::{JoinError, JoinSet};
use tower::Service;

use tidegate_access::Ends;
use tidegate_model::clock::{Clock, SharedClock};

use crate::telemetry::HttpMetrics;

/// The pause after the operating system refused to give a connection, which it does when too many files are open.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// What connections may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// How many are served at the same time.
    pub(crate) connections: usize,
    /// How long one may take to send the head of a request, counted from when the server is ready for it. So it is also
    /// how long an idle one is kept.
    pub(crate) head_timeout: Duration,
}

impl Default for Bounds {
    /// 512 connections, half of the files that a process may usually have open; 30 s.
    fn default() -> Self {
        Self { connections: 512, head_timeout: Duration::from_secs(30) }
    }
}

/// Serves `router` to who connects, until `stop` ends. Then nobody is taken any more, idle connections are closed, and
/// requests that are under way are answered. Dropping the future cuts off every connection.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    bounds: Bounds,
    metrics: HttpMetrics,
    clock: SharedClock,
    stop: impl Future<Output = ()>,
) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(bounds.head_timeout);
    let local = listener.local_addr().ok();
    let room = Arc::new(Semaphore::new(bounds.connections));
    let closing = watch::Sender::new(false);
    let mut connections = JoinSet::new();
    let mut stop = pin!(stop);
    loop {
        let (stream, peer, place) = tokio::select! {
            () = &mut stop => break,
            Some(ended) = connections.join_next() => {
                note_panic(ended);
                continue;
            }
            accepted = accept(&listener, &room, &*clock) => accepted,
        };
        // Only a matter of speed.
        let _ = stream.set_nodelay(true);
        // Some change to another protocol, and are somebody else's then.
        let ends = local.map(|local| Ends { listener: local.ip(), peer });
        let service = TowerToHyperService::new(WithEnds { inner: router.clone(), ends });
        let connection = http.serve_connection(TokioIo::new(stream), service).with_upgrades();
        let (mut closing, open) = (closing.subscribe(), metrics.connection());
        connections.spawn(async move {
            let mut connection = pin!(connection);
            let ended = tokio::select! {
                ended = connection.as_mut() => ended,
                () = told(&mut closing) => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = ended {
                // Mostly a client that went away or was too slow; what it asked for has said so already.
                tracing::debug!(%error, "a connection ended with an error");
            }
            drop((place, open));
        });
    }
    // Who is still in the operating system's queue is told so now.
    drop(listener);
    closing.send_replace(true);
    while let Some(ended) = connections.join_next().await {
        note_panic(ended);
    }
}

/// The routes, for one connection: each request is told where it comes from.
#[derive(Clone)]
struct WithEnds {
    inner: Router,
    ends: Option<Ends>,
}

impl<B> Service<Request<B>> for WithEnds
where
    Router: Service<Request<B>>,
{
    type Response = <Router as Service<Request<B>>>::Response;
    type Error = <Router as Service<Request<B>>>::Error;
    type Future = <Router as Service<Request<B>>>::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        if let Some(ends) = self.ends {
            request.extensions_mut().insert(ends);
        }
        self.inner.call(request)
    }
}

/// The next connection, once there is room for it.
async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
    clock: &dyn Clock,
) -> (TcpStream, SocketAddr, OwnedSemaphorePermit) {
    let place = Arc::clone(room).acquire_owned().await.expect("the semaphore is never closed");
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => return (stream, peer, place),
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::error!(%error, "connections cannot be accepted; trying again");
                clock.sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Waits until the server stops.
async fn told(closing: &mut watch::Receiver<bool>) {
    // An error means that the server is gone.
    let _ = closing.wait_for(|closing| *closing).await;
}

/// True when a client gave up before it was its turn.
fn is_of_one_connection(error: &std::io::Error) -> bool {
    use std::io::ErrorKind;
    matches!(
        error.kind(),
        ErrorKind::ConnectionRefused | ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset
    )
}

/// A panic costs its own connection only, but is a defect that must be seen.
fn note_panic(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a request made the server panic: this is a defect");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::routing::get;
    use tidegate_model::clock::SystemClock;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::sync::oneshot;
    use tokio::task::JoinHandle;

    use super::*;

    const ASK: &[u8] = b"GET / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n";
    const ASK_AND_STAY: &[u8] = b"GET / HTTP/1.1\r\nhost: h\r\n\r\n";

    struct Served {
        address: SocketAddr,
        stop: oneshot::Sender<()>,
        server: JoinHandle<()>,
    }

    async fn served(router: Router, bounds: Bounds) -> Served {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let server = tokio::spawn(async move {
            let stopped = async {
                let _ = stopped.await;
            };
            let (metrics, clock) = (HttpMetrics::default(), SystemClock::shared());
            serve(listener, router, bounds, metrics, clock, stopped).await;
        });
        Served { address, stop, server }
    }

    async fn connected(address: SocketAddr, first: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(first).await.unwrap();
        stream
    }

    /// What comes until the connection is closed.
    async fn rest(stream: &mut TcpStream) -> String {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    fn hello() -> Router {
        Router::new().route("/", get(async || "hello"))
    }

    #[tokio::test]
    async fn a_client_that_does_not_finish_a_head_is_closed_and_its_place_is_free_again() {
        let bounds = Bounds { connections: 1, head_timeout: Duration::from_millis(100) };
        let served = served(hello(), bounds).await;
        for beginning in ["", "GET / HT", "GET / HTTP/1.1\r\nhost: ", "GET / HTTP/1.1\r\nhost: h\r\n"] {
            let mut slow = connected(served.address, beginning.as_bytes()).await;
            // There is one place, so this one waits for it; its whole head is there when it is its turn.
            let mut next = connected(served.address, ASK).await;
            assert_eq!(rest(&mut slow).await, "", "{beginning:?}");
            assert!(rest(&mut next).await.ends_with("hello"), "after {beginning:?}");
        }
    }

    #[tokio::test]
    async fn connections_beyond_the_bound_wait_and_are_then_served() {
        const BOUND: usize = 3;
        const CLIENTS: usize = 20;
        let (inside, gate) = (watch::Sender::new(0_usize), Arc::new(Semaphore::new(0)));
        let most = Arc::new(AtomicUsize::new(0));
        let handler = {
            let (inside, gate, most) = (inside.clone(), gate.clone(), most.clone());
            async move || {
                inside.send_modify(|count| *count += 1);
                most.fetch_max(*inside.borrow(), Ordering::SeqCst);
                gate.acquire().await.unwrap().forget();
                inside.send_modify(|count| *count -= 1);
                "hello"
            }
        };
        let bounds = Bounds { connections: BOUND, ..Bounds::default() };
        let served = served(Router::new().route("/", get(handler)), bounds).await;
        let mut clients = Vec::new();
        for _ in 0..CLIENTS {
            clients.push(connected(served.address, ASK).await);
        }
        // All have asked. One after the other is let through, and each makes room for one that waits.
        let mut answers = JoinSet::new();
        for mut client in clients {
            answers.spawn(async move { rest(&mut client).await });
        }
        let mut seen = inside.subscribe();
        for answered in 0..CLIENTS {
            let expected = BOUND.min(CLIENTS - answered);
            seen.wait_for(|count| *count >= expected).await.unwrap();
            gate.add_permits(1);
            assert!(answers.join_next().await.unwrap().unwrap().ends_with("hello"));
        }
        assert_eq!(most.load(Ordering::SeqCst), BOUND);
    }

    #[tokio::test]
    async fn a_stop_closes_idle_connections_and_finishes_what_is_under_way() {
        let (entered, gate) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let slow = {
            let (entered, gate) = (entered.clone(), gate.clone());
            async move || {
                entered.add_permits(1);
                gate.acquire().await.unwrap().forget();
                "late"
            }
        };
        let served = served(hello().route("/slow", get(slow)), Bounds::default()).await;
        let mut idle = connected(served.address, ASK_AND_STAY).await;
        let mut seen = Vec::new();
        while !seen.ends_with(b"hello") {
            idle.read_buf(&mut seen).await.unwrap();
        }
        let mut under_way = connected(served.address, b"GET /slow HTTP/1.1\r\nhost: h\r\n\r\n").await;
        entered.acquire().await.unwrap().forget();

        served.stop.send(()).unwrap();
        assert_eq!(rest(&mut idle).await, "", "it is closed");
        assert!(TcpStream::connect(served.address).await.is_err(), "nobody is taken any more");
        gate.add_permits(1);
        let answer = rest(&mut under_way).await;
        assert!(answer.contains("connection: close") && answer.ends_with("late"), "{answer}");
        served.server.await.unwrap();
    }

    #[tokio::test]
    async fn a_server_that_is_dropped_cuts_off_its_connections() {
        let entered = Arc::new(Semaphore::new(0));
        let never = {
            let entered = entered.clone();
            async move || {
                entered.add_permits(1);
                std::future::pending::<&str>().await
            }
        };
        let served = served(Router::new().route("/", get(never)), Bounds::default()).await;
        let mut waiting = connected(served.address, ASK).await;
        entered.acquire().await.unwrap().forget();
        served.server.abort();
        assert_eq!(rest(&mut waiting).await, "");
    }

    #[tokio::test]
    async fn a_panic_costs_its_own_connection_only() {
        let router = hello().route("/panic", get(async || -> &'static str { panic!("on purpose") }));
        let bounds = Bounds { connections: 1, ..Bounds::default() };
        let served = served(router, bounds).await;
        let mut unlucky = connected(served.address, b"GET /panic HTTP/1.1\r\nhost: h\r\n\r\n").await;
        assert_eq!(rest(&mut unlucky).await, "");
        let mut next = connected(served.address, ASK).await;
        assert!(rest(&mut next).await.ends_with("hello"));
    }
}
