//! What a function would say about an event: it is invoked as the pumps invoke it, with the documents as the store has them,
//! and nothing of what it answers is kept.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tidegate_model::clock::SharedClock;
use tidegate_model::document::DocumentId;
use tidegate_model::event::Event;
use tidegate_model::ports::{Function, Store};
use tokio::sync::Mutex;

use crate::invoker::{DocumentsTurn, Invocated, Invoker, NotInvoked};
use crate::outcome::answers::Verdict;
use crate::outcome::decide::Invoked;
use crate::settings::Isolation;
use crate::workspace::Workspace;

/// Asks functions what they would say. It has a workspace of its own which nobody commits, so that nothing it does can reach
/// the store. A function that has effects elsewhere has them all the same.
pub struct Judge {
    invoker: Invoker,
    workspace: Arc<Workspace>,
    /// One at a time: a person waits for it, and the machine is there for the lanes.
    turn: Mutex<()>,
}

/// What a function said about an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// How the event would end.
    pub verdict: Judged,
    /// The documents that it is about, in the order in which the function named them.
    pub documents: Vec<JudgedDocument>,
}

/// How an event would end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judged {
    /// Its effect would be in the documents.
    Applied,
    /// The function asks for nothing.
    Filtered,
    /// It would become a dead letter at once.
    Rejected {
        /// Why.
        reason: String,
    },
    /// It would be tried again.
    Failed {
        /// Why.
        error: String,
    },
}

/// A document that an event is about, as JSON text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JudgedDocument {
    /// Its id.
    pub id: DocumentId,
    /// Its state; `None` when there is no such document.
    pub before: Option<Bytes>,
    /// The state it would take; `None` when it would stay as it is.
    pub after: Option<Bytes>,
}

impl Judge {
    /// A judge over the documents of `store`.
    pub fn new(store: Arc<dyn Store>, clock: SharedClock) -> Self {
        let workspace = Workspace::new(store, 0);
        let invoker = Invoker::new(clock, Arc::clone(&workspace), Isolation::Thread);
        Self { invoker, workspace, turn: Mutex::default() }
    }

    /// What `function` would say about `event`, if it says so within `time_limit`.
    ///
    /// # Errors
    /// The function could not be asked, which says nothing about the event.
    pub async fn ask(
        &self,
        function: &Arc<dyn Function>,
        event: Event,
        time_limit: Duration,
    ) -> Result<Judgement, NotInvoked> {
        let _turn = self.turn.lock().await;
        // Forgets what was read before: the store may have newer states.
        self.workspace.rewind();
        let generation = *self.workspace.generation().borrow();
        let turn = DocumentsTurn::after(None);
        let invocated = self.invoker.invoke(function, vec![event], time_limit, generation, turn).await?;
        let Invocated { invoked, documents, lease, .. } = invocated;
        let before = lease.as_ref().map_or(&[][..], |lease| lease.current());
        let mut judged: Vec<JudgedDocument> = (documents.iter().enumerate())
            .map(|(slot, id)| JudgedDocument {
                id: id.clone(),
                before: before.get(slot).and_then(Option::as_ref).and_then(|body| body.encode().ok()),
                after: None,
            })
            .collect();
        let verdict = match invoked {
            Invoked::Failed { error, .. } => Judged::Failed { error },
            Invoked::Answered(checked) => {
                for write in checked.writes {
                    judged[write.slot].after = Some(write.json);
                }
                match (checked.stopped, checked.verdicts.into_iter().next()) {
                    (Some(failure), _) => Judged::Failed { error: failure.error },
                    (None, Some(Verdict::Applied)) => Judged::Applied,
                    (None, Some(Verdict::Rejected { reason })) => Judged::Rejected { reason },
                    (None, Some(Verdict::Filtered) | None) => Judged::Filtered,
                }
            }
        };
        Ok(Judgement { verdict, documents: judged })
    }

    /// Which documents each of `events` is about, as `function` says when it is given each of them alone. What it cannot
    /// say, because it fails or takes longer than `time_limit`, is empty.
    ///
    /// # Errors
    /// No thread could be had to ask it.
    pub async fn documents_of(
        &self,
        function: &Arc<dyn Function>,
        events: Vec<Event>,
        time_limit: Duration,
    ) -> Result<Vec<Vec<DocumentId>>, NotInvoked> {
        let _turn = self.turn.lock().await;
        self.invoker.documents_of(function, events, time_limit).await
    }
}
