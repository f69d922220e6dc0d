//! What an identity provider says about itself, below its address: OpenID Connect Discovery 1.0, section 4.

use std::time::Duration;

use parking_lot::Mutex;
use reqwest::Client;
use serde::Deserialize;
use tidegate_model::clock::Clock;

use crate::fetch::{self, NoAnswer, is_protected};

/// How long it is believed.
const KEPT_FOR: Duration = Duration::from_secs(3600);

/// What a provider says about itself, as far as it is used.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Metadata {
    /// What it calls itself.
    pub issuer: String,
    /// Where people sign in.
    pub authorization_endpoint: Option<String>,
    /// Where codes are exchanged for tokens.
    pub token_endpoint: Option<String>,
    /// Where its keys are.
    pub jwks_uri: String,
    /// How clients show who they are.
    pub token_endpoint_auth_methods_supported: Option<Vec<String>>,
}

/// A provider by its address.
#[derive(Debug)]
pub struct Discovery {
    issuer: String,
    known: Mutex<Option<(Metadata, Duration)>>,
}

impl Discovery {
    /// The provider whose tokens have `issuer` in `iss`. Nothing is asked of it yet.
    pub fn new(issuer: &str) -> Self {
        Self { issuer: issuer.to_owned(), known: Mutex::default() }
    }

    /// What it says.
    ///
    /// # Errors
    /// When it does not answer, calls itself otherwise, or names an address that is not encrypted.
    pub async fn metadata(&self, client: &Client, clock: &dyn Clock) -> Result<Metadata, NoAnswer> {
        const WHAT: &str = "configuration";
        let now = clock.monotonic();
        if let Some((metadata, at)) = &*self.known.lock()
            && now.saturating_sub(*at) < KEPT_FOR
        {
            return Ok(metadata.clone());
        }
        let issuer = &self.issuer;
        let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        let metadata: Metadata = fetch::get(client, WHAT, &url, clock).await?;
        if metadata.issuer != *issuer {
            let theirs = shown(&metadata.issuer);
            let why = format!("it calls itself {theirs:?}, and `issuer` of the configuration is {issuer:?}");
            return Err(NoAnswer::new(WHAT, why));
        }
        let Metadata { authorization_endpoint, token_endpoint, jwks_uri, .. } = &metadata;
        for url in [authorization_endpoint, token_endpoint].into_iter().flatten().chain([jwks_uri]) {
            if !is_protected(url) {
                return Err(NoAnswer::new(WHAT, format!("its address {:?} is not encrypted", shown(url))));
            }
        }
        *self.known.lock() = Some((metadata.clone(), now));
        Ok(metadata)
    }
}

/// As much of somebody else's text as a message shows.
fn shown(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(200).collect()
}
