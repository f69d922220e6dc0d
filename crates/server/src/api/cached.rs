//! Answers that are worked out once for everybody who asks within a short time.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::OnceCell;

use tidegate_model::clock::Clock;

use crate::api::ApiError;

/// How many answers are kept.
const KEPT: usize = 64;

/// What takes less is as well worked out again.
const QUICK: Duration = Duration::from_millis(20);

/// How much longer than it took to work it out an answer is kept.
const FACTOR: u32 = 20;

/// Answers by what was asked. Whoever asks while an answer is worked out waits for that one.
pub(crate) struct Cached<K, V> {
    kept_for: Duration,
    answers: Mutex<HashMap<K, Arc<Slot<V>>>>,
}

struct Slot<V> {
    began: Duration,
    answer: OnceCell<(Duration, V)>,
}

impl<K: Eq + Hash + Clone, V: Clone> Cached<K, V> {
    /// Keeps answers for `kept_for`, and longer those that took long: asking again and again takes a bounded share of the
    /// machine.
    pub(crate) fn new(kept_for: Duration) -> Self {
        Self { kept_for, answers: Mutex::default() }
    }

    /// The answer to `key`, worked out by `work` unless that was done just now. An error is kept for nobody.
    pub(crate) async fn get(
        &self,
        key: K,
        clock: &dyn Clock,
        work: impl Future<Output = Result<V, ApiError>>,
    ) -> Result<V, ApiError> {
        let slot = self.slot(&key, clock.monotonic());
        let worked_out = slot
            .answer
            .get_or_try_init(|| async { work.await.map(|answer| (clock.monotonic(), answer)) })
            .await
            .map(|(_, answer)| answer.clone());
        if worked_out.is_err() {
            let mut answers = self.answers.lock();
            if answers.get(&key).is_some_and(|kept| Arc::ptr_eq(kept, &slot)) {
                answers.remove(&key);
            }
        }
        worked_out
    }

    /// Forgets all answers: what they tell has changed. What is being worked out now is for those who wait for it already.
    pub(crate) fn forget(&self) {
        self.answers.lock().clear();
    }

    fn slot(&self, key: &K, now: Duration) -> Arc<Slot<V>> {
        let mut answers = self.answers.lock();
        answers.retain(|_, slot| self.is_fresh(slot, now));
        if let Some(slot) = answers.get(key) {
            return slot.clone();
        }
        if answers.len() >= KEPT {
            answers.clear();
        }
        let slot = Arc::new(Slot { began: now, answer: OnceCell::new() });
        answers.insert(key.clone(), slot.clone());
        slot
    }

    fn is_fresh(&self, slot: &Slot<V>, now: Duration) -> bool {
        let Some((ended, _)) = slot.answer.get() else { return true };
        let took = ended.saturating_sub(slot.began);
        let for_its_work = if took < QUICK { Duration::ZERO } else { took.saturating_mul(FACTOR) };
        now.saturating_sub(*ended) < self.kept_for.max(for_its_work)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use tidegate_model::clock::Timestamp;

    use super::*;

    /// A clock that is set by hand.
    #[derive(Default)]
    struct Hands(AtomicU64);

    impl Hands {
        fn advance(&self, seconds: u64) {
            self.0.fetch_add(seconds, Ordering::Relaxed);
        }
    }

    #[async_trait::async_trait]
    impl Clock for Hands {
        fn now(&self) -> Timestamp {
            Timestamp::default().plus(self.monotonic())
        }

        fn monotonic(&self) -> Duration {
            Duration::from_secs(self.0.load(Ordering::Relaxed))
        }

        async fn sleep(&self, duration: Duration) {
            self.advance(duration.as_secs());
        }

        fn random(&self) -> u64 {
            0
        }
    }

    #[tokio::test]
    async fn an_answer_is_worked_out_once_until_it_is_old() {
        let (clock, cached) = (Hands::default(), Cached::new(Duration::from_secs(2)));
        let worked = AtomicU64::new(0);
        let ask = |key| cached.get(key, &clock, async { Ok(worked.fetch_add(1, Ordering::Relaxed)) });
        assert_eq!((ask("a").await, ask("a").await, ask("b").await), (Ok(0), Ok(0), Ok(1)));
        clock.advance(1);
        assert_eq!(ask("a").await, Ok(0));
        clock.advance(1);
        assert_eq!(ask("a").await, Ok(2));
    }

    #[tokio::test]
    async fn what_takes_long_is_kept_longer_and_those_who_wait_share_it() {
        let (clock, cached) = (Hands::default(), Cached::new(Duration::ZERO));
        let worked = AtomicU64::new(0);
        let slow = || {
            cached.get((), &clock, async {
                tokio::task::yield_now().await;
                clock.sleep(Duration::from_secs(1)).await;
                Ok(worked.fetch_add(1, Ordering::Relaxed))
            })
        };
        let (one, other) = tokio::join!(slow(), slow());
        assert_eq!((one, other), (Ok(0), Ok(0)));
        clock.advance(19);
        assert_eq!(slow().await, Ok(0));
        clock.advance(1);
        assert_eq!(slow().await, Ok(1));
    }

    #[tokio::test]
    async fn what_is_worked_out_at_once_is_not_kept_without_need() {
        let (clock, cached) = (Hands::default(), Cached::new(Duration::ZERO));
        let worked = AtomicU64::new(0);
        let ask = || cached.get((), &clock, async { Ok(worked.fetch_add(1, Ordering::Relaxed)) });
        assert_eq!((ask().await, ask().await), (Ok(0), Ok(1)));
    }

    #[tokio::test]
    async fn what_changed_is_worked_out_again_also_while_an_older_answer_is_under_way() {
        let (clock, cached) = (Hands::default(), Cached::new(Duration::from_secs(1)));
        assert_eq!(cached.get((), &clock, async { Ok("before") }).await, Ok("before"));
        cached.forget();
        assert_eq!(cached.get((), &clock, async { Ok("after") }).await, Ok("after"));
        cached.forget();
        let (go, gone) = tokio::sync::oneshot::channel::<()>();
        let slow = cached.get((), &clock, async {
            let _ = gone.await;
            Ok("older")
        });
        let act = async {
            cached.forget();
            let newer = cached.get((), &clock, async { Ok("newer") }).await;
            let _ = go.send(());
            newer
        };
        assert_eq!(tokio::join!(slow, act), (Ok("older"), Ok("newer")));
        assert_eq!(
            cached.get((), &clock, async { Ok("again") }).await,
            Ok("newer"),
            "what is older is not kept"
        );
    }

    #[tokio::test]
    async fn an_error_is_kept_for_nobody() {
        let (clock, cached) = (Hands::default(), Cached::new(Duration::from_secs(1)));
        let failed = cached.get((), &clock, async { Err(ApiError::bad_request("no")) }).await;
        assert!(failed.is_err());
        assert_eq!(cached.get((), &clock, async { Ok(7) }).await, Ok(7));
    }
}
