//! A hub of somebody else: the front door of this program over a log in memory, on a port of this machine.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tidegate_adapters::event_hubs::client::credential::tokens_of;
use tidegate_adapters::event_hubs::client::{Access, Client, Producer, Remote, Server};
use tidegate_adapters::event_hubs::{RemoteLog, RemoteLogOptions};
use tidegate_gateway::Gateway;
use tidegate_gateway::admission::Limits;
use tidegate_gateway::amqp::{AmqpBounds, AmqpDoor, Tls};
use tidegate_gateway::auth::{AccessRule, Authorizer, Right, Scope, SecretKey};
use tidegate_gateway::namespace::ConsumerGroups;
use tidegate_model::clock::{Clock, SharedClock, TestClock, Timestamp};
use tidegate_model::connection_string::{ConnectionString, Endpoint};
use tidegate_model::event::{Event, EventData, HubName};
use tidegate_model::memory::MemoryLog;
use tidegate_model::ports::{EventAppender, EventLog, ReadError, ReadLimit};
use tidegate_model::position::{PartitionId, SequenceNumber};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub(crate) const P0: PartitionId = PartitionId(0);
pub(crate) const P1: PartitionId = PartitionId(1);
pub(crate) const KEY: &str = "listen-key";
pub(crate) const MUCH: ReadLimit = ReadLimit { events: 10_000, bytes: 64 << 20 };

/// The hub `flights` with two partitions.
pub(crate) struct OtherHub {
    pub(crate) log: Arc<MemoryLog>,
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) address: SocketAddr,
    bounds: AmqpBounds,
    tls: Option<Tls>,
    running: Mutex<Option<(watch::Sender<bool>, JoinHandle<()>)>>,
}

pub(crate) fn clock() -> Arc<TestClock> {
    TestClock::new(Timestamp::from_millis(1_750_000_000_000), 7)
}

impl OtherHub {
    pub(crate) async fn start() -> Self {
        Self::start_with(AmqpBounds::default(), None).await
    }

    pub(crate) async fn start_with(bounds: AmqpBounds, tls: Option<Tls>) -> Self {
        Self::start_as(HubName::new("flights").unwrap(), 2, clock(), bounds, tls).await
    }

    pub(crate) async fn start_named(name: HubName, partition_count: u32, clock: Arc<TestClock>) -> Self {
        Self::start_as(name, partition_count, clock, AmqpBounds::default(), None).await
    }

    async fn start_as(
        name: HubName,
        partition_count: u32,
        clock: Arc<TestClock>,
        bounds: AmqpBounds,
        tls: Option<Tls>,
    ) -> Self {
        let log = Arc::new(MemoryLog::new(name, partition_count, clock.clone()));
        let rule = AccessRule {
            name: "all".into(),
            keys: vec![SecretKey::new(KEY).unwrap()],
            rights: [Right::Manage].into_iter().collect(),
            scope: Scope::Namespace,
        };
        let authorizer = Arc::new(Authorizer::new(vec![rule]).unwrap());
        let gateway = Arc::new(Gateway::new(authorizer, Limits::default(), clock.clone()));
        gateway.open_hub_with(log.clone(), Some(log.clone()), ConsumerGroups::default()).unwrap();
        let hub = Self {
            log,
            gateway,
            clock,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            bounds,
            tls,
            running: Mutex::default(),
        };
        hub.listen().await
    }

    async fn listen(mut self) -> Self {
        self.address = self.open_door().await;
        self
    }

    async fn open_door(&self) -> SocketAddr {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(self.address).unwrap();
        let listener: TcpListener = socket.listen(64).unwrap();
        let address = listener.local_addr().unwrap();
        let mut door = AmqpDoor::new(self.gateway.clone(), self.bounds.clone());
        if let Some(tls) = &self.tls {
            door = door.with_tls(tls.clone());
        }
        let (stop, stopped) = watch::channel(false);
        let serving = tokio::spawn(async move { door.serve(listener, stopped).await });
        *self.running.lock() = Some((stop, serving));
        address
    }

    /// Cuts off all who are connected, without a word, and takes nobody.
    pub(crate) async fn kill(&self) {
        let running = self.running.lock().take();
        let (_stop, serving) = running.unwrap();
        serving.abort();
        let _ = serving.await;
    }

    /// Sends all who are connected away, and takes nobody.
    pub(crate) async fn stop(&self) {
        let running = self.running.lock().take();
        let (stop, serving) = running.unwrap();
        stop.send_replace(true);
        serving.await.unwrap();
    }

    /// Takes clients again, at the same port.
    pub(crate) async fn come_back(&self) {
        self.open_door().await;
    }

    pub(crate) async fn append(&self, partition: PartitionId, events: Vec<EventData>) {
        self.log.append(partition, events).await.unwrap();
    }

    pub(crate) async fn append_numbers(&self, partition: PartitionId, numbers: std::ops::Range<u32>) {
        self.append(partition, numbers.map(|number| EventData::new(number.to_string())).collect()).await;
    }

    pub(crate) fn connection_string(&self) -> ConnectionString {
        let endpoint = Endpoint::new("127.0.0.1", Some(self.address.port())).unwrap();
        ConnectionString::with_key(endpoint, "all", KEY).unwrap().for_development()
    }

    pub(crate) fn remote(&self) -> Remote {
        let tokens = tokens_of(self.connection_string().credential(), self.clock.clone()).unwrap();
        self.remote_with(Access::Tokens(tokens))
    }

    pub(crate) fn remote_with(&self, access: Access) -> Remote {
        Remote {
            server: Server { host: "127.0.0.1".to_owned(), port: self.address.port(), tls: None },
            namespace: "other.servicebus.windows.net".to_owned(),
            named_port: None,
            hub: EventLog::hub(&*self.log).to_string(),
            access,
        }
    }

    pub(crate) fn client(&self) -> Arc<Client> {
        Client::new(self.remote(), self.shared_clock())
    }

    pub(crate) fn shared_clock(&self) -> SharedClock {
        self.clock.clone()
    }

    pub(crate) async fn producer(&self, partition: PartitionId) -> Producer {
        self.client().producer(Some(partition)).await.unwrap()
    }

    pub(crate) async fn reader(&self) -> Arc<RemoteLog> {
        self.reader_with(|_| {}).await
    }

    pub(crate) async fn reader_with(&self, change: impl FnOnce(&mut RemoteLogOptions)) -> Arc<RemoteLog> {
        let mut options = RemoteLogOptions::new(HubName::new("theirs").unwrap());
        change(&mut options);
        RemoteLog::open(self.client(), options, self.shared_clock()).await.unwrap()
    }
}

/// Reads events until there are `count`, as a lane does: it waits for the tail, and tries again what may work later.
pub(crate) async fn read_n(
    log: &dyn EventLog,
    partition: PartitionId,
    from: SequenceNumber,
    count: usize,
) -> Vec<Event> {
    let clock = clock();
    let mut tail = log.tail(partition).unwrap();
    let (mut all, mut next) = (Vec::new(), from);
    while all.len() < count {
        tail.wait_for(|tail| *tail > next).await.unwrap();
        let limit = ReadLimit { events: count - all.len(), ..MUCH };
        match log.read(partition, next, limit).await {
            Ok(events) => {
                assert!(!events.is_empty(), "there is something between {next} and the tail");
                next = events.last().unwrap().sequence_number.next();
                all.extend(events);
            }
            Err(ReadError::Unavailable { .. }) => clock.sleep(Duration::from_millis(50)).await,
            Err(error) => panic!("{error}"),
        }
    }
    all
}

pub(crate) fn bodies(events: &[Event]) -> Vec<u32> {
    events.iter().map(|event| std::str::from_utf8(event.body()).unwrap().parse().unwrap()).collect()
}
