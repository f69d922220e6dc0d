//! The work behind an upload of lines: lines become events, events of a partition become chunks, chunks are appended.
//!
//! ```text
//! line → partition's lane: building chunk → ready chunks → one append at a time → durable
//! ```
//!
//! One lane never has two appends under way, so its lines keep their order; different lanes append at the same time. The
//! bytes of all lanes together stay within a window. Each chunk remembers the first line in it, so at any time it is
//! known up to which line everything is durable.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytestring::ByteString;
use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{FuturesUnordered, StreamExt};
use tidegate_model::clock::{Clock, SharedClock};
use tidegate_model::event::{MAX_EVENT_BYTES, MAX_PARTITION_KEY_BYTES};
use tidegate_model::partitioner::Route;
use tidegate_model::ports::AppendError;
use tidegate_model::position::PartitionId;

use super::chunk::{Chunk, ChunkSize, LineKey};
use super::send::Sending;
use crate::admission::Limits;
use crate::json_pointer::JsonPointer;
use crate::{Hub, PublishError};

/// The first pause after the log asked to slow down; each further one is twice as long, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Where the lines of an upload go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum LineRoute {
    /// To the partitions in turn, a chunk each.
    InTurn,
    /// To the partition of the key that this pointer finds in the line; a line without one in turn.
    KeyInLine(JsonPointer),
    /// All to the partition of this key.
    Key(ByteString),
    /// All to this partition.
    Partition(PartitionId),
}

/// Why a line cannot be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LineError {
    /// With its key it is larger than an event may be.
    TooLarge { size: usize },
    /// Its key is longer than a key may be.
    KeyTooLong { length: usize },
}

/// How far an upload got.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Progress {
    /// The events that are durable.
    pub(super) events: u64,
    /// The bytes of their bodies.
    pub(super) bytes: u64,
    /// How many of the first lines are all durable; empty lines count as such.
    pub(super) acknowledged_lines: u64,
    /// What stopped it, if something did.
    pub(super) failure: Option<PublishError>,
}

/// An upload of lines under way.
pub(super) struct Bulk {
    hub: Arc<Hub>,
    clock: SharedClock,
    route: LineRoute,
    chunk_bytes: usize,
    window_bytes: usize,
    sending: Sending,

    lanes: Vec<Lane>,
    /// Where lines without a key go at the moment.
    keyless_lane: Option<usize>,
    under_way: FuturesUnordered<BoxFuture<'static, (usize, Result<(), PublishError>)>>,
    /// Bytes in chunks that are still being built.
    building_bytes: usize,
    /// Bytes in all chunks that are not durable yet.
    held_bytes: usize,

    lines: u64,
    events: u64,
    bytes: u64,
    failure: Option<PublishError>,
    /// The first line of the earliest append that failed.
    failed_at: Option<u64>,
}

/// The way of an upload into one partition.
#[derive(Default)]
struct Lane {
    building: Chunk,
    ready: VecDeque<Chunk>,
    /// The size of the chunk that is being appended, or that could not be.
    appending: Option<ChunkSize>,
}

impl Lane {
    /// The first line that is not known to be durable.
    fn first_open_line(&self) -> Option<u64> {
        (self.appending.map(|size| size.first_line))
            .or_else(|| self.ready.front().map(|chunk| chunk.size().first_line))
            .or_else(|| (!self.building.is_empty()).then_some(self.building.size().first_line))
    }
}

impl Bulk {
    /// Begins an upload to `hub`, which must have the partition of the route. Each append is made as `sending` says.
    pub(super) fn new(
        hub: Arc<Hub>,
        clock: SharedClock,
        route: LineRoute,
        limits: &Limits,
        sending: Sending,
    ) -> Self {
        let lanes = (0..hub.partition_count()).map(|_| Lane::default()).collect();
        Self {
            hub,
            clock,
            route,
            chunk_bytes: limits.bulk_chunk_bytes,
            window_bytes: limits.bulk_window_bytes,
            sending,
            lanes,
            keyless_lane: None,
            under_way: FuturesUnordered::new(),
            building_bytes: 0,
            held_bytes: 0,
            lines: 0,
            events: 0,
            bytes: 0,
            failure: None,
            failed_at: None,
        }
    }

    /// Takes the next line. After an error the line is not taken, and the upload must be finished.
    pub(super) fn take(&mut self, line: &[u8]) -> Result<(), LineError> {
        if line.is_empty() {
            self.lines += 1;
            return Ok(());
        }
        let (lane, key) = self.place(line)?;
        let lane = match lane {
            Ok(Some(lane)) => Ok(lane),
            Ok(None) => self.lane_in_turn(),
            Err(error) => Err(error),
        };
        match lane {
            Ok(lane) => self.push(lane, line, key),
            // Not expected: a partition that does not exist is found out before the first line.
            Err(error) => self.fail(error.into(), self.lines),
        }
        self.lines += 1;
        Ok(())
    }

    /// The lane of a line, `None` for any, and where its key is, counted from the beginning of the line.
    fn place(&self, line: &[u8]) -> Result<(Result<Option<usize>, AppendError>, LineKey), LineError> {
        let key = match &self.route {
            LineRoute::KeyInLine(pointer) => pointer.find(line).filter(|key| !key.is_empty()),
            LineRoute::Key(key) => Some(Cow::Borrowed(&**key)),
            LineRoute::InTurn | LineRoute::Partition(_) => None,
        };
        let key_length = key.as_ref().map_or(0, |key| key.len());
        if key_length > MAX_PARTITION_KEY_BYTES {
            return Err(LineError::KeyTooLong { length: key_length });
        }
        if line.len() + key_length > MAX_EVENT_BYTES {
            return Err(LineError::TooLarge { size: line.len() + key_length });
        }
        let lane = match (&key, &self.route) {
            (Some(key), _) => self.hub.choose(Route::Key(key)).map(|partition| Some(lane_of(partition))),
            (None, LineRoute::Partition(partition)) => {
                self.hub.choose(Route::Partition(*partition)).map(|partition| Some(lane_of(partition)))
            }
            (None, _) => Ok(None),
        };
        let key = match (key, &self.route) {
            (None, _) => LineKey::None,
            (Some(_), LineRoute::Key(key)) => LineKey::Apart(key.clone()),
            (Some(Cow::Owned(key)), _) => LineKey::Apart(key.into()),
            (Some(Cow::Borrowed(key)), _) => {
                let from = key.as_ptr() as usize - line.as_ptr() as usize;
                LineKey::InLine(from..from + key.len())
            }
        };
        Ok((lane, key))
    }

    fn lane_in_turn(&mut self) -> Result<usize, AppendError> {
        match self.keyless_lane {
            Some(lane) => Ok(lane),
            None => {
                let lane = self.hub.choose(Route::Any).map(lane_of)?;
                self.keyless_lane = Some(lane);
                Ok(lane)
            }
        }
    }

    fn push(&mut self, lane_index: usize, line: &[u8], key: LineKey) {
        let chunk = &mut self.lanes[lane_index].building;
        let held = chunk.push(self.lines, line, key);
        let full = chunk.size().held_bytes >= self.chunk_bytes;

        self.building_bytes += held;
        self.held_bytes += held;
        if full {
            self.seal(lane_index);
        }
        // Half of the window is for building, so that the other half can be on its way to the disk meanwhile.
        if self.building_bytes >= self.window_bytes / 2 {
            self.seal_all();
        }
    }

    fn seal_all(&mut self) {
        for lane in 0..self.lanes.len() {
            self.seal(lane);
        }
    }

    fn seal(&mut self, lane_index: usize) {
        if self.keyless_lane == Some(lane_index) {
            self.keyless_lane = None;
        }
        let lane = &mut self.lanes[lane_index];
        if !lane.building.is_empty() {
            let chunk = std::mem::take(&mut lane.building);
            self.building_bytes -= chunk.size().held_bytes;
            lane.ready.push_back(chunk);
        }
        self.start(lane_index);
    }

    /// Starts the next append of a lane, unless one is under way or failed. After a failure elsewhere only chunks are
    /// started that hold a line before the failed one: they bring the acknowledged lines up to it, and later ones would
    /// only come twice.
    fn start(&mut self, lane_index: usize) {
        let lane = &mut self.lanes[lane_index];
        if lane.appending.is_some() {
            return;
        }
        let failed_at = self.failed_at;
        let is_wanted = |chunk: &mut Chunk| failed_at.is_none_or(|failed| chunk.size().first_line < failed);
        let Some(chunk) = lane.ready.pop_front_if(is_wanted) else { return };
        lane.appending = Some(chunk.size());
        let partition = PartitionId(u32::try_from(lane_index).expect("a hub has fewer partitions than u32"));
        let (hub, clock, sending) = (self.hub.clone(), self.clock.clone(), self.sending.clone());
        let append = async move { (lane_index, append(&hub, &*clock, partition, chunk, &sending).await) };
        self.under_way.push(append.boxed());
    }

    /// True when there is nothing to wait for.
    pub(super) fn is_idle(&self) -> bool {
        self.under_way.is_empty()
    }

    /// True when an append failed. The upload must be finished then.
    pub(super) fn has_failed(&self) -> bool {
        self.failure.is_some()
    }

    /// Waits until one append is done; at once if none is under way.
    pub(super) async fn wait_for_one(&mut self) {
        if let Some((lane, result)) = self.under_way.next().await {
            self.done(lane, result);
        }
    }

    /// Lets the appends make progress without waiting for them.
    pub(super) fn poke(&mut self) {
        while let Some(Some((lane, result))) = self.under_way.next().now_or_never() {
            self.done(lane, result);
        }
    }

    /// Waits until there is room in the window for another line.
    pub(super) async fn wait_for_room(&mut self) {
        while self.held_bytes >= self.window_bytes && !self.is_idle() && !self.has_failed() {
            self.wait_for_one().await;
        }
    }

    fn done(&mut self, lane_index: usize, result: Result<(), PublishError>) {
        match result {
            Ok(()) => {
                if let Some(size) = self.lanes[lane_index].appending.take() {
                    self.events += size.events;
                    self.bytes += size.bytes;
                    self.held_bytes -= size.held_bytes;
                }
                self.start(lane_index);
            }
            Err(error) => {
                // `appending` stays: its lines are open, and nothing more goes to that partition.
                let failed_at = self.lanes[lane_index].appending.map_or(0, |size| size.first_line);
                self.fail(error, failed_at);
            }
        }
    }

    fn fail(&mut self, error: PublishError, line: u64) {
        if self.failure.is_none() {
            self.failure = Some(error);
        }
        self.failed_at = Some(self.failed_at.map_or(line, |earlier| earlier.min(line)));
    }

    /// Appends everything that was taken, after a failure only what comes before it, and waits for all appends.
    pub(super) async fn finish(mut self) -> Progress {
        self.seal_all();
        while !self.is_idle() {
            self.wait_for_one().await;
        }
        let first_open = self.lanes.iter().filter_map(Lane::first_open_line).chain(self.failed_at).min();
        Progress {
            events: self.events,
            bytes: self.bytes,
            acknowledged_lines: first_open.unwrap_or(self.lines),
            failure: self.failure,
        }
    }

    /// How many lines were taken.
    pub(super) fn lines(&self) -> u64 {
        self.lines
    }
}

fn lane_of(partition: PartitionId) -> usize {
    partition.0 as usize
}

/// Appends a chunk. When the log asks to slow down, nothing was stored, and it is tried again until the time is over: the
/// client feels it as a connection that takes its bytes slowly, not as an error. So he does when the throughput units are
/// used up; the chunk takes its place in line then, and what it waits there does not count against the time of the append.
async fn append(
    hub: &Hub,
    clock: &dyn Clock,
    partition: PartitionId,
    chunk: Chunk,
    sending: &Sending,
) -> Result<(), PublishError> {
    let (wait, trace) = (sending.wait, sending.trace.as_deref());
    let chunk = chunk.seal();
    let delay = hub.charge(chunk.bytes(), chunk.events_count(), clock);
    if !delay.is_zero() {
        clock.sleep(delay).await;
    }
    let deadline = clock.monotonic().saturating_add(wait);
    let mut pause = FIRST_PAUSE;
    loop {
        let left = deadline.saturating_sub(clock.monotonic());
        match hub.publish_in(trace, partition, chunk.events(), clock, left).await {
            Err(PublishError::Append(AppendError::Throttled { .. }))
                if clock.monotonic().saturating_add(pause) < deadline =>
            {
                clock.sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            Err(PublishError::TimedOut { partition, .. }) => {
                return Err(PublishError::TimedOut { partition, wait });
            }
            Ok(_) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}
