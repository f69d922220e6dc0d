//! `[email.NAME]`: people who are told.

use std::time::Duration;

use toml_edit::Item;

use tidegate_alerts::target::{Email, MailTls, Secret, Target};

use crate::config::elements::duration::PositiveDuration;
use crate::config::elements::number::Port;
use crate::config::elements::secret::SecretSource;
use crate::config::key::{Element, Key, KeyInfo};
use crate::config::reader::Reader;
use crate::config::value::{Place, Setting, word_setting};

/// People who are told by mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmailConfig {
    /// Its name.
    pub name: String,
    /// The server that takes mail.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is protected.
    pub tls: MailTls,
    /// User and password.
    pub credentials: Option<(String, SecretSource)>,
    /// The sender.
    pub from: String,
    /// The receivers.
    pub to: Vec<String>,
    /// How long one try may take.
    pub timeout: Duration,
}

word_setting!(
    MailTls: "one of \"starttls\", \"tls\", \"none\"" { StartTls = "starttls", Tls = "tls", None = "none" }
    example "\"starttls\""
);

const HOST: Key<String> = Key::required("host", "The server that takes mail: its name or address.");
const PORT: Key<Port> =
    Key::with_default("port", "587", "Its port: usually 587 with tls \"starttls\", 465 with \"tls\".");
const TLS: Key<MailTls> = Key::with_default(
    "tls",
    "\"starttls\"",
    "How the connection is protected: \"starttls\" encrypts before anything is said, \"tls\" from the beginning, \"none\" \
     not at all.",
);
const USER: Key<String> = Key::optional("user", "none: the server asks for none", "The user at that server.");
const PASSWORD: Key<SecretSource> = Key::optional("password", "required with `user`", "The user's password.");
const FROM: Key<String> =
    Key::required("from", "The sender: `ops@example.com` or `Tidegate <ops@example.com>`.");
const TO: Key<Receivers> =
    Key::required("to", "The receivers, written like the sender. Each is sent a mail of their own.");
const TIMEOUT: Key<PositiveDuration> =
    Key::with_default("timeout", "\"30s\"", "How long one try may take; 5 minutes at most.");

/// The element.
pub(crate) static ELEMENT: Element = Element {
    header: "[email.NAME]",
    doc: "People who are sent a mail when there is something to tell; see `[alerts]`. The mail about a circuit that opened \
          has a link that shows how things are, with a button that restarts the function. A mail that the server does not \
          take is sent again, less and less often, for a day.",
    keys: &[&HOST as &dyn KeyInfo, &PORT, &TLS, &USER, &PASSWORD, &FROM, &TO, &TIMEOUT],
    example: "[email.ops]\nhost = \"mail.example.com\"\nuser = \"tidegate\"\npassword = { file = \"mail-password\" }\n\
              from = \"Tidegate <tidegate@example.com>\"\nto = [\"ops@example.com\"]\n",
};

/// Reads the mail target `name`; `None` when something of it is wrong.
pub(crate) fn read(name: &str, reader: &mut Reader<'_, '_>) -> Option<EmailConfig> {
    let (host, port, tls) = (reader.get(&HOST), reader.get(&PORT), reader.get(&TLS));
    let (user, password) = (reader.get_optional(&USER), reader.get_optional(&PASSWORD));
    let (from, to, timeout) = (reader.get(&FROM), reader.get(&TO), reader.get(&TIMEOUT));
    let credentials = match (user?, password?) {
        (Some(user), Some(password)) => Some((user, password)),
        (None, None) => None,
        (Some(_), None) => {
            let at = reader.span_of(&USER);
            reader.contradiction(at, "`user` needs a `password`", "add password = { env = \"NAME\" }");
            return None;
        }
        (None, Some(_)) => {
            let at = reader.span_of(&PASSWORD);
            reader.contradiction(at, "`password` needs a `user`", "add user = \"NAME\"");
            return None;
        }
    };
    let email = EmailConfig {
        name: name.to_owned(),
        host: host?,
        port: port?.0,
        tls: tls?,
        credentials,
        from: from?,
        to: to?.0,
        timeout: timeout?.0,
    };
    super::check_target(&email.with_secrets(|source| Ok(source.placeholder())), reader).then_some(email)
}

impl EmailConfig {
    /// The target, with its password fetched.
    ///
    /// # Errors
    /// Why the password cannot be had.
    pub(crate) fn target(&self) -> Result<Target, String> {
        self.with_secrets(SecretSource::fetch)
    }

    fn with_secrets(
        &self,
        fetch: impl Fn(&SecretSource) -> Result<Secret, String>,
    ) -> Result<Target, String> {
        let credentials = self.credentials.as_ref().map(|(user, password)| {
            let password =
                fetch(password).map_err(|why| format!("`password` of [email.{}]: {why}", self.name));
            Ok::<_, String>((user.clone(), password?))
        });
        Ok(Target::Email(Email {
            name: self.name.clone(),
            host: self.host.clone(),
            port: self.port,
            tls: self.tls,
            credentials: credentials.transpose()?,
            from: self.from.clone(),
            to: self.to.clone(),
            timeout: self.timeout,
        }))
    }
}

/// Mail addresses.
struct Receivers(Vec<String>);

impl Setting for Receivers {
    const TYPE: &'static str = "an array of texts";
    const EXAMPLE: &'static str = "[\"ops@example.com\"]";

    fn read(item: &Item, place: &mut Place<'_, '_>) -> Option<Self> {
        let texts = item.as_array().and_then(|array| {
            array.iter().map(|value| value.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>()
        });
        if texts.is_none() {
            place.not_a::<Self>(item);
        }
        texts.map(Self)
    }
}
