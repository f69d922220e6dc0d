//! From the first byte to the open: protocol headers, SASL, open.

use std::time::Duration;

use bytes::Bytes;

use super::engine::{Connection, End, Fault, Phase};
use super::event::{Credentials, Ending, Event};
use super::options::{Login, Mechanism};
use crate::codec::frame::{self, Frame, FrameKind, MIN_MAX_FRAME_SIZE, ProtocolHeader};
use crate::codec::names::condition;
use crate::codec::performative::{AmqpError, Open};
use crate::codec::sasl::{SaslCode, SaslFrame, SaslInit};
use crate::codec::value::Symbol;

/// The largest frame of the security layer that is taken, in bytes. The specification says 512; there are clients that
/// put more into their first response.
const MAX_SASL_FRAME: u32 = 4096;

impl Connection {
    /// On a client: the first bytes.
    pub(super) fn greet(&mut self) {
        let header =
            if self.phase == Phase::SaslHeader { ProtocolHeader::SASL } else { ProtocolHeader::AMQP };
        self.wire.output.copy(&header.to_bytes());
    }

    pub(super) fn take_header(&mut self) -> bool {
        let mut first = [0; 8];
        let input = self.input();
        let known = input.len().min(8);
        first[..known].copy_from_slice(&input[..known]);
        let header = match ProtocolHeader::take(input) {
            Ok(Some(header)) => header,
            Ok(None) => return false,
            Err(_) => {
                self.refuse_protocol(first);
                return true;
            }
        };
        match (&self.end, self.phase, header) {
            (End::Server(door), Phase::FirstHeader, ProtocolHeader::SASL) => {
                let offer = door.mechanisms.iter().map(|mechanism| mechanism.symbol()).collect();
                self.wire.output.copy(&ProtocolHeader::SASL.to_bytes());
                self.write_sasl(&SaslFrame::Mechanisms(offer));
                self.phase = Phase::SaslInit;
            }
            (End::Server(door), Phase::FirstHeader, ProtocolHeader::AMQP) if door.may_skip_sasl => {
                self.wire.output.copy(&ProtocolHeader::AMQP.to_bytes());
                self.phase = Phase::PeerOpen;
            }
            (End::Server(_), Phase::AmqpHeader, ProtocolHeader::AMQP) => {
                self.wire.output.copy(&ProtocolHeader::AMQP.to_bytes());
                self.phase = Phase::PeerOpen;
            }
            (End::Client(_), Phase::SaslHeader, ProtocolHeader::SASL) => self.phase = Phase::SaslMechanisms,
            (End::Client(_), Phase::AmqpHeader, ProtocolHeader::AMQP) => {
                self.phase = Phase::PeerOpen;
                self.send_open();
            }
            _ => self.refuse_protocol(first),
        }
        true
    }

    /// Ends the connection; a server says what it speaks instead.
    fn refuse_protocol(&mut self, found: [u8; 8]) {
        if let End::Server(door) = &self.end {
            let instead = if self.phase == Phase::AmqpHeader || door.mechanisms.is_empty() {
                ProtocolHeader::AMQP
            } else {
                ProtocolHeader::SASL
            };
            self.wire.output.copy(&instead.to_bytes());
        }
        self.over(Ending::OtherProtocol(found));
    }

    fn write_sasl(&mut self, frame: &SaslFrame) {
        self.wire.output.write(|out| frame::write_sasl(out, frame));
    }

    pub(super) fn take_sasl_frame(&mut self) -> bool {
        let frame = match Frame::take(self.input(), MAX_SASL_FRAME) {
            Ok(Some(frame)) => frame,
            Ok(None) => return false,
            Err(error) => {
                self.violate(AmqpError::new(error.condition(), error.to_string()));
                return true;
            }
        };
        if frame.kind != FrameKind::Sasl {
            self.violate(AmqpError::new(
                condition::FRAMING_ERROR,
                "not a SASL frame within the security layer",
            ));
            return true;
        }
        match (self.phase, SaslFrame::decode(&frame.body)) {
            (Phase::SaslInit, Ok(SaslFrame::Init(init))) => self.client_chose(&init),
            (Phase::SaslMechanisms, Ok(SaslFrame::Mechanisms(offer))) => self.choose(&offer),
            (Phase::SaslOutcome, Ok(SaslFrame::Outcome { code: SaslCode::Ok, .. })) => {
                self.phase = Phase::AmqpHeader;
                self.greet();
            }
            (Phase::SaslOutcome, Ok(SaslFrame::Outcome { .. })) => {
                self.over(Ending::NotAuthenticated("the server refused the credentials"));
            }
            (_, Ok(_)) => self.violate(AmqpError::new(condition::NOT_ALLOWED, "a SASL frame out of turn")),
            (_, Err(error)) => self.violate(AmqpError::new(error.condition(), error.to_string())),
        }
        true
    }

    // On a server

    fn client_chose(&mut self, init: &SaslInit) {
        let End::Server(door) = &self.end else { return };
        let Some(mechanism) =
            Mechanism::of(&init.mechanism).filter(|mechanism| door.mechanisms.contains(mechanism))
        else {
            return self.refuse_client("the mechanism was not offered");
        };
        let mut credentials =
            Credentials { mechanism, user: None, password: None, hostname: init.hostname.clone() };
        if mechanism == Mechanism::Plain {
            let Some((user, password)) = init.plain_credentials() else {
                return self.refuse_client("the response is not that of PLAIN");
            };
            credentials.user = Some(user.into());
            credentials.password = Some(password.into());
        }
        self.phase = Phase::SaslVerdict;
        self.events.push_back(Event::Authenticate(Box::new(credentials)));
    }

    /// Answers [`Event::Authenticate`]: whether the client is let in. If not, the connection ends.
    pub fn authenticated(&mut self, welcome: bool) {
        if self.phase != Phase::SaslVerdict {
            return;
        }
        if welcome {
            self.write_sasl(&SaslFrame::Outcome { code: SaslCode::Ok, additional_data: None });
            self.phase = Phase::AmqpHeader;
        } else {
            self.refuse_client("the credentials were refused");
        }
    }

    fn refuse_client(&mut self, why: &'static str) {
        self.write_sasl(&SaslFrame::Outcome { code: SaslCode::Auth, additional_data: None });
        self.over(Ending::NotAuthenticated(why));
    }

    // On a client

    fn choose(&mut self, offer: &[Symbol]) {
        let End::Client(login) = &self.end else { return };
        let Some(mechanism) =
            login.mechanism().map(Mechanism::symbol).filter(|wanted| offer.contains(wanted))
        else {
            return self.over(Ending::NotAuthenticated("the server does not offer the mechanism"));
        };
        let initial_response = match login {
            Login::Plain { user, password } => Bytes::from(format!("\0{user}\0{password}")),
            _ => Bytes::new(),
        };
        let hostname = self.options.hostname.clone();
        self.write_sasl(&SaslFrame::Init(SaslInit {
            mechanism,
            initial_response: Some(initial_response),
            hostname,
        }));
        self.phase = Phase::SaslOutcome;
    }

    // Open

    /// On a server, the open goes out only as the answer to the client's.
    pub(super) fn send_own_open_if_due(&mut self) {
        if matches!(self.end, End::Server(_)) {
            self.send_open();
        }
    }

    fn send_open(&mut self) {
        let options = &self.options;
        let open = Open {
            container_id: options.container_id.clone(),
            hostname: options.hostname.clone(),
            max_frame_size: options.max_frame_size,
            channel_max: options.channel_max,
            idle_timeout: options
                .idle_timeout
                .map(|timeout| u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX)),
            offered_capabilities: options.offered_capabilities.clone(),
            desired_capabilities: options.desired_capabilities.clone(),
            properties: options.properties.clone(),
            ..Open::default()
        };
        // The peer's limit is not known to a client yet; what Event Hubs takes is far above an open.
        self.wire.output.write(|out| frame::write_frame(out, 0, &open));
    }

    pub(super) fn peer_opened(&mut self, open: Box<Open>) -> Result<(), Fault> {
        if open.max_frame_size < MIN_MAX_FRAME_SIZE {
            let description =
                format!("open.max-frame-size is {}, below {MIN_MAX_FRAME_SIZE}", open.max_frame_size);
            return Err(Fault::connection(condition::INVALID_FIELD, description));
        }
        self.send_own_open_if_due();
        self.wire.max_frame = self.options.max_frame_size.min(open.max_frame_size);
        self.peer_channel_max = open.channel_max;
        self.opened(open.idle_timeout.map(|milliseconds| Duration::from_millis(milliseconds.into())));
        self.events.push_back(Event::Opened(open));
        Ok(())
    }
}
