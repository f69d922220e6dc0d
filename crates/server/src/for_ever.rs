//! Tasks that go on beside the functions for as long as the server runs.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt as _;

use tidegate_model::clock::SharedClock;
use tokio::sync::watch;

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

/// Runs something until it ends by itself, as it does when `stop` turns true, and again when it panics: also when it is stopped
/// in the pause after that, so that its last words are said. `what` is the beginning of a sentence.
pub(crate) async fn until_stopped<W>(
    what: String,
    clock: SharedClock,
    mut stop: watch::Receiver<bool>,
    work: impl Fn(watch::Receiver<bool>) -> W + Send,
) where
    W: Future<Output = ()> + Send,
{
    while AssertUnwindSafe(work(stop.clone())).catch_unwind().await.is_err() {
        let is_stopped = *stop.borrow() || stop.has_changed().is_err();
        if is_stopped {
            return tracing::error!("{what} panicked at its end: this is a defect");
        }
        tracing::error!("{what} panicked: this is a defect; it goes on in {PANIC_PAUSE:?}");
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => {}
            () = clock.sleep(PANIC_PAUSE) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use async_trait::async_trait;
    use tidegate_model::clock::{Clock, Timestamp};

    use super::*;

    /// A clock on which a pause is over at once, or never.
    struct Pauses {
        are_over: bool,
    }

    #[async_trait]
    impl Clock for Pauses {
        fn now(&self) -> Timestamp {
            Timestamp::default()
        }

        fn monotonic(&self) -> Duration {
            Duration::ZERO
        }

        async fn sleep(&self, _: Duration) {
            if !self.are_over {
                std::future::pending().await
            }
        }

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
            () = for_ever("the test", Arc::new(Pauses { are_over: true }), work) => unreachable!("it goes on for ever"),
        }
        assert_eq!(runs.into_inner(), 3);
    }

    /// Runs something that panics `panics` times and then waits to be stopped, having said so; how often it was begun.
    async fn panicking(
        panics: u32,
        clock: SharedClock,
        stop: watch::Receiver<bool>,
        goes_well: Arc<tokio::sync::Notify>,
    ) -> u32 {
        let runs = AtomicU32::new(0);
        let work = |mut stop: watch::Receiver<bool>| {
            let (run, goes_well) = (runs.fetch_add(1, Ordering::Relaxed), goes_well.clone());
            async move {
                if run < panics {
                    std::panic::resume_unwind(Box::new("told to"))
                }
                goes_well.notify_one();
                let _ = stop.wait_for(|stop| *stop).await;
            }
        };
        until_stopped("the test".to_owned(), clock, stop, work).await;
        runs.into_inner()
    }

    #[tokio::test]
    async fn what_panics_before_it_is_stopped_is_done_again() {
        let (stop, stopped) = watch::channel(false);
        let goes_well = Arc::new(tokio::sync::Notify::new());
        let work =
            tokio::spawn(panicking(2, Arc::new(Pauses { are_over: true }), stopped, goes_well.clone()));
        goes_well.notified().await;
        stop.send_replace(true);
        assert_eq!(work.await.unwrap(), 3);
    }

    #[tokio::test]
    async fn what_is_stopped_in_the_pause_has_its_last_words_once() {
        for (panics, runs) in [(1, 2), (9, 2)] {
            let (stop, stopped) = watch::channel(false);
            let mut work = std::pin::pin!(panicking(
                panics,
                Arc::new(Pauses { are_over: false }),
                stopped,
                Arc::default()
            ));
            assert!(futures_util::poll!(&mut work).is_pending());
            stop.send_replace(true);
            assert_eq!(work.await, runs);
        }
    }
}
