//! Who is told, and how they are reached.

use std::time::Duration;

use lettre::message::Mailbox;
use tidegate_model::error::ErrorCode;

/// A target as it is configured.
#[derive(Clone, Debug)]
pub enum Target {
    /// A program that is sent an HTTP request.
    Webhook(Webhook),
    /// People who are sent a mail.
    Email(Email),
}

/// A program that is sent an HTTP request for each notice.
#[derive(Clone, Debug)]
pub struct Webhook {
    /// Its name in the configuration.
    pub name: String,
    /// Where it listens: `https://` or `http://`. Secret, because many services put a token into it.
    pub url: Secret,
    /// How a notice is written.
    pub schema: Schema,
    /// Signs every request, see [`signature`](crate::signature).
    pub secret: Option<Secret>,
    /// Headers that it wants, such as `aeg-sas-key` or `Authorization`. Their values are kept secret.
    pub headers: Vec<(String, Secret)>,
    /// Whether it must agree to be told before it is, see [`webhook`](crate::webhook).
    pub handshake: bool,
    /// How long one try may take.
    pub timeout: Duration,
}

/// How a notice is written for a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schema {
    /// CloudEvents 1.0, structured JSON.
    CloudEvents,
    /// The Event Grid schema.
    EventGrid,
}

/// People who are sent a mail for each notice, one mail each.
#[derive(Clone, Debug)]
pub struct Email {
    /// Its name in the configuration.
    pub name: String,
    /// The server that takes mail: its name or address.
    pub host: String,
    /// Its port: usually 587 with [`MailTls::StartTls`], 465 with [`MailTls::Tls`].
    pub port: u16,
    /// How the connection is protected.
    pub tls: MailTls,
    /// User and password, if the server asks for them.
    pub credentials: Option<(String, Secret)>,
    /// The sender: `ops@example.com` or `Tidegate <ops@example.com>`.
    pub from: String,
    /// The receivers, written like the sender.
    pub to: Vec<String>,
    /// How long one try may take.
    pub timeout: Duration,
}

/// How the connection to a mail server is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailTls {
    /// Not at all.
    None,
    /// It begins in the clear and is encrypted before anything is said. A server that cannot is not told anything.
    StartTls,
    /// It is encrypted from the beginning.
    Tls,
}

/// How long one try may take if nothing else is configured.
pub const DEFAULT_WEBHOOK_TIMEOUT: Duration = Duration::from_secs(10);

/// How long one mail may take if nothing else is configured.
pub const DEFAULT_EMAIL_TIMEOUT: Duration = Duration::from_secs(30);

/// The longest time a try may be given.
pub const MAX_TIMEOUT: Duration = Duration::from_secs(300);

/// Text that is never shown.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Keeps `text` secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, to use it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(secret)")
    }
}

/// A target that cannot be used as it is configured.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the target {target:?} cannot be used: {problem}")]
pub struct InvalidTarget {
    /// Its name.
    pub target: String,
    /// What is wrong, and what would be right.
    pub problem: String,
}

impl InvalidTarget {
    pub(crate) fn new(target: &str, problem: impl Into<String>) -> Self {
        Self { target: target.to_owned(), problem: problem.into() }
    }

    /// The code a person looks it up by.
    pub fn code(&self) -> ErrorCode {
        ErrorCode::CONFIG_BAD_VALUE
    }
}

impl Target {
    /// Its name in the configuration.
    pub fn name(&self) -> &str {
        match self {
            Self::Webhook(webhook) => &webhook.name,
            Self::Email(email) => &email.name,
        }
    }

    /// What the outbox calls the deliveries to it: the name of a webhook; the name and address of each receiver of mail,
    /// so that one address that is refused holds up no other and nobody gets a mail twice.
    pub fn delivery_names(&self) -> Vec<String> {
        match self {
            Self::Webhook(webhook) => vec![webhook.name.clone()],
            Self::Email(email) => email
                .to
                .iter()
                .map(|to| match to.parse::<Mailbox>() {
                    Ok(mailbox) => format!("{}:{}", email.name, mailbox.email),
                    Err(_) => format!("{}:{to}", email.name),
                })
                .collect(),
        }
    }

    /// Checks everything that can be checked without connecting.
    ///
    /// # Errors
    /// Says what is wrong, and never repeats a secret.
    pub fn validate(&self) -> Result<(), InvalidTarget> {
        let refuse = |problem: String| Err(InvalidTarget::new(self.name(), problem));
        let name = self.name();
        let good_name = !name.is_empty()
            && name.len() <= 64
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
        if !good_name {
            return refuse("its name must be 1 to 64 letters, digits, '-', '_' or '.'".to_owned());
        }
        let timeout = match self {
            Self::Webhook(webhook) => webhook.timeout,
            Self::Email(email) => email.timeout,
        };
        if timeout.is_zero() || timeout > MAX_TIMEOUT {
            return refuse("its timeout must be above 0 and at most 5 minutes".to_owned());
        }
        match self {
            Self::Webhook(webhook) => webhook.validate(),
            Self::Email(email) => email.validate(),
        }
    }
}

impl Webhook {
    fn validate(&self) -> Result<(), InvalidTarget> {
        let refuse = |problem: String| Err(InvalidTarget::new(&self.name, problem));
        let url = match reqwest::Url::parse(self.url.reveal()) {
            Ok(url) => url,
            Err(error) => return refuse(format!("its url is no URL: {error}")),
        };
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return refuse("its url must begin with https:// or http:// and name a host".to_owned());
        }
        for (name, value) in &self.headers {
            if reqwest::header::HeaderName::from_bytes(name.as_bytes()).is_err() {
                return refuse(format!("{name:?} is no name of a header"));
            }
            if reqwest::header::HeaderValue::from_str(value.reveal()).is_err() {
                return refuse(format!(
                    "the value of its header {name} has characters that no header may have"
                ));
            }
        }
        if let Some(secret) = &self.secret {
            crate::signature::Key::new(secret).map_err(|problem| InvalidTarget::new(&self.name, problem))?;
        }
        Ok(())
    }
}

impl Email {
    fn validate(&self) -> Result<(), InvalidTarget> {
        let refuse = |problem: String| Err(InvalidTarget::new(&self.name, problem));
        if self.host.is_empty() || self.host.contains(|character: char| character.is_whitespace()) {
            return refuse("its host must be the name or address of a mail server".to_owned());
        }
        if self.port == 0 {
            return refuse("its port must not be 0; mail servers usually listen at 587 or 465".to_owned());
        }
        if self.to.is_empty() {
            return refuse("it has no receivers: `to` is empty".to_owned());
        }
        for address in self.to.iter().chain([&self.from]) {
            if let Err(error) = address.parse::<Mailbox>() {
                return refuse(format!("{address:?} is no mail address: {error}"));
            }
        }
        let names = Target::Email(self.clone()).delivery_names();
        if let Some(twice) = names.iter().enumerate().find(|(place, name)| names[..*place].contains(name)) {
            return refuse(format!("it has a receiver twice: {}", twice.1));
        }
        if self.credentials.is_some() && self.tls == MailTls::None && !is_loopback(&self.host) {
            return refuse("it would send its password in the clear; set tls to starttls or tls".to_owned());
        }
        Ok(())
    }
}

/// True for a host that is this machine.
pub(crate) fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || address.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn email() -> Email {
        Email {
            name: "ops".to_owned(),
            host: "mail.example.com".to_owned(),
            port: 587,
            tls: MailTls::StartTls,
            credentials: Some(("ops".to_owned(), Secret::new("hush"))),
            from: "Tidegate <tidegate@example.com>".to_owned(),
            to: vec!["Mia <mia@example.com>".to_owned(), "noor@example.com".to_owned()],
            timeout: DEFAULT_EMAIL_TIMEOUT,
        }
    }

    fn webhook() -> Webhook {
        Webhook {
            name: "hook".to_owned(),
            url: Secret::new("https://example.com/alerts"),
            schema: Schema::CloudEvents,
            secret: None,
            headers: vec![("Authorization".to_owned(), Secret::new("Bearer hush"))],
            handshake: false,
            timeout: DEFAULT_WEBHOOK_TIMEOUT,
        }
    }

    #[test]
    fn every_receiver_is_a_delivery_of_its_own() {
        assert_eq!(Target::Email(email()).validate(), Ok(()));
        assert_eq!(Target::Email(email()).delivery_names(), ["ops:mia@example.com", "ops:noor@example.com"]);
    }

    #[test]
    fn a_target_that_cannot_work_is_refused_with_the_way_out() {
        let refused = |target: Target| target.validate().unwrap_err().to_string();
        let with = |change: fn(&mut Email)| {
            let mut changed = email();
            change(&mut changed);
            refused(Target::Email(changed))
        };
        assert!(with(|email| email.tls = MailTls::None).contains("starttls"));
        assert!(with(|email| email.to.clear()).contains("`to` is empty"));
        assert!(with(|email| email.to = vec!["mia@".to_owned()]).contains("mia@"));
        assert!(with(|email| email.to.push("mia@example.com".to_owned())).contains("twice"));
        assert!(with(|email| email.name = "a b".to_owned()).contains("name"));
        assert!(with(|email| email.timeout = Duration::ZERO).contains("timeout"));

        let hook = |change: fn(&mut Webhook)| {
            let mut changed = webhook();
            change(&mut changed);
            refused(Target::Webhook(changed))
        };
        assert!(hook(|hook| hook.url = Secret::new("ftp://example.com")).contains("https://"));
        assert!(hook(|hook| hook.url = Secret::new("example.com")).contains("URL"));
        assert!(hook(|hook| hook.headers[0].0 = "a b".to_owned()).contains("a b"));
        assert!(!hook(|hook| hook.headers[0].1 = Secret::new("hush\n")).contains("hush"));
        assert!(hook(|hook| hook.secret = Some(Secret::new("whsec_%"))).contains("base64"));
    }

    #[test]
    fn secrets_are_not_shown() {
        let shown = format!("{:?} {:?}", Target::Webhook(webhook()), Target::Email(email()));
        assert!(!shown.contains("hush"), "{shown}");
    }
}
