//! A reader: it receives a partition in a group of its own, and goes on behind the last event it was given.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tidegate_amqp::codec::names::condition;
use tidegate_amqp::codec::performative::{
    AmqpError, Attach, DeliveryState, Role, SenderSettleMode, Source, Target,
};
use tidegate_amqp::codec::value::{Map, Symbol, Value};
use tidegate_amqp::connection::{CreditPolicy, Delivery, Event, LinkId, SessionId};
use tidegate_messages::received;
use tidegate_model::clock::Timestamp;
use tidegate_model::position::{PartitionId, SequenceNumber};
use tokio::sync::Notify;

use super::client::{Client, Turn};
use super::plan::ReaderPlan;
use super::{GROUP, Shared};
use crate::mutation::Mutation;
use crate::oracle::Beginning;
use crate::random::Random;
use crate::scenario::hub_name;
use crate::site::Content;

/// How long a reader waits for its link.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where a reader is, for those who look at it.
#[derive(Debug, Default)]
pub(super) struct State {
    partition: Option<PartitionId>,
    /// Others have driven it out, and it stays away.
    is_out: bool,
    is_attached: bool,
    place: Place,
}

/// Where a reader goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Place {
    /// At the first event there is.
    #[default]
    Beginning,
    /// At what comes from now on; when it was attached, the next event had at most this number.
    End(Option<SequenceNumber>),
    /// Behind the event with this number, offset and time.
    Behind(SequenceNumber, String, Timestamp),
    /// At the first event that came later than this.
    After(Timestamp),
}

impl State {
    /// Whether it has all there is.
    pub(super) fn has_all(&self, contents: &[Content]) -> bool {
        let of_partition = contents.iter().find(|content| Some(content.partition) == self.partition);
        let Some(content) = of_partition else { return self.is_out };
        // What retention has dropped comes no more.
        let has_all = content.events.last().is_none_or(|last| match &self.place {
            Place::Beginning => false,
            Place::End(tail) => tail.is_some_and(|tail| last.sequence_number < tail),
            Place::Behind(number, ..) => last.sequence_number <= *number,
            Place::After(time) => last.enqueued_at <= *time,
        });
        self.is_out || self.is_attached && has_all
    }
}

/// A reader.
pub(super) struct Reader {
    name: String,
    plan: ReaderPlan,
    idle_timeout: Duration,
    state: Arc<Mutex<State>>,
    shared: Arc<Shared>,
    random: Random,
    links: u64,
    epoch: Option<i64>,
}

/// The events that a reader has asked for.
#[derive(Default)]
struct Portion {
    /// So many of them have not come.
    left: u32,
    /// It has taken back its credit, when the partition ended here, and has not been answered.
    taken_back_at: Option<SequenceNumber>,
}

impl Portion {
    fn is_taken_back(&self) -> bool {
        self.taken_back_at.is_some()
    }
}

/// Why a reader has stopped receiving.
enum Stop {
    /// It wants to attach again.
    Wish,
    /// Another one took its place.
    Stolen,
    /// It has lost its link or its connection.
    Lost,
}

impl Reader {
    pub(super) fn new(
        index: usize,
        plan: &ReaderPlan,
        state: &Arc<Mutex<State>>,
        shared: &Arc<Shared>,
        idle_timeout: Duration,
    ) -> Self {
        let name = format!("r{index}");
        let random = Random::of(shared.seed, &name);
        *state.lock() = State {
            partition: Some(plan.partition),
            place: if plan.begins_at_end { Place::End(None) } else { Place::Beginning },
            ..State::default()
        };
        let (state, shared) = (Arc::clone(state), Arc::clone(shared));
        Self { name, plan: plan.clone(), idle_timeout, state, shared, random, links: 0, epoch: plan.epoch }
    }

    /// Receives for as long as the run goes on, or until it is driven out and nothing goes wrong any more.
    pub(super) async fn run(mut self) {
        loop {
            let executor = self.shared.executor.clone();
            let options = Shared::options(&self.name, self.plan.frame, self.idle_timeout);
            let (network, access) = (self.shared.network.clone(), self.plan.access);
            if let Some(mut client) = Client::open(&network, &executor, options, access, PATIENCE).await {
                self.ask_about_partition(&mut client).await;
                let mut stop = Stop::Wish;
                while matches!(stop, Stop::Wish) {
                    stop = self.receive(&mut client).await;
                    self.state.lock().is_attached = false;
                }
                if matches!(stop, Stop::Stolen) {
                    if self.shared.is_calm() {
                        self.note(format_args!("stays away"));
                        self.state.lock().is_out = true;
                        return;
                    }
                    self.raise_epoch();
                    let pause = Duration::from_millis(self.random.below(4000));
                    executor.sleep(pause).await;
                }
            }
            let pause = Duration::from_millis(20 + self.random.below(500));
            executor.sleep(pause).await;
        }
    }

    /// It comes again with a higher epoch, or with the same: then each drives the other out.
    fn raise_epoch(&mut self) {
        let more = i64::from(self.random.one_in(2)) + i64::from(self.random.one_in(4));
        match &mut self.epoch {
            Some(epoch) => *epoch += more,
            None if self.random.one_in(2) => {}
            None => self.epoch = Some(more),
        }
    }

    /// Asks `$management` where its partition begins and ends, now and then.
    async fn ask_about_partition(&mut self, client: &mut Client) {
        if !self.random.one_in(3) {
            return;
        }
        let before = self.shared.tail(self.plan.partition);
        let until = client.now() + PATIENCE;
        let Some(about) = client.ask_about(self.plan.partition, until).await else { return };
        let after = self.shared.tail(self.plan.partition);
        self.note(format_args!("is told {about:?}"));
        let tail = u64::try_from(about.last + 1).unwrap_or_default();
        let is_right = before.0 <= tail && tail <= after.0 && about.head <= about.last + 1;
        // Of a log that was opened meanwhile nothing is known.
        if !is_right && !client.is_harmed() {
            let detail =
                format!("{} is told {about:?}, and the tail went from {before} to {after}", self.name);
            self.shared.oracle.report("who asks where a partition ends is told", detail);
        }
    }

    /// Receives on a link of its own.
    async fn receive(&mut self, client: &mut Client) -> Stop {
        let partition = self.plan.partition;
        let tail = self.shared.tail(partition);
        let (beginning, expression) = self.beginning(tail);
        let reading = self.shared.oracle.asks_for(&self.name, partition, self.epoch, beginning);
        self.note(format_args!("asks for partition {partition}, {expression}, epoch {:?}", self.epoch));
        let Some((session, link)) = self.attach(client, &expression) else { return Stop::Lost };
        let mut portion = Portion::default();
        let executor = self.shared.executor.clone();
        let nobody = Notify::new();
        let asked_at = executor.now();
        loop {
            let is_attached = self.state.lock().is_attached;
            let until = match is_attached {
                false => asked_at + PATIENCE,
                true if self.plan.drains && !portion.is_taken_back() && !self.shared.is_calm() => {
                    executor.now() + Duration::from_millis(100 + self.random.below(2000))
                }
                true => executor.now() + Duration::from_secs(3600),
            };
            match client.turn(until, &nobody).await {
                Turn::Event(Event::Attached { link: attached, .. }) if attached == link => {
                    let tail = self.shared.tail(partition);
                    let mut state = self.state.lock();
                    state.is_attached = true;
                    if let Place::End(end) = &mut state.place {
                        *end = Some(tail);
                    }
                    drop(state);
                    self.shared.oracle.is_attached(reading, tail);
                    self.note(format_args!("is attached"));
                    self.ask_for_portion(client, link, &mut portion);
                }
                Turn::Event(Event::Delivery(delivery)) if delivery.link == link => {
                    self.on_delivery(client, reading, delivery);
                    portion.left = portion.left.saturating_sub(1);
                    if portion.left == 0 && !portion.is_taken_back() {
                        self.ask_for_portion(client, link, &mut portion);
                    }
                    if let Some(stop) = self.act_on_a_whim(client, link).await {
                        self.shared.oracle.has_left(reading);
                        return stop;
                    }
                }
                Turn::Event(Event::Detached { link: gone, error, .. }) if gone == link => {
                    return self.on_detach(reading, is_attached, error.as_ref());
                }
                Turn::Event(Event::Drained { link: drained }) if drained == link => {
                    self.note(format_args!("takes back {} of its credit", portion.left));
                    if let Some(tail) = portion.taken_back_at.take().filter(|_| portion.left > 0) {
                        self.shared.oracle.has_all_before(reading, tail);
                    }
                    self.ask_for_portion(client, link, &mut portion);
                }
                Turn::Event(Event::SessionEnded { session: ended, .. }) if ended != session => {}
                Turn::Event(Event::SessionEnded { .. }) | Turn::Over => {
                    self.note(format_args!("has lost wire {}", client.wire()));
                    self.shared.check_end(&self.name, client);
                    self.shared.oracle.has_left(reading);
                    return Stop::Lost;
                }
                Turn::Event(_) | Turn::Nudged => {}
                Turn::Time if is_attached => {
                    if self.plan.drains && !self.shared.is_calm() && !portion.is_taken_back() {
                        portion.taken_back_at = Some(self.shared.tail(partition));
                        let _ = client.engine.drain(link);
                    }
                }
                Turn::Time => {
                    self.note(format_args!("waits no longer on wire {}", client.wire()));
                    if !client.is_harmed() {
                        let detail = format!("{} was not attached within {PATIENCE:?}", self.name);
                        self.shared.oracle.report("who is connected gets an answer", detail);
                    }
                    self.shared.oracle.has_left(reading);
                    return Stop::Lost;
                }
            }
        }
    }

    /// Where it begins: for the oracle, and as clients write it.
    fn beginning(&mut self, tail: SequenceNumber) -> (Beginning, String) {
        let of = |annotation: &str, operator: &str, value: &dyn std::fmt::Display| {
            format!("amqp.annotation.x-opt-{annotation} {operator} '{value}'")
        };
        let mut state = self.state.lock();
        if let Place::Behind(number, _, time) = state.place.clone()
            && !self.shared.is_calm()
            && self.random.one_in(4)
        {
            // It has lost where it was, and goes back.
            let earlier = SequenceNumber(self.random.below(number.0 + 1));
            match self.random.below(3) {
                0 => state.place = Place::Beginning,
                1 => state.place = Place::After(time),
                _ => return (Beginning::At(earlier), of("sequence-number", ">=", &earlier)),
            }
        }
        match &state.place {
            Place::Beginning => (Beginning::At(SequenceNumber::ZERO), of("offset", ">", &-1)),
            Place::End(_) => (Beginning::End(tail), of("offset", ">", &"@latest")),
            Place::Behind(number, offset, _) => {
                let next = Beginning::At(number.next());
                match self.random.below(3) {
                    0 => (next, of("sequence-number", ">", number)),
                    _ => (next, of("offset", ">", offset)),
                }
            }
            Place::After(time) => {
                (Beginning::After(*time, tail), of("enqueued-time", ">", &time.as_millis()))
            }
        }
    }

    fn attach(&mut self, client: &mut Client, expression: &str) -> Option<(SessionId, LinkId)> {
        self.links += 1;
        let session = client.begin()?;
        let address = format!("{}/ConsumerGroups/{GROUP}/Partitions/{}", hub_name(), self.plan.partition);
        let mut properties = Map::new();
        if let Some(epoch) = self.epoch
            && self.shared.mutation != Some(Mutation::LoseEpoch)
        {
            properties.push(Symbol::from_static("com.microsoft:epoch"), Value::Long(epoch));
        }
        let metric = Symbol::from_static("com.microsoft:enable-receiver-runtime-metric");
        let settles =
            if self.plan.is_settled { SenderSettleMode::Settled } else { SenderSettleMode::Unsettled };
        let attach = Attach {
            name: format!("{}-{}", self.name, self.links).into(),
            role: Role::Receiver,
            snd_settle_mode: settles,
            source: Some(Source::at(address).with_selector(expression)),
            target: Some(Target::default()),
            desired_capabilities: self.plan.wants_runtime.then_some(metric).into_iter().collect(),
            properties,
            ..Attach::default()
        };
        let link = client.engine.attach(session, attach).ok()?;
        if !self.plan.drains {
            client.engine.set_credit_policy(link, CreditPolicy::Window(self.plan.credit)).ok()?;
        }
        Some((session, link))
    }

    /// Asks for the next events, if it does that in portions.
    fn ask_for_portion(&self, client: &mut Client, link: LinkId, portion: &mut Portion) {
        if self.plan.drains {
            portion.left = self.plan.credit;
            let _ = client.engine.grant_credit(link, self.plan.credit);
        }
    }

    fn on_delivery(&mut self, client: &mut Client, reading: u64, delivery: Delivery) {
        let Delivery { link, delivery_id, settled, payload, .. } = delivery;
        if settled != self.plan.is_settled {
            let detail = format!("{} asked for settled {}", self.name, self.plan.is_settled);
            self.shared.oracle.report("a reader is served as it asked", detail);
        }
        if !settled {
            let _ = client.engine.settle(link, delivery_id, delivery_id, &DeliveryState::Accepted);
        }
        match received(payload) {
            Ok(received) => {
                let (event, offset) = (received.event, received.offset.unwrap_or_default());
                self.note(format_args!("gets event {}", event.sequence_number));
                self.shared.oracle.received(reading, &event);
                if received.end.is_some_and(|end| end.last < event.sequence_number)
                    || received.end.is_some() != self.plan.wants_runtime
                {
                    let detail =
                        format!("{} got {:?} with event {}", self.name, received.end, event.sequence_number);
                    self.shared.oracle.report("a reader is served as it asked", detail);
                }
                self.state.lock().place =
                    Place::Behind(event.sequence_number, offset.to_string(), event.enqueued_at);
            }
            Err(error) => self.shared.oracle.report("what was stored can be read", error.to_string()),
        }
    }

    /// What readers do of their own accord: they read nothing for a while, attach again, or leave without a word.
    async fn act_on_a_whim(&mut self, client: &mut Client, link: LinkId) -> Option<Stop> {
        if self.shared.is_calm() {
            return None;
        }
        match self.random.below(60) {
            0 => {
                let pause = Duration::from_millis(self.random.below(3000));
                self.note(format_args!("reads nothing for {pause:?}"));
                client.is_silent |= pause >= self.idle_timeout;
                self.shared.executor.sleep(pause).await;
                None
            }
            1 | 2 => {
                self.note(format_args!("detaches"));
                let _ = client.engine.detach(link, true, None);
                Some(Stop::Wish)
            }
            3 => {
                self.note(format_args!("leaves"));
                Some(Stop::Lost)
            }
            _ => None,
        }
    }

    fn on_detach(&mut self, reading: u64, was_attached: bool, error: Option<&AmqpError>) -> Stop {
        self.note(format_args!("has lost its link: {error:?}"));
        self.shared.oracle.has_left(reading);
        if error.is_none_or(|error| error.condition != condition::LINK_STOLEN) {
            return Stop::Lost;
        }
        self.shared.oracle.is_driven_out(reading, was_attached);
        Stop::Stolen
    }

    fn note(&self, what: std::fmt::Arguments<'_>) {
        self.shared.trace.note(&self.name, what);
    }
}
