//! A crash at every step of a delivery.

use std::sync::Arc;
use std::time::Duration;

use tidegate_alerts::dispatcher::Dispatcher;
use tidegate_alerts::target::Target;
use tidegate_model::memory::MemoryStore;
use tidegate_model::notice::DeliveryState;

use crate::clock::ManualClock;
use crate::frozen::FrozenStore;
use crate::setup::{deliveries, mail_target, now, publisher, run_as, shared, tell};
use crate::smtp::{Manner, SmtpServer};

async fn is_delivered(memory: &MemoryStore) -> bool {
    let all = deliveries(memory).await;
    all[0].iter().any(|delivery| matches!(delivery.state, DeliveryState::Delivered(_)))
}

#[tokio::test]
async fn a_crash_at_any_step_loses_no_mail_and_repeats_only_one_whose_answer_was_lost() {
    let mut repeated = 0;
    for step in 0.. {
        let (memory, clock) = (MemoryStore::new(), ManualClock::new());
        let server = SmtpServer::start().await;
        let targets = [Target::Email(mail_target(server.address()))];
        tell(&memory, "circuit.opened", "aircraft", now(&clock)).await;

        let frozen = Arc::new(FrozenStore::after_steps(memory.clone(), step));
        let first = Dispatcher::over(
            Arc::<FrozenStore>::clone(&frozen),
            Arc::<FrozenStore>::clone(&frozen),
            &targets,
            &publisher("first"),
            None,
            shared(&clock),
        )
        .unwrap();
        let mut is_frozen = frozen.is_frozen.subscribe();
        let crashed = tokio::select! {
            _ = first.run() => false,
            frozen = is_frozen.wait_for(|frozen| *frozen) => frozen.is_ok(),
            () = clock.settled(1) => false,
        };
        drop(first);
        if !crashed {
            assert!(step > 8, "the dispatcher was done after {step} steps");
            assert_eq!(server.mails().len(), 1);
            break;
        }
        let lost_answer = server.mails().len() == 1 && !is_delivered(&memory).await;

        let _second = run_as("second", &memory, &targets, None, &clock);
        clock.pass(Duration::from_secs(120), 1).await;
        assert!(is_delivered(&memory).await, "after a crash at step {step}");
        let mails = server.mails();
        assert_eq!(mails.len(), 1 + usize::from(lost_answer), "after a crash at step {step}");
        let ids: Vec<_> = mails.iter().map(|mail| mail.header("Message-ID")).collect();
        assert!(ids[0].is_some() && ids.iter().all(|id| *id == ids[0]), "{ids:?}");
        repeated += usize::from(lost_answer);
    }
    // The one step between the server's answer and its record.
    assert_eq!(repeated, 1);
}

#[tokio::test]
async fn a_crash_in_the_middle_of_the_mail_sends_it_again_when_the_lease_has_run_out() {
    let (memory, clock) = (MemoryStore::new(), ManualClock::new());
    let server = SmtpServer::start().await;
    let targets = [Target::Email(mail_target(server.address()))];
    server.then([Manner::StallAfterData]);
    tell(&memory, "circuit.opened", "aircraft", now(&clock)).await;
    let first = run_as("first", &memory, &targets, None, &clock);
    server.stalled(1).await;
    drop(first);

    let _second = run_as("second", &memory, &targets, None, &clock);
    clock.pass(Duration::from_secs(50), 1).await;
    // The first may still be at it.
    assert_eq!(server.mails().len(), 1);
    clock.pass(Duration::from_secs(20), 1).await;
    let mails = server.mails();
    assert_eq!(mails.len(), 2);
    assert_eq!(mails[0].header("Message-ID"), mails[1].header("Message-ID"));
}

#[tokio::test]
async fn an_instance_that_is_slow_at_any_step_sends_nothing_that_another_has_sent() {
    let mut sent_by_the_other = 0;
    for step in 0.. {
        let (memory, clock) = (MemoryStore::new(), ManualClock::new());
        let server = SmtpServer::start().await;
        let targets = [Target::Email(mail_target(server.address()))];
        tell(&memory, "circuit.opened", "aircraft", now(&clock)).await;
        let frozen = Arc::new(FrozenStore::after_steps(memory.clone(), step));
        let slow = Dispatcher::over(
            Arc::<FrozenStore>::clone(&frozen),
            Arc::<FrozenStore>::clone(&frozen),
            &targets,
            &publisher("slow"),
            None,
            shared(&clock),
        )
        .unwrap();
        let mut is_frozen = frozen.is_frozen.subscribe();
        let other = async {
            tokio::select! {
                _ = is_frozen.wait_for(|frozen| *frozen) => {}
                () = clock.settled(1) => return false,
            }
            let _quick = run_as("quick", &memory, &targets, None, &clock);
            clock.settled(1).await;
            sent_by_the_other += usize::from(is_delivered(&memory).await);
            frozen.thaw();
            clock.pass(Duration::from_secs(20), 2).await;
            true
        };
        let was_slow = tokio::select! {
            _ = slow.run() => false,
            was_slow = other => was_slow,
        };
        assert_eq!(server.mails().len(), 1, "slow at step {step}");
        assert!(is_delivered(&memory).await);
        if !was_slow {
            break;
        }
    }
    assert!(sent_by_the_other > 3, "{sent_by_the_other}");
}
