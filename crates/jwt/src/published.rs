//! The keys that an identity provider publishes: asked for when they are needed, kept for an hour, and asked for sooner when a
//! token names one that is not among them.

use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::jwk::JwkSet;
use parking_lot::Mutex;
use reqwest::Client;
use tidegate_model::clock::SharedClock;

use crate::fetch::{self, NoAnswer};

/// How long keys are believed.
pub const KEPT_FOR: Duration = Duration::from_secs(3600);

/// How long they are believed where the provider does not answer when it should tell them anew.
pub const KEPT_WITHOUT_ANSWER: Duration = Duration::from_secs(24 * 3600);

/// How soon they are asked for again: after a token named an unknown one, and after there was no answer. What is forged costs the
/// provider one question in this time.
pub const AGAIN_AFTER: Duration = Duration::from_secs(10);

/// What is asked for.
const WHAT: &str = "set of keys";

/// The keys that are published at one address.
#[derive(Debug, Default)]
pub struct PublishedKeys {
    /// One asks at a time; the others take the answer.
    asking: Arc<tokio::sync::Mutex<()>>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    keys: Option<(Arc<JwkSet>, Duration)>,
    /// When they were last asked for sooner than they would be.
    hurried_at: Option<Duration>,
    failed: Option<(NoAnswer, Duration)>,
}

impl State {
    fn failed_within(&self, time: Duration, now: Duration) -> Option<&NoAnswer> {
        self.failed.as_ref().filter(|(_, at)| now.saturating_sub(*at) < time).map(|(failed, _)| failed)
    }

    fn fail(&mut self, why: NoAnswer, now: Duration) {
        self.failed = Some((why, now));
        self.keys = self.keys_within(KEPT_WITHOUT_ANSWER, now).and_then(|_| self.keys.take());
    }

    fn take(&mut self, answer: Result<JwkSet, NoAnswer>, now: Duration) -> Result<Arc<JwkSet>, NoAnswer> {
        match answer {
            Ok(keys) => {
                let keys = Arc::new(keys);
                self.keys = Some((keys.clone(), now));
                self.failed = None;
                Ok(keys)
            }
            Err(failed) => {
                tracing::warn!(error = %failed, "the keys of an identity provider could not be had");
                self.fail(failed.clone(), now);
                self.keys_within(KEPT_WITHOUT_ANSWER, now).ok_or(failed)
            }
        }
    }

    fn keys_within(&self, time: Duration, now: Duration) -> Option<Arc<JwkSet>> {
        self.keys.as_ref().filter(|(_, at)| now.saturating_sub(*at) < time).map(|(keys, _)| keys.clone())
    }
}

impl PublishedKeys {
    /// The keys that are known, without asking for any. Whoever goes by them has [asked](Self::get) before, which forgets what
    /// is too old.
    ///
    /// # Errors
    /// Why there are none, where they were asked for.
    pub fn known(&self) -> Result<Option<Arc<JwkSet>>, NoAnswer> {
        let state = self.state.lock();
        match (&state.keys, &state.failed) {
            (Some((keys, _)), _) => Ok(Some(keys.clone())),
            (None, Some((failed, _))) => Err(failed.clone()),
            (None, None) => Ok(None),
        }
    }

    /// True when the keys would be asked for, or an answer awaited that is under way: they are too old; or none of them
    /// `suits`, and it was not tried just now.
    pub fn would_ask(&self, suits: impl Fn(&JwkSet) -> bool, now: Duration) -> bool {
        let state = self.state.lock();
        if state.failed_within(AGAIN_AFTER, now).is_some() {
            return false;
        }
        match state.keys_within(KEPT_FOR, now) {
            None => true,
            Some(keys) => !suits(&keys) && (may_hurry(&state, now) || self.asking.try_lock().is_err()),
        }
    }

    /// The keys at `url`; asked for if they are too old, or if none of them `suits`. They may not suit all the same. What is
    /// asked is asked to its end, also when nobody waits for the answer any more: else whoever asks and goes away could keep new
    /// keys unknown.
    ///
    /// # Errors
    /// When they are not known, or too old, and there is no answer.
    pub async fn get(
        &self,
        client: &Client,
        url: &str,
        suits: impl Fn(&JwkSet) -> bool,
        clock: &SharedClock,
    ) -> Result<Arc<JwkSet>, NoAnswer> {
        let asking = self.asking.clone().lock_owned().await;
        let now = clock.monotonic();
        {
            let mut state = self.state.lock();
            if let Some(failed) = state.failed_within(AGAIN_AFTER, now).cloned() {
                return state.keys_within(KEPT_WITHOUT_ANSWER, now).ok_or(failed);
            }
            if let Some(keys) = state.keys_within(KEPT_FOR, now) {
                if suits(&keys) || !may_hurry(&state, now) {
                    return Ok(keys);
                }
                state.hurried_at = Some(now);
            }
        }
        let (state, client, url, clock) = (self.state.clone(), client.clone(), url.to_owned(), clock.clone());
        to_its_end(async move {
            let answer = fetch::get::<JwkSet>(&client, WHAT, &url, &*clock).await;
            let taken = state.lock().take(answer, clock.monotonic());
            drop(asking);
            taken
        })
        .await
        .unwrap_or_else(|| Err(NoAnswer::new(WHAT, "the program is stopping")))
    }

    /// Notes that the address of the keys could not be found out.
    pub fn failed(&self, why: NoAnswer, now: Duration) {
        self.state.lock().fail(why, now);
    }
}

fn may_hurry(state: &State, now: Duration) -> bool {
    state.hurried_at.is_none_or(|at| now.saturating_sub(at) >= AGAIN_AFTER)
}

/// Runs a question to its end, whether or not somebody waits for the answer. Nothing when the program stops first.
pub(crate) async fn to_its_end<T: Send + 'static>(
    question: impl Future<Output = T> + Send + 'static,
) -> Option<T> {
    match tokio::spawn(question).await {
        Ok(answer) => Some(answer),
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests;
