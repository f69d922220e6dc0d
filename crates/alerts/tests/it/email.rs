//! Mail, over real sockets.

use std::time::Duration;

use tidegate_alerts::catcher::Catcher;
use tidegate_alerts::schedule::GIVE_UP_AFTER;
use tidegate_alerts::target::{DEFAULT_EMAIL_TIMEOUT, Email, MailTls, Secret, Target};
use tidegate_model::memory::MemoryStore;
use tidegate_model::notice::DeliveryState;

use crate::clock::ManualClock;
use crate::setup::{deliveries, mail_target, now, run, tell};
use crate::smtp::{Manner, SmtpServer};

#[tokio::test]
async fn a_mail_says_everything_in_text_and_html() {
    let (memory, clock) = (MemoryStore::new(), ManualClock::new());
    let (catcher, mut mails) = Catcher::listen(0).await.unwrap();
    let target = Target::Email(mail_target(catcher.address()));
    tell(&memory, "dead-letters.growing", "aircraft", now(&clock)).await;
    let _running = run(&memory, &[target], None, &clock);

    let mail = mails.recv().await.unwrap();
    assert_eq!(
        (mail.from.as_str(), mail.to.as_slice()),
        ("tidegate@example.com", &["mia@example.com".to_owned()][..])
    );
    assert_eq!(mail.header("Subject").as_deref(), Some("[tidegate] aircraft: dead letters are growing"));
    assert_eq!(mail.header("Message-ID").as_deref(), Some("<1-1633608000000.ops@example.com>"));
    assert_eq!(mail.header("Auto-Submitted").as_deref(), Some("auto-generated"));
    assert_eq!(mail.header("Date").as_deref(), Some("Thu, 07 Oct 2021 12:00:00 +0000"));
    let text = mail.text();
    assert!(text.contains("new dead letters: 12"), "{text}");
    assert!(text.contains("tidegate dead-letters list --function aircraft"), "{text}");
    assert!(mail.raw.contains("text/html"), "{}", mail.raw);
    clock.settled(1).await;
    assert!(matches!(deliveries(&memory).await[0][0].state, DeliveryState::Delivered(_)));
}

#[tokio::test]
async fn a_server_that_refuses_for_now_gets_the_same_mail_later() {
    let (memory, clock) = (MemoryStore::new(), ManualClock::new());
    let server = SmtpServer::start().await;
    server.then([
        Manner::Answer("", "421 too many connections\r\n"),
        Manner::Answer("RCPT", "450 greylisted\r\n"),
        Manner::Answer("DATA", "451 not now\r\n"),
    ]);
    tell(&memory, "dead-letters.growing", "aircraft", now(&clock)).await;
    let _running = run(&memory, &[Target::Email(mail_target(server.address()))], None, &clock);
    clock.pass(Duration::from_secs(10), 1).await;
    assert_eq!(server.mails(), []);
    let before = deliveries(&memory).await[0][0].clone();
    assert!(matches!(before.state, DeliveryState::Due(_)), "{before:?}");
    assert!(before.error.as_deref().is_some_and(|error| error.contains("450")), "{before:?}");
    clock.pass(Duration::from_secs(60), 1).await;
    assert_eq!(server.mails().len(), 1);
    let delivery = deliveries(&memory).await[0][0].clone();
    assert!(matches!(delivery.state, DeliveryState::Delivered(_)));
    assert_eq!(delivery.tries, 4);
}

#[tokio::test]
async fn an_address_that_is_refused_for_good_is_given_up_and_holds_up_no_other() {
    let (memory, clock) = (MemoryStore::new(), ManualClock::new());
    let server = SmtpServer::start().await;
    let to = vec!["gone@example.com".to_owned(), "mia@example.com".to_owned()];
    let target = Email { to, ..mail_target(server.address()) };
    // Both connect; whoever comes first is refused.
    server.then([Manner::Answer("RCPT", "550 no such user\r\n")]);
    tell(&memory, "dead-letters.growing", "aircraft", now(&clock)).await;
    let _running = run(&memory, &[Target::Email(target)], None, &clock);
    clock.settled(2).await;
    assert_eq!(server.mails().len(), 1);
    let states: Vec<_> = deliveries(&memory).await[0].iter().map(|delivery| delivery.state).collect();
    assert_eq!(states.iter().filter(|state| matches!(state, DeliveryState::GivenUp(_))).count(), 1);
    assert_eq!(states.iter().filter(|state| matches!(state, DeliveryState::Delivered(_))).count(), 1);
}

#[tokio::test]
async fn a_server_that_stalls_is_left_and_tried_again() {
    let (memory, clock) = (MemoryStore::new(), ManualClock::new());
    let server = SmtpServer::start().await;
    server.then([Manner::StallAtOnce]);
    tell(&memory, "dead-letters.growing", "aircraft", now(&clock)).await;
    let _running = run(&memory, &[Target::Email(mail_target(server.address()))], None, &clock);
    server.stalled(1).await;
    clock.advance(DEFAULT_EMAIL_TIMEOUT);
    clock.pass(Duration::from_secs(10), 1).await;
    assert_eq!(server.mails().len(), 1);
}

#[tokio::test]
async fn a_mail_whose_answer_is_lost_is_sent_again_under_the_same_id() {
    for manner in [Manner::DieAfterData, Manner::StallAfterData] {
        let (memory, clock) = (MemoryStore::new(), ManualClock::new());
        let server = SmtpServer::start().await;
        server.then([manner]);
        tell(&memory, "dead-letters.growing", "aircraft", now(&clock)).await;
        let _running = run(&memory, &[Target::Email(mail_target(server.address()))], None, &clock);
        if manner == Manner::StallAfterData {
            server.stalled(1).await;
            clock.advance(DEFAULT_EMAIL_TIMEOUT);
        }
        clock.pass(Duration::from_secs(30), 1).await;
        let ids: Vec<_> = server.mails().iter().map(|mail| mail.header("Message-ID")).collect();
        assert_eq!(ids.len(), 2, "{manner:?}");
        assert!(ids[0].is_some() && ids[0] == ids[1], "{ids:?}");
    }
}

#[tokio::test]
async fn a_server_that_took_the_mail_and_says_no_goodbye_gets_no_second_one() {
    let (memory, clock) = (MemoryStore::new(), ManualClock::new());
    let server = SmtpServer::start().await;
    server.then([Manner::StallAtQuit]);
    tell(&memory, "dead-letters.growing", "aircraft", now(&clock)).await;
    let _running = run(&memory, &[Target::Email(mail_target(server.address()))], None, &clock);
    server.stalled(1).await;
    clock.advance(Duration::from_secs(5));
    clock.pass(Duration::from_secs(120), 1).await;
    assert_eq!(server.mails().len(), 1);
    assert!(matches!(deliveries(&memory).await[0][0].state, DeliveryState::Delivered(_)));
}

#[tokio::test]
async fn nothing_is_said_in_the_clear_when_encryption_was_asked_for() {
    let (memory, clock) = (MemoryStore::new(), ManualClock::new());
    let server = SmtpServer::start().await;
    let target = Email {
        tls: MailTls::StartTls,
        credentials: Some(("ops".to_owned(), Secret::new("hush"))),
        ..mail_target(server.address())
    };
    tell(&memory, "dead-letters.growing", "aircraft", now(&clock)).await;
    let _running = run(&memory, &[Target::Email(target)], None, &clock);
    clock.settled(1).await;
    assert_eq!(server.mails(), []);
    assert!(server.commands().iter().all(|command| !command.starts_with("AUTH")), "{:?}", server.commands());
    let delivery = deliveries(&memory).await[0][0].clone();
    assert!(delivery.error.is_some_and(|error| error.contains("encrypted")));
}

#[tokio::test]
async fn a_mail_that_nobody_takes_for_a_day_is_given_up() {
    let (memory, clock) = (MemoryStore::new(), ManualClock::new());
    let server = SmtpServer::start().await;
    tell(&memory, "dead-letters.growing", "aircraft", now(&clock)).await;
    server.then([Manner::Answer("", "421 closed\r\n"); 2]);
    let _running = run(&memory, &[Target::Email(mail_target(server.address()))], None, &clock);
    clock.settled(1).await;
    assert!(matches!(deliveries(&memory).await[0][0].state, DeliveryState::Due(_)));
    clock.advance(GIVE_UP_AFTER);
    clock.settled(1).await;
    let delivery = deliveries(&memory).await[0][0].clone();
    assert!(matches!(delivery.state, DeliveryState::GivenUp(_)), "{delivery:?}");
    assert!(delivery.error.is_some_and(|error| error.contains("421")));
}
