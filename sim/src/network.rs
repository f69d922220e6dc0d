//! A network in memory, between clients and a door: what is sent arrives in order, late and in pieces, or not at all.
//!
//! A wire has two flows, one each way. A fault cuts it at any byte, makes it dark (what is written is lost and nobody is
//! told), or lets nothing through for a while. As with TCP, a side that goes away is seen at the other end, unless its
//! machine lost its power.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Buf, Bytes};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::executor::{Executor, ProcessId, Sleep, Started};
use crate::random::Random;

/// The network. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Network {
    executor: Executor,
    seed: u64,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    door: Option<Listening>,
    wires: BTreeMap<u64, Arc<Mutex<Wire>>>,
    made: u64,
}

struct Listening {
    process: ProcessId,
    serve: Box<dyn Fn(Endpoint) -> Started + Send>,
}

/// What goes wrong with a wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Harm {
    /// It is cut now.
    Cut,
    /// It is cut when this side has written so many more bytes.
    CutAfter(Side, u64),
    /// What this side writes is lost. After a while it is cut; or never, and then nobody is told.
    Dark(Side, Option<Duration>),
    /// What this side writes arrives this much later.
    Stall(Side, Duration),
}

/// A side of a wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Client = 0,
    Server = 1,
}

impl Side {
    fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

impl Network {
    /// A network on which nobody listens.
    pub(crate) fn new(executor: &Executor, seed: u64) -> Self {
        Self { executor: executor.clone(), seed, state: Arc::default() }
    }

    /// Gives new connections to `serve`, as tasks of a process.
    pub(crate) fn listen(&self, process: ProcessId, serve: impl Fn(Endpoint) -> Started + Send + 'static) {
        self.state.lock().door = Some(Listening { process, serve: Box::new(serve) });
    }

    /// Nobody listens any more.
    pub(crate) fn close(&self) {
        let door = self.state.lock().door.take();
        drop(door);
    }

    /// A connection to whoever listens.
    pub(crate) async fn connect(&self) -> io::Result<Endpoint> {
        let (number, mut random) = {
            let mut state = self.state.lock();
            state.made += 1;
            (state.made, Random::of(self.seed, &format!("wire {}", state.made)))
        };
        self.executor.sleep(Duration::from_micros(random.below(2000))).await;
        let mut state = self.state.lock();
        let Some(door) = &state.door else { return Err(ErrorKind::ConnectionRefused.into()) };
        let wire = Arc::new(Mutex::new(Wire::new(random)));
        let endpoint =
            |side| Endpoint { network: self.clone(), number, side, wire: Arc::clone(&wire), timer: None };
        let (ours, theirs) = (endpoint(Side::Client), endpoint(Side::Server));
        self.executor.spawn(door.process, (door.serve)(theirs));
        state.wires.insert(number, wire);
        Ok(ours)
    }

    /// Does harm to one of the wires there are; its number.
    pub(crate) fn harm(&self, random: &mut Random, harm: Harm) -> Option<u64> {
        let wires: Vec<_> =
            self.state.lock().wires.iter().map(|(id, wire)| (*id, Arc::clone(wire))).collect();
        let index = usize::try_from(random.below(wires.len() as u64)).expect("an index");
        let (number, wire) = wires.get(index)?;
        wire.lock().harm(harm, self.executor.now());
        Some(*number)
    }

    /// The machine behind the door loses its power. On some wires that is not seen for a while.
    pub(crate) fn lose_power(&self, random: &mut Random) {
        for wire in self.state.lock().wires.values() {
            wire.lock().is_unseen = random.one_in(2);
        }
    }

    /// Whoever listens ends what there is, and has a reason.
    pub(crate) fn excuse_all(&self) {
        for wire in self.state.lock().wires.values() {
            wire.lock().is_harmed = true;
        }
    }

    /// Nothing goes wrong any more: what is dark is cut, so that both sides know.
    pub(crate) fn heal(&self) {
        for wire in self.state.lock().wires.values() {
            wire.lock().heal(self.executor.now());
        }
    }
}

/// How a flow ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// With an end of file.
    Finished,
    /// With an error.
    Reset,
}

struct Wire {
    random: Random,
    flows: [Flow; 2],
    /// How large the pieces are at most in which bytes arrive.
    piece: usize,
    /// How many bytes may be on their way.
    window: usize,
    /// How long bytes are on their way at most, in microseconds.
    longest_way: u64,
    /// Nobody is told when the server goes away.
    is_unseen: bool,
    /// Something went wrong with it.
    is_harmed: bool,
}

/// What one side writes and the other reads.
#[derive(Default)]
struct Flow {
    /// Bytes, and when they arrive.
    segments: VecDeque<(Duration, Bytes)>,
    under_way: usize,
    latest: Duration,
    /// What comes after the bytes, and when.
    end: Option<(Duration, End)>,
    /// So many bytes are still taken before the wire is cut.
    cut_after: Option<u64>,
    /// What is written is lost.
    is_dark: bool,
    /// Nothing can be written any more.
    is_closed: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Flow {
    fn wake(&mut self) {
        self.reader.take().into_iter().chain(self.writer.take()).for_each(Waker::wake);
    }

    fn end(&mut self, at: Duration, end: End) {
        self.is_closed = true;
        let earlier = self.end.is_some_and(|(before, _)| before <= at);
        if !earlier {
            self.end = Some((at, end));
        }
        self.wake();
    }
}

impl Wire {
    fn new(mut random: Random) -> Self {
        Self {
            flows: [Flow::default(), Flow::default()],
            piece: random.pick(&[usize::MAX, usize::MAX, usize::MAX, 100, 7]),
            window: random.pick(&[64 * 1024, 64 * 1024, 4096, 600]),
            longest_way: random.pick(&[0, 500, 5000]),
            is_unseen: false,
            is_harmed: false,
            random,
        }
    }

    fn flow(&mut self, of: Side) -> &mut Flow {
        &mut self.flows[of as usize]
    }

    fn harm(&mut self, harm: Harm, now: Duration) {
        self.is_harmed = true;
        match harm {
            Harm::Cut => self.cut(now),
            Harm::CutAfter(side, bytes) => {
                self.flow(side).cut_after.get_or_insert(bytes);
            }
            Harm::Dark(side, until_cut) => {
                self.flow(side).is_dark = true;
                if let Some(time) = until_cut {
                    for side in [Side::Client, Side::Server] {
                        let flow = self.flow(side);
                        // Who writes is not told before.
                        flow.end.get_or_insert((now + time, End::Reset));
                        flow.wake();
                    }
                }
            }
            Harm::Stall(side, time) => {
                let flow = self.flow(side);
                flow.latest = flow.latest.max(now + time);
                for (at, _) in &mut flow.segments {
                    *at = (*at).max(now + time);
                }
            }
        }
    }

    /// Of what is on its way each way, some arrives.
    fn cut(&mut self, now: Duration) {
        for side in [Side::Client, Side::Server] {
            let segments = self.flow(side).segments.len() as u64;
            let kept = self.random.below(segments + 1);
            let end = self.random.pick(&[End::Finished, End::Reset]);
            let flow = self.flow(side);
            flow.segments.truncate(usize::try_from(kept).expect("an index"));
            flow.under_way = flow.segments.iter().map(|(_, bytes)| bytes.len()).sum();
            flow.end = None;
            flow.end(now, end);
        }
    }

    fn heal(&mut self, now: Duration) {
        let is_dark = self.flows.iter().any(|flow| flow.is_dark || flow.cut_after.is_some());
        if is_dark || self.is_unseen {
            self.cut(now);
        }
    }

    /// Takes what is written by a side.
    fn write(&mut self, side: Side, bytes: &[u8], now: Duration) -> io::Result<Option<usize>> {
        let (window, way, piece) = (self.window, self.random.below(self.longest_way + 1), self.piece);
        let part = if piece == usize::MAX { usize::MAX } else { 1 + below(&mut self.random, 2 * piece) };
        let flow = self.flow(side);
        let is_over = flow.end.is_some_and(|(at, end)| end == End::Reset && at <= now);
        if flow.is_closed || is_over {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let taken = bytes.len().min(window.saturating_sub(flow.under_way)).min(part);
        if taken == 0 {
            return Ok(None);
        }
        let arriving =
            flow.cut_after.map_or(taken, |left| usize::try_from(left).unwrap_or(usize::MAX).min(taken));
        flow.under_way += taken;
        if !flow.is_dark && arriving > 0 {
            flow.latest = flow.latest.max(now + Duration::from_micros(way));
            flow.segments.push_back((flow.latest, Bytes::copy_from_slice(&bytes[..arriving])));
        }
        flow.reader.take().into_iter().for_each(Waker::wake);
        if let Some(left) = &mut flow.cut_after {
            *left -= arriving as u64;
            if *left == 0 {
                // What was written before it arrives.
                let (latest, other) = (flow.latest.max(now), side.other());
                let end = self.random.pick(&[End::Finished, End::Reset]);
                self.flow(side).end(latest, end);
                self.flow(other).segments.clear();
                self.flow(other).end(now, End::Reset);
            }
        }
        Ok(Some(taken))
    }

    /// Gives what has arrived for a side; or says when something will, if that is known.
    fn read(&mut self, side: Side, buffer: &mut ReadBuf<'_>, now: Duration) -> io::Result<Read> {
        let most = match self.piece {
            usize::MAX => usize::MAX,
            piece => 1 + below(&mut self.random, piece),
        };
        let flow = self.flow(side.other());
        let mut room = buffer.remaining().min(most);
        let before = buffer.filled().len();
        while room > 0
            && let Some((at, bytes)) = flow.segments.front_mut()
            && *at <= now
        {
            let part = bytes.len().min(room);
            buffer.put_slice(&bytes[..part]);
            bytes.advance(part);
            room -= part;
            flow.under_way -= part;
            if bytes.is_empty() {
                flow.segments.pop_front();
            }
        }
        if buffer.filled().len() > before {
            flow.writer.take().into_iter().for_each(Waker::wake);
            return Ok(Read::Some);
        }
        match flow.end {
            Some((at, End::Finished)) if at <= now && flow.segments.is_empty() => Ok(Read::Some),
            Some((at, End::Reset)) if at <= now => Err(ErrorKind::ConnectionReset.into()),
            end => {
                let next = flow.segments.front().map(|(at, _)| *at);
                Ok(Read::Later(next.into_iter().chain(end.map(|(at, _)| at)).min()))
            }
        }
    }

    /// A side goes away.
    fn leave(&mut self, side: Side, now: Duration) {
        if side == Side::Server && self.is_unseen {
            // Until somebody answers in its place that nothing is known of the connection.
            let until = now + Duration::from_millis(self.random.below(20_000));
            for side in [Side::Client, Side::Server] {
                let flow = self.flow(side);
                flow.is_dark = true;
                flow.end.get_or_insert((until, End::Reset));
                flow.wake();
            }
            return;
        }
        let has_unread = !self.flow(side.other()).segments.is_empty();
        let flow = self.flow(side);
        if !flow.is_closed && !flow.is_dark {
            let at = flow.latest.max(now);
            flow.end(at, if has_unread { End::Reset } else { End::Finished });
        }
        let other = self.flow(side.other());
        other.is_closed = true;
        other.wake();
    }
}

fn below(random: &mut Random, end: usize) -> usize {
    usize::try_from(random.below(end as u64)).expect("it is below one")
}

enum Read {
    /// Bytes, or the end.
    Some,
    /// Nothing until this time.
    Later(Option<Duration>),
}

/// One side's end of a wire.
pub(crate) struct Endpoint {
    network: Network,
    /// The number of the wire.
    pub(crate) number: u64,
    side: Side,
    wire: Arc<Mutex<Wire>>,
    timer: Option<Sleep>,
}

impl Endpoint {
    /// Whether something went wrong with the wire, or with the server.
    pub(crate) fn is_harmed(&self) -> bool {
        let wire = self.wire.lock();
        wire.is_harmed || wire.is_unseen
    }
}

impl AsyncRead for Endpoint {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (side, now) = (self.side, self.network.executor.now());
        let wire = Arc::clone(&self.wire);
        let mut wire = wire.lock();
        match wire.read(side, buffer, now)? {
            Read::Some => Poll::Ready(Ok(())),
            Read::Later(at) => {
                wire.flow(side.other()).reader = Some(cx.waker().clone());
                drop(wire);
                let executor = self.network.executor.clone();
                self.timer = at.map(|at| executor.sleep(at.saturating_sub(now)));
                match self.timer.as_mut().map(|timer| Pin::new(timer).poll(cx)) {
                    Some(Poll::Ready(())) => {
                        cx.waker().wake_by_ref();
                        Poll::Pending
                    }
                    _ => Poll::Pending,
                }
            }
        }
    }
}

impl AsyncWrite for Endpoint {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let now = self.network.executor.now();
        let mut wire = self.wire.lock();
        match wire.write(self.side, bytes, now)? {
            Some(taken) => Poll::Ready(Ok(taken)),
            None => {
                wire.flow(self.side).writer = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let now = self.network.executor.now();
        let mut wire = self.wire.lock();
        let flow = wire.flow(self.side);
        if !flow.is_closed && !flow.is_dark {
            let at = flow.latest.max(now);
            flow.end(at, End::Finished);
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        let now = self.network.executor.now();
        self.wire.lock().leave(self.side, now);
        if self.side == Side::Client {
            self.network.state.lock().wires.remove(&self.number);
        }
    }
}
