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

const SECOND: Duration = Duration::from_secs(1);

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
async fn a_server_that_says_a_byte_a_second_is_left_and_tried_again() {
    let (memory, clock) = (MemoryStore::new(), ManualClock::new());
    let server = SmtpServer::start().await;
    server.then([Manner::Drips]);
    tell(&memory, "dead-letters.growing", "aircraft", now(&clock)).await;
    let _running = run(&memory, &[Target::Email(mail_target(server.address()))], None, &clock);
    // Never silent for long, and far from through when the time for all of it is up.
    for _ in 0..DEFAULT_EMAIL_TIMEOUT.as_secs() {
        server.drip().await;
        clock.advance(SECOND);
    }
    clock.settled(1).await;
    let delivery = deliveries(&memory).await[0][0].clone();
    assert!(matches!(delivery.state, DeliveryState::Due(_)), "{delivery:?}");
    assert!(delivery.error.is_some_and(|error| error.contains("took longer than 30s")));
    clock.pass(10 * SECOND, 1).await;
    assert_eq!(server.mails().len(), 1);
}

/// What becomes of a mail that is refused once.
#[derive(Debug, PartialEq)]
enum End {
    /// It is taken at the next try.
    TakenLater,
    GivenUp,
}

#[tokio::test]
async fn at_each_step_a_refusal_for_now_is_tried_again_and_one_of_the_mail_for_good_is_not() {
    use End::{GivenUp, TakenLater};
    for (step, answer, end) in [
        // Before the mail is named, a refusal is about the server or us, and may be mended there.
        ("", "421 too busy\r\n", TakenLater),
        ("", "554 no service here\r\n", TakenLater),
        ("", "HTTP/1.1 400 Bad Request\r\n", TakenLater),
        ("EHLO", "450 not now\r\n", TakenLater),
        ("EHLO", "550 who are you\r\n", TakenLater),
        ("AUTH", "454 no password service now\r\n", TakenLater),
        ("AUTH", "535 wrong password\r\n", TakenLater),
        ("MAIL", "451 not now\r\n", TakenLater),
        ("MAIL", "550 not from you\r\n", GivenUp),
        ("RCPT", "450 greylisted\r\n", TakenLater),
        ("RCPT", "550 no such user\r\n", GivenUp),
        ("DATA", "452 no space\r\n", TakenLater),
        ("DATA", "554 no\r\n", GivenUp),
        (".", "451 not now\r\n", TakenLater),
        (".", "554 it looks like spam\r\n", GivenUp),
    ] {
        let what = format!("{step} {answer:?}");
        let (memory, clock) = (MemoryStore::new(), ManualClock::new());
        let server = SmtpServer::start().await;
        server.then([Manner::Answer(step, answer)]);
        let credentials = Some(("ops".to_owned(), Secret::new("hush")));
        let target = Email { credentials, ..mail_target(server.address()) };
        tell(&memory, "dead-letters.growing", "aircraft", now(&clock)).await;
        let _running = run(&memory, &[Target::Email(target)], None, &clock);
        clock.settled(1).await;
        assert_eq!(server.mails(), [], "{what}");
        let refused = deliveries(&memory).await[0][0].clone();
        assert_eq!(matches!(refused.state, DeliveryState::GivenUp(_)), end == GivenUp, "{what}: {refused:?}");
        // A person reads what the server said.
        let error = refused.error.unwrap_or_default();
        let said = answer.trim_end().split_once(' ').map_or("", |(_, said)| said);
        assert!(error.contains(said) || step.is_empty(), "{what}: {error}");
        assert!(!error.contains("hush"), "{what}: {error}");
        clock.pass(10 * SECOND, 1).await;
        assert_eq!(server.mails().len(), usize::from(end == TakenLater), "{what}");
    }
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
