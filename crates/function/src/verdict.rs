//! What a fold says about an event.

use std::time::Duration;

use tidegate_model::answer::{Failure, Rejection};

/// What a fold asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict<D> {
    /// The document takes this state.
    Apply(D),
    /// Nothing: the event has no effect, and that is right.
    Filter,
}

/// Why a fold asks for nothing although the event asked for something. The document stays as it was before the event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FoldError {
    /// The event can never be processed: it goes to the dead letters at once.
    #[error(transparent)]
    Reject(#[from] Rejection),
    /// The event cannot be processed now: it is tried again by the function's retry policy.
    #[error(transparent)]
    Fail(#[from] Failure),
}

impl FoldError {
    /// The event can never be processed, because of `reason`.
    pub fn reject(reason: impl Into<String>) -> Self {
        Self::Reject(Rejection { reason: reason.into() })
    }

    /// The event cannot be processed now, because of `error`.
    pub fn fail(error: impl Into<String>) -> Self {
        Self::Fail(Failure::new(error))
    }

    /// The event cannot be processed now, because of `error`, and not before `delay` has passed.
    pub fn fail_for(error: impl Into<String>, delay: Duration) -> Self {
        Self::Fail(Failure::new(error).retry_after(delay))
    }
}

/// What a fold may return: the document's new state when it always has one, a [`Verdict`] when it also filters, and
/// either of them in a `Result` when it also rejects or fails.
pub trait IntoVerdict<D> {
    /// The same in its most general form.
    ///
    /// # Errors
    /// When the event was rejected or failed.
    fn into_verdict(self) -> Result<Verdict<D>, FoldError>;
}

impl<D> IntoVerdict<D> for D {
    fn into_verdict(self) -> Result<Verdict<D>, FoldError> {
        Ok(Verdict::Apply(self))
    }
}

impl<D> IntoVerdict<D> for Verdict<D> {
    fn into_verdict(self) -> Result<Self, FoldError> {
        Ok(self)
    }
}

impl<D> IntoVerdict<D> for Result<D, FoldError> {
    fn into_verdict(self) -> Result<Verdict<D>, FoldError> {
        self.map(Verdict::Apply)
    }
}

impl<D> IntoVerdict<D> for Result<Verdict<D>, FoldError> {
    fn into_verdict(self) -> Self {
        self
    }
}
