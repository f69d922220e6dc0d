//! A client: the other half of our own state machine on a socket, which costs as little as a client can.

use std::net::SocketAddr;

use anyhow::{Context as _, bail};
use bytes::Buf;
use tidegate_amqp::codec::performative::{Attach, Role, Source, Target};
use tidegate_amqp::connection::{Connection, CreditPolicy, Event, LinkId, Login, Options, SessionId};
use tidegate_amqp::tokio::{Moved, exchange};
use tidegate_model::clock::{SharedClock, SystemClock};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A connection with a session.
pub struct Peer {
    /// Its end.
    pub engine: Connection,
    stream: TcpStream,
    session: SessionId,
    clock: SharedClock,
    names: u32,
}

impl Peer {
    /// Connects, signs in with a key, opens a session. It takes whatever the server sends: it is never the limit.
    ///
    /// # Errors
    /// When it is not let in.
    pub async fn connect(address: SocketAddr, rule: &str, key: &str) -> anyhow::Result<Self> {
        let mut options = Options::new("a client of our own");
        options.incoming_window = i32::MAX as u32;
        options.limits.unsettled_per_link = i32::MAX as u32;
        let login = Login::Plain { user: rule.to_owned(), password: key.to_owned() };
        let clock = SystemClock::shared();
        let mut engine = Connection::client(options, login, clock.monotonic());
        let mut stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        loop {
            match engine.next_event() {
                Some(Event::Opened(_)) => break,
                Some(Event::Closed(ending)) => bail!("not let in: {ending:?}"),
                Some(_) => {}
                None => move_bytes(&mut engine, &mut stream).await?,
            }
        }
        let session = engine.begin()?;
        Ok(Self { engine, stream, session, clock, names: 0 })
    }

    /// Waits until bytes have moved.
    ///
    /// # Errors
    /// When the connection is at an end.
    pub async fn moved(&mut self) -> anyhow::Result<()> {
        move_bytes(&mut self.engine, &mut self.stream).await?;
        self.engine.tick(self.clock.monotonic());
        Ok(())
    }

    /// Writes what there is to write, and reads nothing.
    ///
    /// # Errors
    /// When the connection is at an end.
    pub async fn write(&mut self) -> anyhow::Result<()> {
        while self.engine.wants_write() {
            self.stream.write_buf(self.engine.output()).await?;
        }
        Ok(())
    }

    async fn attached(&mut self, attach: Attach) -> anyhow::Result<LinkId> {
        self.names += 1;
        let attach = Attach { name: format!("link-{}", self.names).into(), ..attach };
        let wanted = self.engine.attach(self.session, attach)?;
        loop {
            match self.engine.next_event() {
                Some(Event::Attached { link, .. }) if link == wanted => return Ok(link),
                Some(Event::Detached { error, .. }) => bail!("the link was refused: {error:?}"),
                Some(Event::Closed(ending)) => bail!("the connection ended: {ending:?}"),
                Some(_) => {}
                None => self.moved().await?,
            }
        }
    }

    /// A link to send to a partition on, with credit.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn sender(&mut self, hub: &str, partition: u32) -> anyhow::Result<LinkId> {
        let attach = Attach {
            role: Role::Sender,
            source: Some(Source::default()),
            target: Some(Target::at(format!("{hub}/Partitions/{partition}"))),
            ..Attach::default()
        };
        let link = self.attached(attach).await?;
        while !self.engine.can_send(link) {
            if self.engine.next_event().is_none() {
                self.moved().await?;
            }
        }
        Ok(link)
    }

    /// A link to receive everything of a partition on, without credit.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn receiver(&mut self, hub: &str, partition: u32) -> anyhow::Result<LinkId> {
        let source = Source::at(format!("{hub}/ConsumerGroups/$Default/Partitions/{partition}"));
        let attach = Attach {
            role: Role::Receiver,
            source: Some(source.with_selector("amqp.annotation.x-opt-offset > '-1'")),
            target: Some(Target::at("client")),
            ..Attach::default()
        };
        let link = self.attached(attach).await?;
        self.engine.set_credit_policy(link, CreditPolicy::Manual)?;
        Ok(link)
    }

    /// Gives all links unlimited credit, and from then on looks at frames only as far as it takes to count transfers,
    /// until there were as many as `wanted`.
    ///
    /// # Errors
    /// When the connection ends before.
    pub async fn count(mut self, links: &[LinkId], wanted: u64) -> anyhow::Result<u64> {
        for link in links {
            self.engine.grant_credit(*link, i32::MAX as u32)?;
        }
        self.write().await?;
        let mut buffer = bytes::BytesMut::with_capacity(COUNT_BUFFER);
        let mut transfers = 0;
        loop {
            while let Some(&size) = buffer.first_chunk::<4>() {
                let size = u32::from_be_bytes(size) as usize;
                if buffer.len() < size {
                    break;
                }
                // An empty frame has no descriptor.
                transfers += u64::from(size > 10 && buffer[10] == TRANSFER);
                buffer.advance(size);
            }
            if transfers >= wanted {
                return Ok(transfers);
            }
            buffer.reserve(COUNT_BUFFER / 2);
            let read = self.stream.read_buf(&mut buffer).await?;
            anyhow::ensure!(read > 0, "the server ended the connection");
        }
    }
}

const COUNT_BUFFER: usize = 1 << 20;

/// The code of a transfer's descriptor.
const TRANSFER: u8 = 0x14;

/// Writes and reads what can be, and waits until something could.
async fn move_bytes(engine: &mut Connection, stream: &mut TcpStream) -> anyhow::Result<()> {
    let moved = exchange(stream, engine, true).await.context("the connection broke")?;
    anyhow::ensure!(matches!(moved, Moved::Bytes { .. }), "the server ended the connection");
    Ok(())
}
