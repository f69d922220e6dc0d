//! A container of blobs, empty ones mostly: as much of the Blob REST API as checkpoints need.

use std::collections::BTreeMap;
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{
    AUTHORIZATION, CONTENT_LENGTH, DATE, ETAG, HeaderMap, HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH,
    LAST_MODIFIED,
};
use reqwest::{Client, Method, Response, StatusCode, Url};
use tidegate_model::clock::{SharedClock, Timestamp, timeout};

use super::account::{BlobAccess, BlobAccount};
use super::shared_key;
use crate::event_hubs::client::credential::TokenError;
use crate::event_hubs::client::{platform_tls, unused_tls};

/// The version of the API that is spoken: one that Azurite and every account know.
const VERSION: &str = "2021-12-02";

/// How long a request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// What is not encoded in the path of a blob.
const PATH: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');

/// A container.
pub struct BlobContainer {
    account: BlobAccount,
    name: String,
    client: Client,
    clock: SharedClock,
}

/// An empty blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Blob {
    pub(super) etag: String,
    /// How long ago it was written, by the clock of the account.
    pub(super) age: Duration,
    /// Names in lower case.
    pub(super) metadata: BTreeMap<String, String>,
}

/// What must hold for a blob to be written.
#[derive(Clone, Copy, Debug)]
pub(super) enum Condition<'c> {
    Always,
    /// There is none.
    IsMissing,
    /// It has this ETag.
    Is(&'c str),
}

/// Why a container does not answer as it should. No text holds a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlobError {
    /// The account cannot be reached.
    #[error("the blobs at {host} cannot be reached: {detail}")]
    Unreachable {
        /// The host.
        host: String,
        /// What is wrong.
        detail: String,
    },
    /// The account refuses.
    #[error("{what} was refused with status {status}: {code}")]
    Refused {
        /// What was to be done.
        what: &'static str,
        /// The status of the answer.
        status: u16,
        /// The error code that the account names.
        code: String,
    },
    /// No token could be had.
    #[error(transparent)]
    NoToken(#[from] TokenError),
    /// Something that cannot be written as a header.
    #[error("the metadata {name} cannot be written")]
    BadMetadata {
        /// Its name.
        name: String,
    },
}

impl BlobError {
    /// True when somebody else was faster.
    pub fn is_lost_race(&self) -> bool {
        matches!(self, Self::Refused { status: 409 | 412, .. })
    }
}

impl BlobContainer {
    /// A container that exists, or is made by [`create`](Self::create).
    pub fn new(account: BlobAccount, name: String, client: Client, clock: SharedClock) -> Self {
        Self { account, name, client, clock }
    }

    /// Makes the container unless it is there.
    ///
    /// # Errors
    /// When the account cannot be reached, or refuses.
    pub async fn create(&self) -> Result<(), BlobError> {
        const WHAT: &str = "making the container";
        let mut url = self.url("");
        url.set_query(Some("restype=container"));
        match self.send(WHAT, Method::PUT, url, HeaderMap::new()).await {
            Ok(_) => Ok(()),
            Err(BlobError::Refused { status: 409, .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// What there is of a blob; `None` when there is none.
    pub(super) async fn read(&self, name: &str) -> Result<Option<Blob>, BlobError> {
        match self.send("reading a blob", Method::HEAD, self.url(name), HeaderMap::new()).await {
            Ok(answer) => Ok(Some(blob_of(answer.headers()))),
            Err(BlobError::Refused { status: 404, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What is in a blob; `None` when there is none, or one of more than `limit` bytes.
    pub(super) async fn body(&self, name: &str, limit: usize) -> Result<Option<Vec<u8>>, BlobError> {
        let mut answer =
            match self.send("reading a blob", Method::GET, self.url(name), HeaderMap::new()).await {
                Ok(answer) => answer,
                Err(BlobError::Refused { status: 404, .. }) => return Ok(None),
                Err(error) => return Err(error),
            };
        let host = self.account.endpoint.host_str().unwrap_or_default();
        let unreachable = |detail: String| BlobError::Unreachable { host: host.to_owned(), detail };
        let mut body = Vec::new();
        loop {
            let piece = timeout(&*self.clock, REQUEST_TIMEOUT, answer.chunk()).await;
            let piece = piece.ok_or_else(|| unreachable("its answer does not end".to_owned()))?;
            match piece.map_err(|error| unreachable(error.without_url().to_string()))? {
                Some(piece) if body.len() + piece.len() > limit => return Ok(None),
                Some(piece) => body.extend_from_slice(&piece),
                None => return Ok(Some(body)),
            }
        }
    }

    /// Writes an empty blob; what it is then.
    pub(super) async fn write(
        &self,
        name: &str,
        metadata: &[(&str, &str)],
        condition: Condition<'_>,
    ) -> Result<Blob, BlobError> {
        let mut headers = HeaderMap::new();
        headers.insert("x-ms-blob-type", HeaderValue::from_static("BlockBlob"));
        let value = |name: &str, value: &str| {
            HeaderValue::from_str(value).map_err(|_| BlobError::BadMetadata { name: name.to_owned() })
        };
        for (name, text) in metadata {
            let header = HeaderName::try_from(format!("x-ms-meta-{name}"));
            let header = header.map_err(|_| BlobError::BadMetadata { name: (*name).to_owned() })?;
            headers.insert(header, value(name, text)?);
        }
        match condition {
            Condition::Always => {}
            Condition::IsMissing => drop(headers.insert(IF_NONE_MATCH, HeaderValue::from_static("*"))),
            Condition::Is(etag) => drop(headers.insert(IF_MATCH, value("etag", etag)?)),
        }
        let answer = self.send("writing a blob", Method::PUT, self.url(name), headers).await?;
        let mut blob = blob_of(answer.headers());
        blob.metadata =
            metadata.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Ok(blob)
    }

    fn url(&self, blob: &str) -> Url {
        let mut url = self.account.endpoint.clone();
        let base = url.path().trim_end_matches('/').to_owned();
        let encoded = utf8_percent_encode(blob, &PATH).to_string();
        let below = if blob.is_empty() { String::new() } else { format!("/{encoded}") };
        url.set_path(&format!("{base}/{}{below}", self.name));
        url
    }

    async fn send(
        &self,
        what: &'static str,
        method: Method,
        mut url: Url,
        mut headers: HeaderMap,
    ) -> Result<Response, BlobError> {
        let visible = |text: String| HeaderValue::from_str(&text).expect("it is made of visible characters");
        headers.insert("x-ms-version", HeaderValue::from_static(VERSION));
        headers.insert("x-ms-date", visible(http_date(self.clock.now())));
        match &self.account.access {
            BlobAccess::SharedKey { account, key } => {
                let value = shared_key::authorization(account, key, &method, &url, &headers);
                let mut value = HeaderValue::from_str(&value)
                    .map_err(|_| BlobError::BadMetadata { name: "AccountName".to_owned() })?;
                value.set_sensitive(true);
                headers.insert(AUTHORIZATION, value);
            }
            BlobAccess::Signature(signature) => {
                let query = match url.query() {
                    Some(query) => format!("{query}&{signature}"),
                    None => signature.clone(),
                };
                url.set_query(Some(&query));
            }
            BlobAccess::Tokens(tokens) => {
                let token = tokens.token("https://storage.azure.com").await?;
                let mut value = HeaderValue::from_str(&format!("Bearer {}", token.secret))
                    .map_err(|_| BlobError::BadMetadata { name: "token".to_owned() })?;
                value.set_sensitive(true);
                headers.insert(AUTHORIZATION, value);
            }
        }
        if method == Method::PUT {
            headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        let host = url.host_str().unwrap_or_default().to_owned();
        let unreachable = |detail: String| BlobError::Unreachable { host: host.clone(), detail };
        let request = self.client.request(method, url).headers(headers).send();
        let answer = match timeout(&*self.clock, REQUEST_TIMEOUT, request).await {
            // The address may hold a signature.
            Some(answer) => answer.map_err(|error| unreachable(error.without_url().to_string()))?,
            None => return Err(unreachable(format!("no answer within {} s", REQUEST_TIMEOUT.as_secs()))),
        };
        if answer.status().is_success() {
            return Ok(answer);
        }
        let status = answer.status();
        if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
            return Err(unreachable(status.to_string()));
        }
        let code = answer.headers().get("x-ms-error-code").and_then(|code| code.to_str().ok());
        let code = code.or(status.canonical_reason()).unwrap_or("no reason was given").to_owned();
        Err(BlobError::Refused { what, status: status.as_u16(), code })
    }
}

/// A client of HTTP for an account: with the TLS that it needs, and for one on this machine without a proxy.
///
/// # Errors
/// When it cannot be made; the text says so.
pub fn http_client(account: &BlobAccount) -> Result<Client, String> {
    let is_here = matches!(account.endpoint.host_str(), Some("127.0.0.1" | "localhost" | "[::1]"));
    let tls = if account.endpoint.scheme() == "https" { platform_tls()? } else { unused_tls()? };
    let mut client = Client::builder()
        .user_agent(concat!("tidegate/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .tls_backend_preconfigured(tls);
    if is_here {
        client = client.no_proxy();
    }
    client.build().map_err(|error| format!("no client of HTTP can be made: {error}"))
}

fn blob_of(headers: &HeaderMap) -> Blob {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let metadata = headers.iter().filter_map(|(name, value)| {
        let name = name.as_str().strip_prefix("x-ms-meta-")?;
        Some((name.to_owned(), value.to_str().ok()?.to_owned()))
    });
    Blob {
        etag: text(ETAG).unwrap_or_default().to_owned(),
        age: match (text(DATE).and_then(time_of_http), text(LAST_MODIFIED).and_then(time_of_http)) {
            (Some(now), Some(written)) => now.since(written),
            _ => Duration::ZERO,
        },
        metadata: metadata.collect(),
    }
}

/// A time as HTTP writes it.
fn http_date(at: Timestamp) -> String {
    let time = jiff::Timestamp::from_millisecond(at.as_millis()).unwrap_or_default();
    time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

fn time_of_http(text: &str) -> Option<Timestamp> {
    let time = jiff::fmt::rfc2822::parse(text).ok()?;
    Some(Timestamp::from_millis(time.timestamp().as_millisecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_and_read_as_http_does() {
        let at = Timestamp::from_millis(1_795_324_228_000);
        assert_eq!(http_date(at), "Sun, 22 Nov 2026 05:10:28 GMT");
        assert_eq!(time_of_http("Sun, 22 Nov 2026 05:10:28 GMT"), Some(at));
        assert_eq!(time_of_http("yesterday"), None);
    }
}
