//! Where the keys are that tokens are checked with: at an address, or where the issuer says.

use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::jwk::JwkSet;
use reqwest::Client;
use tidegate_model::clock::SharedClock;

use crate::discovery::Discovery;
use crate::fetch::{self, NoAnswer, is_protected};
use crate::published::{PublishedKeys, to_its_end};
use crate::signed::may_be_signed_with;

/// Keys that somebody publishes, with what asks for them.
#[derive(Debug)]
pub struct KeySource {
    source: Arc<Source>,
    /// One asks at a time; the others take the answer.
    asking: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Debug)]
struct Source {
    place: Place,
    client: Client,
    keys: PublishedKeys,
}

#[derive(Debug)]
enum Place {
    Address(String),
    Issuer(Discovery),
}

impl KeySource {
    /// The set of keys (JWKS) at an address. Nothing is asked yet.
    ///
    /// # Errors
    /// When the address cannot be used; the text says why.
    pub fn at(url: &str) -> Result<Self, String> {
        Self::new(Place::Address(url.to_owned()), url)
    }

    /// The keys of an issuer, which says at `/.well-known/openid-configuration` where they are.
    ///
    /// # Errors
    /// When its address cannot be used; the text says why.
    pub fn of_issuer(issuer: &str) -> Result<Self, String> {
        Self::new(Place::Issuer(Discovery::new(issuer)), issuer)
    }

    fn new(place: Place, url: &str) -> Result<Self, String> {
        if !is_protected(url) {
            return Err(format!("{url:?} must begin with https://, but for one on this machine"));
        }
        let source = Source { place, client: fetch::client(url)?, keys: PublishedKeys::default() };
        Ok(Self { source: Arc::new(source), asking: Arc::default() })
    }

    /// The keys that are known, without asking.
    ///
    /// # Errors
    /// Why there are none, where they were asked for.
    pub fn known(&self) -> Result<Option<Arc<JwkSet>>, NoAnswer> {
        self.source.keys.known()
    }

    /// True when [`fetch`](Self::fetch) would ask.
    pub fn would_ask(&self, token: &str, now: Duration) -> bool {
        self.source.keys.would_ask(|keys| may_be_signed_with(token, keys), now)
    }

    /// Sees to it that the keys are known which `token` may be signed with, as far as they are published. Where there is no
    /// answer, [`known`](Self::known) says so. What is asked is asked to its end, also when nobody waits for it any more.
    pub async fn fetch(&self, token: &str, clock: &SharedClock) {
        if !self.would_ask(token, clock.monotonic()) {
            return;
        }
        let asking = self.asking.clone().lock_owned().await;
        // Somebody may have asked meanwhile.
        if !self.would_ask(token, clock.monotonic()) {
            return;
        }
        let (source, token, clock) = (self.source.clone(), token.to_owned(), clock.clone());
        // It ends early only with the program.
        let _ = to_its_end(async move {
            source.ask(&token, &clock).await;
            drop(asking);
        })
        .await;
    }
}

impl Source {
    async fn ask(&self, token: &str, clock: &SharedClock) {
        let url = match &self.place {
            Place::Address(url) => url.clone(),
            Place::Issuer(issuer) => match issuer.metadata(&self.client, &**clock).await {
                Ok(metadata) => metadata.jwks_uri,
                Err(failed) => {
                    tracing::warn!(error = %failed, "an issuer does not tell where its keys are");
                    return self.keys.failed(failed, clock.monotonic());
                }
            },
        };
        let suits = |keys: &JwkSet| may_be_signed_with(token, keys);
        // What went wrong was logged, and is kept for whoever goes by the keys.
        let _ = self.keys.get(&self.client, &url, suits, clock).await;
    }
}

#[cfg(test)]
mod tests {
    use tidegate_model::clock::{TestClock, Timestamp};

    use super::*;
    use crate::provider::Provider;

    #[tokio::test]
    async fn an_issuer_is_asked_once_also_when_whoever_asked_goes_away() {
        let provider = Provider::start().await;
        let source = KeySource::of_issuer(&provider.address).unwrap();
        let clock: SharedClock = TestClock::new(Timestamp::from_millis(0), 7);
        let held = provider.may_answer.clone().write_owned().await;
        tokio::select! {
            biased;
            () = source.fetch("a.b.c", &clock) => unreachable!("it may not answer yet"),
            () = provider.was_asked(1) => {}
        }
        drop(held);
        source.fetch("a.b.c", &clock).await;
        assert!(source.known().unwrap().is_some());
        assert_eq!(provider.asked(), 2, "where the keys are, and the keys");
    }
}
