//! Where the keys are that tokens are checked with: at an address, or where the issuer says.

use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::jwk::JwkSet;
use reqwest::Client;
use tidegate_model::clock::Clock;

use crate::discovery::Discovery;
use crate::fetch::{self, NoAnswer, is_protected};
use crate::published::PublishedKeys;
use crate::signed::may_be_signed_with;

/// Keys that somebody publishes, with what asks for them.
#[derive(Debug)]
pub struct KeySource {
    place: Place,
    client: Client,
    /// One asks at a time; the others take the answer.
    asking: tokio::sync::Mutex<()>,
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
        Ok(Self {
            place,
            client: fetch::client(url)?,
            asking: tokio::sync::Mutex::default(),
            keys: PublishedKeys::default(),
        })
    }

    /// The keys that are known, without asking.
    ///
    /// # Errors
    /// Why there are none, where they were asked for.
    pub fn known(&self) -> Result<Option<Arc<JwkSet>>, NoAnswer> {
        self.keys.known()
    }

    /// True when [`fetch`](Self::fetch) would ask.
    pub fn would_ask(&self, token: &str, now: Duration) -> bool {
        self.keys.would_ask(|keys| may_be_signed_with(token, keys), now)
    }

    /// Sees to it that the keys are known which `token` may be signed with, as far as they are published. Where there is no
    /// answer, [`known`](Self::known) says so.
    pub async fn fetch(&self, token: &str, clock: &dyn Clock) {
        if !self.would_ask(token, clock.monotonic()) {
            return;
        }
        let _asking = self.asking.lock().await;
        // Somebody may have asked meanwhile.
        if !self.would_ask(token, clock.monotonic()) {
            return;
        }
        let url = match &self.place {
            Place::Address(url) => url.clone(),
            Place::Issuer(issuer) => match issuer.metadata(&self.client, clock).await {
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
