//! Reading values: the encodings of part 1 of the specification, all of them.

use bytes::Bytes;
use bytestring::ByteString;
use uuid::Uuid;

use crate::codec::error::{DecodeError, DecodeProblem};
use crate::codec::names::descriptor;
use crate::codec::performative::DeliveryTag;
use crate::codec::value::{Array, Described, MAX_DEPTH, MAX_VALUES, Map, Symbol, Value};

pub(crate) type Decoded<T> = Result<T, DecodeError>;

const NULL: u8 = 0x40;

pub(crate) fn unexpected_descriptor(place: &'static str, at: usize, code: u64) -> DecodeError {
    DecodeError::new(place, at, DecodeProblem::UnexpectedDescriptor(code))
}

/// A place in encoded bytes.
#[derive(Clone)]
pub(crate) struct Reader<'a> {
    /// What is read, up to the end of the value that is being read.
    bytes: &'a [u8],
    at: usize,
    /// What text and binaries are parts of; they are copied when there is none.
    shared: Option<&'a Bytes>,
    /// How many more values may be made: what they take in memory stays in proportion to the bytes.
    budget: usize,
}

impl<'a> Reader<'a> {
    /// Reads bytes and copies what it takes out of them.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, shared: None, budget: bytes.len().min(MAX_VALUES) }
    }

    /// Reads bytes and gives out parts of them.
    pub(crate) fn sharing(bytes: &'a Bytes) -> Self {
        Self { shared: Some(bytes), ..Self::new(bytes) }
    }

    /// Reads a part of bytes; positions are counted from the beginning of all of them.
    pub(crate) fn range(bytes: &'a [u8], range: std::ops::Range<usize>) -> Self {
        let bytes = &bytes[..range.end.min(bytes.len())];
        Self { at: range.start.min(bytes.len()), ..Self::new(bytes) }
    }

    /// The same, giving out parts of the bytes.
    pub(crate) fn sharing_range(bytes: &'a Bytes, range: std::ops::Range<usize>) -> Self {
        Self { shared: Some(bytes), ..Self::range(bytes, range) }
    }

    /// The bytes from one position to another.
    pub(crate) fn between(&self, start: usize, end: usize) -> &'a [u8] {
        self.bytes.get(start..end).unwrap_or_default()
    }

    /// The position of the next byte.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.at >= self.bytes.len()
    }

    /// Requires that nothing is left.
    pub(crate) fn finish(&self, place: &'static str) -> Decoded<()> {
        if self.is_at_end() { Ok(()) } else { Err(self.wrong(place, DecodeProblem::TrailingBytes)) }
    }

    pub(crate) fn wrong(&self, place: &'static str, problem: DecodeProblem) -> DecodeError {
        DecodeError::new(place, self.at, problem)
    }

    #[inline]
    pub(crate) fn u8(&mut self, place: &'static str) -> Decoded<u8> {
        match self.bytes.get(self.at) {
            Some(&byte) => {
                self.at += 1;
                Ok(byte)
            }
            None => Err(self.wrong(place, DecodeProblem::Truncated)),
        }
    }

    #[inline]
    fn array<const N: usize>(&mut self, place: &'static str) -> Decoded<[u8; N]> {
        match self.bytes.get(self.at..).and_then(|rest| rest.first_chunk::<N>()) {
            Some(chunk) => {
                self.at += N;
                Ok(*chunk)
            }
            None => Err(self.wrong(place, DecodeProblem::Truncated)),
        }
    }

    #[inline]
    fn take(&mut self, length: usize, place: &'static str) -> Decoded<&'a [u8]> {
        match self.bytes.get(self.at..).and_then(|rest| rest.get(..length)) {
            Some(taken) => {
                self.at += length;
                Ok(taken)
            }
            None => Err(self.wrong(place, DecodeProblem::Truncated)),
        }
    }

    /// A length of one byte or of four.
    #[inline]
    fn length(&mut self, wide: bool, place: &'static str) -> Decoded<usize> {
        if wide {
            Ok(u32::from_be_bytes(self.array(place)?) as usize)
        } else {
            Ok(usize::from(self.u8(place)?))
        }
    }

    /// The content of a variable-width value of a format code of 0xa_ or 0xb_.
    #[inline]
    fn variable(&mut self, code: u8, place: &'static str) -> Decoded<&'a [u8]> {
        let length = self.length(code >= 0xb0, place)?;
        self.take(length, place)
    }

    /// Steps over the value whose format code was just read, and over no more than its width asks for.
    fn skip_content(&mut self, code: u8, depth: u8, place: &'static str) -> Decoded<()> {
        let length = match code >> 4 {
            0x0 if code == 0 => {
                if depth == 0 {
                    return Err(self.wrong(place, DecodeProblem::TooDeep));
                }
                for _ in 0..2 {
                    let code = self.u8(place)?;
                    self.skip_content(code, depth - 1, place)?;
                }
                return Ok(());
            }
            0x4 => 0,
            0x5 => 1,
            0x6 => 2,
            0x7 => 4,
            0x8 => 8,
            0x9 => 16,
            0xa | 0xc | 0xe => self.length(false, place)?,
            0xb | 0xd | 0xf => self.length(true, place)?,
            _ => return Err(DecodeError::new(place, self.at - 1, DecodeProblem::UnknownFormatCode(code))),
        };
        self.take(length, place).map(|_| ())
    }

    /// Steps over a value.
    #[inline]
    pub(crate) fn skip(&mut self, place: &'static str) -> Decoded<()> {
        let code = self.u8(place)?;
        self.skip_content(code, MAX_DEPTH, place)
    }

    /// The content of a binary.
    pub(crate) fn binary(&mut self, place: &'static str) -> Decoded<&'a [u8]> {
        match self.u8(place)? {
            code @ (0xa0 | 0xb0) => self.variable(code, place),
            found => Err(self.wrong_type(place, "binary", found)),
        }
    }

    /// The content of a string or a symbol.
    pub(crate) fn name(&mut self, place: &'static str) -> Decoded<&'a [u8]> {
        match self.u8(place)? {
            code @ (0xa1 | 0xb1 | 0xa3 | 0xb3) => self.variable(code, place),
            found => Err(self.wrong_type(place, "symbol", found)),
        }
    }

    /// A string or a symbol, as text.
    pub(crate) fn name_text(&mut self, place: &'static str) -> Decoded<ByteString> {
        match self.u8(place)? {
            code @ (0xa1 | 0xb1 | 0xa3 | 0xb3) => self.string(code, place),
            found => Err(self.wrong_type(place, "symbol", found)),
        }
    }

    /// A long or a timestamp; none for a value of any other type.
    pub(crate) fn integer(&mut self, place: &'static str) -> Decoded<Option<i64>> {
        match self.u8(place)? {
            0x81 | 0x83 => Ok(Some(i64::from_be_bytes(self.array(place)?))),
            other => Ok(self.value_of(other, MAX_DEPTH, place)?.as_i64()),
        }
    }

    /// A string or a symbol, as text; none for a value of any other type.
    pub(crate) fn optional_text(&mut self, place: &'static str) -> Decoded<Option<ByteString>> {
        match self.u8(place)? {
            code @ (0xa1 | 0xb1 | 0xa3 | 0xb3) => self.string(code, place).map(Some),
            other => self.skip_content(other, MAX_DEPTH, place).map(|()| None),
        }
    }

    /// Checks a string or a symbol, and returns its content.
    pub(crate) fn check_name(&mut self, place: &'static str) -> Decoded<&'a [u8]> {
        let code = self.u8(place)?;
        let at = self.at;
        let (is_sound, problem, content) = match code {
            0xa1 | 0xb1 => {
                let content = self.variable(code, place)?;
                (std::str::from_utf8(content).is_ok(), DecodeProblem::NotUtf8, content)
            }
            0xa3 | 0xb3 => {
                let content = self.variable(code, place)?;
                (content.is_ascii(), DecodeProblem::NotAscii, content)
            }
            found => return Err(self.wrong_type(place, "symbol", found)),
        };
        if is_sound { Ok(content) } else { Err(DecodeError::new(place, at, problem)) }
    }

    /// Steps over a list.
    pub(crate) fn skip_list(&mut self, place: &'static str) -> Decoded<()> {
        match self.u8(place)? {
            code @ (0x45 | 0xc0 | 0xd0) => self.skip_content(code, 0, place),
            found => Err(self.wrong_type(place, "list", found)),
        }
    }

    /// Steps over a map.
    pub(crate) fn skip_map(&mut self, place: &'static str) -> Decoded<()> {
        match self.u8(place)? {
            code @ (0xc1 | 0xd1) => self.skip_content(code, 0, place),
            found => Err(self.wrong_type(place, "map", found)),
        }
    }

    fn wrong_type(&self, place: &'static str, expected: &'static str, found: u8) -> DecodeError {
        DecodeError::new(place, self.at - 1, DecodeProblem::WrongType { expected, found })
    }

    /// The descriptor of a described value whose kind is known, as a number.
    #[inline]
    pub(crate) fn descriptor(&mut self, place: &'static str) -> Decoded<u64> {
        // What all clients send, without the detours.
        if let Some(&[0x00, 0x53, code]) = self.bytes.get(self.at..).and_then(|rest| rest.first_chunk()) {
            self.at += 3;
            return Ok(u64::from(code));
        }
        match self.u8(place)? {
            0 => self.descriptor_code(place),
            found => Err(self.wrong_type(place, "a described value", found)),
        }
    }

    #[inline]
    fn descriptor_code(&mut self, place: &'static str) -> Decoded<u64> {
        let at = self.at;
        match self.u8(place)? {
            0x53 => Ok(u64::from(self.u8(place)?)),
            0x44 => Ok(0),
            0x80 => Ok(u64::from_be_bytes(self.array(place)?)),
            code @ (0xa3 | 0xb3) => {
                let symbol = self.variable(code, place)?;
                descriptor::of_symbol(symbol)
                    .ok_or_else(|| DecodeError::new(place, at, DecodeProblem::UnexpectedSymbolicDescriptor))
            }
            found => Err(self.wrong_type(place, "a descriptor", found)),
        }
    }

    /// The fields of a composite type: a list. The reader goes on behind it.
    pub(crate) fn fields(&mut self, place: &'static str) -> Decoded<Fields<'a>> {
        let code = self.u8(place)?;
        self.fields_of(code, place)
    }

    fn fields_of(&mut self, code: u8, place: &'static str) -> Decoded<Fields<'a>> {
        if code == 0x45 {
            let reader = Reader { bytes: &self.bytes[..self.at], ..self.clone() };
            return Ok(Fields { reader, left: 0 });
        }
        let wide = match code {
            0xc0 => false,
            0xd0 => true,
            found => return Err(self.wrong_type(place, "list", found)),
        };
        let (reader, left) = self.enter(wide, place)?;
        Ok(Fields { reader, left })
    }

    /// The pairs of a map: a reader of its content, and how many keys and values that is. The reader goes on behind it.
    pub(crate) fn map_content(&mut self, place: &'static str) -> Decoded<(Self, usize)> {
        let wide = match self.u8(place)? {
            0xc1 => false,
            0xd1 => true,
            found => return Err(self.wrong_type(place, "map", found)),
        };
        let (content, count) = self.enter(wide, place)?;
        if count % 2 == 1 {
            return Err(content.wrong(place, DecodeProblem::OddMap));
        }
        Ok((content, count))
    }

    /// A reader of the content of a compound value, and the count it states.
    fn enter(&mut self, wide: bool, place: &'static str) -> Decoded<(Self, usize)> {
        let size = self.length(wide, place)?;
        let start = self.at;
        self.take(size, place)?;
        let mut content = Reader { bytes: &self.bytes[..self.at], at: start, ..self.clone() };
        let count = content.length(wide, place)?;
        Ok((content, count))
    }

    /// Any value.
    pub(crate) fn value(&mut self, place: &'static str) -> Decoded<Value> {
        let code = self.u8(place)?;
        self.value_of(code, MAX_DEPTH, place)
    }

    /// The value whose format code was just read.
    fn value_of(&mut self, code: u8, depth: u8, place: &'static str) -> Decoded<Value> {
        if self.budget == 0 {
            return Err(self.wrong(place, DecodeProblem::TooMany));
        }
        self.budget -= 1;
        Ok(match code {
            NULL => Value::Null,
            0x41 => Value::Boolean(true),
            0x42 => Value::Boolean(false),
            0x43 => Value::Uint(0),
            0x44 => Value::Ulong(0),
            0x45 => Value::List(Vec::new()),
            0x50 => Value::Ubyte(self.u8(place)?),
            0x51 => Value::Byte(self.u8(place)? as i8),
            0x52 => Value::Uint(self.u8(place)?.into()),
            0x53 => Value::Ulong(self.u8(place)?.into()),
            0x54 => Value::Int((self.u8(place)? as i8).into()),
            0x55 => Value::Long((self.u8(place)? as i8).into()),
            0x56 => Value::Boolean(self.truth(place)?),
            0x60 => Value::Ushort(u16::from_be_bytes(self.array(place)?)),
            0x61 => Value::Short(i16::from_be_bytes(self.array(place)?)),
            0x70 => Value::Uint(u32::from_be_bytes(self.array(place)?)),
            0x71 => Value::Int(i32::from_be_bytes(self.array(place)?)),
            0x72 => Value::Float(f32::from_be_bytes(self.array(place)?)),
            0x73 => {
                let at = self.at;
                let character = char::from_u32(u32::from_be_bytes(self.array(place)?));
                let problem = DecodeProblem::Invalid("not a Unicode character");
                Value::Char(character.ok_or(DecodeError::new(place, at, problem))?)
            }
            0x74 => Value::Decimal32(self.array(place)?),
            0x80 => Value::Ulong(u64::from_be_bytes(self.array(place)?)),
            0x81 => Value::Long(i64::from_be_bytes(self.array(place)?)),
            0x82 => Value::Double(f64::from_be_bytes(self.array(place)?)),
            0x83 => Value::Timestamp(i64::from_be_bytes(self.array(place)?)),
            0x84 => Value::Decimal64(self.array(place)?),
            0x94 => Value::Decimal128(self.array(place)?),
            0x98 => Value::Uuid(Uuid::from_bytes(self.array(place)?)),
            0xa0 | 0xb0 => {
                let bytes = self.variable(code, place)?;
                Value::Binary(self.part(bytes))
            }
            0xa1 | 0xb1 => Value::String(self.string(code, place)?),
            0xa3 | 0xb3 => Value::Symbol(self.symbol(code, place)?),
            0x00 => {
                let depth = self.deeper(depth, place)?;
                let code = self.u8(place)?;
                let descriptor = self.value_of(code, depth, place)?;
                let code = self.u8(place)?;
                let value = self.value_of(code, depth, place)?;
                Value::Described(Box::new(Described { descriptor, value }))
            }
            0xc0 | 0xd0 => {
                let depth = self.deeper(depth, place)?;
                self.compound(code == 0xd0, place, |content, count| {
                    let mut items = Vec::with_capacity(count.min(MODEST));
                    for _ in 0..count {
                        let code = content.u8(place)?;
                        items.push(content.value_of(code, depth, place)?);
                    }
                    Ok(Value::List(items))
                })?
            }
            0xc1 | 0xd1 => {
                let depth = self.deeper(depth, place)?;
                Value::Map(self.map(code, depth, place)?)
            }
            0xe0 | 0xf0 => {
                let depth = self.deeper(depth, place)?;
                self.compound(code == 0xf0, place, |content, count| {
                    // Some peers leave the constructor out when there is nothing to construct.
                    if count == 0 && content.is_at_end() {
                        return Ok(Value::Array(Array::default()));
                    }
                    content.array_of(count, depth, place).map(|items| Value::Array(Array::decoded(items)))
                })?
            }
            other => {
                return Err(DecodeError::new(place, self.at - 1, DecodeProblem::UnknownFormatCode(other)));
            }
        })
    }

    /// The content of a map whose format code was just read.
    fn map(&mut self, code: u8, depth: u8, place: &'static str) -> Decoded<Map> {
        self.compound(code == 0xd1, place, |content, count| {
            if count % 2 == 1 {
                return Err(content.wrong(place, DecodeProblem::OddMap));
            }
            let mut pairs = Map::with_capacity((count / 2).min(MODEST));
            for _ in 0..count / 2 {
                let code = content.u8(place)?;
                let key = content.value_of(code, depth, place)?;
                let code = content.u8(place)?;
                pairs.push(key, content.value_of(code, depth, place)?);
            }
            Ok(pairs)
        })
    }

    /// The constructor of an array and its elements.
    fn array_of(&mut self, count: usize, depth: u8, place: &'static str) -> Decoded<Vec<Value>> {
        let code = self.u8(place)?;
        if code == 0 {
            let depth = self.deeper(depth, place)?;
            let code = self.u8(place)?;
            let descriptor = self.value_of(code, depth, place)?;
            let items = self.array_of(count, depth, place)?;
            self.spend(items.len(), place)?;
            return Ok(items
                .into_iter()
                .map(|value| Value::Described(Box::new(Described { descriptor: descriptor.clone(), value })))
                .collect());
        }
        let mut items = Vec::with_capacity(count.min(MODEST));
        for _ in 0..count {
            items.push(self.value_of(code, depth, place)?);
        }
        Ok(items)
    }

    fn spend(&mut self, values: usize, place: &'static str) -> Decoded<()> {
        self.budget =
            self.budget.checked_sub(values).ok_or_else(|| self.wrong(place, DecodeProblem::TooMany))?;
        Ok(())
    }

    fn deeper(&self, depth: u8, place: &'static str) -> Decoded<u8> {
        depth.checked_sub(1).ok_or_else(|| self.wrong(place, DecodeProblem::TooDeep))
    }

    /// Reads the content of a compound value, which has to be as long as it states.
    fn compound<T>(
        &mut self,
        wide: bool,
        place: &'static str,
        read: impl FnOnce(&mut Self, usize) -> Decoded<T>,
    ) -> Decoded<T> {
        let (mut content, count) = self.enter(wide, place)?;
        let value = read(&mut content, count)?;
        self.budget = content.budget;
        if content.is_at_end() { Ok(value) } else { Err(content.wrong(place, DecodeProblem::WrongSize)) }
    }

    fn truth(&mut self, place: &'static str) -> Decoded<bool> {
        match self.u8(place)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(DecodeError::new(place, self.at - 1, DecodeProblem::Invalid("a boolean is 0 or 1"))),
        }
    }

    fn part(&self, bytes: &[u8]) -> Bytes {
        match self.shared {
            Some(shared) => shared.slice_ref(bytes),
            None => Bytes::copy_from_slice(bytes),
        }
    }

    fn string(&mut self, code: u8, place: &'static str) -> Decoded<ByteString> {
        let at = self.at;
        let bytes = self.variable(code, place)?;
        ByteString::try_from(self.part(bytes))
            .map_err(|_| DecodeError::new(place, at, DecodeProblem::NotUtf8))
    }

    fn symbol(&mut self, code: u8, place: &'static str) -> Decoded<Symbol> {
        let at = self.at;
        let bytes = self.variable(code, place)?;
        match std::str::from_utf8(bytes) {
            Ok(text) if text.is_ascii() => Ok(Symbol::new(text)),
            _ => Err(DecodeError::new(place, at, DecodeProblem::NotAscii)),
        }
    }

    /// Checks a value to its last byte, without making anything of it.
    pub(crate) fn check(&mut self, place: &'static str) -> Decoded<()> {
        let code = self.u8(place)?;
        self.check_content(code, MAX_DEPTH, place)
    }

    fn check_content(&mut self, code: u8, depth: u8, place: &'static str) -> Decoded<()> {
        match code {
            0x40..=0x45 | 0x50..=0x55 | 0x60 | 0x61 | 0x70..=0x72 | 0x74 | 0x80..=0x84 | 0x94 | 0x98 => {
                self.skip_content(code, depth, place)
            }
            0x56 => self.truth(place).map(|_| ()),
            0x73 => {
                let at = self.at;
                let problem = DecodeProblem::Invalid("not a Unicode character");
                let character = char::from_u32(u32::from_be_bytes(self.array(place)?));
                character.map(|_| ()).ok_or(DecodeError::new(place, at, problem))
            }
            0xa0 | 0xb0 => self.variable(code, place).map(|_| ()),
            0xa1 | 0xb1 => {
                let at = self.at;
                let text = std::str::from_utf8(self.variable(code, place)?);
                text.map(|_| ()).map_err(|_| DecodeError::new(place, at, DecodeProblem::NotUtf8))
            }
            0xa3 | 0xb3 => {
                let at = self.at;
                let is_ascii = self.variable(code, place)?.is_ascii();
                if is_ascii { Ok(()) } else { Err(DecodeError::new(place, at, DecodeProblem::NotAscii)) }
            }
            0x00 => {
                let depth = self.deeper(depth, place)?;
                for _ in 0..2 {
                    let code = self.u8(place)?;
                    self.check_content(code, depth, place)?;
                }
                Ok(())
            }
            0xc0 | 0xd0 | 0xc1 | 0xd1 => {
                let depth = self.deeper(depth, place)?;
                self.compound(code >= 0xd0, place, |content, count| {
                    if code & 1 == 1 && count % 2 == 1 {
                        return Err(content.wrong(place, DecodeProblem::OddMap));
                    }
                    for _ in 0..count {
                        let code = content.u8(place)?;
                        content.check_content(code, depth, place)?;
                    }
                    Ok(())
                })
            }
            0xe0 | 0xf0 => {
                let depth = self.deeper(depth, place)?;
                self.compound(code == 0xf0, place, |content, count| {
                    if count == 0 && content.is_at_end() {
                        return Ok(());
                    }
                    let mut depth = depth;
                    let mut code = content.u8(place)?;
                    while code == 0 {
                        depth = content.deeper(depth, place)?;
                        let descriptor = content.u8(place)?;
                        content.check_content(descriptor, depth, place)?;
                        code = content.u8(place)?;
                    }
                    // One look is enough for elements of no width, of which there can be billions.
                    let looks = if code >> 4 == 4 { count.min(1) } else { count };
                    for _ in 0..looks {
                        content.check_content(code, depth, place)?;
                    }
                    Ok(())
                })
            }
            other => Err(DecodeError::new(place, self.at - 1, DecodeProblem::UnknownFormatCode(other))),
        }
    }
}

/// The room that a list gets at once, in values; it grows as values really come.
const MODEST: usize = 32;

/// The fields of a composite type, in order. Those that are not there count as null.
pub(crate) struct Fields<'a> {
    reader: Reader<'a>,
    left: usize,
}

impl<'a> Fields<'a> {
    /// The position of the next field.
    pub(crate) fn at(&self) -> usize {
        self.reader.at
    }

    /// The format code of the next field; none when it is null.
    #[inline]
    fn next(&mut self, place: &'static str) -> Decoded<Option<u8>> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        match self.reader.u8(place)? {
            NULL => Ok(None),
            code => Ok(Some(code)),
        }
    }

    /// The next field, which can be null.
    #[inline]
    pub(crate) fn optional<T: Field>(&mut self, place: &'static str) -> Decoded<Option<T>> {
        match self.next(place)? {
            Some(code) => T::read(&mut self.reader, code, place).map(Some),
            None => Ok(None),
        }
    }

    /// The next field, which has a default.
    #[inline]
    pub(crate) fn or<T: Field>(&mut self, place: &'static str, default: T) -> Decoded<T> {
        Ok(self.optional(place)?.unwrap_or(default))
    }

    /// The next field, which must be there.
    #[inline]
    pub(crate) fn required<T: Field>(&mut self, place: &'static str) -> Decoded<T> {
        let at = self.reader.at;
        self.optional(place)?.ok_or(DecodeError::new(place, at, DecodeProblem::Missing))
    }

    /// The next field, of the type `symbol`, `multiple`: one symbol or an array of them.
    pub(crate) fn symbols(&mut self, place: &'static str) -> Decoded<Vec<Symbol>> {
        let at = self.reader.at;
        match self.next(place)? {
            None => Ok(Vec::new()),
            Some(code @ (0xa3 | 0xb3)) => Ok(vec![self.reader.symbol(code, place)?]),
            Some(code @ (0xe0 | 0xf0)) => match self.reader.value_of(code, 1, place)? {
                Value::Array(array) => array
                    .items()
                    .iter()
                    .map(|item| match item {
                        Value::Symbol(symbol) => Ok(symbol.clone()),
                        _ => {
                            let problem = DecodeProblem::Invalid("the array is not one of symbols");
                            Err(DecodeError::new(place, at, problem))
                        }
                    })
                    .collect(),
                _ => Ok(Vec::new()),
            },
            Some(found) => Err(self.reader.wrong_type(place, "symbol", found)),
        }
    }

    /// The next field, which is a map.
    pub(crate) fn map(&mut self, place: &'static str) -> Decoded<Map> {
        self.or(place, Map::new())
    }

    /// The next field, which is an address: a string, or for some clients a symbol.
    pub(crate) fn address(&mut self, place: &'static str) -> Decoded<Option<ByteString>> {
        match self.next(place)? {
            None => Ok(None),
            Some(code @ (0xa1 | 0xb1 | 0xa3 | 0xb3)) => self.reader.string(code, place).map(Some),
            Some(found) => Err(self.reader.wrong_type(place, "string", found)),
        }
    }

    /// The next field, which is a symbol, or for some clients a string.
    pub(crate) fn name(&mut self, place: &'static str) -> Decoded<Option<Symbol>> {
        match self.next(place)? {
            None => Ok(None),
            Some(code @ (0xa1 | 0xb1 | 0xa3 | 0xb3)) => self.reader.symbol(code, place).map(Some),
            Some(found) => Err(self.reader.wrong_type(place, "symbol", found)),
        }
    }

    /// The next field, which is a composite type: its descriptor and its fields.
    pub(crate) fn composite(&mut self, place: &'static str) -> Decoded<Option<(u64, Fields<'a>)>> {
        match self.next(place)? {
            None => Ok(None),
            Some(0) => {
                let code = self.reader.descriptor_code(place)?;
                let fields = self.reader.fields(place)?;
                Ok(Some((code, fields)))
            }
            Some(found) => Err(self.reader.wrong_type(place, "a described value", found)),
        }
    }

    /// A reader of the next field; none when it is null.
    pub(crate) fn value_reader(&mut self, place: &'static str) -> Decoded<Option<&mut Reader<'a>>> {
        match self.next(place)? {
            None => Ok(None),
            Some(_) => {
                self.reader.at -= 1;
                Ok(Some(&mut self.reader))
            }
        }
    }
}

/// A type that a field can have.
pub(crate) trait Field: Sized {
    /// The value whose format code was just read.
    fn read(reader: &mut Reader<'_>, code: u8, place: &'static str) -> Decoded<Self>;
}

impl Field for bool {
    fn read(reader: &mut Reader<'_>, code: u8, place: &'static str) -> Decoded<Self> {
        match code {
            0x41 => Ok(true),
            0x42 => Ok(false),
            0x56 => reader.truth(place),
            found => Err(reader.wrong_type(place, "boolean", found)),
        }
    }
}

impl Field for u8 {
    fn read(reader: &mut Reader<'_>, code: u8, place: &'static str) -> Decoded<Self> {
        match code {
            0x50 => reader.u8(place),
            found => Err(reader.wrong_type(place, "ubyte", found)),
        }
    }
}

impl Field for u16 {
    fn read(reader: &mut Reader<'_>, code: u8, place: &'static str) -> Decoded<Self> {
        match code {
            0x60 => Ok(u16::from_be_bytes(reader.array(place)?)),
            found => Err(reader.wrong_type(place, "ushort", found)),
        }
    }
}

impl Field for u32 {
    #[inline]
    fn read(reader: &mut Reader<'_>, code: u8, place: &'static str) -> Decoded<Self> {
        match code {
            0x43 => Ok(0),
            0x52 => Ok(reader.u8(place)?.into()),
            0x70 => Ok(u32::from_be_bytes(reader.array(place)?)),
            found => Err(reader.wrong_type(place, "uint", found)),
        }
    }
}

impl Field for u64 {
    fn read(reader: &mut Reader<'_>, code: u8, place: &'static str) -> Decoded<Self> {
        match code {
            0x44 => Ok(0),
            0x53 => Ok(reader.u8(place)?.into()),
            0x80 => Ok(u64::from_be_bytes(reader.array(place)?)),
            found => Err(reader.wrong_type(place, "ulong", found)),
        }
    }
}

/// A timestamp, in milliseconds since 1970.
pub(crate) struct Milliseconds(pub(crate) i64);

impl Field for Milliseconds {
    fn read(reader: &mut Reader<'_>, code: u8, place: &'static str) -> Decoded<Self> {
        match code {
            0x83 => Ok(Self(i64::from_be_bytes(reader.array(place)?))),
            found => Err(reader.wrong_type(place, "timestamp", found)),
        }
    }
}

impl Field for ByteString {
    fn read(reader: &mut Reader<'_>, code: u8, place: &'static str) -> Decoded<Self> {
        match code {
            0xa1 | 0xb1 => reader.string(code, place),
            found => Err(reader.wrong_type(place, "string", found)),
        }
    }
}

impl Field for Symbol {
    fn read(reader: &mut Reader<'_>, code: u8, place: &'static str) -> Decoded<Self> {
        match code {
            0xa3 | 0xb3 => reader.symbol(code, place),
            found => Err(reader.wrong_type(place, "symbol", found)),
        }
    }
}

impl Field for Bytes {
    fn read(reader: &mut Reader<'_>, code: u8, place: &'static str) -> Decoded<Self> {
        match code {
            0xa0 | 0xb0 => {
                let bytes = reader.variable(code, place)?;
                Ok(reader.part(bytes))
            }
            found => Err(reader.wrong_type(place, "binary", found)),
        }
    }
}

impl Field for DeliveryTag {
    #[inline]
    fn read(reader: &mut Reader<'_>, code: u8, place: &'static str) -> Decoded<Self> {
        let at = reader.at;
        match code {
            0xa0 | 0xb0 => {
                let problem = DecodeProblem::Invalid("a delivery tag has at most 32 bytes");
                Self::new(reader.variable(code, place)?).ok_or(DecodeError::new(place, at, problem))
            }
            found => Err(reader.wrong_type(place, "binary", found)),
        }
    }
}

impl Field for Map {
    fn read(reader: &mut Reader<'_>, code: u8, place: &'static str) -> Decoded<Self> {
        match code {
            0xc1 | 0xd1 => reader.map(code, MAX_DEPTH, place),
            found => Err(reader.wrong_type(place, "map", found)),
        }
    }
}

impl Field for Value {
    fn read(reader: &mut Reader<'_>, code: u8, place: &'static str) -> Decoded<Self> {
        reader.value_of(code, MAX_DEPTH, place)
    }
}
