//! Admission: how much work the front doors take on at a time.
//!
//! Every request reserves the memory it may need *before* its body is read, all of it at once, so requests cannot block
//! each other half-way. When the memory is used up, requests wait a little; when too many wait or one waits too long, it
//! is sent away with the request to come again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tidegate_model::clock::{Clock, timeout};
use tidegate_model::event::MAX_EVENT_BYTES;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What an event costs in memory beside its bytes: the structures it is kept in while it waits for the log.
pub const EVENT_OVERHEAD_BYTES: usize = 128;

/// The bounds of the front doors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The largest body of a request that is one event or a batch, in bytes. Event Hubs takes 1 MiB; the default adds
    /// 64 KiB for the JSON around the events of a batch.
    pub request_bytes: usize,
    /// How much of a bulk upload is in memory at a time, in bytes.
    pub bulk_window_bytes: usize,
    /// How many bytes of a bulk upload go to a partition in one append.
    pub bulk_chunk_bytes: usize,
    /// How much a compressed upload may grow: bytes out for each byte in, after the first MiB.
    pub max_inflation: u64,
    /// How much memory all requests together may reserve, in bytes.
    pub in_flight_bytes: usize,
    /// How many requests may wait for memory.
    pub waiting_requests: usize,
    /// How long a request may wait for memory.
    pub admission_wait: Duration,
    /// How long a body may pause.
    pub body_idle: Duration,
    /// How long the body of one event or a batch may take to arrive. A bulk upload may take any time.
    pub body_total: Duration,
    /// How long an append may take when the request has no `timeout` of its own. Event Hubs' default is 60 seconds.
    pub append_wait: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_bytes: MAX_EVENT_BYTES + 64 * 1024,
            bulk_window_bytes: 8 * 1024 * 1024,
            bulk_chunk_bytes: 1024 * 1024,
            max_inflation: 200,
            in_flight_bytes: 256 * 1024 * 1024,
            waiting_requests: 1024,
            admission_wait: Duration::from_secs(5),
            body_idle: Duration::from_secs(30),
            body_total: Duration::from_secs(120),
            append_wait: Duration::from_secs(60),
        }
    }
}

/// The memory that all requests share.
pub(crate) struct Admission {
    memory: Arc<Semaphore>,
    capacity: u32,
    waiting: AtomicUsize,
    max_waiting: usize,
    max_wait: Duration,
}

/// Memory reserved for one request; given back when dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    _permit: OwnedSemaphorePermit,
}

/// There is no memory for one more request at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the server has as many bytes in flight as it takes on at a time")]
pub(crate) struct Busy;

impl Admission {
    pub(crate) fn new(limits: &Limits) -> Self {
        let capacity = u32::try_from(limits.in_flight_bytes).unwrap_or(u32::MAX);
        Self {
            memory: Arc::new(Semaphore::new(capacity as usize)),
            capacity,
            waiting: AtomicUsize::new(0),
            max_waiting: limits.waiting_requests,
            max_wait: limits.admission_wait,
        }
    }

    /// Reserves `bytes`. What is more than there is at all counts as everything.
    pub(crate) async fn reserve(&self, bytes: usize, clock: &dyn Clock) -> Result<Reservation, Busy> {
        let wanted = u32::try_from(bytes).unwrap_or(u32::MAX).min(self.capacity);
        if let Ok(permit) = self.memory.clone().try_acquire_many_owned(wanted) {
            return Ok(Reservation { _permit: permit });
        }
        let _place = self.take_place_in_line()?;
        match timeout(clock, self.max_wait, self.memory.clone().acquire_many_owned(wanted)).await {
            Some(Ok(permit)) => Ok(Reservation { _permit: permit }),
            Some(Err(_)) | None => Err(Busy),
        }
    }

    fn take_place_in_line(&self) -> Result<PlaceInLine<'_>, Busy> {
        let place = PlaceInLine(&self.waiting);
        if self.waiting.fetch_add(1, Ordering::AcqRel) < self.max_waiting { Ok(place) } else { Err(Busy) }
    }
}

/// Counts one waiting request for as long as it lives, also when the request is abandoned while it waits.
struct PlaceInLine<'a>(&'a AtomicUsize);

impl Drop for PlaceInLine<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use tidegate_model::clock::{TestClock, Timestamp};

    use super::*;

    fn admission(bytes: usize, waiting: usize) -> Admission {
        Admission::new(&Limits { in_flight_bytes: bytes, waiting_requests: waiting, ..Limits::default() })
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_waits_for_memory_and_gets_it_when_another_ends() {
        let clock = TestClock::new(Timestamp::default(), 1);
        let admission = admission(10, 1);
        let first = admission.reserve(8, &*clock).await.unwrap();
        let mut second = Box::pin(admission.reserve(5, &*clock));
        assert!((&mut second).now_or_never().is_none(), "there are only two bytes left");
        drop(first);
        second.await.unwrap();
        assert_eq!(admission.waiting.load(Ordering::SeqCst), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn too_many_waiting_or_too_long_a_wait_is_busy() {
        let clock = TestClock::new(Timestamp::default(), 1);
        let admission = admission(10, 1);
        let all = admission.reserve(10, &*clock).await.unwrap();
        let mut waits = Box::pin(admission.reserve(1, &*clock));
        assert!((&mut waits).now_or_never().is_none());
        let refused = admission.reserve(1, &*clock).now_or_never().expect("only one may wait");
        assert_eq!(refused.unwrap_err(), Busy);
        assert_eq!(waits.await.unwrap_err(), Busy, "nothing was given back in time");
        drop(all);
        admission.reserve(10, &*clock).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn an_abandoned_wait_leaves_nothing_behind() {
        let clock = TestClock::new(Timestamp::default(), 1);
        let admission = admission(10, 1);
        let all = admission.reserve(10, &*clock).await.unwrap();
        let mut waits = Box::pin(admission.reserve(4, &*clock));
        assert!((&mut waits).now_or_never().is_none());
        drop(waits);
        drop(all);
        assert_eq!(admission.waiting.load(Ordering::SeqCst), 0);
        assert_eq!(admission.memory.available_permits(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_larger_than_everything_gets_everything() {
        let clock = TestClock::new(Timestamp::default(), 1);
        let admission = admission(10, 1);
        let _all = admission.reserve(usize::MAX, &*clock).await.unwrap();
        assert_eq!(admission.memory.available_permits(), 0);
    }
}
