//! The type system of AMQP 1.0 (part 1 of the specification).

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;
use smol_str::SmolStr;
use uuid::Uuid;

use crate::codec::error::DecodeError;
use crate::codec::read::Reader;
use crate::codec::write;

/// The deepest nesting of lists, maps, arrays and described values that is decoded. Clients need about five.
pub const MAX_DEPTH: u8 = 32;

/// The most values that are made of one piece of bytes, however long: what is decoded into values is small by nature.
pub const MAX_VALUES: usize = 65_536;

/// Any AMQP value. The compact encodings of a type (such as smalluint and uint0) decode to the same variant.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value {
    /// The absent value.
    #[default]
    Null,
    /// True or false.
    Boolean(bool),
    /// An integer of 0 to 2^8 - 1.
    Ubyte(u8),
    /// An integer of 0 to 2^16 - 1.
    Ushort(u16),
    /// An integer of 0 to 2^32 - 1.
    Uint(u32),
    /// An integer of 0 to 2^64 - 1.
    Ulong(u64),
    /// A signed integer of 8 bits.
    Byte(i8),
    /// A signed integer of 16 bits.
    Short(i16),
    /// A signed integer of 32 bits.
    Int(i32),
    /// A signed integer of 64 bits.
    Long(i64),
    /// A binary floating-point number of 32 bits.
    Float(f32),
    /// A binary floating-point number of 64 bits.
    Double(f64),
    /// A decimal number of 32 bits, as encoded.
    Decimal32([u8; 4]),
    /// A decimal number of 64 bits, as encoded.
    Decimal64([u8; 8]),
    /// A decimal number of 128 bits, as encoded.
    Decimal128([u8; 16]),
    /// One Unicode character.
    Char(char),
    /// Milliseconds since 1970-01-01T00:00:00Z.
    Timestamp(i64),
    /// A UUID.
    Uuid(Uuid),
    /// Bytes.
    Binary(Bytes),
    /// Text.
    String(ByteString),
    /// A name out of a fixed vocabulary.
    Symbol(Symbol),
    /// Values of any types.
    List(Vec<Value>),
    /// Pairs of a key and a value, of any types.
    Map(Map),
    /// Values of one type.
    Array(Array),
    /// A value with a descriptor that gives it its meaning.
    Described(Box<Described>),
}

impl Value {
    /// The value that fills `bytes`. Text and binaries are copied out of them.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let value = reader.value("value")?;
        reader.finish("value")?;
        Ok(value)
    }

    /// The value that fills `bytes`. Long text and binaries are parts of `bytes` and keep them alive.
    pub fn decode_shared(bytes: &Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::sharing(bytes);
        let value = reader.value("value")?;
        reader.finish("value")?;
        Ok(value)
    }

    /// Appends the value, in the most compact encoding of its type.
    pub fn encode(&self, out: &mut BytesMut) {
        write::value(out, self);
    }

    /// The text of a string or a symbol.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            Self::Symbol(symbol) => Some(symbol.as_str()),
            _ => None,
        }
    }

    /// The number in any integer type (or in a timestamp), if an `i64` can hold it.
    pub fn as_i64(&self) -> Option<i64> {
        match *self {
            Self::Ubyte(number) => Some(number.into()),
            Self::Ushort(number) => Some(number.into()),
            Self::Uint(number) => Some(number.into()),
            Self::Ulong(number) => number.try_into().ok(),
            Self::Byte(number) => Some(number.into()),
            Self::Short(number) => Some(number.into()),
            Self::Int(number) => Some(number.into()),
            Self::Long(number) | Self::Timestamp(number) => Some(number),
            _ => None,
        }
    }

    /// True or false.
    pub fn as_bool(&self) -> Option<bool> {
        match *self {
            Self::Boolean(truth) => Some(truth),
            _ => None,
        }
    }

    /// The map.
    pub fn as_map(&self) -> Option<&Map> {
        match self {
            Self::Map(map) => Some(map),
            _ => None,
        }
    }

    /// The items of a list or an array.
    pub fn as_items(&self) -> Option<&[Value]> {
        match self {
            Self::List(items) => Some(items),
            Self::Array(array) => Some(array.items()),
            _ => None,
        }
    }

    /// True for the absent value.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }
}

impl From<bool> for Value {
    fn from(truth: bool) -> Self {
        Self::Boolean(truth)
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Uint(number)
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Ulong(number)
    }
}

impl From<i32> for Value {
    fn from(number: i32) -> Self {
        Self::Int(number)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Long(number)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::String(text.into())
    }
}

impl From<ByteString> for Value {
    fn from(text: ByteString) -> Self {
        Self::String(text)
    }
}

impl From<Symbol> for Value {
    fn from(symbol: Symbol) -> Self {
        Self::Symbol(symbol)
    }
}

impl From<Map> for Value {
    fn from(map: Map) -> Self {
        Self::Map(map)
    }
}

impl From<Array> for Value {
    fn from(array: Array) -> Self {
        Self::Array(array)
    }
}

/// A name out of a fixed vocabulary, in ASCII.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Symbol(SmolStr);

impl Symbol {
    /// A symbol known when the program is built.
    ///
    /// # Panics
    /// When the text is not ASCII; in a constant, the build fails.
    pub const fn from_static(text: &'static str) -> Self {
        assert!(text.is_ascii(), "symbols are ASCII");
        Self(SmolStr::new_static(text))
    }

    /// The text as a symbol. Characters beyond ASCII, which a symbol cannot have, become `?`.
    pub fn new(text: &str) -> Self {
        if text.is_ascii() {
            Self(SmolStr::new(text))
        } else {
            Self(text.chars().map(|c| if c.is_ascii() { c } else { '?' }).collect())
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Symbol {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl std::fmt::Display for Symbol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl PartialEq<str> for Symbol {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Symbol {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

/// Pairs of a key and a value, in the order they came. Keys are not checked for being unique; the first one counts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Map(Vec<(Value, Value)>);

impl Map {
    /// A map without pairs.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    pub(crate) fn with_capacity(pairs: usize) -> Self {
        Self(Vec::with_capacity(pairs))
    }

    /// The value of the first pair whose key is this text, as a symbol or as a string.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0.iter().find(|(candidate, _)| candidate.as_str() == Some(key)).map(|(_, value)| value)
    }

    /// Adds a pair at the end.
    pub fn push(&mut self, key: impl Into<Value>, value: impl Into<Value>) {
        self.0.push((key.into(), value.into()));
    }

    /// The same map with one more pair at the end.
    #[must_use]
    pub fn with(mut self, key: impl Into<Value>, value: impl Into<Value>) -> Self {
        self.push(key, value);
        self
    }

    /// The pairs in order.
    pub fn iter(&self) -> std::slice::Iter<'_, (Value, Value)> {
        self.0.iter()
    }

    /// How many pairs there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<(Value, Value)> for Map {
    fn from_iter<I: IntoIterator<Item = (Value, Value)>>(pairs: I) -> Self {
        Self(pairs.into_iter().collect())
    }
}

/// Values of one type.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Array(Vec<Value>);

/// Values of several types, which an array cannot hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the values of an AMQP array must be of one type")]
pub struct MixedTypes;

impl Array {
    /// The values as an array.
    ///
    /// # Errors
    /// When they are not all of one type (for described values: with one descriptor and one type below it).
    pub fn new(items: Vec<Value>) -> Result<Self, MixedTypes> {
        match items.split_first() {
            Some((first, rest)) if !rest.iter().all(|item| same_type(first, item)) => Err(MixedTypes),
            _ => Ok(Self(items)),
        }
    }

    /// An array of strings.
    pub fn of_strings<S: Into<ByteString>>(texts: impl IntoIterator<Item = S>) -> Self {
        Self(texts.into_iter().map(|text| Value::String(text.into())).collect())
    }

    /// An array of symbols.
    pub fn of_symbols(symbols: impl IntoIterator<Item = Symbol>) -> Self {
        Self(symbols.into_iter().map(Value::Symbol).collect())
    }

    /// The values in order.
    pub fn items(&self) -> &[Value] {
        &self.0
    }

    pub(crate) fn decoded(items: Vec<Value>) -> Self {
        Self(items)
    }
}

fn same_type(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Described(a), Value::Described(b)) => {
            a.descriptor == b.descriptor && same_type(&a.value, &b.value)
        }
        _ => std::mem::discriminant(a) == std::mem::discriminant(b),
    }
}

/// A value with the descriptor that gives it its meaning.
#[derive(Clone, Debug, PartialEq)]
pub struct Described {
    /// An unsigned long or a symbol, in all of the specification.
    pub descriptor: Value,
    /// The value.
    pub value: Value,
}
