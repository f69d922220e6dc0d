//! A feed: a receiver of one partition, and the buffer that it fills ahead of its readers.
//!
//! ```text
//!        first        served                    next
//!          ▼            ▼                        ▼
//!   gone │ 40  41  42 │ 43  44  45  46  47  48 │ to come
//!          kept while    waits: counts against
//!          there is room  the room for more
//! ```
//!
//! Credit is given for as many events as there is room for, judged by the size of those that came. Should they turn out
//! larger, at most twice the room is filled; then the receiver is detached, and attached again where the buffer ends when
//! there is room: what was under way comes again. So no reader, however slow, holds up another one or makes memory grow.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tidegate_messages::{Received, received};
use tidegate_model::event::Event;
use tidegate_model::ports::ReadLimit;
use tidegate_model::position::{PartitionId, SequenceNumber};
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;

use super::{Buffered, Shared};
use crate::event_hubs::backoff::Backoff;
use crate::event_hubs::client::{ClientError, FailureKind, Receive, Receiver, StartAt};

/// How many feeds a partition may have. Event Hubs allows five receivers of a group in a partition that have no owner
/// level; one is left for somebody else.
const MAX_FEEDS: usize = 4;

/// A feed from which nothing was read for this long ends, unless it is the one that watches the tail: the furthest.
const IDLE: Duration = Duration::from_secs(60);

/// What an event takes beside its bytes, roughly.
const EVENT_OVERHEAD: usize = 256;

/// The size that an event is expected to have before any came.
const FIRST_GUESS: usize = 2048;

/// A receiver and its buffer.
pub(super) struct Feed {
    buffer: Mutex<Buffer>,
    /// Changes when there is something new for readers.
    news: watch::Sender<u64>,
    /// Wakes the task: there is room, or another position.
    orders: Notify,
    task: Mutex<Option<AbortHandle>>,
}

struct Buffer {
    events: VecDeque<Event>,
    /// The lowest number that can be read here.
    first: SequenceNumber,
    /// The number that comes next.
    next: SequenceNumber,
    /// How many events at the front were read.
    served: usize,
    /// The bytes of all of them, and of those that were not read.
    bytes: usize,
    waiting_bytes: usize,
    /// How many times it was moved.
    moves: u64,
    /// Why nothing comes at the moment.
    problem: Option<ClientError>,
    /// What an event is expected to take.
    estimate: usize,
    /// The room for events.
    room: usize,
    /// When it was read from, on the steady clock.
    read_at: Duration,
}

/// What a read found.
pub(super) enum Taken {
    /// Events, at least one.
    Events(Vec<Event>),
    /// Nothing yet.
    Nothing,
    /// Nothing, and this is why.
    Problem(ClientError),
    /// The feed is not there.
    Elsewhere,
}

/// What became of an event that came.
#[derive(Debug, PartialEq, Eq)]
enum Put {
    Kept,
    /// The feed was moved meanwhile.
    Moved,
    /// There is no room for it.
    Full,
}

impl Buffer {
    fn new(from: SequenceNumber, room: usize, now: Duration) -> Self {
        Self {
            events: VecDeque::new(),
            first: from,
            next: from,
            served: 0,
            bytes: 0,
            waiting_bytes: 0,
            moves: 0,
            problem: None,
            estimate: FIRST_GUESS,
            room,
            read_at: now,
        }
    }

    fn has(&self, from: SequenceNumber) -> bool {
        self.first <= from && from <= self.next
    }

    fn move_to(&mut self, from: SequenceNumber) {
        *self = Self {
            moves: self.moves + 1,
            estimate: self.estimate,
            ..Self::new(from, self.room, self.read_at)
        };
    }

    fn take(&mut self, from: SequenceNumber, limit: ReadLimit) -> Taken {
        if !self.has(from) {
            return Taken::Elsewhere;
        }
        let start = self.events.partition_point(|event| event.sequence_number < from);
        let mut bytes = 0;
        let taken: Vec<Event> = self
            .events
            .range(start..)
            .take(limit.events.max(1))
            .take_while(|event| {
                let is_first_or_fits = bytes == 0 || bytes < limit.bytes;
                bytes += event.data.size().max(1);
                is_first_or_fits
            })
            .cloned()
            .collect();
        while self.served < start + taken.len() {
            self.waiting_bytes -= memory_of(&self.events[self.served]);
            self.served += 1;
        }
        match (taken.is_empty(), &self.problem) {
            (false, _) => Taken::Events(taken),
            (true, Some(problem)) => Taken::Problem(problem.clone()),
            (true, None) => Taken::Nothing,
        }
    }

    fn put(&mut self, event: Event, moves: u64) -> Put {
        if moves != self.moves {
            return Put::Moved;
        }
        if event.sequence_number < self.next {
            return Put::Kept;
        }
        let memory = memory_of(&event);
        self.estimate = memory.max(self.estimate - self.estimate / 16);
        if self.waiting_bytes > 0 && self.waiting_bytes + memory > 2 * self.room {
            return Put::Full;
        }
        self.next = event.sequence_number.next();
        self.events.push_back(event);
        self.bytes += memory;
        self.waiting_bytes += memory;
        self.problem = None;
        while self.bytes > self.room && self.served > 0 {
            let Some(gone) = self.events.pop_front() else { break };
            self.bytes -= memory_of(&gone);
            self.first = gone.sequence_number.next();
            self.served -= 1;
        }
        Put::Kept
    }

    /// How much more credit there may be when this much is outstanding. Little by little is not worth a frame.
    fn credit(&self, outstanding: u32, most: u32) -> u32 {
        let room = self.room.saturating_sub(self.waiting_bytes);
        let fits = u32::try_from(room / self.estimate.max(1)).unwrap_or(u32::MAX);
        let wanted = if self.waiting_bytes == 0 { fits.max(1) } else { fits }.min(most.max(1));
        let more = wanted.saturating_sub(outstanding);
        if outstanding == 0 || more > wanted / 4 { more } else { 0 }
    }
}

fn memory_of(event: &Event) -> usize {
    event.data.held_bytes() + EVENT_OVERHEAD
}

impl Feed {
    /// To be told when there is something new.
    pub(super) fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    /// What it holds.
    pub(super) fn held(&self) -> Buffered {
        let buffer = self.buffer.lock();
        Buffered { bytes: buffer.bytes, unread_bytes: buffer.waiting_bytes, readers: 1 }
    }

    /// Events from `from` on.
    pub(super) fn take(&self, from: SequenceNumber, limit: ReadLimit) -> Taken {
        let taken = self.buffer.lock().take(from, limit);
        self.orders.notify_one();
        taken
    }

    /// Whether nothing fills it any more.
    fn is_over(&self) -> bool {
        self.task.lock().as_ref().is_none_or(AbortHandle::is_finished)
    }

    /// Ends it.
    pub(super) fn close(&self) {
        if let Some(task) = self.task.lock().take() {
            task.abort();
        }
        self.tell();
    }

    fn tell(&self) {
        self.news.send_modify(|news| *news = news.wrapping_add(1));
    }

    fn fail(&self, error: ClientError, moves: u64) {
        let mut buffer = self.buffer.lock();
        if buffer.moves == moves {
            buffer.problem = Some(error);
            drop(buffer);
            self.tell();
        }
    }
}

/// The feed that has what is to be read from `from` on: one that is there, a new one, or the one that was not read from for
/// the longest time, which is moved. `None` when somebody else reads the partition.
pub(super) fn find(shared: &Arc<Shared>, id: PartitionId, from: SequenceNumber) -> Option<Arc<Feed>> {
    let partition = &shared.partitions[id.0 as usize];
    let now = shared.clock.monotonic();
    let mut feeds = partition.feeds.lock();
    if partition.taken().is_some() {
        return None;
    }
    // One whose task has panicked brings nothing any more.
    feeds.retain(|feed| !feed.is_over());
    let known = feeds.iter().find(|feed| feed.buffer.lock().has(from));
    if let Some(feed) = known {
        feed.buffer.lock().read_at = now;
        return Some(Arc::clone(feed));
    }
    let most = if shared.options.owner_level.is_some() { 1 } else { MAX_FEEDS };
    if feeds.len() >= most {
        let longest = feeds.iter().min_by_key(|feed| feed.buffer.lock().read_at);
        if let Some(feed) = longest {
            let mut buffer = feed.buffer.lock();
            buffer.read_at = now;
            buffer.move_to(from);
            drop(buffer);
            feed.orders.notify_one();
            feed.tell();
            return Some(Arc::clone(feed));
        }
    }
    let feed = start(shared, id, from);
    feeds.push(Arc::clone(&feed));
    Some(feed)
}

/// Begins to watch the tail of a partition, unless somebody reads it already.
pub(super) fn start_at_tail(shared: &Arc<Shared>, id: PartitionId) {
    let partition = &shared.partitions[id.0 as usize];
    let Some(ends) = partition.ends() else { return };
    let mut feeds = partition.feeds.lock();
    if partition.taken().is_some() {
        return;
    }
    if feeds.is_empty() {
        feeds.push(start(shared, id, ends.tail));
    }
}

fn start(shared: &Arc<Shared>, id: PartitionId, from: SequenceNumber) -> Arc<Feed> {
    let feed = Arc::new(Feed {
        buffer: Mutex::new(Buffer::new(from, shared.options.prefetch_bytes, shared.clock.monotonic())),
        news: watch::Sender::new(0),
        orders: Notify::new(),
        task: Mutex::new(None),
    });
    let task = tokio::spawn(run(Arc::clone(shared), id, Arc::clone(&feed)));
    *feed.task.lock() = Some(task.abort_handle());
    feed
}

/// Why a receiver is not used any more.
enum Over {
    /// It, or the way to it, failed.
    Failed(ClientError),
    /// The feed was moved.
    Moved,
    /// There is no room for what comes.
    Full,
    /// Nobody reads from it.
    Idle,
}

/// Attaches receivers, one after the other, until nobody needs the feed any more.
async fn run(shared: Arc<Shared>, id: PartitionId, feed: Arc<Feed>) {
    let mut backoff = Backoff::default();
    loop {
        let (moves, from) = {
            let buffer = feed.buffer.lock();
            (buffer.moves, buffer.next)
        };
        let receive = Receive {
            consumer_group: shared.options.consumer_group.clone(),
            partition: id,
            start: StartAt::SequenceNumber(from),
            owner_level: shared.options.owner_level,
        };
        let over = match shared.client.receive(&receive).await {
            Ok(receiver) => fill(&shared, id, &feed, receiver, moves, &mut backoff).await,
            Err(error) => Over::Failed(error),
        };
        match over {
            Over::Moved => {}
            Over::Idle => return,
            Over::Full => wait_for_room(&feed, moves).await,
            // To take it back would be to fight for it. Whoever reads is told.
            Over::Failed(error) if error.kind() == FailureKind::Stolen => {
                tracing::warn!(hub = %shared.options.name, partition = %id, %error, "another reader has taken the partition");
                return shared.take_away(id, &error.to_string());
            }
            Over::Failed(error) => {
                let pause = backoff.failed(&*shared.clock);
                tracing::warn!(hub = %shared.options.name, partition = %id, %error, pause = ?pause, "receiving ended");
                shared.answers(Some(&error));
                feed.fail(error, moves);
                if leave_if_idle(&shared, id, &feed) {
                    return;
                }
                tokio::select! {
                    () = until_moved(&feed, moves) => {}
                    () = shared.clock.sleep(pause) => {}
                }
            }
        }
    }
}

/// Fills the buffer from a receiver.
async fn fill(
    shared: &Arc<Shared>,
    id: PartitionId,
    feed: &Arc<Feed>,
    mut receiver: Receiver,
    moves: u64,
    backoff: &mut Backoff,
) -> Over {
    let partition = &shared.partitions[id.0 as usize];
    let mut outstanding = 0_u32;
    shared.answers(None);
    {
        // It is there again.
        let mut buffer = feed.buffer.lock();
        if buffer.moves == moves {
            buffer.problem = None;
        }
    }
    loop {
        let more = feed.buffer.lock().credit(outstanding, shared.options.prefetch_count);
        if more > 0 {
            receiver.grant(more);
            outstanding += more;
        }
        tokio::select! {
            message = receiver.next() => {
                let message = match message {
                    Ok(message) => message,
                    Err(error) => return Over::Failed(error),
                };
                outstanding = outstanding.saturating_sub(1);
                backoff.succeeded();
                let Received { event, end, offset } = match received(message) {
                    Ok(received) => received,
                    Err(problem) => {
                        let problem = problem.to_string();
                        return Over::Failed(ClientError::Answer { what: "receiving", problem });
                    }
                };
                let (number, enqueued_at) = (event.sequence_number, event.enqueued_at);
                let put = feed.buffer.lock().put(event, moves);
                match put {
                    Put::Kept => {
                        // Readers of this feed first: whom the tail wakes finds the event here.
                        feed.tell();
                        partition.saw(number, enqueued_at, end);
                        if let Some(offset) = offset {
                            partition.keep_offset(number, offset);
                        }
                    }
                    Put::Moved => return Over::Moved,
                    Put::Full => return Over::Full,
                }
            }
            () = feed.orders.notified() => {
                if feed.buffer.lock().moves != moves {
                    return Over::Moved;
                }
            }
            () = shared.clock.sleep(IDLE) => {
                if leave_if_idle(shared, id, feed) {
                    return Over::Idle;
                }
            }
        }
    }
}

/// Waits until at least half of the room is free.
async fn wait_for_room(feed: &Feed, moves: u64) {
    loop {
        {
            let buffer = feed.buffer.lock();
            if buffer.moves != moves || buffer.waiting_bytes <= buffer.room / 2 {
                return;
            }
        }
        feed.orders.notified().await;
    }
}

async fn until_moved(feed: &Feed, moves: u64) {
    while feed.buffer.lock().moves == moves {
        feed.orders.notified().await;
    }
}

/// Takes the feed out of its partition if nobody needs it; true when it is out.
fn leave_if_idle(shared: &Shared, id: PartitionId, feed: &Arc<Feed>) -> bool {
    let partition = &shared.partitions[id.0 as usize];
    let watched = partition.is_waited_for();
    let mut feeds = partition.feeds.lock();
    let (read_at, next) = {
        let buffer = feed.buffer.lock();
        (buffer.read_at, buffer.next)
    };
    let unread = shared.clock.monotonic().saturating_sub(read_at);
    let is_ahead_of = |other: &Arc<Feed>| Arc::ptr_eq(other, feed) || other.buffer.lock().next < next;
    let is_the_watch = watched && feeds.iter().all(is_ahead_of);
    if unread < IDLE || is_the_watch {
        return false;
    }
    feeds.retain(|other| !Arc::ptr_eq(other, feed));
    true
}
