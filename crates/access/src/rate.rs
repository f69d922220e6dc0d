//! How often somebody may try to sign in: a bucket of tries for each address, and one for all together.
//!
//! A bucket holds some tries and is filled up again at a steady pace. It is pure arithmetic: the time is passed in.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use parking_lot::Mutex;

/// A bucket's size and pace.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// How many tries may come at once.
    pub burst: u32,
    /// How long it takes until there is one more.
    pub every: Duration,
}

/// Of one address: ten at once, then one each six seconds.
pub const OF_ONE: Pace = Pace { burst: 10, every: Duration::from_secs(6) };

/// Of all together: two hundred at once, then five a second.
pub const OF_ALL: Pace = Pace { burst: 200, every: Duration::from_millis(200) };

/// How many addresses are remembered; those that have most tries left are forgotten first, which is to their favour.
pub const MAX_ADDRESSES: usize = 4096;

/// Tries that are left, at a time.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Bucket {
    /// May be a fraction.
    left: f64,
    at: Duration,
}

impl Bucket {
    fn full(pace: Pace, now: Duration) -> Self {
        Self { left: f64::from(pace.burst), at: now }
    }

    fn filled(self, pace: Pace, now: Duration) -> Self {
        let more = now.saturating_sub(self.at).as_secs_f64() / pace.every.as_secs_f64();
        Self { left: (self.left + more).min(f64::from(pace.burst)), at: now.max(self.at) }
    }

    /// How long it takes until a try is there; nothing when one is.
    fn wait(self, pace: Pace) -> Duration {
        if self.left >= 1.0 { Duration::ZERO } else { pace.every.mul_f64(1.0 - self.left) }
    }
}

/// Counts tries.
pub struct Tries {
    of_one: Pace,
    of_all: Pace,
    buckets: Mutex<Buckets>,
}

struct Buckets {
    all: Option<Bucket>,
    each: HashMap<IpAddr, Bucket>,
}

impl Default for Tries {
    fn default() -> Self {
        Self::new(OF_ONE, OF_ALL)
    }
}

impl Tries {
    /// With these paces.
    pub fn new(of_one: Pace, of_all: Pace) -> Self {
        Self { of_one, of_all, buckets: Mutex::new(Buckets { all: None, each: HashMap::new() }) }
    }

    /// Takes one try of an address, at a time of the clock that does not jump.
    ///
    /// # Errors
    /// When there is none left; nothing was taken then.
    pub fn take(&self, address: Option<IpAddr>, now: Duration) -> Result<(), TooOften> {
        let mut buckets = self.buckets.lock();
        let mut one = address.map(|address| {
            let held = buckets.each.get(&address).copied();
            (address, held.unwrap_or(Bucket::full(self.of_one, now)).filled(self.of_one, now))
        });
        let mut all = buckets.all.unwrap_or(Bucket::full(self.of_all, now)).filled(self.of_all, now);
        let of_one = one.map_or(Duration::ZERO, |(_, bucket)| bucket.wait(self.of_one));
        let wait = of_one.max(all.wait(self.of_all));
        if !wait.is_zero() {
            return Err(TooOften { wait });
        }
        all.left -= 1.0;
        buckets.all = Some(all);
        if let Some((address, bucket)) = &mut one {
            bucket.left -= 1.0;
            let (address, bucket) = (*address, *bucket);
            self.make_room(&mut buckets.each, address, now);
            buckets.each.insert(address, bucket);
        }
        Ok(())
    }

    /// Gives a try back: it was a good one.
    pub fn give_back(&self, address: Option<IpAddr>) {
        let mut buckets = self.buckets.lock();
        if let Some(all) = &mut buckets.all {
            all.left = (all.left + 1.0).min(f64::from(self.of_all.burst));
        }
        if let Some(one) = address.and_then(|address| buckets.each.get_mut(&address)) {
            one.left = (one.left + 1.0).min(f64::from(self.of_one.burst));
        }
    }

    fn make_room(&self, each: &mut HashMap<IpAddr, Bucket>, address: IpAddr, now: Duration) {
        if each.len() < MAX_ADDRESSES || each.contains_key(&address) {
            return;
        }
        let left = |bucket: &Bucket| bucket.filled(self.of_one, now).left;
        each.retain(|_, bucket| left(bucket) < f64::from(self.of_one.burst));
        if each.len() >= MAX_ADDRESSES {
            let most =
                each.iter().max_by(|(_, a), (_, b)| left(a).total_cmp(&left(b))).map(|(address, _)| *address);
            most.map(|address| each.remove(&address));
        }
    }
}

/// Somebody tried too often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooOften {
    /// When they may try again.
    pub wait: Duration,
}

impl TooOften {
    /// The same in whole seconds, at least one.
    pub fn wait_seconds(self) -> u32 {
        u32::try_from(self.wait.as_millis().div_ceil(1000).max(1)).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn address(number: u32) -> Option<IpAddr> {
        Some(IpAddr::from(number.to_be_bytes()))
    }

    const START: Duration = Duration::from_secs(1000);

    #[test]
    fn after_a_burst_tries_come_at_the_pace() {
        let tries = Tries::default();
        for _ in 0..OF_ONE.burst {
            tries.take(address(1), START).unwrap();
        }
        let refused = tries.take(address(1), START).unwrap_err();
        assert_eq!((refused.wait, refused.wait_seconds()), (OF_ONE.every, 6));
        tries.take(address(2), START).unwrap();
        tries.take(address(1), START + refused.wait).unwrap();
        assert!(tries.take(address(1), START + refused.wait).is_err());
        tries.give_back(address(1));
        tries.take(address(1), START + refused.wait).unwrap();
    }

    #[test]
    fn many_addresses_together_have_a_limit_and_a_bounded_memory() {
        let tries = Tries::new(OF_ONE, Pace { burst: 10_000, every: Duration::from_secs(1) });
        for number in 0..10_000 {
            tries.take(address(number), START).unwrap();
        }
        assert!(tries.take(address(10_000), START).is_err());
        assert_eq!(tries.buckets.lock().each.len(), MAX_ADDRESSES);
        tries.take(None, START + Duration::from_secs(1)).unwrap();
    }

    #[test]
    fn one_address_cannot_use_up_the_tries_of_all() {
        let tries = Tries::default();
        for _ in 0..1000 {
            let _ = tries.take(address(1), START);
        }
        for number in 2..100 {
            tries.take(address(number), START).unwrap();
        }
    }

    proptest! {
        #[test]
        fn never_more_than_the_burst_and_the_pace(steps in prop::collection::vec(0u64..20_000, 1..200)) {
            let (tries, mut now, mut taken) = (Tries::default(), START, 0u32);
            for step in steps {
                now += Duration::from_millis(step);
                taken += u32::from(tries.take(address(1), now).is_ok());
            }
            let most = f64::from(OF_ONE.burst) + (now - START).as_secs_f64() / OF_ONE.every.as_secs_f64();
            prop_assert!(f64::from(taken) <= most + 1e-6);
        }
    }
}
