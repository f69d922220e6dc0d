//! `[webhook.NAME]`: a program that is told.

use std::time::Duration;

use tidegate_alerts::target::{Schema, Secret, Target, Webhook};

use crate::config::elements::duration::PositiveDuration;
use crate::config::elements::secret::{SecretHeaders, SecretSource};
use crate::config::key::{Element, Key, KeyInfo};
use crate::config::reader::Reader;
use crate::config::value::word_setting;

/// A program that is told by HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookConfig {
    /// Its name.
    pub name: String,
    /// Where it listens. Many services put a token into their address.
    pub url: SecretSource,
    /// How it is told.
    pub schema: Schema,
    /// What signs the requests.
    pub secret: Option<SecretSource>,
    /// The headers it wants.
    pub headers: Vec<(String, SecretSource)>,
    /// Whether it must agree to be told first.
    pub handshake: bool,
    /// How long one try may take.
    pub timeout: Duration,
}

word_setting!(
    Schema: "one of \"cloud-events\", \"event-grid\"" { CloudEvents = "cloud-events", EventGrid = "event-grid" }
    example "\"cloud-events\""
);

const URL: Key<SecretSource> = Key::required(
    "url",
    "Where it listens: an address that begins with `https://` or `http://`. Where it holds a token, keep it out of the \
     file; it is shown nowhere.",
);
const SCHEMA: Key<Schema> = Key::with_default(
    "schema",
    "\"cloud-events\"",
    "How it is told: as a CloudEvent 1.0 in structured JSON, or in the Event Grid schema.",
);
const SECRET: Key<SecretSource> = Key::optional(
    "secret",
    "nothing is signed",
    "Signs every request by the Standard Webhooks specification: at least 16 bytes, or `whsec_` and base64.",
);
const HEADERS: Key<SecretHeaders> =
    Key::with_default("headers", "{}", "Headers that it wants, such as `aeg-sas-key` or `Authorization`.");
const HANDSHAKE: Key<bool> = Key::with_default(
    "handshake",
    "false",
    "Whether it must agree before it is told, as the CloudEvents webhook specification and Event Grid have it.",
);
const TIMEOUT: Key<PositiveDuration> =
    Key::with_default("timeout", "\"10s\"", "How long one try may take; 5 minutes at most.");

/// The element.
pub(crate) static ELEMENT: Element = Element {
    header: "[webhook.NAME]",
    doc: "A program that is sent an HTTP request when there is something to tell; see `[alerts]`. A request that fails is \
          sent again, less and less often, for a day.",
    keys: &[&URL as &dyn KeyInfo, &SCHEMA, &SECRET, &HEADERS, &HANDSHAKE, &TIMEOUT],
    example: "[webhook.pager]\nurl = \"https://pager.example.com/events\"\nsecret = { env = \"PAGER_SECRET\" }\n",
};

/// Reads the webhook `name`; `None` when something of it is wrong.
pub(crate) fn read(name: &str, reader: &mut Reader<'_, '_>) -> Option<WebhookConfig> {
    let (url, schema) = (reader.get(&URL), reader.get(&SCHEMA));
    let (secret, headers) = (reader.get_optional(&SECRET), reader.get(&HEADERS));
    let (handshake, timeout) = (reader.get(&HANDSHAKE), reader.get(&TIMEOUT));
    let webhook = WebhookConfig {
        name: name.to_owned(),
        url: url?,
        schema: schema?,
        secret: secret?,
        headers: headers?.0,
        handshake: handshake?,
        timeout: timeout?.0,
    };
    let without_secrets =
        webhook.with_secrets(|source| Ok(source.placeholder()), |url| Ok(url.placeholder_url()));
    super::check_target(&without_secrets, reader).then_some(webhook)
}

impl WebhookConfig {
    /// The target, with its secrets fetched.
    ///
    /// # Errors
    /// Which secret cannot be had, and why.
    pub(crate) fn target(&self) -> Result<Target, String> {
        self.with_secrets(SecretSource::fetch, SecretSource::fetch)
    }

    fn with_secrets(
        &self,
        fetch: impl Fn(&SecretSource) -> Result<Secret, String>,
        fetch_url: impl Fn(&SecretSource) -> Result<Secret, String>,
    ) -> Result<Target, String> {
        let of = |key: &str, why: String| format!("`{key}` of [webhook.{}]: {why}", self.name);
        let of_key = |key: &str, source: &SecretSource| fetch(source).map_err(|why| of(key, why));
        let headers = self
            .headers
            .iter()
            .map(|(name, value)| Ok((name.clone(), of_key(&format!("headers.{name}"), value)?)));
        Ok(Target::Webhook(Webhook {
            name: self.name.clone(),
            url: fetch_url(&self.url).map_err(|why| of("url", why))?,
            schema: self.schema,
            secret: self.secret.as_ref().map(|source| of_key("secret", source)).transpose()?,
            headers: headers.collect::<Result<_, String>>()?,
            handshake: self.handshake,
            timeout: self.timeout,
        }))
    }
}
