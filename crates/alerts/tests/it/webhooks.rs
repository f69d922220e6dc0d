//! Webhooks, over real sockets.

use std::time::Duration;

use axum::http::Method;
use serde_json::json;
use tidegate_alerts::dispatcher::{DISPATCHER, Dispatcher};
use tidegate_alerts::signature::Key;
use tidegate_alerts::target::{DEFAULT_WEBHOOK_TIMEOUT, Email, MailTls, Schema, Secret, Target, Webhook};
use tidegate_model::memory::MemoryStore;
use tidegate_model::notice::{Delivery, DeliveryState};
use tidegate_model::ports::Registers as _;

use crate::clock::ManualClock;
use crate::hook::{Answer, HookServer, Request};
use crate::setup::{deliveries, hook_target, mail_target, now, publisher, run, run_as, shared, store, tell};
use crate::smtp::{Manner, SmtpServer};

const SECOND: Duration = Duration::from_secs(1);

fn subjects(requests: &[Request]) -> Vec<String> {
    requests.iter().map(|request| request.json()["subject"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_notice_arrives_as_a_signed_cloud_event() {
    let (memory, clock) = (MemoryStore::new(), ManualClock::new());
    let server = HookServer::start();
    let secret = Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    let target = Webhook {
        secret: Some(secret.clone()),
        headers: vec![("authorization".to_owned(), Secret::new("Bearer hush"))],
        ..hook_target("hook", server.url())
    };
    tell(&memory, "circuit.opened", "aircraft", now(&clock)).await;
    let _running = run(&memory, &[Target::Webhook(target)], None, &clock);
    clock.settled(1).await;

    let requests = server.requests();
    assert_eq!(requests.len(), 1);
    let request = &requests[0];
    assert_eq!(request.header("content-type"), "application/cloudevents+json; charset=utf-8");
    assert_eq!(request.header("authorization"), "Bearer hush");
    assert_eq!(request.header("webhook-id"), "1-1633608000000");
    let event = request.json();
    assert_eq!(event["type"], "io.tidegate.circuit.opened");
    assert_eq!(event["id"], "1-1633608000000");
    assert_eq!(event["source"], "https://tide.example.com");

    let verify = |body: &[u8]| {
        let (id, at, signature) = (
            request.header("webhook-id"),
            request.header("webhook-timestamp"),
            request.header("webhook-signature"),
        );
        Key::new(&secret).unwrap().verify(id, at, signature, body, now(&clock), 300)
    };
    assert!(verify(&request.body));
    assert!(!verify(b"{}"));
}

#[tokio::test]
async fn a_target_that_fails_gets_the_same_event_again() {
    let (memory, clock) = (MemoryStore::new(), ManualClock::new());
    let server = HookServer::start();
    server.then([Answer::Body(500, "out of order".to_owned()), Answer::Stall]);
    tell(&memory, "dead-letters.growing", "aircraft", now(&clock)).await;
    let _running = run(&memory, &[Target::Webhook(hook_target("hook", server.url()))], None, &clock);
    clock.settled(1).await;
    let failed = deliveries(&memory).await[0][0].clone();
    assert!(failed.error.as_deref().is_some_and(|error| error.contains("out of order")), "{failed:?}");

    clock.advance(2 * SECOND);
    clock.settled(1).await;
    clock.advance(4 * SECOND);
    server.stalled(1).await;
    clock.advance(DEFAULT_WEBHOOK_TIMEOUT);
    clock.pass(30 * SECOND, 1).await;
    let ids: Vec<_> =
        server.requests().iter().map(|request| request.header("webhook-id").to_owned()).collect();
    assert_eq!(ids, ["1-1633608000000"; 3]);
    assert_eq!(server.requests()[2].header("tidegate-try"), "3");
    assert!(matches!(deliveries(&memory).await[0][0].state, DeliveryState::Delivered(_)));
}

#[tokio::test]
async fn a_target_that_was_down_for_an_hour_gets_everything_in_order() {
    // More than are looked at for one try.
    const NOTICES: usize = 100;
    let (memory, clock) = (MemoryStore::new(), ManualClock::new());
    let mut server = HookServer::down();
    let _running = run(&memory, &[Target::Webhook(hook_target("hook", server.url()))], None, &clock);
    for number in 0..NOTICES {
        tell(&memory, "dead-letters.growing", &format!("f{number}"), now(&clock)).await;
        clock.pass(36 * SECOND, 1).await;
    }
    // Only the first was tried, with growing pauses: 5 s, 10 s and so on, and at last every 10 minutes.
    let tried: Vec<_> =
        deliveries(&memory).await.iter().map(|each| each.first().map_or(0, |one| one.tries)).collect();
    assert!((10..15).contains(&tried[0]) && tried[1..].iter().all(|tries| *tries == 0), "{tried:?}");
    // However long it lasts, this is all that is kept of it beside the notices themselves.
    assert_eq!(memory.registers(DISPATCHER).await.unwrap().len(), 1);
    assert!(deliveries(&memory).await.iter().all(|each| each.len() <= 1));

    server.come_up();
    clock.pass(700 * SECOND, 1).await;
    let expected: Vec<_> = (0..NOTICES).map(|number| format!("f{number}")).collect();
    assert_eq!(subjects(&server.requests()), expected, "each once");
    let is_delivered = |each: &Vec<Delivery>| matches!(each[0].state, DeliveryState::Delivered(_));
    assert!(deliveries(&memory).await.iter().all(is_delivered));
}

#[tokio::test]
async fn a_busy_target_is_left_alone_as_long_as_it_asks() {
    let (memory, clock) = (MemoryStore::new(), ManualClock::new());
    let server = HookServer::start();
    server.then([Answer::StatusWith(429, "retry-after", "120".to_owned())]);
    tell(&memory, "dead-letters.growing", "aircraft", now(&clock)).await;
    let _running = run(&memory, &[Target::Webhook(hook_target("hook", server.url()))], None, &clock);
    clock.pass(118 * SECOND, 1).await;
    assert_eq!(server.requests().len(), 1);
    clock.pass(4 * SECOND, 1).await;
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test]
async fn what_is_refused_for_good_is_given_up_and_the_next_goes_on() {
    let (memory, clock) = (MemoryStore::new(), ManualClock::new());
    let server = HookServer::start();
    server.then([Answer::Status(400)]);
    for subject in ["bad", "good"] {
        tell(&memory, "dead-letters.growing", subject, now(&clock)).await;
    }
    let _running = run(&memory, &[Target::Webhook(hook_target("hook", server.url()))], None, &clock);
    clock.settled(1).await;
    assert_eq!(subjects(&server.requests()), ["bad", "good"]);
    let all = deliveries(&memory).await;
    assert!(matches!(all[0][0].state, DeliveryState::GivenUp(_)));
    assert!(matches!(all[1][0].state, DeliveryState::Delivered(_)));
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let (memory, clock) = (MemoryStore::new(), ManualClock::new());
    let (server, elsewhere) = (HookServer::start(), HookServer::start());
    server.then([Answer::StatusWith(307, "location", elsewhere.url())]);
    tell(&memory, "dead-letters.growing", "aircraft", now(&clock)).await;
    let _running = run(&memory, &[Target::Webhook(hook_target("hook", server.url()))], None, &clock);
    clock.settled(1).await;
    assert_eq!(elsewhere.requests().len(), 0);
    assert!(matches!(deliveries(&memory).await[0][0].state, DeliveryState::Due(_)));
}

#[tokio::test]
async fn slow_refusing_and_down_targets_hold_up_no_other() {
    let (memory, clock) = (MemoryStore::new(), ManualClock::new());
    let (slow, refusing, down, well) =
        (HookServer::start(), HookServer::start(), HookServer::down(), HookServer::start());
    let mail = SmtpServer::start().await;
    slow.then([Answer::Stall]);
    refusing.then(vec![Answer::Status(500); 100]);
    mail.then([Manner::StallAtOnce]);
    let targets = [
        Target::Webhook(hook_target("slow", slow.url())),
        Target::Email(mail_target(mail.address())),
        Target::Webhook(hook_target("refusing", refusing.url())),
        Target::Webhook(hook_target("down", down.url())),
        Target::Webhook(hook_target("well", well.url())),
    ];
    for subject in ["a", "b"] {
        tell(&memory, "dead-letters.growing", subject, now(&clock)).await;
    }
    let _running = run(&memory, &targets, None, &clock);
    slow.stalled(1).await;
    mail.stalled(1).await;
    // No time has passed, and none passes: the one that is well has everything all the same.
    while deliveries(&memory).await.iter().any(|each| {
        !each.iter().any(|one| one.target == "well" && matches!(one.state, DeliveryState::Delivered(_)))
    }) {
        tokio::task::yield_now().await;
    }
    assert_eq!(subjects(&well.requests()), ["a", "b"]);
}

#[tokio::test]
async fn of_two_instances_one_sends() {
    let (memory, clock) = (MemoryStore::new(), ManualClock::new());
    let server = HookServer::start();
    let targets = [Target::Webhook(hook_target("hook", server.url()))];
    for number in 0..20 {
        tell(&memory, "dead-letters.growing", &format!("f{number}"), now(&clock)).await;
    }
    let _one = run_as("one", &memory, &targets, None, &clock);
    let _two = run_as("two", &memory, &targets, None, &clock);
    clock.pass(60 * SECOND, 2).await;
    let expected: Vec<_> = (0..20).map(|number| format!("f{number}")).collect();
    assert_eq!(subjects(&server.requests()), expected);
}

#[tokio::test]
async fn a_target_with_a_handshake_is_told_after_it_agreed() {
    let (memory, clock) = (MemoryStore::new(), ManualClock::new());
    let server = HookServer::start();
    server.then([
        Answer::Status(200),
        Answer::StatusWith(200, "webhook-allowed-origin", "other.example.com".to_owned()),
        Answer::StatusWith(405, "webhook-allowed-origin", "tide.example.com".to_owned()),
    ]);
    let target = Webhook { handshake: true, ..hook_target("hook", server.url()) };
    for subject in ["a", "b"] {
        tell(&memory, "dead-letters.growing", subject, now(&clock)).await;
    }
    let _running = run(&memory, &[Target::Webhook(target)], None, &clock);
    clock.settled(1).await;
    let failed = deliveries(&memory).await[0][0].clone();
    assert!(failed.error.is_some_and(|error| error.contains("WebHook-Allowed-Origin")));
    clock.pass(60 * SECOND, 1).await;
    let requests = server.requests();
    let methods: Vec<_> = requests.iter().map(|request| request.method.clone()).collect();
    assert_eq!(methods, [Method::OPTIONS, Method::OPTIONS, Method::OPTIONS, Method::POST, Method::POST]);
    assert!(requests.iter().all(|request| request.header("webhook-request-origin") == "tide.example.com"));
}

#[tokio::test]
async fn an_event_grid_target_answers_with_the_validation_code() {
    let (memory, clock) = (MemoryStore::new(), ManualClock::new());
    let server = HookServer::start();
    server.then([
        Answer::Body(200, json!({"validationResponse": "something else"}).to_string()),
        Answer::Validate,
    ]);
    let target = Webhook { handshake: true, schema: Schema::EventGrid, ..hook_target("hook", server.url()) };
    tell(&memory, "dead-letters.growing", "aircraft", now(&clock)).await;
    let _running = run(&memory, &[Target::Webhook(target)], None, &clock);
    clock.pass(20 * SECOND, 1).await;
    let requests = server.requests();
    let kinds: Vec<_> = requests.iter().map(|request| request.header("aeg-event-type").to_owned()).collect();
    assert_eq!(kinds, ["SubscriptionValidation", "SubscriptionValidation", "Notification"]);
    let validation = requests[1].json();
    assert_eq!(validation[0]["eventType"], "Microsoft.EventGrid.SubscriptionValidationEvent");
    let events = requests[2].json();
    assert_eq!(events.as_array().map(Vec::len), Some(1));
    assert_eq!(events[0]["eventType"], "io.tidegate.dead-letters.growing");
    assert_eq!(events[0]["id"], "1-1633608000000");
}

#[tokio::test]
async fn targets_with_encryption_can_be_set_up() {
    let (memory, clock) = (MemoryStore::new(), ManualClock::new());
    let tls = [MailTls::StartTls, MailTls::Tls].map(|tls| {
        let name = format!("{tls:?}");
        Target::Email(Email { name, tls, ..mail_target(([127, 0, 0, 1], 1).into()) })
    });
    let hook = Target::Webhook(hook_target("hook", "https://example.com/alerts".to_owned()));
    let targets = [tls.as_slice(), std::slice::from_ref(&hook)].concat();
    let dispatcher =
        Dispatcher::new(&store(&memory), &targets, &publisher("one"), None, shared(&clock)).unwrap();
    assert_eq!(dispatcher.delivery_names(), ["StartTls:mia@example.com", "Tls:mia@example.com", "hook"]);
    let twice =
        Dispatcher::new(&store(&memory), &[hook.clone(), hook], &publisher("one"), None, shared(&clock));
    assert!(twice.is_err_and(|error| error.to_string().contains("two targets of this name")));
}
