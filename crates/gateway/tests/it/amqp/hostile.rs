//! Clients that do not behave: they stop reading, fall silent, or are too many.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use tidegate_amqp::codec::frame::{EMPTY_FRAME, ProtocolHeader};
use tidegate_amqp::codec::names::{MESSAGE_FORMAT_BATCH, condition};
use tidegate_amqp::codec::performative::DeliveryState;
use tidegate_amqp::connection::{Ending, Event, Outgoing, Part};
use tidegate_gateway::admission::Limits;
use tidegate_gateway::amqp::{AmqpBounds, AmqpDoor};
use tidegate_model::clock::{Clock, TestClock, timeout};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::client::{Client, Door, batch};
use super::rights::with_root;
use crate::doubles::Gated;
use crate::harness::{harness, harness_with};

/// The default: 240 s are announced, twice as much is waited.
const CUT_AFTER: Duration = Duration::from_secs(480);

/// Says an empty frame every minute for as long as the server takes them, and answers how long that was.
async fn keep_talking(clock: &TestClock, client: &mut Client, most: Duration) -> Duration {
    let began = clock.monotonic();
    while clock.monotonic() - began < most {
        clock.sleep(Duration::from_secs(60)).await;
        if client.pipe.write_all(&EMPTY_FRAME).await.is_err() {
            break;
        }
    }
    clock.monotonic() - began
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_talks_and_never_reads_is_cut() {
    let harness = harness();
    let (door, mut good) = with_root(&harness).await;
    let sender = good.sender("flights/Partitions/0").await.unwrap();
    let body = "x".repeat(100_000);
    for _ in 0..20 {
        assert_eq!(good.send_one(sender, &body).await, DeliveryState::Accepted);
    }
    // More than the pipe and the output of the connection hold, with credit for all of it.
    let mut client = door.client().await;
    let token = crate::authorization::token(
        "RootManageSharedAccessKey",
        crate::harness::ROOT_KEY,
        "sb://127.0.0.1/flights",
        1_900_000_000,
    );
    assert_eq!(client.put_token("sb://127.0.0.1/flights", &token).await, 202);
    client.consumer(0, "amqp.annotation.x-opt-offset > '-1'").await.unwrap();
    while client.engine.wants_write() {
        client.pipe.write_buf(client.engine.output()).await.unwrap();
    }
    let talked = keep_talking(&harness.clock, &mut client, CUT_AFTER * 3).await;
    assert!(talked >= CUT_AFTER && talked <= CUT_AFTER + Duration::from_secs(120), "{talked:?}");
}

#[tokio::test(start_paused = true)]
async fn a_client_whose_events_wait_for_the_disk_is_not_cut_for_its_silence() {
    let mut gate = None;
    let limits = Limits { append_wait: CUT_AFTER * 10, ..Limits::default() };
    let harness = harness_with(limits, |log| {
        let gated = Arc::new(Gated::new(log));
        gate = Some(gated.clone());
        gated
    });
    let gate = gate.unwrap();
    let (_door, mut client) = with_root(&harness).await;
    let sender = client.sender("flights/Partitions/0").await.unwrap();
    // More than the server keeps of one connection until it is stored: it stops reading.
    let events = vec!["x".repeat(100_000); 10];
    let message = batch(None, &events.iter().map(String::as_str).collect::<Vec<_>>());
    let outgoing = Outgoing { message_format: MESSAGE_FORMAT_BATCH, ..Outgoing::default() };
    let mut ids = Vec::new();
    for _ in 0..6 {
        while !client.engine.can_send(sender) {
            let opened = client.wait(|event| matches!(event, Event::Credit { .. }).then_some(()));
            if timeout(&*harness.clock, Duration::from_secs(1), opened).await.is_none() {
                break;
            }
        }
        if client.engine.can_send(sender) {
            ids.push(client.engine.send(sender, &outgoing, &[Part::Share(&message)]).unwrap());
        }
        let flushed = async {
            while client.engine.wants_write() {
                client.pipe.write_buf(client.engine.output()).await.unwrap();
            }
        };
        let _ = timeout(&*harness.clock, Duration::from_secs(1), flushed).await;
    }
    assert!(ids.len() >= 5 && gate.waiting() >= 4, "{} of {} wait", gate.waiting(), ids.len());
    harness.clock.sleep(CUT_AFTER * 3).await;
    gate.open(100);
    for id in ids {
        assert_eq!(client.outcome(id).await, DeliveryState::Accepted);
    }
}

#[tokio::test(start_paused = true)]
async fn clients_that_say_nothing_or_half_of_something_are_given_up() {
    let harness = harness();
    let door = Door::new(&harness.gateway);
    let sasl = ProtocolHeader::SASL.to_bytes();
    let amqp = ProtocolHeader::AMQP.to_bytes();
    let half_a_frame = [&amqp[..], &[0, 0, 1, 0, 2, 0, 0]].concat();
    for said in [&b""[..], &sasl[..4], &sasl, &amqp, &half_a_frame] {
        let mut pipe = door.connect();
        pipe.write_all(said).await.unwrap();
        let mut heard = Vec::new();
        pipe.read_to_end(&mut heard).await.unwrap();
    }
    // One that attached a link and went away without a word.
    let (_door, mut silent) = with_root(&harness).await;
    silent.sender("flights").await.unwrap();
    let began = harness.clock.monotonic();
    let mut heard = Vec::new();
    silent.pipe.read_to_end(&mut heard).await.unwrap();
    let took = harness.clock.monotonic() - began;
    assert!(took >= CUT_AFTER, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_links_is_closed_after_five_minutes() {
    let harness = harness();
    let began = harness.clock.monotonic();
    let (_door, mut idle) = with_root(&harness).await;
    let (_door, mut attached) = with_root(&harness).await;
    let sender = attached.sender("flights").await.unwrap();
    // With the links to `$cbs` gone it has none. Empty frames, as clients send them to be kept, do not change that.
    idle.flush().await;
    let talked = keep_talking(&harness.clock, &mut idle, CUT_AFTER).await;
    let ending = idle.wait(|_| None::<()>).await.unwrap_err();
    let Ending::Peer(Some(error)) = ending else { panic!("{ending:?}") };
    assert_eq!(error.condition, condition::CONNECTION_FORCED);
    let five_minutes = Duration::from_secs(300);
    assert!(talked >= five_minutes && talked < CUT_AFTER, "{talked:?}");
    // The time counts from the moment at which the last link has gone.
    assert_eq!(attached.send_one(sender, "still there").await, DeliveryState::Accepted);
    attached.engine.detach(sender, true, None).unwrap();
    let ending = attached.wait(|_| None::<()>).await.unwrap_err();
    assert!(matches!(ending, Ending::Peer(Some(error)) if error.condition == condition::CONNECTION_FORCED));
    assert!(harness.clock.monotonic() - began >= talked + five_minutes);
}

#[tokio::test]
async fn who_comes_beyond_the_limit_waits_until_another_goes() {
    let harness = harness();
    let bounds = AmqpBounds { connections: 2, ..AmqpBounds::default() };
    let door = AmqpDoor::new(harness.gateway.clone(), bounds);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = watch::Sender::new(false);
    let stopped = stop.subscribe();
    let serving = tokio::spawn(async move { door.serve(listener, stopped).await });
    let greeted = |mut stream: TcpStream| async {
        stream.write_all(&ProtocolHeader::AMQP.to_bytes()).await.unwrap();
        let mut answer = [0; 8];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer, ProtocolHeader::AMQP.to_bytes());
        stream
    };
    let first = greeted(TcpStream::connect(address).await.unwrap()).await;
    let _second = greeted(TcpStream::connect(address).await.unwrap()).await;
    let third = TcpStream::connect(address).await.unwrap();
    let mut third = Box::pin(greeted(third));
    // Others get their turn; the third does not.
    for _ in 0..100 {
        tokio::task::yield_now().await;
        assert!(futures_util::FutureExt::now_or_never(&mut third).is_none());
    }
    drop(first);
    let _third = third.await;
    stop.send_replace(true);
    serving.await.unwrap();
}
