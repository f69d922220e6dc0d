//! The frames of the security layer (section 5.3 of the specification).

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;

use crate::codec::error::{DecodeError, DecodeProblem};
use crate::codec::names::descriptor;
use crate::codec::read::{self, Reader};
use crate::codec::value::Symbol;
use crate::codec::write::{self, ListWriter};

/// The mechanism without credentials, which all Event Hubs clients choose; they identify themselves in CBS.
pub const ANONYMOUS: Symbol = Symbol::from_static("ANONYMOUS");
/// The mechanism with user name and password.
pub const PLAIN: Symbol = Symbol::from_static("PLAIN");
/// The mechanism that takes who the peer is from TLS.
pub const EXTERNAL: Symbol = Symbol::from_static("EXTERNAL");
/// The mechanism of Event Hubs that stands for "claims come later".
pub const MSSBCBS: Symbol = Symbol::from_static("MSSBCBS");

/// A step of the security layer.
#[derive(Clone, PartialEq, Eq)]
pub enum SaslFrame {
    /// The server's mechanisms.
    Mechanisms(Vec<Symbol>),
    /// The client's choice.
    Init(SaslInit),
    /// The server asks.
    Challenge(Bytes),
    /// The client answers.
    Response(Bytes),
    /// The server decides.
    Outcome {
        /// How.
        code: SaslCode,
        /// What the mechanism adds.
        additional_data: Option<Bytes>,
    },
}

/// The client's choice of a mechanism.
#[derive(Clone, PartialEq, Eq)]
pub struct SaslInit {
    /// The mechanism.
    pub mechanism: Symbol,
    /// What the mechanism begins with; a secret for some.
    pub initial_response: Option<Bytes>,
    /// The host that the client wants to talk to.
    pub hostname: Option<ByteString>,
}

impl SaslInit {
    /// User name and password of [`PLAIN`] (RFC 4616); none when the response has not that form.
    pub fn plain_credentials(&self) -> Option<(&str, &str)> {
        let response = std::str::from_utf8(self.initial_response.as_deref()?).ok()?;
        let mut parts = response.split('\0');
        let (_authorise_as, user, password) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() { None } else { Some((user, password)) }
    }
}

/// How the security layer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SaslCode {
    /// The client is who it says.
    Ok,
    /// It is not.
    Auth,
    /// Something failed.
    Sys,
    /// Something failed for good.
    SysPerm,
    /// Something failed for now.
    SysTemp,
}

// Responses hold passwords: they are never printed.
impl std::fmt::Debug for SaslFrame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Mechanisms(mechanisms) => f.debug_tuple("Mechanisms").field(mechanisms).finish(),
            Self::Init(init) => init.fmt(f),
            Self::Challenge(_) => f.write_str("Challenge(..)"),
            Self::Response(_) => f.write_str("Response(..)"),
            Self::Outcome { code, .. } => {
                f.debug_struct("Outcome").field("code", code).finish_non_exhaustive()
            }
        }
    }
}

impl std::fmt::Debug for SaslInit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SaslInit")
            .field("mechanism", &self.mechanism)
            .field("hostname", &self.hostname)
            .finish_non_exhaustive()
    }
}

impl SaslFrame {
    /// The step that fills the body of a frame.
    pub fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let at = reader.at();
        let code = reader.descriptor("sasl frame")?;
        let frame = match code {
            descriptor::SASL_MECHANISMS => {
                let mut fields = reader.fields("sasl-mechanisms")?;
                Self::Mechanisms(fields.symbols("sasl-mechanisms.sasl-server-mechanisms")?)
            }
            descriptor::SASL_INIT => {
                let mut fields = reader.fields("sasl-init")?;
                Self::Init(SaslInit {
                    mechanism: fields.required("sasl-init.mechanism")?,
                    initial_response: fields.optional("sasl-init.initial-response")?,
                    hostname: fields.optional("sasl-init.hostname")?,
                })
            }
            descriptor::SASL_CHALLENGE => {
                Self::Challenge(reader.fields("sasl-challenge")?.required("sasl-challenge.challenge")?)
            }
            descriptor::SASL_RESPONSE => {
                Self::Response(reader.fields("sasl-response")?.required("sasl-response.response")?)
            }
            descriptor::SASL_OUTCOME => {
                let mut fields = reader.fields("sasl-outcome")?;
                let at = fields.at();
                let code = match fields.required::<u8>("sasl-outcome.code")? {
                    0 => SaslCode::Ok,
                    1 => SaslCode::Auth,
                    2 => SaslCode::Sys,
                    3 => SaslCode::SysPerm,
                    4 => SaslCode::SysTemp,
                    _ => {
                        let problem = DecodeProblem::Invalid("not a SASL outcome code");
                        return Err(DecodeError::new("sasl-outcome.code", at, problem));
                    }
                };
                Self::Outcome { code, additional_data: fields.optional("sasl-outcome.additional-data")? }
            }
            other => return Err(read::unexpected_descriptor("sasl frame", at, other)),
        };
        Ok(frame)
    }

    /// Appends the step, as the body of a frame.
    pub fn encode(&self, out: &mut BytesMut) {
        match self {
            Self::Mechanisms(mechanisms) => {
                let mut list = ListWriter::described(out, descriptor::SASL_MECHANISMS, 1);
                write::symbol_array(list.next(), mechanisms);
                list.finish();
            }
            Self::Init(init) => {
                let mut list = ListWriter::described(out, descriptor::SASL_INIT, 3);
                write::symbol(list.next(), init.mechanism.as_str());
                write::optional(list.next(), init.initial_response.as_deref(), write::binary);
                write::optional(list.next(), init.hostname.as_deref(), write::string);
                list.finish();
            }
            Self::Challenge(bytes) | Self::Response(bytes) => {
                let code = match self {
                    Self::Challenge(_) => descriptor::SASL_CHALLENGE,
                    _ => descriptor::SASL_RESPONSE,
                };
                let mut list = ListWriter::described(out, code, 1);
                write::binary(list.next(), bytes);
                list.finish();
            }
            Self::Outcome { code, additional_data } => {
                let mut list = ListWriter::described(out, descriptor::SASL_OUTCOME, 2);
                let code = match code {
                    SaslCode::Ok => 0,
                    SaslCode::Auth => 1,
                    SaslCode::Sys => 2,
                    SaslCode::SysPerm => 3,
                    SaslCode::SysTemp => 4,
                };
                write::ubyte(list.next(), code);
                write::optional(list.next(), additional_data.as_deref(), write::binary);
                list.finish();
            }
        }
    }
}
