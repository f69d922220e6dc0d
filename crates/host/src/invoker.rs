//! Runs one invocation, so that whatever the function does, the host goes on.
//!
//! The function's code runs on a thread of its own, where it may panic, block or never return. A panic becomes an
//! error. After the time-out the host stops listening: the thread is *abandoned*, its answers are void, and the
//! documents it worked with are free again, unchanged.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use parking_lot::Mutex;
use tidegate_model::attempt::FailureKind;
use tidegate_model::clock::{SharedClock, timeout};
use tidegate_model::document::DocumentId;
use tidegate_model::event::Event;
use tidegate_model::ports::{Function, Invocation, StoreError};
use tidegate_model::position::SequenceNumber;
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock, oneshot, watch};

use crate::caution::INTERRUPTED;
use crate::outcome::answers::{self, Checked};
use crate::outcome::decide::Invoked;
use crate::settings::Isolation;
use crate::workspace::{CheckoutError, Generation, Lease, Workspace};

/// How many threads may be lost to functions that never return before invocations wait for them.
pub const MAX_ABANDONED: usize = 64;

/// Runs invocations.
pub struct Invoker {
    clock: SharedClock,
    workspace: Arc<Workspace>,
    isolation: Isolation,
    abandoned: Arc<AtomicUsize>,
    running: Arc<RwLock<()>>,
}

/// When an invocation may take its documents. Several of one lane that run at once take them in the order of their events,
/// so that the first of them always has its own, and none waits for one that waits for it.
pub struct DocumentsTurn {
    /// The one that takes its documents before.
    after: Option<Taken>,
    /// Whether it may wait for others that work with the documents. One that others of its lane wait for must not, while
    /// they have theirs.
    may_wait: bool,
    /// Tells the next one.
    taken: Telling,
}

impl DocumentsTurn {
    /// It takes its documents after another one, if there is one, and waits until they are free.
    pub fn after(after: Option<Taken>) -> Self {
        Self { after, may_wait: true, taken: Telling::default() }
    }

    /// It takes its documents if they are free, and else not at all.
    pub fn at_once() -> Self {
        Self { after: None, may_wait: false, taken: Telling::default() }
    }

    /// Whether it has its documents.
    pub fn taken(&self) -> Taken {
        Taken(self.taken.0.subscribe())
    }
}

/// Whether an invocation has its documents, or will never have them.
#[derive(Clone)]
pub struct Taken(watch::Receiver<bool>);

impl Taken {
    fn is_over(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }

    async fn over(&mut self) {
        let _ = self.0.wait_for(|taken| *taken).await;
    }
}

#[derive(Clone, Default)]
struct Telling(Arc<watch::Sender<bool>>);

impl Telling {
    fn now(&self) {
        self.0.send_replace(true);
    }
}

/// However an invocation ends, nobody waits for it to take documents from then on.
struct TellAtTheEnd(Telling);

impl Drop for TellAtTheEnd {
    fn drop(&mut self) {
        self.0.now();
    }
}

/// An invocation that came to something.
pub struct Invocated {
    /// What it came to.
    pub invoked: Invoked,
    /// The documents it named, if it got so far.
    pub documents: Arc<[DocumentId]>,
    /// The same documents, checked out.
    pub lease: Option<Lease>,
    /// How long it took, with the wait for documents.
    pub took: Duration,
}

impl Invocated {
    /// The invocation of which nothing is known but that the program ended.
    pub fn interrupted() -> Self {
        let invoked = Invoked::Failed { kind: FailureKind::Interrupted, error: INTERRUPTED.to_owned() };
        Self { invoked, documents: Arc::default(), lease: None, took: Duration::ZERO }
    }
}

/// The invocation could not be made. It says nothing about the events.
#[derive(Debug)]
pub enum NotInvoked {
    /// Everything ahead of the store was taken back meanwhile.
    Rewound,
    /// The store did not give the documents.
    Store(StoreError),
    /// Others work with the documents, and it [must not wait](DocumentsTurn::at_once).
    InUse,
    /// Too many invocations that were given up have not returned.
    TooManyAbandoned,
    /// No thread was free to run the function for as long as the function may take.
    NoThread,
}

impl Invoker {
    /// An invoker that works with the documents of `workspace`.
    pub fn new(clock: SharedClock, workspace: Arc<Workspace>, isolation: Isolation) -> Self {
        Self { clock, workspace, isolation, abandoned: Arc::default(), running: Arc::default() }
    }

    /// The right to invoke functions while others do, if no function has to be [alone](Self::alone) now.
    pub fn try_among_others(&self) -> Option<OwnedRwLockReadGuard<()>> {
        Arc::clone(&self.running).try_read_owned().ok()
    }

    /// Waits for the right to invoke functions while others do. It is given in the order in which it is asked for.
    pub async fn among_others(&self) -> OwnedRwLockReadGuard<()> {
        Arc::clone(&self.running).read_owned().await
    }

    /// Waits until no function is invoked, and keeps the others from being invoked. What was given up after its time-out may
    /// still run.
    pub async fn alone(&self) -> OwnedRwLockWriteGuard<()> {
        Arc::clone(&self.running).write_owned().await
    }

    /// Invokes `function` with `events`, and checks what it answers. Both halves of the invocation together may take
    /// `time_limit`; waiting for documents is not the function's time.
    pub async fn invoke(
        &self,
        function: &Arc<dyn Function>,
        events: Vec<Event>,
        time_limit: Duration,
        generation: Generation,
        documents_turn: DocumentsTurn,
    ) -> Result<Invocated, NotInvoked> {
        let began = self.clock.monotonic();
        let invocated = self.invoke_once(function, events, time_limit, generation, documents_turn).await?;
        Ok(Invocated { took: self.clock.monotonic().saturating_sub(began), ..invocated })
    }

    async fn invoke_once(
        &self,
        function: &Arc<dyn Function>,
        events: Vec<Event>,
        time_limit: Duration,
        generation: Generation,
        documents_turn: DocumentsTurn,
    ) -> Result<Invocated, NotInvoked> {
        if self.abandoned.load(Ordering::Relaxed) >= MAX_ABANDONED {
            return Err(NotInvoked::TooManyAbandoned);
        }
        let numbers: Arc<[SequenceNumber]> = events.iter().map(|event| event.sequence_number).collect();
        let collection = &function.descriptor().collection;
        let in_use = Arc::new(InUse::default());
        let _listening = GivesBack(Arc::clone(&in_use));
        let DocumentsTurn { mut after, may_wait, taken } = documents_turn;
        let _at_the_end = TellAtTheEnd(taken.clone());

        let first_half = {
            let (function, workspace) = (Arc::clone(function), Arc::clone(&self.workspace));
            let (numbers, in_use) = (Arc::clone(&numbers), Arc::clone(&in_use));
            let (after, taken) = (after.clone(), taken.clone());
            async move {
                let invocation = function.plan(events).map_err(|error| error.to_string())?;
                let documents: Arc<[DocumentId]> = invocation.documents().into();
                let collection = &function.descriptor().collection;
                // Most documents are at hand: then there is no reason to go back to the host for them.
                let is_its_turn = after.as_ref().is_none_or(Taken::is_over);
                let leased = if is_its_turn {
                    workspace.checkout_now(collection, &documents, generation)
                } else {
                    None
                };
                if leased.is_some() {
                    taken.now();
                }
                match leased {
                    Some(lease) if lease.is_loaded() => {
                        run(invocation, numbers, documents, lease, &in_use).await.map(FirstHalf::Answered)
                    }
                    leased => Ok(FirstHalf::Planned { invocation, documents, leased }),
                }
            }
        };
        let began = self.clock.monotonic();
        let planned = self.contain(time_limit, first_half).await?;
        let (invocation, documents, leased) = match planned {
            Ok(FirstHalf::Answered(checked)) => return Ok(in_use.end(Invoked::Answered(checked))),
            Ok(FirstHalf::Planned { invocation, documents, leased }) => (invocation, documents, leased),
            Err(failure) => return Ok(in_use.end(failure.into())),
        };
        let time_left = time_limit.saturating_sub(self.clock.monotonic().saturating_sub(began));

        let leased = match leased {
            Some(lease) => self.workspace.load(lease, collection, &documents).await,
            None => {
                if let Some(after) = &mut after {
                    after.over().await;
                }
                if may_wait {
                    self.workspace.checkout(collection, &documents, generation).await
                } else {
                    match self.workspace.checkout_now(collection, &documents, generation) {
                        Some(lease) => self.workspace.load(lease, collection, &documents).await,
                        None => return Err(NotInvoked::InUse),
                    }
                }
            }
        };
        taken.now();
        let lease = match leased {
            Ok(lease) => lease,
            Err(CheckoutError::Rewound) => return Err(NotInvoked::Rewound),
            Err(CheckoutError::Store(error)) => return Err(NotInvoked::Store(error)),
            Err(CheckoutError::NamedTwice(id)) => {
                let failure = Broken::from(format!("the function named the document {id} twice"));
                return Ok(Invocated {
                    invoked: failure.into(),
                    documents,
                    lease: None,
                    took: Duration::ZERO,
                });
            }
        };
        let second_half = {
            let in_use = Arc::clone(&in_use);
            async move { run(invocation, numbers, documents, lease, &in_use).await }
        };
        Ok(in_use.end(match self.contain(time_left, second_half).await? {
            Ok(checked) => Invoked::Answered(checked),
            Err(failure) => failure.into(),
        }))
    }

    /// Which documents each of `events` is about, as the first half of an invocation names them for each event alone. Of an
    /// event that it fails for, nothing is known; nor of any when it takes longer than `time_limit`.
    ///
    /// # Errors
    /// No thread could be had, or too many are lost to functions that do not return.
    pub async fn documents_of(
        &self,
        function: &Arc<dyn Function>,
        events: Vec<Event>,
        time_limit: Duration,
    ) -> Result<Vec<Vec<DocumentId>>, NotInvoked> {
        if self.abandoned.load(Ordering::Relaxed) >= MAX_ABANDONED {
            return Err(NotInvoked::TooManyAbandoned);
        }
        let (function, count) = (Arc::clone(function), events.len());
        let plan_each = async move {
            let about = |event: Event| {
                let planned = std::panic::catch_unwind(AssertUnwindSafe(|| {
                    let planned = function.plan(vec![event]);
                    planned.map(|planned| planned.documents().to_vec())
                }));
                planned.ok().and_then(Result::ok).unwrap_or_default()
            };
            Ok(events.into_iter().map(about).collect::<Vec<_>>())
        };
        let planned = self.contain(time_limit, plan_each).await?;
        Ok(planned.unwrap_or_else(|_| vec![Vec::new(); count]))
    }

    /// Runs the function's code; panics and too long a time become its errors.
    async fn contain<T: Send + 'static>(
        &self,
        time_limit: Duration,
        code: impl Future<Output = Result<T, String>> + Send + 'static,
    ) -> Result<Result<T, Broken>, NotInvoked> {
        let code = AssertUnwindSafe(code).catch_unwind();
        let took_too_long = || {
            let error = format!("the function did not answer within {time_limit:?}");
            Err(Broken { kind: FailureKind::TimedOut, error })
        };
        Ok(match self.isolation {
            Isolation::Inline => match timeout(&*self.clock, time_limit, code).await {
                Some(Ok(done)) => done.map_err(Broken::from),
                Some(Err(panic)) => Err(Broken::panic(&*panic)),
                None => took_too_long(),
            },
            Isolation::Thread => {
                let run =
                    Arc::new(Run { state: AtomicU8::new(QUEUED), abandoned: Arc::clone(&self.abandoned) });
                let (hold, mut gone) = oneshot::channel::<()>();
                let listening = Listening { run: Arc::clone(&run), _hold: hold };
                let thread = tokio::task::spawn_blocking({
                    let runtime = tokio::runtime::Handle::current();
                    let finished = Finished(run);
                    move || {
                        if !finished.0.begins() {
                            return None;
                        }
                        runtime.block_on(async {
                            tokio::select! {
                                biased;
                                done = code => Some(done),
                                // An asynchronous function can be stopped where it waits.
                                _ = &mut gone => None,
                            }
                        })
                    }
                });
                match timeout(&*self.clock, time_limit, thread).await {
                    Some(Ok(Some(Ok(done)))) => done.map_err(Broken::from),
                    Some(Ok(Some(Err(panic)))) => Err(Broken::panic(&*panic)),
                    Some(Err(failed)) => match failed.try_into_panic() {
                        Ok(panic) => Err(Broken::panic(&*panic)),
                        // The program is stopping, and this task with it: that is not the function's failure.
                        Err(_) => std::future::pending().await,
                    },
                    None if listening.run.abandon() => took_too_long(),
                    Some(Ok(None)) | None => return Err(NotInvoked::NoThread),
                }
            }
        })
    }
}

/// What the first half of an invocation came to.
enum FirstHalf {
    /// The documents were at hand, so the second half is done as well.
    Answered(Checked),
    /// The documents have to be waited for, or loaded.
    Planned { invocation: Box<dyn Invocation>, documents: Arc<[DocumentId]>, leased: Option<Lease> },
}

/// The second half of an invocation, with its documents.
async fn run(
    invocation: Box<dyn Invocation>,
    numbers: Arc<[SequenceNumber]>,
    documents: Arc<[DocumentId]>,
    lease: Lease,
    in_use: &InUse,
) -> Result<Checked, String> {
    let current = lease.current().to_vec();
    if !in_use.begin(Arc::clone(&documents), lease) {
        return Err("it was given up".to_owned());
    }
    let answers = invocation.run(current).await.map_err(|error| error.to_string())?;
    // Checking writes the documents as JSON, which is the function's code as well.
    answers::check(&numbers, &documents, answers)
}

/// The documents that an invocation works with. They stay in the host's hands: whatever becomes of the function's
/// thread, the host ends their use when it stops listening.
#[derive(Default)]
struct InUse(Mutex<Use>);

#[derive(Default)]
enum Use {
    #[default]
    NotYet,
    Since(Arc<[DocumentId]>, Lease),
    Ended,
}

impl InUse {
    /// False when the host does not listen any more; the documents are given back then.
    fn begin(&self, documents: Arc<[DocumentId]>, lease: Lease) -> bool {
        let mut state = self.0.lock();
        let goes_on = matches!(*state, Use::NotYet);
        if goes_on {
            *state = Use::Since(documents, lease);
        }
        goes_on
    }

    fn end(&self, invoked: Invoked) -> Invocated {
        match std::mem::replace(&mut *self.0.lock(), Use::Ended) {
            Use::Since(documents, lease) => {
                Invocated { invoked, documents, lease: Some(lease), took: Duration::ZERO }
            }
            Use::NotYet | Use::Ended => {
                Invocated { invoked, documents: Arc::default(), lease: None, took: Duration::ZERO }
            }
        }
    }
}

/// When the host stops listening, also because it has something else to do, the documents are free again.
struct GivesBack(Arc<InUse>);

impl Drop for GivesBack {
    fn drop(&mut self) {
        let before = std::mem::replace(&mut *self.0.0.lock(), Use::Ended);
        // Not before the lock is given back.
        drop(before);
    }
}

/// Somebody waits for the end of a run. Dropping it gives the run up.
struct Listening {
    run: Arc<Run>,
    /// An asynchronous function notices when this is gone.
    _hold: oneshot::Sender<()>,
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.run.abandon();
    }
}

/// A run of the function's code on its thread: counted as abandoned from the moment the host gives it up until it
/// returns.
struct Run {
    state: AtomicU8,
    abandoned: Arc<AtomicUsize>,
}

/// Waits for a thread.
const QUEUED: u8 = 0;
const RUNNING: u8 = 1;
const ABANDONED: u8 = 2;
const FINISHED: u8 = 3;

impl Run {
    /// False when it was given up while it waited for a thread.
    fn begins(&self) -> bool {
        self.state.compare_exchange(QUEUED, RUNNING, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Gives it up, unless that was done before. False when it never began.
    fn abandon(&self) -> bool {
        // Counted first, so that the count never falls below what is really abandoned.
        self.abandoned.fetch_add(1, Ordering::Relaxed);
        let before = self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, |state| {
            matches!(state, QUEUED | RUNNING).then_some(ABANDONED)
        });
        if before.is_err() {
            self.abandoned.fetch_sub(1, Ordering::Relaxed);
        }
        before != Ok(QUEUED)
    }
}

/// Marks the end of a run, also when it panics.
struct Finished(Arc<Run>);

impl Drop for Finished {
    fn drop(&mut self) {
        if self.0.state.swap(FINISHED, Ordering::AcqRel) == ABANDONED {
            self.0.abandoned.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// An invocation failed as a whole.
#[derive(Debug)]
struct Broken {
    kind: FailureKind,
    error: String,
}

impl Broken {
    fn panic(panic: &(dyn Any + Send)) -> Self {
        let message = panic
            .downcast_ref::<&str>()
            .map(|message| (*message).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned());
        let error = match message {
            Some(message) => format!("the function panicked: {message}"),
            None => "the function panicked".to_owned(),
        };
        Self { kind: FailureKind::Panicked, error }
    }
}

impl From<String> for Broken {
    fn from(error: String) -> Self {
        Self { kind: FailureKind::Transient, error }
    }
}

impl From<Broken> for Invoked {
    fn from(Broken { kind, error }: Broken) -> Self {
        Self::Failed { kind, error }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_model::clock::SystemClock;
    use tidegate_model::memory::MemoryStore;

    fn invoker() -> Invoker {
        let workspace = Workspace::new(Arc::new(MemoryStore::new()), 0);
        Invoker::new(SystemClock::shared(), workspace, Isolation::Thread)
    }

    /// What is taken back ends invocations in the middle; their threads are lost as well until they return.
    #[tokio::test]
    async fn a_run_that_nobody_waits_for_any_more_counts_as_abandoned_until_it_returns() {
        let invoker = invoker();
        let (began, has_began) = oneshot::channel();
        let (end, may_end) = std::sync::mpsc::channel::<()>();
        let run = invoker.contain(Duration::from_secs(60), async move {
            began.send(()).map_err(|()| "nobody waits".to_owned())?;
            may_end.recv().map_err(|gone| gone.to_string())
        });
        tokio::select! {
            biased;
            _ = run => panic!("it waits"),
            _ = has_began => {}
        }
        assert_eq!(invoker.abandoned.load(Ordering::Relaxed), 1);
        end.send(()).unwrap();
        while invoker.abandoned.load(Ordering::Relaxed) > 0 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_run_that_ends_is_not_abandoned() {
        let invoker = invoker();
        for _ in 0..100 {
            let done = invoker.contain(Duration::from_secs(60), async { Ok(()) }).await;
            assert!(matches!(done, Ok(Ok(()))));
        }
        assert_eq!(invoker.abandoned.load(Ordering::Relaxed), 0);
    }
}
