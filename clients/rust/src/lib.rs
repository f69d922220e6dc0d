//! What the tests share: where the server is, how it is ended and started, and how events are read to a certain count.

use std::collections::BTreeMap;
use std::future::Future;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use azure_messaging_eventhubs::models::{EventData, ReceivedEventData};
use azure_messaging_eventhubs::{
    BufferedProducerClient, ConsumerClient, EventDataBatchOptions, EventHubsError, OpenReceiverOptions,
    ProducerClient, RetryOptions, StartLocation, StartPosition, builders::BufferedProducerClientBuilder,
};
use futures::StreamExt as _;
use tokio::time::timeout;

/// How long anything may take before it counts as not happening. Never waited for in full when all is well.
pub const PATIENCE: Duration = Duration::from_secs(45);

/// Runs a test on a runtime as applications have it. One that hangs fails. Tests count what is in their hub, so those of one
/// hub take turns; those of others run meanwhile, as they mostly wait.
pub fn run(hub: &'static str, test: impl Future<Output = ()>) {
    static TURNS: Mutex<BTreeMap<&'static str, Arc<Mutex<()>>>> = Mutex::new(BTreeMap::new());
    // A test that failed had its turn.
    let turns = TURNS.lock().unwrap_or_else(PoisonError::into_inner).entry(hub).or_default().clone();
    let _turn = turns.lock().unwrap_or_else(PoisonError::into_inner);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let done = runtime.block_on(async { timeout(Duration::from_secs(120), test).await });
    // What a client left running ends with the test.
    runtime.shutdown_background();
    done.expect("the test does not hang");
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run `cargo xtask clients rust`"))
}

/// The connection string of the root key.
pub fn connection_string() -> String {
    variable("TIDEGATE_CONNECTION_STRING")
}

/// A part of the connection string.
pub fn field(name: &str) -> String {
    field_of(&connection_string(), name)
}

fn field_of(connection_string: &str, name: &str) -> String {
    let value = connection_string.split(';').find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
    value.unwrap_or_else(|| panic!("the connection string has no {name}")).to_owned()
}

/// The connection string with another key.
pub fn with_key(name: &str, key: &str) -> String {
    format!("Endpoint={};SharedAccessKeyName={name};SharedAccessKey={key}", field("Endpoint"))
}

/// The value of one of the keys that may less than everything.
pub fn key(name: &str) -> String {
    let keys: serde_json::Value = serde_json::from_str(&variable("TIDEGATE_KEYS")).unwrap();
    keys[name].as_str().expect("there is such a key").to_owned()
}

/// Where the client connects. It takes no port from a connection string, and no word that it should go without TLS.
pub fn endpoint() -> String {
    endpoint_of(&connection_string())
}

fn endpoint_of(connection_string: &str) -> String {
    field_of(connection_string, "Endpoint").replace("sb://", "amqp://")
}

/// The address of the door with TLS, if the server has one.
pub fn tls_endpoint() -> String {
    format!("amqps://{}", variable("TIDEGATE_TLS"))
}

/// A client that tries again soon, and not for long.
pub fn retries() -> RetryOptions {
    let delay = azure_core::time::Duration::milliseconds;
    RetryOptions {
        initial_delay: delay(100),
        max_delay: delay(500),
        max_total_elapsed: delay(10_000),
        max_retries: 4,
    }
}

/// A client that tries again soon and long enough to live through a restart.
pub fn patient() -> RetryOptions {
    let delay = azure_core::time::Duration::milliseconds;
    RetryOptions {
        initial_delay: delay(100),
        max_delay: delay(500),
        max_total_elapsed: delay(40_000),
        max_retries: 100,
    }
}

pub async fn try_producer(hub: &str, connection_string: &str) -> Result<ProducerClient, EventHubsError> {
    ProducerClient::builder()
        .with_custom_endpoint(endpoint())
        .with_retry_options(retries())
        .open_with_connection_string(connection_string, Some(hub))
        .await
}

pub async fn producer(hub: &str) -> ProducerClient {
    try_producer(hub, &connection_string()).await.expect("a producer")
}

/// A producer of the server that may be ended, with patience for that.
pub async fn patient_producer(hub: &str) -> ProducerClient {
    let connection_string = variable("TIDEGATE_RESTARTED");
    ProducerClient::builder()
        .with_custom_endpoint(endpoint_of(&connection_string))
        .with_retry_options(patient())
        .open_with_connection_string(&connection_string, Some(hub))
        .await
        .expect("a producer")
}

pub fn buffered() -> BufferedProducerClientBuilder {
    BufferedProducerClient::builder().with_custom_endpoint(endpoint())
}

pub async fn try_consumer(
    hub: &str,
    connection_string: &str,
    group: &str,
) -> Result<ConsumerClient, EventHubsError> {
    ConsumerClient::builder()
        .with_custom_endpoint(endpoint())
        .with_retry_options(retries())
        .with_consumer_group(group.to_owned())
        .open_with_connection_string(connection_string, Some(hub))
        .await
}

pub async fn consumer(hub: &str) -> ConsumerClient {
    try_consumer(hub, &connection_string(), "$Default").await.expect("a consumer")
}

/// A consumer of the server that may be ended, with patience for that.
pub async fn patient_consumer(hub: &str) -> ConsumerClient {
    let connection_string = variable("TIDEGATE_RESTARTED");
    ConsumerClient::builder()
        .with_custom_endpoint(endpoint_of(&connection_string))
        .with_retry_options(patient())
        .open_with_connection_string(&connection_string, Some(hub))
        .await
        .expect("a consumer")
}

/// The sequence number of the last event of a partition, -1 if there is none.
pub async fn tail(hub: &str, partition: &str) -> i64 {
    tail_by(consumer(hub).await, partition).await
}

pub async fn tail_by(client: ConsumerClient, partition: &str) -> i64 {
    let properties = client.get_partition_properties(partition).await.expect("the partition's properties");
    client.close().await.expect("the consumer closes");
    properties.last_enqueued_sequence_number
}

/// Which partitions have got events since, and how many.
pub async fn grown(hub: &str, before: &[i64]) -> Vec<(usize, i64)> {
    let after = tails(hub, before.len()).await;
    let grown =
        before.iter().zip(after).enumerate().map(|(partition, (before, after))| (partition, after - before));
    grown.filter(|(_, count)| *count != 0).collect()
}

pub async fn tails(hub: &str, partitions: usize) -> Vec<i64> {
    let client = consumer(hub).await;
    let mut tails = Vec::new();
    for partition in 0..partitions {
        let properties =
            client.get_partition_properties(&partition.to_string()).await.expect("the properties");
        tails.push(properties.last_enqueued_sequence_number);
    }
    client.close().await.expect("the consumer closes");
    tails
}

/// Sends events in one batch, and tells where they begin: the sequence number to read exactly them from.
pub async fn send<E: Into<EventData>>(hub: &str, partition: &str, events: Vec<E>) -> i64 {
    let start = tail(hub, partition).await;
    let client = producer(hub).await;
    let options = EventDataBatchOptions { partition_id: Some(partition.to_owned()), ..Default::default() };
    let batch = client.create_batch(Some(options)).await.expect("a batch");
    for event in events {
        assert!(batch.try_add_event_data(event, None).expect("the event is taken"));
    }
    client.send_batch(batch, None).await.expect("the batch is sent");
    client.close().await.expect("the producer closes");
    start
}

pub fn after(sequence_number: i64) -> StartPosition {
    StartPosition { location: StartLocation::SequenceNumber(sequence_number), inclusive: false }
}

pub fn from(position: StartPosition) -> OpenReceiverOptions {
    OpenReceiverOptions { start_position: Some(position), ..Default::default() }
}

/// Exactly the next `count` events.
pub async fn receive(
    hub: &str,
    partition: &str,
    options: OpenReceiverOptions,
    count: usize,
) -> Vec<ReceivedEventData> {
    receive_with(consumer(hub).await, partition, options, count).await
}

pub async fn receive_with(
    client: ConsumerClient,
    partition: &str,
    options: OpenReceiverOptions,
    count: usize,
) -> Vec<ReceivedEventData> {
    let receiver =
        client.open_receiver_on_partition(partition.to_owned(), Some(options)).await.expect("a receiver");
    let mut events = Vec::new();
    {
        let mut stream = receiver.stream_events();
        while events.len() < count {
            match timeout(PATIENCE, stream.next()).await {
                Ok(Some(event)) => events.push(event.expect("an event")),
                Ok(None) => panic!("the stream ended after {} of {count} events", events.len()),
                Err(_) => panic!("only {} of {count} events came", events.len()),
            }
        }
    }
    receiver.close().await.expect("the receiver closes");
    client.close().await.expect("the consumer closes");
    events
}

/// The body of an event whose body is text.
pub fn text(event: &ReceivedEventData) -> String {
    String::from_utf8(event.event_data().body().expect("a body").to_vec()).expect("text")
}

pub fn texts(events: &[ReceivedEventData]) -> Vec<String> {
    events.iter().map(text).collect()
}

pub fn numbers(events: &[ReceivedEventData]) -> Vec<i64> {
    events.iter().map(|event| event.sequence_number().expect("a sequence number")).collect()
}

/// What an error says, with everything below it.
pub fn said(error: &EventHubsError) -> String {
    format!("{error} {error:?}")
}

/// Ends and starts the server of the patient clients: `kill` as a power cut ends it, `stop` as an operator does, `start`.
pub fn server(command: &str) {
    let mut stream = TcpStream::connect(variable("TIDEGATE_CONTROL")).expect("the server's control");
    writeln!(stream, "{command}").expect("the command is sent");
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).expect("an answer");
    assert_eq!(answer.trim(), "ok", "{command}");
}
