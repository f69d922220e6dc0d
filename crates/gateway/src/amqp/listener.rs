//! Takes connections: AMQP, and inside TLS or a WebSocket, told apart by their first byte.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustls::ServerConfig;
use tidegate_amqp::connection::Options;
use tidegate_model::clock::timeout;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::connection::{self, Shared};
use super::metrics::{AmqpMetrics, Transport};
use super::seats::Seats;
use super::websocket;
use crate::Gateway;

/// The certificate as it is now: asked for each connection, so that a renewed one is used at once.
pub type Tls = Arc<dyn Fn() -> Arc<ServerConfig> + Send + Sync>;

/// What connections may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AmqpBounds {
    /// How many there are at a time. Who comes beyond waits in the operating system's queue.
    pub connections: usize,
    /// The largest frame that is taken, in bytes.
    pub max_frame_size: u32,
    /// What is announced as the idle time-out. A connection on which nothing comes for twice as long is closed.
    pub idle_timeout: Duration,
    /// How long a client may take to say what it speaks, TLS and WebSocket included.
    pub handshake: Duration,
    /// How long connections may take to end when the server stops.
    pub drain: Duration,
}

impl Default for AmqpBounds {
    /// 5000 connections as on the Standard tier of Event Hubs, 1 MiB, 240 s as Event Hubs, 30 s, 10 s.
    fn default() -> Self {
        Self {
            connections: 5000,
            max_frame_size: 1024 * 1024,
            idle_timeout: Duration::from_secs(240),
            handshake: Duration::from_secs(30),
            drain: Duration::from_secs(10),
        }
    }
}

/// The front door for AMQP.
pub struct AmqpDoor {
    pub(super) shared: Arc<Shared>,
    pub(super) bounds: AmqpBounds,
    tls: Option<Tls>,
    /// A place for each connection there may be, however it comes.
    pub(super) room: Arc<Semaphore>,
    /// The connections that came through the HTTP front door.
    pub(super) upgraded: Mutex<JoinSet<()>>,
}

/// The pause after the operating system refused to give a connection, which it does when too many files are open.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

impl AmqpDoor {
    /// A door to the hubs of a gateway.
    pub fn new(gateway: Arc<Gateway>, bounds: AmqpBounds) -> Self {
        let mut options = Options::new(format!("tidegate-{:016x}", gateway.clock.random()));
        options.max_frame_size = bounds.max_frame_size;
        options.idle_timeout = Some(bounds.idle_timeout);
        // An idle Python client never reads, so it never answers a close; stopping does not wait for it.
        options.close_timeout = Duration::from_secs(1);
        let (seats, metrics) = (Arc::new(Seats::default()), AmqpMetrics::default());
        let shared = Shared { gateway, seats, metrics, options };
        let room = Arc::new(Semaphore::new(bounds.connections));
        Self { shared: Arc::new(shared), bounds, tls: None, room, upgraded: Mutex::default() }
    }

    /// The same door with a certificate: clients that speak TLS are taken, and nobody else.
    #[must_use]
    pub fn with_tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// What it counts about itself.
    pub fn metrics(&self) -> &AmqpMetrics {
        &self.shared.metrics
    }

    /// Serves who connects, until `stop` turns true. Then nobody is taken any more, what is under way is acknowledged, and
    /// clients are told to connect again.
    pub async fn serve(&self, listener: TcpListener, mut stop: watch::Receiver<bool>) {
        let clock = Arc::clone(&self.shared.gateway.clock);
        let mut connections = JoinSet::new();
        loop {
            let (stream, place) = tokio::select! {
                biased;
                () = connection::told(&mut stop) => break,
                Some(ended) = connections.join_next(), if !connections.is_empty() => {
                    note_panic(ended);
                    continue;
                }
                accepted = accept(&listener, &self.room) => match accepted {
                    Ok(accepted) => accepted,
                    Err(error) => {
                        tracing::warn!(%error, "no connection can be taken at the moment");
                        clock.sleep(ACCEPT_PAUSE).await;
                        continue;
                    }
                },
            };
            let (shared, tls, handshake) =
                (Arc::clone(&self.shared), self.tls.clone(), self.bounds.handshake);
            let stop = stop.clone();
            connections.spawn(async move {
                let metrics = shared.metrics.clone();
                if let Err(error) = serve_socket(shared, tls, handshake, stream, stop).await {
                    metrics.handshake_failed();
                    tracing::debug!(%error, "a connection ended before it spoke AMQP");
                }
                drop(place);
            });
        }
        drop(listener);
        self.end(connections).await;
    }

    /// Waits until the connections that came through the HTTP front door have ended, after their `stop` has turned true.
    pub async fn end_upgraded(&self) {
        let connections = std::mem::take(&mut *self.upgraded.lock());
        self.end(connections).await;
    }

    async fn end(&self, mut connections: JoinSet<()>) {
        let ended = async {
            while let Some(ended) = connections.join_next().await {
                note_panic(ended);
            }
        };
        if timeout(&*self.shared.gateway.clock, self.bounds.drain, ended).await.is_none() {
            tracing::warn!("connections are cut off that have not ended in time");
        }
    }

    /// Serves one connection whose bytes are AMQP, whatever carries them.
    pub async fn serve_stream<S>(&self, stream: S, stop: watch::Receiver<bool>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        connection::serve(Arc::clone(&self.shared), Transport::Plain, stream, stop).await;
    }
}

/// Takes a connection as soon as there is room for one more.
async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let place = Arc::clone(room).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    Ok((stream, place))
}

pub(super) fn note_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a connection ended by a defect of this program");
    }
}

/// The first byte of a TLS record that begins a handshake.
const TLS_HANDSHAKE: u8 = 0x16;

async fn serve_socket(
    shared: Arc<Shared>,
    tls: Option<Tls>,
    handshake: Duration,
    stream: TcpStream,
    stop: watch::Receiver<bool>,
) -> io::Result<()> {
    // Only a matter of speed.
    let _ = stream.set_nodelay(true);
    let clock = Arc::clone(&shared.gateway.clock);
    let Some(tls) = tls else {
        let mut first = [0];
        let peeked =
            timeout(&*clock, handshake, stream.peek(&mut first)).await.ok_or(io::ErrorKind::TimedOut)??;
        if peeked == 1 && first[0] == TLS_HANDSHAKE {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the client speaks TLS, and no certificate is set",
            ));
        }
        let first = first.first().copied().filter(|_| peeked == 1);
        return serve_plain(shared, Transport::Plain, handshake, first, stream, stop).await;
    };
    // Each way a connection goes is on the heap by itself, so that the plain ones do not take what the others need.
    Box::pin(serve_encrypted(shared, tls, handshake, stream, stop)).await
}

async fn serve_encrypted(
    shared: Arc<Shared>,
    tls: Tls,
    handshake: Duration,
    stream: TcpStream,
    stop: watch::Receiver<bool>,
) -> io::Result<()> {
    let clock = Arc::clone(&shared.gateway.clock);
    let accepting = TlsAcceptor::from(tls()).accept(stream);
    let mut stream = timeout(&*clock, handshake, accepting).await.ok_or(io::ErrorKind::TimedOut)??;
    let mut first = [0];
    timeout(&*clock, handshake, stream.read_exact(&mut first)).await.ok_or(io::ErrorKind::TimedOut)??;
    let stream = Prefixed { prefix: Some(first[0]), stream };
    serve_plain(shared, Transport::Tls, handshake, Some(first[0]), stream, stop).await
}

/// Serves AMQP, or the WebSocket that it is in. `first` is the first byte that will be read.
async fn serve_plain<S>(
    shared: Arc<Shared>,
    transport: Transport,
    handshake: Duration,
    first: Option<u8>,
    stream: S,
    stop: watch::Receiver<bool>,
) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    // Every request of HTTP begins with a letter of its method; a WebSocket's is GET.
    if first != Some(b'G') {
        Box::pin(connection::serve(shared, transport, stream, stop)).await;
        return Ok(());
    }
    Box::pin(serve_websocket(shared, handshake, stream, stop)).await
}

async fn serve_websocket<S>(
    shared: Arc<Shared>,
    handshake: Duration,
    stream: S,
    stop: watch::Receiver<bool>,
) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let clock = Arc::clone(&shared.gateway.clock);
    let accepting =
        tokio_tungstenite::accept_hdr_async_with_config(stream, websocket::accept, Some(websocket::config()));
    let socket = timeout(&*clock, handshake, accepting).await.ok_or(io::ErrorKind::TimedOut)?;
    let socket = socket.map_err(io::Error::other)?;
    connection::serve(shared, Transport::WebSocket, websocket::ByteStream::new(socket), stop).await;
    Ok(())
}

/// A stream whose first byte was read already.
struct Prefixed<S> {
    prefix: Option<u8>,
    stream: S,
}

mod prefixed {
    use std::io::{self, IoSlice};
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

    use super::Prefixed;

    impl<S: AsyncRead + Unpin> AsyncRead for Prefixed<S> {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            if buffer.remaining() > 0
                && let Some(first) = self.prefix.take()
            {
                buffer.put_slice(&[first]);
                return Poll::Ready(Ok(()));
            }
            Pin::new(&mut self.stream).poll_read(cx, buffer)
        }
    }

    impl<S: AsyncWrite + Unpin> AsyncWrite for Prefixed<S> {
        fn poll_write(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            Pin::new(&mut self.stream).poll_write(cx, bytes)
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            slices: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
        }

        fn is_write_vectored(&self) -> bool {
            self.stream.is_write_vectored()
        }

        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.stream).poll_flush(cx)
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.stream).poll_shutdown(cx)
        }
    }
}
