//! A client of one hub: connections, tokens, receivers, producers, and what the hub says of itself.
//!
//! All that is asked of a client goes over one connection, which is made when it is first needed and again when it ended.
//! Nothing is tried again here: whoever asks knows best whether that is of use, and [`ClientError::kind`] says whether it
//! may be. Only connecting has a pace: after a failure nobody connects for a while, and all who want to wait for that.

mod connection;
pub mod credential;
pub mod entra;
pub mod error;
mod management;
mod producer;
mod receiver;
mod remote;
mod requests;
mod transport;

use std::sync::Arc;
use std::time::Duration;

use tidegate_amqp::codec::value::{Map, Symbol, Value};
use tidegate_amqp::connection::{Limits, Login, Options};
use tidegate_model::clock::{SharedClock, timeout};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

use self::connection::Connection;
use self::credential::{Token, TokenSource};
use self::requests::{Reply, Request};
use super::backoff::Backoff;

pub use self::error::{ClientError, FailureKind};
pub use self::management::{HubInfo, PartitionInfo};
pub use self::producer::Producer;
pub use self::receiver::{Receive, Receiver, StartAt};
pub use self::remote::{Access, InvalidRemote, Remote};
pub(crate) use self::transport::unused_tls;
pub use self::transport::{PLAIN_PORT, Server, TLS_PORT, platform_tls, tls_with_roots};

/// The largest message that is taken, in bytes: what hubs of the Dedicated tier allow.
pub const MAX_MESSAGE_BYTES: u64 = 20 * 1024 * 1024;

/// How long a request to the hub may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// A token is replaced when a tenth of its life is left, but not later than this before its end, unless it lives shorter.
const LATEST_RENEWAL: Duration = Duration::from_secs(30);

/// A client of one hub.
pub struct Client {
    remote: Remote,
    clock: SharedClock,
    name: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    live: Option<Live>,
    backoff: Backoff,
    /// Nobody connects before this time, on the steady clock.
    not_before: Duration,
}

/// A connection that is used.
struct Live {
    connection: Connection,
    renewal: Option<JoinHandle<()>>,
}

impl Drop for Live {
    fn drop(&mut self) {
        if let Some(renewal) = &self.renewal {
            renewal.abort();
        }
    }
}

impl Client {
    /// A client that has not connected yet.
    pub fn new(remote: Remote, clock: SharedClock) -> Arc<Self> {
        let name = format!("tidegate-{:016x}", clock.random());
        Arc::new(Self { remote, clock, name, state: Mutex::default() })
    }

    /// Which hub it is a client of.
    pub fn remote(&self) -> &Remote {
        &self.remote
    }

    /// The connection: the one there is, or a new one.
    ///
    /// # Errors
    /// When none can be made.
    async fn connection(&self) -> Result<Connection, ClientError> {
        let mut state = self.state.lock().await;
        if let Some(live) = state.live.take_if(|live| !live.connection.is_open()) {
            drop(live);
        }
        if let Some(live) = &state.live {
            return Ok(live.connection.clone());
        }
        let pause = state.not_before.saturating_sub(self.clock.monotonic());
        if !pause.is_zero() {
            self.clock.sleep(pause).await;
        }
        match self.connect().await {
            Ok(live) => {
                state.backoff.succeeded();
                Ok(state.live.insert(live).connection.clone())
            }
            Err(error) => {
                let pause = state.backoff.failed(&*self.clock);
                state.not_before = self.clock.monotonic().saturating_add(pause);
                Err(error)
            }
        }
    }

    /// Passes an answer on. Where the hub does not let us in any more, the next question is asked over a new connection,
    /// with a new token.
    async fn heard<T>(
        &self,
        connection: &Connection,
        answer: Result<T, ClientError>,
    ) -> Result<T, ClientError> {
        if answer.as_ref().is_err_and(|error| error.kind() == FailureKind::Unauthorized) {
            let mut state = self.state.lock().await;
            state.live.take_if(|live| live.connection.is_same_as(connection));
        }
        answer
    }

    async fn connect(&self) -> Result<Live, ClientError> {
        let server = &self.remote.server;
        let stream = transport::connect(server, &*self.clock).await?;
        let login = match &self.remote.access {
            Access::Tokens(_) => Login::Anonymous,
            Access::Plain { name, key } => {
                Login::Plain { user: name.clone(), password: key.reveal().to_owned() }
            }
        };
        let opening = Connection::open(server.to_string(), stream, self.options(), login, self.clock.clone());
        let connection = within(&self.clock, "opening the connection", opening).await?;
        tracing::info!(%server, hub = self.remote.hub, "connected to another hub");
        let renewal = match &self.remote.access {
            Access::Tokens(tokens) => {
                let renewal = Renewal {
                    connection: connection.clone(),
                    tokens: tokens.clone(),
                    audience: self.audience(),
                    clock: self.clock.clone(),
                };
                let token = renewal.put_token().await?;
                Some(tokio::spawn(renewal.run(token)))
            }
            Access::Plain { .. } => None,
        };
        Ok(Live { connection, renewal })
    }

    fn options(&self) -> Options {
        let product = |text: &'static str| Value::String(text.into());
        let mut options = Options::new(self.name.clone());
        options.hostname = Some(self.remote.namespace.as_str().into());
        // Large enough that few events need two frames, small enough that nobody waits long behind one.
        options.max_frame_size = 256 * 1024;
        options.idle_timeout = Some(IDLE_TIMEOUT);
        options.properties = Map::new()
            .with(Symbol::from_static("product"), product("tidegate"))
            .with(Symbol::from_static("version"), product(env!("CARGO_PKG_VERSION")));
        options.limits = Limits {
            sessions: 1024,
            message_bytes: MAX_MESSAGE_BYTES,
            partial_bytes: 4 * MAX_MESSAGE_BYTES as usize,
            ..Limits::default()
        };
        options
    }

    /// What tokens are for.
    fn audience(&self) -> String {
        format!("sb://{}/{}", self.remote.namespace, self.remote.hub)
    }

    /// A token for a request that has to carry one.
    async fn security_token(&self) -> Result<Option<String>, ClientError> {
        match &self.remote.access {
            Access::Tokens(tokens) => Ok(Some(tokens.token(&self.audience()).await?.secret)),
            Access::Plain { .. } => Ok(None),
        }
    }
}

/// How long the server may say nothing: when twice this has passed, the connection is given up. A server keeps a silent
/// connection alive by empty frames.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// Puts a token on a connection, and a new one before that ends.
struct Renewal {
    connection: Connection,
    tokens: Arc<dyn TokenSource>,
    audience: String,
    clock: SharedClock,
}

impl Renewal {
    async fn put_token(&self) -> Result<Token, ClientError> {
        let token = self.tokens.token(&self.audience).await?;
        let request = Request {
            properties: vec![
                ("operation", Value::String("put-token".into())),
                ("type", Value::String(token.kind.name().into())),
                ("name", Value::String(self.audience.as_str().into())),
                ("expiration", Value::Timestamp(token.expires_at.as_millis())),
            ],
            body: Value::String(token.secret.as_str().into()),
        };
        let reply = ask(&self.connection, &self.clock, "$cbs", "put-token", request).await?;
        drop(reply);
        Ok(token)
    }

    /// Renews the token for as long as the connection is there. When that fails until the token has ended, the server
    /// ends the links, and whoever has them is told why.
    async fn run(self, mut token: Token) {
        let mut backoff = Backoff::default();
        loop {
            let life = token.expires_at.since(self.clock.now());
            let margin = (life / 10).max(LATEST_RENEWAL).min(life / 2);
            self.clock.sleep(life.saturating_sub(margin)).await;
            loop {
                match self.put_token().await {
                    Ok(renewed) => {
                        tracing::debug!(audience = self.audience, "the token is renewed");
                        backoff.succeeded();
                        // A token that was not renewed because it is the only one there is.
                        if renewed.expires_at <= token.expires_at {
                            self.clock.sleep(renewed.expires_at.since(self.clock.now())).await;
                        }
                        token = renewed;
                        break;
                    }
                    Err(_) if !self.connection.is_open() => return,
                    Err(error) => {
                        tracing::warn!(%error, audience = self.audience, "the token is not renewed");
                        self.clock.sleep(backoff.failed(&*self.clock)).await;
                    }
                }
            }
        }
    }
}

/// Asks a node, and takes a status that is no success for a failure.
async fn ask(
    connection: &Connection,
    clock: &SharedClock,
    node: &'static str,
    what: &'static str,
    request: Request,
) -> Result<Reply, ClientError> {
    let reply = within(clock, what, connection.request(node, request)).await?;
    match reply.status {
        200..300 => Ok(reply),
        status => Err(ClientError::Status { what, status, description: reply.description }),
    }
}

/// Waits for something, but not for ever.
async fn within<T>(
    clock: &SharedClock,
    what: &'static str,
    work: impl Future<Output = Result<T, ClientError>>,
) -> Result<T, ClientError> {
    match timeout(&**clock, REQUEST_TIMEOUT, work).await {
        Some(done) => done,
        None => Err(ClientError::TimedOut { what, limit: REQUEST_TIMEOUT }),
    }
}
