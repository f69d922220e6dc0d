//! The client's end of a connection: the protocol's other half over the simulated network.

use std::time::Duration;

use tidegate_amqp::connection::{Connection, Ending, Event, Login, Options, SessionId};
use tidegate_amqp::tokio::{Moved, exchange};
use tokio::sync::Notify;

use crate::executor::Executor;
use crate::network::{Endpoint, Network};
use crate::site::{KEY, KEY_NAME};

/// A connection that is open.
pub(super) struct Client {
    pub(super) engine: Connection,
    executor: Executor,
    stream: Endpoint,
    /// The stream has ended; what came before may still be in the engine.
    is_cut: bool,
    /// It does not keep its own promise to say something now and then.
    pub(super) is_silent: bool,
    /// How it ended.
    ending: Option<Ending>,
}

/// How a client is let in.
#[derive(Clone, Copy, Debug)]
pub(super) enum Access {
    /// With the key of its access rule, by SASL PLAIN.
    Key,
    /// With a token that it puts to `$cbs`, good for so long.
    Token(Duration),
}

impl Access {
    fn login(self) -> Login {
        match self {
            Self::Key => Login::Plain { user: KEY_NAME.to_owned(), password: KEY.to_owned() },
            Self::Token(_) => Login::Anonymous,
        }
    }
}

/// What happened next.
#[derive(Debug)]
pub(super) enum Turn {
    /// Something on the connection.
    Event(Event),
    /// Somebody has something to do for it.
    Nudged,
    /// It is time.
    Time,
    /// It is over.
    Over,
}

impl Client {
    /// Opens a connection and is let in; `None` when that does not work out within `patience`.
    pub(super) async fn open(
        network: &Network,
        executor: &Executor,
        options: Options,
        access: Access,
        patience: Duration,
    ) -> Option<Self> {
        let stream = network.connect().await.ok()?;
        let engine = Connection::client(options, access.login(), executor.now());
        let mut client = Self {
            engine,
            executor: executor.clone(),
            stream,
            is_cut: false,
            is_silent: false,
            ending: None,
        };
        let until = executor.now() + patience;
        let nobody = Notify::new();
        loop {
            match client.turn(until, &nobody).await {
                Turn::Event(Event::Opened(_)) => break,
                Turn::Event(_) | Turn::Nudged => {}
                Turn::Time | Turn::Over => return None,
            }
        }
        match access {
            Access::Key => Some(client),
            Access::Token(lifetime) => client.put_token(lifetime, until).await.then_some(client),
        }
    }

    /// The time.
    pub(super) fn now(&self) -> Duration {
        self.executor.now()
    }

    /// A session of the connection.
    pub(super) fn begin(&mut self) -> Option<SessionId> {
        self.engine.begin().ok()
    }

    /// The number of the wire.
    pub(super) fn wire(&self) -> u64 {
        self.stream.number
    }

    /// How the connection ended, when neither side had a reason to end it.
    pub(super) fn ended_for_nothing(&self) -> Option<&Ending> {
        self.ending.as_ref().filter(|_| !self.is_silent && !self.is_harmed())
    }

    /// Whether something went wrong with the wire, or with the server.
    pub(super) fn is_harmed(&self) -> bool {
        self.stream.is_harmed()
    }

    /// What happens next, until this time.
    pub(super) async fn turn(&mut self, until: Duration, nudge: &Notify) -> Turn {
        loop {
            match self.engine.next_event() {
                Some(Event::Closed(ending)) => {
                    self.ending = Some(ending);
                    return Turn::Over;
                }
                Some(event) => return Turn::Event(event),
                None if self.is_cut => {
                    self.engine.transport_closed();
                    self.is_cut = false;
                    continue;
                }
                None => {}
            }
            let now = self.executor.now();
            if until <= now {
                return Turn::Time;
            }
            let wait = self.engine.next_deadline().map_or(until, |at| at.min(until)).saturating_sub(now);
            let Self { engine, executor, stream, .. } = self;
            tokio::select! {
                biased;
                moved = exchange(stream, engine, true) => self.is_cut = !matches!(moved, Ok(Moved::Bytes { .. })),
                () = nudge.notified() => return Turn::Nudged,
                () = executor.sleep(wait) => {}
            }
            self.engine.tick(self.executor.now());
        }
    }

    /// Closes the connection, and waits until the server has answered.
    pub(super) async fn close(mut self, patience: Duration) {
        self.engine.close(None);
        let until = self.executor.now() + patience;
        let nobody = Notify::new();
        while let Turn::Event(_) = self.turn(until, &nobody).await {}
    }
}
