//! Runs tasks on one thread, in an order that follows from a seed.
//!
//! Which of the tasks that can go on is polled next is drawn, and never depends on who was woken first. So the same seed
//! always runs the same way, and different seeds go through different orders. A task belongs to a *process*; killing a
//! process drops its tasks where they wait, as a crash does.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use parking_lot::Mutex;

use crate::random::Random;

/// A task as it is started.
pub(crate) type Started = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A process: tasks that end together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ProcessId(pub u64);

type TaskId = u64;

/// The executor. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Executor {
    state: Arc<Mutex<State>>,
    ready: Arc<Mutex<BTreeSet<TaskId>>>,
}

struct State {
    random: Random,
    now: Duration,
    polls: u64,
    next_task: TaskId,
    next_process: u64,
    next_timer: u64,
    /// `None` while it is polled.
    tasks: BTreeMap<TaskId, (ProcessId, Option<Started>)>,
    timers: BTreeMap<(Duration, u64), Waker>,
    polled: Option<ProcessId>,
}

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A task was polled.
    Polled,
    /// Nobody could go on, so time went on to the next timer.
    Waited,
    /// Nobody can ever go on.
    Idle,
}

impl Executor {
    /// An executor without tasks, at time zero.
    pub(crate) fn new(seed: u64) -> Self {
        let state = State {
            random: Random::of(seed, "executor"),
            now: Duration::ZERO,
            polls: 0,
            next_task: 0,
            next_process: 0,
            next_timer: 0,
            tasks: BTreeMap::new(),
            timers: BTreeMap::new(),
            polled: None,
        };
        Self { state: Arc::new(Mutex::new(state)), ready: Arc::default() }
    }

    /// A process without tasks.
    pub(crate) fn new_process(&self) -> ProcessId {
        let mut state = self.state.lock();
        state.next_process += 1;
        ProcessId(state.next_process)
    }

    /// Starts a task.
    pub(crate) fn spawn(&self, process: ProcessId, task: impl Future<Output = ()> + Send + 'static) {
        let mut state = self.state.lock();
        let id = state.next_task;
        state.next_task += 1;
        state.tasks.insert(id, (process, Some(Box::pin(task))));
        drop(state);
        self.ready.lock().insert(id);
    }

    /// The process whose task is polled now.
    pub(crate) fn polled_process(&self) -> Option<ProcessId> {
        self.state.lock().polled
    }

    /// Ends a process: its tasks are dropped where they wait.
    pub(crate) fn kill(&self, process: ProcessId) {
        let mut state = self.state.lock();
        let dead = state.tasks.extract_if(.., |_, (of, _)| *of == process).collect::<Vec<_>>();
        drop(state);
        // What a task does when it is dropped may need the executor.
        drop(dead);
    }

    /// Ends every process.
    pub(crate) fn end(&self) {
        let tasks = std::mem::take(&mut self.state.lock().tasks);
        drop(tasks);
        let timers = std::mem::take(&mut self.state.lock().timers);
        drop(timers);
    }

    /// Whether a process has tasks.
    pub(crate) fn is_alive(&self, process: ProcessId) -> bool {
        self.state.lock().tasks.values().any(|(of, _)| *of == process)
    }

    /// Time since the beginning.
    pub(crate) fn now(&self) -> Duration {
        self.state.lock().now
    }

    /// How often a task was polled.
    pub(crate) fn polls(&self) -> u64 {
        self.state.lock().polls
    }

    /// Polls one task that can go on; if there is none, lets time pass up to the next timer.
    pub(crate) fn step(&self) -> Step {
        let mut state = self.state.lock();
        let chosen = {
            let mut ready = self.ready.lock();
            ready.retain(|id| state.tasks.contains_key(id));
            let index = state.random.below(ready.len() as u64);
            let chosen = ready.iter().nth(usize::try_from(index).expect("an index")).copied();
            chosen.inspect(|id| {
                ready.remove(id);
            })
        };
        let Some(id) = chosen else {
            let Some((&(deadline, _), _)) = state.timers.first_key_value() else { return Step::Idle };
            state.now = state.now.max(deadline);
            Self::fire(state);
            return Step::Waited;
        };
        let Some((process, task)) = state.tasks.get_mut(&id) else { return Step::Polled };
        let process = *process;
        let Some(mut task) = task.take() else { return Step::Polled };
        state.polled = Some(process);
        state.polls += 1;
        drop(state);

        let waker = Waker::from(Arc::new(TaskWaker { id, ready: Arc::clone(&self.ready) }));
        let done = task.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
        if done {
            drop(task);
            self.state.lock().tasks.remove(&id);
        } else if let Some((_, place)) = self.state.lock().tasks.get_mut(&id) {
            *place = Some(task);
        }
        let mut state = self.state.lock();
        state.polled = None;
        // Work takes time: now and then a timer passes while others are busy.
        if state.random.one_in(4) {
            let took = state.random.below(200);
            state.now += Duration::from_micros(took);
            Self::fire(state);
        }
        Step::Polled
    }

    /// Wakes those whose time has come.
    fn fire(mut state: parking_lot::MutexGuard<'_, State>) {
        let now = state.now;
        let due: Vec<_> = state.timers.extract_if(.., |(deadline, _), _| *deadline <= now).collect();
        drop(state);
        due.into_iter().for_each(|(_, waker)| waker.wake());
    }

    /// Returns after `duration`.
    pub(crate) fn sleep(&self, duration: Duration) -> Sleep {
        let deadline = self.now().saturating_add(duration);
        Sleep { executor: self.clone(), deadline, timer: None }
    }
}

/// Waits for a time.
pub(crate) struct Sleep {
    executor: Executor,
    deadline: Duration,
    timer: Option<u64>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.executor.state.lock();
        if state.now >= self.deadline {
            return Poll::Ready(());
        }
        let timer = self.timer.unwrap_or(state.next_timer);
        state.next_timer = state.next_timer.max(timer + 1);
        state.timers.insert((self.deadline, timer), context.waker().clone());
        drop(state);
        self.timer = Some(timer);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(timer) = self.timer {
            let waker = self.executor.state.lock().timers.remove(&(self.deadline, timer));
            drop(waker);
        }
    }
}

struct TaskWaker {
    id: TaskId,
    ready: Arc<Mutex<BTreeSet<TaskId>>>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.ready.lock().insert(self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten tasks that wait and yield: who went on when.
    fn order(seed: u64) -> Vec<(u64, u64)> {
        let executor = Executor::new(seed);
        let process = executor.new_process();
        let seen = Arc::new(Mutex::new(Vec::new()));
        for number in 0..10 {
            let (executor_of_task, seen) = (executor.clone(), Arc::clone(&seen));
            executor.spawn(process, async move {
                for turn in 0..5 {
                    executor_of_task.sleep(Duration::from_millis(number % 3)).await;
                    seen.lock().push((number, turn));
                }
            });
        }
        while executor.step() != Step::Idle {}
        std::mem::take(&mut *seen.lock())
    }

    #[test]
    fn a_seed_decides_the_order() {
        assert_eq!(order(1), order(1));
        assert_ne!(order(1), order(2));
        assert_eq!(order(3).len(), 50);
    }

    #[test]
    fn who_was_woken_first_decides_nothing() {
        let run = |backwards: bool| {
            let executor = Executor::new(5);
            let process = executor.new_process();
            let seen = Arc::new(Mutex::new(Vec::new()));
            let mut wake = Vec::new();
            for number in 0..8 {
                let (send, receive) = tokio::sync::oneshot::channel::<()>();
                let seen = Arc::clone(&seen);
                wake.push(send);
                executor.spawn(process, async move {
                    let _ = receive.await;
                    seen.lock().push(number);
                });
            }
            while executor.step() != Step::Idle {}
            if backwards {
                wake.reverse();
            }
            wake.into_iter().for_each(drop);
            while executor.step() != Step::Idle {}
            std::mem::take(&mut *seen.lock())
        };
        assert_eq!(run(false), run(true));
    }

    #[test]
    fn what_a_process_did_not_finish_is_gone_when_it_is_killed() {
        let executor = Executor::new(1);
        let (dead, alive) = (executor.new_process(), executor.new_process());
        let seen = Arc::new(Mutex::new(Vec::new()));
        for process in [dead, alive] {
            let (of_task, seen) = (executor.clone(), Arc::clone(&seen));
            executor.spawn(process, async move {
                of_task.sleep(Duration::from_secs(1)).await;
                seen.lock().push(process);
            });
        }
        while executor.step() == Step::Polled {}
        executor.kill(dead);
        while executor.step() != Step::Idle {}
        assert_eq!(*seen.lock(), [alive]);
        assert!(!executor.is_alive(dead));
    }
}
