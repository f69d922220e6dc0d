//! Sends a notice as a mail, over SMTP.
//!
//! A mail counts as delivered from the server's `250` after the data on: by RFC 5321, section 4.2.5, the server is
//! responsible for it from then on. What comes after (`QUIT`) decides nothing.

use std::time::Duration;

use lettre::address::Envelope;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart, SinglePart};
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use tidegate_model::clock::{Clock, Timestamp, timeout};
use tidegate_model::notice::Notice;

use crate::cloud_event::event_id;
use crate::mail::{Mail, shortened};
use crate::schedule::{Failure, FailureKind};
use crate::target::{Email, InvalidTarget, MailTls};

/// Sends to one receiver of a mail target.
pub(crate) struct EmailSender {
    target: Email,
    from: Mailbox,
    to: Mailbox,
    tls: Option<TlsParameters>,
    hello_name: ClientId,
}

/// The server took the mail. The connection is still to be ended politely.
pub(crate) struct Accepted(AsyncSmtpConnection);

impl Accepted {
    /// Ends the connection.
    pub(crate) async fn quit(mut self, clock: &dyn Clock) {
        let _ = timeout(clock, QUIT_TIMEOUT, self.0.quit()).await;
    }
}

/// How long a server may take to say goodbye.
const QUIT_TIMEOUT: Duration = Duration::from_secs(5);

impl EmailSender {
    /// Senders for every receiver, in the order of [`delivery_names`](crate::target::Target::delivery_names).
    pub(crate) fn all(target: &Email) -> Result<Vec<Self>, InvalidTarget> {
        let mailbox = |text: &str| {
            text.parse::<Mailbox>().map_err(|error| {
                InvalidTarget::new(&target.name, format!("{text:?} is no mail address: {error}"))
            })
        };
        let tls = match target.tls {
            MailTls::None => None,
            MailTls::StartTls | MailTls::Tls => {
                Some(TlsParameters::new(target.host.clone()).map_err(|error| {
                    InvalidTarget::new(&target.name, format!("TLS cannot be set up: {error}"))
                })?)
            }
        };
        target
            .to
            .iter()
            .map(|to| {
                Ok(Self {
                    target: target.clone(),
                    from: mailbox(&target.from)?,
                    to: mailbox(to)?,
                    tls: tls.clone(),
                    hello_name: ClientId::default(),
                })
            })
            .collect()
    }

    pub(crate) fn timeout(&self) -> Duration {
        self.target.timeout
    }

    /// Tries once to have the server take the mail.
    pub(crate) async fn send(
        &self,
        notice: &Notice,
        mail: &Mail,
        now: Timestamp,
        try_number: u32,
        clock: &dyn Clock,
    ) -> Result<Accepted, Failure> {
        let message = self.message(notice, mail, now, try_number).map_err(|error| {
            Failure::new(FailureKind::Never, format!("the mail cannot be written: {error}"))
        })?;
        let place = format!("{}:{}", self.target.host, self.target.port);
        match timeout(clock, self.target.timeout, self.hand_over(&message)).await {
            Some(Ok(connection)) => Ok(Accepted(connection)),
            Some(Err(failure)) => Err(Failure { detail: format!("{place}: {}", failure.detail), ..failure }),
            None => Err(Failure::new(
                FailureKind::Down,
                format!("{place} took longer than {:?}; it may have taken the mail", self.target.timeout),
            )),
        }
    }

    fn message(
        &self,
        notice: &Notice,
        mail: &Mail,
        now: Timestamp,
        try_number: u32,
    ) -> Result<lettre::Message, lettre::error::Error> {
        let date = std::time::UNIX_EPOCH
            + Duration::from_millis(
                u64::try_from(notice.notice.at.max(Timestamp::default()).as_millis()).unwrap_or(0),
            );
        // The same in every try: a repeat after a lost reply is recognised by it, here and by the receiver's server.
        let id = format!("<{}.{}@{}>", event_id(notice), self.target.name, self.from.email.domain());
        // Several mails about one thing are one conversation.
        let thread = format!("<{}@{}>", shortened(&thread_of(notice), 200), self.from.email.domain());
        let header = |name, value: String| HeaderValue::new(HeaderName::new_from_ascii_str(name), value);
        lettre::Message::builder()
            .from(self.from.clone())
            .to(self.to.clone())
            .subject(&mail.subject)
            .date(date)
            .message_id(Some(id))
            .references(thread)
            // RFC 3834: nobody's out-of-office answers it.
            .raw_header(header("Auto-Submitted", "auto-generated".to_owned()))
            .raw_header(header("X-Tidegate-Event", event_id(notice)))
            .raw_header(header("X-Tidegate-Try", format!("{try_number}; sent {now}")))
            .multipart(
                MultiPart::alternative()
                    .boundary(format!("tidegate-{}", event_id(notice)))
                    .singlepart(SinglePart::plain(mail.text()))
                    .singlepart(SinglePart::html(mail.html())),
            )
    }

    async fn hand_over(&self, message: &lettre::Message) -> Result<AsyncSmtpConnection, Failure> {
        let down = |what: &str, error: lettre::transport::smtp::Error| {
            Failure::new(FailureKind::Down, shortened(&format!("{what}: {}", chain(&error)), 400))
        };
        let address = (self.target.host.as_str(), self.target.port);
        let at_once = self.tls.clone().filter(|_| self.target.tls == MailTls::Tls);
        let mut connection =
            AsyncSmtpConnection::connect_tokio1(address, None, &self.hello_name, at_once, None)
                .await
                .map_err(|error| down("it cannot be reached", error))?;
        if let (MailTls::StartTls, Some(tls)) = (self.target.tls, &self.tls) {
            connection
                .starttls(tls.clone(), &self.hello_name)
                .await
                .map_err(|error| down("the connection cannot be encrypted", error))?;
        }
        if let Some((user, password)) = &self.target.credentials {
            let credentials = Credentials::new(user.clone(), password.reveal().to_owned());
            connection
                .auth(&[Mechanism::Plain, Mechanism::Login], &credentials)
                .await
                .map_err(|error| down("the user and password were not accepted", error))?;
        }
        let envelope = Envelope::new(Some(self.from.email.clone()), vec![self.to.email.clone()])
            .map_err(|error| Failure::new(FailureKind::Never, error.to_string()))?;
        match connection.send(&envelope, &message.formatted()).await {
            Ok(_) => Ok(connection),
            Err(error) => {
                let kind = match error.status() {
                    // 421: the server is about to close; 450 to 459 are about this mail.
                    Some(code) if code.to_string() == "421" => FailureKind::Down,
                    Some(_) if error.is_transient() => FailureKind::Refused,
                    Some(_) => FailureKind::Never,
                    None => FailureKind::Down,
                };
                Err(Failure::new(
                    kind,
                    shortened(&format!("it did not take the mail: {}", chain(&error)), 400),
                ))
            }
        }
    }
}

/// What the mails of one story have in common.
fn thread_of(notice: &Notice) -> String {
    let story = notice.notice.kind.strip_suffix(crate::engine::RESOLVED).unwrap_or(&notice.notice.kind);
    let story = if story.starts_with("circuit.") { "circuit" } else { story };
    format!("{story}.{}", notice.notice.subject)
        .chars()
        .map(|character| if character.is_ascii_alphanumeric() || character == '.' { character } else { '-' })
        .collect()
}

/// An error with its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let said = next.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = next.source();
    }
    text
}
