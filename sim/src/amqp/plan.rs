//! Which clients a seed has, and how they are.

use std::time::Duration;

use tidegate_model::position::PartitionId;

use super::client::Access;
use crate::random::Random;

/// The clients of a run.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Those that send.
    pub(super) producers: Vec<ProducerPlan>,
    /// Those that receive.
    pub(super) readers: Vec<ReaderPlan>,
    /// What both ends announce as their idle time-out.
    pub(super) idle_timeout: Duration,
}

/// How a producer is.
#[derive(Clone, Debug)]
pub(super) struct ProducerPlan {
    /// How many deliveries may be under way.
    pub(super) window: usize,
    /// The largest frame in bytes; a small one cuts messages into several.
    pub(super) frame: u32,
    /// Whether all its links are in one session.
    pub(super) has_one_session: bool,
    /// How long it waits for an answer.
    pub(super) patience: Duration,
    /// How it is let in.
    pub(super) access: Access,
    /// It says that it is the client to which answers come a little later.
    pub(super) is_hasty: bool,
    /// It keeps its connection when it has nothing to send.
    pub(super) stays: bool,
}

/// How a reader is.
#[derive(Clone, Debug)]
pub(super) struct ReaderPlan {
    pub(super) partition: PartitionId,
    /// Its first epoch, if it is to be alone.
    pub(super) epoch: Option<i64>,
    /// How many events may be on their way.
    pub(super) credit: u32,
    /// It asks for events in portions, and takes back what did not come.
    pub(super) drains: bool,
    /// How it is let in.
    pub(super) access: Access,
    /// The largest frame in bytes.
    pub(super) frame: u32,
    /// Whether the server settles what it sends.
    pub(super) is_settled: bool,
    /// Whether it wants to be told where the partition ends.
    pub(super) wants_runtime: bool,
    /// Whether it begins with what comes from now on.
    pub(super) begins_at_end: bool,
}

/// The time that the SDKs wait for an answer to a send.
pub(super) const PATIENCE_OF_SDKS: Duration = Duration::from_secs(60);

impl Plan {
    /// The clients of a seed. Every third has none.
    pub(crate) fn new(seed: u64, partitions: u32) -> Self {
        let mut random = Random::of(seed, "clients");
        let has_some = !random.one_in(3);
        let producers = if has_some { random.below(3) } else { 0 };
        let readers = if has_some { random.below(3) } else { 0 };
        let contended = random.one_in(2);
        let partition = |random: &mut Random| {
            let number = if contended { 0 } else { random.below(u64::from(partitions)) };
            PartitionId(u32::try_from(number).expect("a small number"))
        };
        Self {
            producers: (0..producers)
                .map(|_| ProducerPlan {
                    window: random.pick(&[1, 3, 20]),
                    frame: random.pick(&[512, 65_536]),
                    has_one_session: random.one_in(2),
                    patience: Duration::from_secs(random.pick(&[1, 10, 75])),
                    access: access(&mut random),
                    is_hasty: random.one_in(6),
                    stays: !random.one_in(4),
                })
                .collect(),
            readers: (0..readers)
                .map(|_| ReaderPlan {
                    partition: partition(&mut random),
                    epoch: (!random.one_in(3))
                        .then(|| i64::try_from(random.below(3)).expect("a small number")),
                    credit: random.pick(&[1, 5, 300]),
                    drains: random.one_in(3),
                    access: access(&mut random),
                    frame: random.pick(&[512, 65_536]),
                    is_settled: random.one_in(2),
                    wants_runtime: random.one_in(2),
                    begins_at_end: random.one_in(4),
                })
                .collect(),
            idle_timeout: Duration::from_secs(random.pick(&[1, 5, 240])),
        }
    }
}

/// A key, or tokens, some of which end soon.
fn access(random: &mut Random) -> Access {
    let seconds = random.pick(&[None, None, Some(3), Some(20), Some(3600)]);
    seconds.map_or(Access::Key, |seconds| Access::Token(Duration::from_secs(seconds)))
}
