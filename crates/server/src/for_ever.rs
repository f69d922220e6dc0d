//! Tasks that go on beside the functions for as long as the server runs.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt as _;

use tidegate_model::clock::SharedClock;

/// The pause after something that runs for ever panicked.
const PANIC_PAUSE: Duration = Duration::from_secs(10);

/// Runs something again when it panics: that is a defect, but no reason not to do it any more. `what` is the beginning of a
/// sentence.
pub(crate) async fn for_ever<F>(what: &'static str, clock: SharedClock, run: impl Fn() -> F + Send)
where
    F: Future<Output = Infallible> + Send,
{
    loop {
        let Err(_) = AssertUnwindSafe(run()).catch_unwind().await;
        tracing::error!("{what} panicked: this is a defect; it goes on in {PANIC_PAUSE:?}");
        clock.sleep(PANIC_PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use async_trait::async_trait;
    use tidegate_model::clock::{Clock, Timestamp};

    use super::*;

    /// A clock on which a pause is over at once.
    struct NoPause;

    #[async_trait]
    impl Clock for NoPause {
        fn now(&self) -> Timestamp {
            Timestamp::default()
        }

        fn monotonic(&self) -> Duration {
            Duration::ZERO
        }

        async fn sleep(&self, _: Duration) {}

        fn random(&self) -> u64 {
            0
        }
    }

    #[tokio::test]
    async fn what_panics_is_done_again() {
        let (runs, again) = (AtomicU32::new(0), tokio::sync::Notify::new());
        let work = || async {
            if runs.fetch_add(1, Ordering::Relaxed) == 2 {
                again.notify_one();
                std::future::pending::<()>().await;
            }
            std::panic::resume_unwind(Box::new("told to"))
        };
        tokio::select! {
            biased;
            () = again.notified() => {}
            () = for_ever("the test", Arc::new(NoPause), work) => unreachable!("it goes on for ever"),
        }
        assert_eq!(runs.into_inner(), 3);
    }
}
