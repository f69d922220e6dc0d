use tidegate_model::clock::{Clock as _, TestClock, Timestamp};

use super::*;
use crate::provider::Provider;

struct Bench {
    provider: Provider,
    keys: PublishedKeys,
    client: Client,
    clock: Arc<TestClock>,
}

impl Bench {
    async fn new() -> Self {
        let provider = Provider::start().await;
        let client = fetch::client(&provider.address).unwrap();
        Self {
            provider,
            keys: PublishedKeys::default(),
            client,
            clock: TestClock::new(Timestamp::from_millis(0), 7),
        }
    }

    /// Asks for a key of this name; whether there is one then.
    async fn get(&self, kid: &str) -> Result<bool, NoAnswer> {
        let suits = |keys: &JwkSet| keys.find(kid).is_some();
        let clock: SharedClock = self.clock.clone();
        self.keys.get(&self.client, &self.provider.url(), suits, &clock).await.map(|keys| suits(&keys))
    }

    /// Time passes for the clock alone: what is under way on the network is not cut off.
    async fn pass(&self, time: Duration) {
        tokio::time::pause();
        tokio::time::advance(time).await;
        tokio::time::resume();
    }
}

#[tokio::test]
async fn keys_are_asked_for_when_they_are_needed_and_an_unknown_one_once() {
    let bench = Bench::new().await;
    assert_eq!(bench.keys.known(), Ok(None));
    assert_eq!(bench.get("one").await, Ok(true));
    assert_eq!(bench.get("one").await, Ok(true));
    assert_eq!(bench.provider.asked(), 1);

    // The provider has a new one, and at once somebody shows a token of it.
    *bench.provider.kid.lock() = Some("two");
    assert_eq!(bench.get("two").await, Ok(true));
    assert_eq!(bench.provider.asked(), 2);
    // What is forged is not asked for each time.
    for _ in 0..50 {
        assert_eq!(bench.get("forged").await, Ok(false));
    }
    assert_eq!(bench.provider.asked(), 2);
    assert!(!bench.keys.would_ask(|_| false, bench.clock.monotonic()));
    bench.pass(AGAIN_AFTER).await;
    assert!(bench.keys.would_ask(|_| false, bench.clock.monotonic()));
    assert_eq!(bench.get("forged").await, Ok(false));
    assert_eq!(bench.get("forged").await, Ok(false));
    assert_eq!(bench.provider.asked(), 3);
}

#[tokio::test]
async fn a_provider_that_is_away_is_not_asked_all_the_time_and_its_keys_count_for_a_day() {
    let bench = Bench::new().await;
    *bench.provider.kid.lock() = None;
    let failed = bench.get("one").await.unwrap_err();
    assert!(failed.to_string().contains("it answered with the status 500"), "{failed}");
    assert_eq!(bench.get("one").await, Err(failed.clone()));
    assert_eq!(bench.keys.known(), Err(failed));
    assert_eq!(bench.provider.asked(), 1);
    *bench.provider.kid.lock() = Some("one");
    bench.pass(AGAIN_AFTER).await;
    assert_eq!(bench.get("one").await, Ok(true));

    *bench.provider.kid.lock() = None;
    bench.pass(KEPT_FOR).await;
    assert_eq!(bench.get("one").await, Ok(true), "they were asked for, and count on");
    assert_eq!(bench.provider.asked(), 3);
    bench.pass(KEPT_WITHOUT_ANSWER - KEPT_FOR).await;
    assert!(bench.get("one").await.is_err());
    assert!(bench.keys.known().is_err());
}

#[tokio::test]
async fn of_many_who_need_the_keys_at_once_one_asks() {
    let bench = Bench::new().await;
    let all = futures_util::future::join_all((0..30).map(|_| bench.get("one"))).await;
    assert!(all.iter().all(|one| *one == Ok(true)));
    assert_eq!(bench.provider.asked(), 1);
}

#[tokio::test]
async fn the_answer_is_taken_also_when_whoever_asked_goes_away() {
    let bench = Bench::new().await;
    assert_eq!(bench.get("one").await, Ok(true));
    *bench.provider.kid.lock() = Some("two");
    let held = bench.provider.may_answer.clone().write_owned().await;
    tokio::select! {
        biased;
        _ = bench.get("forged") => unreachable!("it may not answer yet"),
        () = bench.provider.was_asked(2) => {}
    }
    // Whoever has a token of the new key now waits for that answer.
    assert!(bench.keys.would_ask(|_| false, bench.clock.monotonic()));
    drop(held);
    assert_eq!(bench.get("two").await, Ok(true));
    assert_eq!(bench.provider.asked(), 2);
}
