//! Throughput units: how fast a namespace takes events in and gives them out, where a limit is wanted.
//!
//! One unit is 1 MB or 1,000 events a second in, whichever is reached first, and 2 MB or 4,096 events a second out, as on
//! Event Hubs ("Event Hubs scalability"). There is no limit unless one is configured: it is for tests against the limits
//! that production will have, and for machines that are shared.
//!
//! Each direction has a bucket of bytes and one of events that fill steadily and hold one second's worth. What is let
//! through is taken out of them; they may go below zero, since an event is let through as a whole. While one is below zero
//! nothing more is let through, so in the long run the rate is exact, whatever the sizes.

use std::time::Duration;

use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use tidegate_model::clock::Clock;

/// The highest number of units; a Dedicated cluster of the service has about as much.
pub const MAX_UNITS: u32 = 1000;

/// What one unit lets through in a second.
const INGRESS: Rate = Rate { bytes: 1_000_000, events: 1_000 };
const EGRESS: Rate = Rate { bytes: 2_000_000, events: 4_096 };

/// How much time lies between two steps of auto-inflate at least.
const INFLATE_PAUSE: Duration = Duration::from_secs(1);

/// How many units a namespace has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThroughputUnits {
    /// At the beginning: 1 to [`MAX_UNITS`].
    pub units: u32,
    /// Up to how many it grows by itself when what comes in is more than the units take; never down again, as on Event
    /// Hubs. The same as `units` when it does not grow.
    pub auto_inflate_max: u32,
}

/// A number of bytes and of events in a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rate {
    bytes: i64,
    events: i64,
}

/// What is decided about something that wants through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It goes through, and was counted.
    Admit,
    /// Not now, and it was not counted. There may be room after this long.
    Wait(Duration),
}

/// The state of the limits. A value: time is passed in and comes from one monotonic clock.
#[derive(Clone, Debug)]
pub struct Throughput {
    units: u32,
    auto_inflate_max: u32,
    inflated_at: Option<Duration>,
    ingress: Buckets,
    egress: Buckets,
}

/// One direction.
#[derive(Clone, Debug)]
struct Buckets {
    of_unit: Rate,
    bytes: Bucket,
    events: Bucket,
}

/// What is left of one kind. Counted in billionths, so that no time that passes is lost to rounding.
#[derive(Clone, Debug)]
struct Bucket {
    nanos: i128,
    filled_at: Duration,
}

const NANOS: i128 = 1_000_000_000;

impl Throughput {
    /// Full buckets.
    pub fn new(units: ThroughputUnits, now: Duration) -> Self {
        let count = units.units.clamp(1, MAX_UNITS);
        let full = |of_unit: Rate| Buckets {
            of_unit,
            bytes: Bucket { nanos: capacity(of_unit.bytes, count), filled_at: now },
            events: Bucket { nanos: capacity(of_unit.events, count), filled_at: now },
        };
        Self {
            units: count,
            auto_inflate_max: units.auto_inflate_max.clamp(count, MAX_UNITS),
            inflated_at: None,
            ingress: full(INGRESS),
            egress: full(EGRESS),
        }
    }

    /// How many units there are now.
    pub fn units(&self) -> u32 {
        self.units
    }

    /// Lets events in, or says when to come again.
    pub fn admit_ingress(&mut self, bytes: u64, events: u64, now: Duration) -> Decision {
        let wait = self.ingress_wait(now);
        if wait.is_zero() {
            self.ingress.take(bytes, events);
            Decision::Admit
        } else {
            Decision::Wait(wait)
        }
    }

    /// Lets events in that are there already and cannot be sent away, and says how long their sender is to be held up:
    /// zero when there is room.
    pub fn charge_ingress(&mut self, bytes: u64, events: u64, now: Duration) -> Duration {
        let wait = self.ingress_wait(now);
        self.ingress.take(bytes, events);
        wait
    }

    /// Counts events that go out, and says how long the next ones are to be held up: zero when there is room. Nobody is
    /// refused for reading too fast; he is only slowed down, as on Event Hubs.
    pub fn charge_egress(&mut self, bytes: u64, events: u64, now: Duration) -> Duration {
        self.egress.fill(self.units, now);
        self.egress.take(bytes, events);
        self.egress.wait(self.units)
    }

    /// How long until something may come in; grows by a unit where that is allowed and would help.
    fn ingress_wait(&mut self, now: Duration) -> Duration {
        self.ingress.fill(self.units, now);
        let wait = self.ingress.wait(self.units);
        let may_grow = self.units < self.auto_inflate_max
            && self.inflated_at.is_none_or(|last| now.saturating_sub(last) >= INFLATE_PAUSE);
        if wait.is_zero() || !may_grow {
            return wait;
        }
        self.units += 1;
        self.inflated_at = Some(now);
        for buckets in [&mut self.ingress, &mut self.egress] {
            buckets.fill(self.units - 1, now);
            buckets.bytes.nanos += capacity(buckets.of_unit.bytes, 1);
            buckets.events.nanos += capacity(buckets.of_unit.events, 1);
        }
        self.ingress.wait(self.units)
    }
}

impl Buckets {
    fn fill(&mut self, units: u32, now: Duration) {
        self.bytes.fill(capacity(self.of_unit.bytes, units), now);
        self.events.fill(capacity(self.of_unit.events, units), now);
    }

    fn take(&mut self, bytes: u64, events: u64) {
        self.bytes.take(bytes);
        self.events.take(events);
    }

    fn wait(&self, units: u32) -> Duration {
        let bytes = self.bytes.wait(capacity(self.of_unit.bytes, units));
        bytes.max(self.events.wait(capacity(self.of_unit.events, units)))
    }
}

/// What these units let through in a second, which is also what a bucket holds.
fn capacity(of_unit: i64, units: u32) -> i128 {
    i128::from(of_unit) * i128::from(units) * NANOS
}

impl Bucket {
    fn fill(&mut self, capacity: i128, now: Duration) {
        let passed = now.saturating_sub(self.filled_at);
        self.filled_at = self.filled_at.max(now);
        let passed = i128::try_from(passed.as_nanos()).unwrap_or(i128::MAX);
        let gained = passed.saturating_mul(capacity / NANOS);
        self.nanos = self.nanos.saturating_add(gained).min(capacity);
    }

    fn take(&mut self, amount: u64) {
        self.nanos = self.nanos.saturating_sub(i128::from(amount) * NANOS);
    }

    /// How long until it is no longer below zero.
    fn wait(&self, capacity: i128) -> Duration {
        let missing = (-self.nanos).max(0);
        let a_nanosecond = (capacity / NANOS).max(1);
        let nanos = (missing + a_nanosecond - 1) / a_nanosecond;
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// The limits of a running namespace, shared by its front doors. Without units everything goes through.
pub struct Quota {
    state: Option<Mutex<Throughput>>,
    throttled: Family<[(&'static str, &'static str); 1], Counter>,
}

impl Quota {
    /// No limits.
    pub fn unlimited() -> Self {
        Self { state: None, throttled: Family::default() }
    }

    /// Limits from now on.
    pub fn of(units: ThroughputUnits, clock: &dyn Clock) -> Self {
        let state = Mutex::new(Throughput::new(units, clock.monotonic()));
        Self { state: Some(state), throttled: Family::default() }
    }

    /// Adds to a scrape how often somebody was refused or held up.
    pub fn register(&self, registry: &mut Registry) {
        for direction in ["in", "out"] {
            self.throttled.get_or_create_owned(&[("direction", direction)]);
        }
        registry.register(
            "tidegate_throttled",
            "Times that throughput units refused a batch of events or held its sender or receiver up, over all doors",
            self.throttled.clone(),
        );
    }

    fn throttled(&self, direction: &'static str) {
        self.throttled.get_or_create(&[("direction", direction)]).inc();
    }

    /// How many units there are now; `None` without limits.
    pub fn units(&self) -> Option<u32> {
        self.state.as_ref().map(|state| state.lock().units())
    }

    /// Lets events in, or refuses them; for a door whose clients come again by themselves.
    ///
    /// # Errors
    /// When the quota is used up, with the time to wait.
    pub fn admit_ingress(&self, bytes: u64, events: u64, clock: &dyn Clock) -> Result<(), QuotaExceeded> {
        match self.decide(|state, now| state.admit_ingress(bytes, events, now), clock) {
            None | Some(Decision::Admit) => Ok(()),
            Some(Decision::Wait(wait)) => {
                self.throttled("in");
                Err(QuotaExceeded { wait })
            }
        }
    }

    /// Lets events in and says how long to hold up their sender, by a late answer or by no new credit; for a door whose
    /// clients take a refusal badly.
    pub fn charge_ingress(&self, bytes: u64, events: u64, clock: &dyn Clock) -> Duration {
        let wait = self.decide(|state, now| state.charge_ingress(bytes, events, now), clock);
        let wait = wait.unwrap_or_default();
        if !wait.is_zero() {
            self.throttled("in");
        }
        wait
    }

    /// Counts events that go out and says how long to wait before the next ones.
    pub fn charge_egress(&self, bytes: u64, events: u64, clock: &dyn Clock) -> Duration {
        let wait = self.decide(|state, now| state.charge_egress(bytes, events, now), clock);
        let wait = wait.unwrap_or_default();
        if !wait.is_zero() {
            self.throttled("out");
        }
        wait
    }

    fn decide<T>(&self, decide: impl FnOnce(&mut Throughput, Duration) -> T, clock: &dyn Clock) -> Option<T> {
        let mut state = self.state.as_ref()?.lock();
        let before = state.units();
        // Read under the lock, so that time does not seem to go back between two callers.
        let decided = decide(&mut state, clock.monotonic());
        let after = state.units();
        drop(state);
        if after > before {
            tracing::info!(units = after, "the throughput units grew: more came in than they take");
        }
        Some(decided)
    }
}

/// The namespace takes no more events at the moment. The text has the shape of the service's, which clients look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "The request was terminated because the namespace is being throttled. Error code : 50002. Please wait {} seconds and \
     try again.", whole_seconds(*.wait)
)]
pub struct QuotaExceeded {
    /// How long it takes until there may be room.
    pub wait: Duration,
}

impl QuotaExceeded {
    /// The wait in whole seconds, at least one.
    pub fn wait_seconds(&self) -> u32 {
        whole_seconds(self.wait)
    }
}

fn whole_seconds(wait: Duration) -> u32 {
    let whole = wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0));
    u32::try_from(whole.max(1)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn throughput(units: u32, auto_inflate_max: u32) -> Throughput {
        Throughput::new(ThroughputUnits { units, auto_inflate_max }, SECOND)
    }

    fn ms(milliseconds: u64) -> Duration {
        SECOND + Duration::from_millis(milliseconds)
    }

    #[test]
    fn a_unit_is_a_thousand_events_or_a_megabyte_a_second() {
        let mut state = throughput(1, 1);
        for _ in 0..=1000 {
            assert_eq!(state.admit_ingress(100, 1, ms(0)), Decision::Admit);
        }
        // One event too many was let through whole; a millisecond makes up for it.
        assert_eq!(state.admit_ingress(100, 1, ms(0)), Decision::Wait(Duration::from_millis(1)));
        assert_eq!(state.admit_ingress(100, 1, ms(1)), Decision::Admit);

        let mut state = throughput(2, 2);
        assert_eq!(state.admit_ingress(4_000_000, 1, ms(0)), Decision::Admit);
        assert_eq!(
            state.admit_ingress(1, 1, ms(0)),
            Decision::Wait(SECOND),
            "2 MB are made up for in a second"
        );
        assert_eq!(state.admit_ingress(1, 1, ms(1000)), Decision::Admit);
    }

    #[test]
    fn what_cannot_be_sent_away_is_held_up() {
        let mut state = throughput(1, 1);
        assert_eq!(state.charge_ingress(3_000_000, 1, ms(0)), Duration::ZERO, "there was room");
        assert_eq!(state.charge_ingress(1_000_000, 1, ms(0)), 2 * SECOND);
        assert_eq!(
            state.charge_ingress(1, 1, ms(0)),
            3 * SECOND,
            "each that comes waits behind those before"
        );
        assert_eq!(
            state.charge_egress(2_000_000, 1, ms(0)),
            Duration::ZERO,
            "the other direction has its own"
        );
        assert_eq!(state.charge_egress(1_000_000, 1, ms(0)), SECOND / 2);
        let mut state = throughput(1, 1);
        assert_eq!(state.charge_egress(0, 4096 + 2048, ms(0)), SECOND / 2);
    }

    #[test]
    fn units_grow_one_a_second_and_never_shrink() {
        let mut state = throughput(1, 3);
        assert_eq!(state.admit_ingress(1_500_000, 1, ms(0)), Decision::Admit);
        assert_eq!(
            state.admit_ingress(1_000_000, 1, ms(0)),
            Decision::Admit,
            "the second unit brings its second"
        );
        assert_eq!(state.units(), 2);
        assert_eq!(state.admit_ingress(1, 1, ms(0)), Decision::Wait(SECOND / 4), "one step at a time");
        assert_eq!(state.admit_ingress(5_000_000, 1, ms(999)), Decision::Admit);
        assert!(matches!(state.admit_ingress(1, 1, ms(1000)), Decision::Wait(_)));
        assert_eq!(state.units(), 3);
        assert!(matches!(state.admit_ingress(1, 1, ms(2100)), Decision::Admit));
        state.charge_ingress(30_000_000, 1, ms(2100));
        assert!(
            matches!(state.admit_ingress(1, 1, ms(9000)), Decision::Wait(_)),
            "that is the most there is"
        );
        assert_eq!(state.admit_ingress(1, 1, ms(3_600_000)), Decision::Admit);
        assert_eq!(state.units(), 3);
    }

    #[test]
    fn the_text_has_the_shape_of_the_service() {
        let text = QuotaExceeded { wait: Duration::from_millis(3001) }.to_string();
        assert!(text.ends_with("Error code : 50002. Please wait 4 seconds and try again."), "{text}");
        assert_eq!(QuotaExceeded { wait: Duration::ZERO }.wait_seconds(), 1);
        assert_eq!(QuotaExceeded { wait: Duration::MAX }.wait_seconds(), u32::MAX);
    }

    proptest! {
        /// Over any time, no more goes through than a full bucket, the rate, and one last piece that was let through whole;
        /// and who waits as long as he was told is let through.
        #[test]
        fn the_rate_holds_and_waiting_helps(
            units in 1u32..5,
            pieces in proptest::collection::vec((0u64..2_000_000, 0u64..3_000, 0u64..1_500), 1..60),
        ) {
            let mut state = throughput(units, units);
            let (mut now, mut bytes, mut events, mut largest) = (SECOND, 0, 0, (0, 0));
            for (size, count, pause) in pieces {
                now += Duration::from_millis(pause);
                if let Decision::Wait(wait) = state.admit_ingress(size, count, now) {
                    prop_assert!(!wait.is_zero());
                    prop_assert!(matches!(state.clone().admit_ingress(size, count, now + wait - Duration::from_nanos(1)), Decision::Wait(_)));
                    now += wait;
                    prop_assert_eq!(state.admit_ingress(size, count, now), Decision::Admit);
                }
                bytes += size;
                events += count;
                largest = (largest.0.max(size), largest.1.max(count));
                let seconds = (now - SECOND).as_secs_f64() + 1.0;
                prop_assert!(bytes as f64 <= seconds * f64::from(units) * 1_000_000.0 + largest.0 as f64 + 1.0);
                prop_assert!(events as f64 <= seconds * f64::from(units) * 1_000.0 + largest.1 as f64 + 1.0);
            }
        }

        #[test]
        fn no_number_overflows(bytes in proptest::num::u64::ANY, events in proptest::num::u64::ANY, now in proptest::num::u64::ANY) {
            let mut state = throughput(u32::MAX, u32::MAX);
            for _ in 0..20 {
                state.charge_ingress(bytes, events, Duration::from_secs(now));
                state.charge_egress(bytes, events, Duration::from_secs(now / 2));
                state.admit_ingress(bytes, events, Duration::MAX);
            }
        }
    }
}
