//! The tasks that a processor starts: one a pump, one for the committer.
//!
//! They run on Tokio. With the feature `simulation` somebody else can take them instead, on the thread that asks for it:
//! who chooses which task runs next can go through all orders there are, and the same way again.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::future::{AbortHandle, abortable};
use tokio::sync::oneshot;

/// A task that was started. As a future, it ends when the task has ended, however that came.
pub struct Task {
    /// Its other side is dropped with the task.
    ended: oneshot::Receiver<()>,
    abort: AbortHandle,
}

/// Starts a task. It goes on when the handle is dropped.
pub fn spawn(task: impl Future<Output = ()> + Send + 'static) -> Task {
    let (alive, ended) = oneshot::channel();
    let (task, abort) = abortable(task);
    start(async move {
        let _alive = alive;
        // Whether it was aborted does not matter: it has ended.
        let _ = task.await;
    });
    Task { ended, abort }
}

fn start(task: impl Future<Output = ()> + Send + 'static) {
    #[cfg(feature = "simulation")]
    let Some(task) = simulated::take(task) else { return };
    tokio::spawn(task);
}

impl Task {
    /// Ends it where it waits.
    pub fn abort(&self) {
        self.abort.abort();
    }
}

impl Future for Task {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.ended).poll(context).map(|_| ())
    }
}

/// Tasks that end with their set.
#[derive(Default)]
pub struct Tasks(Vec<Task>);

impl Tasks {
    /// Starts one more.
    pub fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.0.push(spawn(task));
    }

    /// Waits until all have ended.
    pub async fn ended(&mut self) {
        while let Some(task) = self.0.last_mut() {
            task.await;
            self.0.pop();
        }
    }

    /// Ends all where they wait, and returns when they have ended.
    pub async fn abort(&mut self) {
        self.0.iter().for_each(Task::abort);
        self.ended().await;
    }
}

impl FromIterator<Task> for Tasks {
    fn from_iter<I: IntoIterator<Item = Task>>(tasks: I) -> Self {
        Self(tasks.into_iter().collect())
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        self.0.iter().for_each(Task::abort);
    }
}

/// Who runs the tasks of a simulation.
#[cfg(feature = "simulation")]
pub mod simulated {
    use std::cell::RefCell;
    use std::pin::Pin;

    /// A task to run.
    pub type Started = Pin<Box<dyn Future<Output = ()> + Send>>;

    /// Somebody who runs tasks.
    pub type Spawner = Box<dyn Fn(Started)>;

    thread_local! {
        static SPAWNER: RefCell<Option<Spawner>> = const { RefCell::new(None) };
    }

    /// Gives the tasks that are started on this thread from now on to `spawner`; `None` gives them to Tokio again.
    pub fn set_spawner(spawner: Option<Spawner>) {
        SPAWNER.set(spawner);
    }

    /// Gives a task away; it comes back when nobody takes it.
    pub(super) fn take<F: Future<Output = ()> + Send + 'static>(task: F) -> Option<F> {
        SPAWNER.with_borrow(|spawner| match spawner {
            Some(spawner) => {
                spawner(Box::pin(task));
                None
            }
            None => Some(task),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_set_ends_its_tasks_where_they_wait() {
        let mut tasks = Tasks::default();
        let (alive, ended) = oneshot::channel::<()>();
        tasks.spawn(async {});
        tasks.spawn(async move {
            let _alive = alive;
            std::future::pending::<()>().await;
        });
        tasks.abort().await;
        assert!(ended.await.is_err(), "what the task held is gone");
    }

    #[tokio::test]
    async fn a_task_outlives_its_handle_but_not_its_set() {
        let (send, receive) = oneshot::channel();
        drop(spawn(async move {
            let _ = send.send(());
        }));
        assert_eq!(receive.await, Ok(()));

        let (alive, ended) = oneshot::channel::<()>();
        let mut tasks = Tasks::default();
        tasks.spawn(async move {
            let _alive = alive;
            std::future::pending::<()>().await;
        });
        drop(tasks);
        assert!(ended.await.is_err());
    }

    #[tokio::test]
    async fn a_task_that_panics_has_ended() {
        spawn(async { std::panic::resume_unwind(Box::new("told to")) }).await;
    }
}
