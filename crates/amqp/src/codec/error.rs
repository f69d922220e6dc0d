//! What is wrong with bytes that cannot be decoded.

use crate::codec::names::condition;
use crate::codec::value::Symbol;

/// Bytes that are not what they should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}, byte {at}: {problem}")]
pub struct DecodeError {
    /// The field or the part of the encoding, such as `attach.handle`.
    pub place: &'static str,
    /// The position in the decoded bytes (a frame body or a message) where it was noticed.
    pub at: usize,
    /// What is wrong there.
    pub problem: DecodeProblem,
}

impl DecodeError {
    pub(crate) fn new(place: &'static str, at: usize, problem: DecodeProblem) -> Self {
        Self { place, at, problem }
    }

    /// The AMQP error condition to answer with: `amqp:invalid-field` for a well-formed field with a wrong value, otherwise
    /// `amqp:decode-error`.
    pub fn condition(&self) -> Symbol {
        match self.problem {
            DecodeProblem::Missing | DecodeProblem::WrongType { .. } | DecodeProblem::Invalid(_) => {
                condition::INVALID_FIELD
            }
            _ => condition::DECODE_ERROR,
        }
    }
}

/// The ways in which bytes fail to be AMQP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeProblem {
    /// The bytes end within a value.
    #[error("the bytes end within a value")]
    Truncated,
    /// A format code that the specification does not have.
    #[error("unknown format code 0x{0:02x}")]
    UnknownFormatCode(u8),
    /// A described type that does not belong here.
    #[error("unexpected descriptor 0x{0:x}")]
    UnexpectedDescriptor(u64),
    /// A described type, named by a symbol, that does not belong here.
    #[error("unexpected descriptor")]
    UnexpectedSymbolicDescriptor,
    /// A value of another type than the field's.
    #[error("expected {expected}, found format code 0x{found:02x}")]
    WrongType {
        /// The name of the type that the field has.
        expected: &'static str,
        /// The format code that stood there.
        found: u8,
    },
    /// A mandatory field that is null or not there.
    #[error("a mandatory field is missing")]
    Missing,
    /// A value of the right type that the field may not have.
    #[error("{0}")]
    Invalid(&'static str),
    /// Text that is not UTF-8.
    #[error("text is not UTF-8")]
    NotUtf8,
    /// A symbol with bytes beyond ASCII.
    #[error("a symbol is not ASCII")]
    NotAscii,
    /// A compound value whose content is shorter or longer than the size it states.
    #[error("a compound value does not have the size it states")]
    WrongSize,
    /// A map with a key that has no value.
    #[error("a map has an odd number of items")]
    OddMap,
    /// Values nested deeper than anything a client sends.
    #[error("values are nested deeper than {} levels", crate::codec::value::MAX_DEPTH)]
    TooDeep,
    /// An array that states more elements than the bytes can hold.
    #[error("an array states more elements than its bytes justify")]
    TooMany,
    /// Bytes after the end.
    #[error("bytes after the end")]
    TrailingBytes,
    /// A section that comes twice, or after one that it must precede.
    #[error("a section is out of order")]
    SectionOrder,
}
