//! Appending values: the encodings of part 1 of the specification, the most compact one of each.

use bytes::{BufMut, BytesMut};

use crate::codec::value::{Array, Map, Symbol, Value};

pub(crate) fn null(out: &mut BytesMut) {
    out.put_u8(0x40);
}

/// A null, or the value as `write` appends it.
pub(crate) fn optional<T>(out: &mut BytesMut, value: Option<T>, write: impl FnOnce(&mut BytesMut, T)) {
    match value {
        Some(value) => write(out, value),
        None => null(out),
    }
}

pub(crate) fn boolean(out: &mut BytesMut, truth: bool) {
    out.put_u8(if truth { 0x41 } else { 0x42 });
}

pub(crate) fn ubyte(out: &mut BytesMut, number: u8) {
    out.extend_from_slice(&[0x50, number]);
}

pub(crate) fn ushort(out: &mut BytesMut, number: u16) {
    let [a, b] = number.to_be_bytes();
    out.extend_from_slice(&[0x60, a, b]);
}

pub(crate) fn uint(out: &mut BytesMut, number: u32) {
    match number {
        0 => out.put_u8(0x43),
        1..=0xff => out.extend_from_slice(&[0x52, number as u8]),
        _ => {
            let [a, b, c, d] = number.to_be_bytes();
            out.extend_from_slice(&[0x70, a, b, c, d]);
        }
    }
}

pub(crate) fn ulong(out: &mut BytesMut, number: u64) {
    match number {
        0 => out.put_u8(0x44),
        1..=0xff => out.extend_from_slice(&[0x53, number as u8]),
        _ => fixed(out, 0x80, number.to_be_bytes()),
    }
}

pub(crate) fn int(out: &mut BytesMut, number: i32) {
    match i8::try_from(number) {
        Ok(small) => out.extend_from_slice(&[0x54, small as u8]),
        Err(_) => fixed(out, 0x71, number.to_be_bytes()),
    }
}

pub(crate) fn long(out: &mut BytesMut, number: i64) {
    match i8::try_from(number) {
        Ok(small) => out.extend_from_slice(&[0x55, small as u8]),
        Err(_) => fixed(out, 0x81, number.to_be_bytes()),
    }
}

pub(crate) fn timestamp(out: &mut BytesMut, milliseconds: i64) {
    fixed(out, 0x83, milliseconds.to_be_bytes());
}

pub(crate) fn fixed<const N: usize>(out: &mut BytesMut, code: u8, bytes: [u8; N]) {
    out.reserve(1 + N);
    out.put_u8(code);
    out.extend_from_slice(&bytes);
}

pub(crate) fn binary(out: &mut BytesMut, bytes: &[u8]) {
    variable(out, 0xa0, 0xb0, bytes);
}

pub(crate) fn string(out: &mut BytesMut, text: &str) {
    variable(out, 0xa1, 0xb1, text.as_bytes());
}

pub(crate) fn symbol(out: &mut BytesMut, text: &str) {
    variable(out, 0xa3, 0xb3, text.as_bytes());
}

pub(crate) fn variable(out: &mut BytesMut, small: u8, large: u8, bytes: &[u8]) {
    out.reserve(5 + bytes.len());
    match u8::try_from(bytes.len()) {
        Ok(length) => out.extend_from_slice(&[small, length]),
        Err(_) => {
            out.put_u8(large);
            out.put_u32(bytes.len() as u32);
        }
    }
    out.extend_from_slice(bytes);
}

/// Several symbols, as a field of the type `symbol`, `multiple`: null when there are none.
pub(crate) fn symbols(out: &mut BytesMut, symbols: &[Symbol]) {
    if symbols.is_empty() { null(out) } else { symbol_array(out, symbols) }
}

/// Several symbols, always as an array.
pub(crate) fn symbol_array(out: &mut BytesMut, symbols: &[Symbol]) {
    let texts = || symbols.iter().map(|symbol| symbol.as_str().as_bytes());
    array_of_variable(out, 0xa3, 0xb3, texts);
}

/// A map as a field: null when it is empty.
pub(crate) fn fields(out: &mut BytesMut, map: &Map) {
    if map.is_empty() { null(out) } else { self::map(out, map) }
}

pub(crate) fn map(out: &mut BytesMut, map: &Map) {
    compound(out, 0xc1, 0xd1, map.len() * 2, |out| {
        for (key, item) in map.iter() {
            value(out, key);
            value(out, item);
        }
    });
}

pub(crate) fn list(out: &mut BytesMut, items: &[Value]) {
    if items.is_empty() {
        return out.put_u8(0x45);
    }
    compound(out, 0xc0, 0xd0, items.len(), |out| {
        for item in items {
            value(out, item);
        }
    });
}

/// The descriptor of a described value, as a number.
pub(crate) fn descriptor(out: &mut BytesMut, code: u64) {
    out.put_u8(0);
    ulong(out, code);
}

pub(crate) fn value(out: &mut BytesMut, any: &Value) {
    match any {
        Value::Null => null(out),
        Value::Boolean(truth) => boolean(out, *truth),
        Value::Ubyte(number) => ubyte(out, *number),
        Value::Ushort(number) => ushort(out, *number),
        Value::Uint(number) => uint(out, *number),
        Value::Ulong(number) => ulong(out, *number),
        Value::Byte(number) => fixed(out, 0x51, number.to_be_bytes()),
        Value::Short(number) => fixed(out, 0x61, number.to_be_bytes()),
        Value::Int(number) => int(out, *number),
        Value::Long(number) => long(out, *number),
        Value::Float(number) => fixed(out, 0x72, number.to_be_bytes()),
        Value::Double(number) => fixed(out, 0x82, number.to_be_bytes()),
        Value::Decimal32(bytes) => fixed(out, 0x74, *bytes),
        Value::Decimal64(bytes) => fixed(out, 0x84, *bytes),
        Value::Decimal128(bytes) => fixed(out, 0x94, *bytes),
        Value::Char(character) => fixed(out, 0x73, u32::from(*character).to_be_bytes()),
        Value::Timestamp(milliseconds) => timestamp(out, *milliseconds),
        Value::Uuid(uuid) => fixed(out, 0x98, *uuid.as_bytes()),
        Value::Binary(bytes) => binary(out, bytes),
        Value::String(text) => string(out, text),
        Value::Symbol(name) => symbol(out, name.as_str()),
        Value::List(items) => list(out, items),
        Value::Map(pairs) => map(out, pairs),
        Value::Array(items) => array(out, items),
        Value::Described(described) => {
            out.put_u8(0);
            value(out, &described.descriptor);
            value(out, &described.value);
        }
    }
}

/// A list or a map. It is written with a large head, which becomes a small one where the content allows it.
pub(crate) fn compound(
    out: &mut BytesMut,
    small: u8,
    large: u8,
    count: usize,
    content: impl FnOnce(&mut BytesMut),
) {
    let start = out.len();
    out.extend_from_slice(&[0; 9]);
    content(out);
    close_compound(out, start, small, large, count);
}

/// Completes the head of 9 bytes at `start`, or replaces it with one of 3.
pub(crate) fn close_compound(out: &mut BytesMut, start: usize, small: u8, large: u8, count: usize) {
    let content = out.len() - start - 9;
    if content < 0xff && count <= 0xff {
        out[start] = small;
        out[start + 1] = (content + 1) as u8;
        out[start + 2] = count as u8;
        out.copy_within(start + 9.., start + 3);
        out.truncate(start + 3 + content);
    } else {
        out[start] = large;
        out[start + 1..start + 5].copy_from_slice(&((content + 4) as u32).to_be_bytes());
        out[start + 5..start + 9].copy_from_slice(&(count as u32).to_be_bytes());
    }
}

fn array(out: &mut BytesMut, array: &Array) {
    let items = array.items();
    compound(out, 0xe0, 0xf0, items.len(), |out| match items.first() {
        // An array without elements has a constructor all the same; which one does not matter.
        None => out.put_u8(0x40),
        Some(_) => elements(out, &items.iter().collect::<Vec<_>>()),
    });
}

/// The constructor that all the values share, and then the values without constructors. `Array` ensures that they are of
/// one type.
fn elements(out: &mut BytesMut, items: &[&Value]) {
    let Some(first) = items.first() else { return };
    if let Value::Described(described) = first {
        out.put_u8(0);
        value(out, &described.descriptor);
        let inner: Vec<&Value> = items
            .iter()
            .filter_map(|item| match item {
                Value::Described(described) => Some(&described.value),
                _ => None,
            })
            .collect();
        elements(out, &inner);
        return;
    }
    let large = items.iter().any(|item| variable_bytes(item).is_some_and(|bytes| bytes.len() > 0xff));
    out.put_u8(match first {
        Value::Null | Value::Described(_) => 0x40,
        Value::Boolean(_) => 0x56,
        Value::Ubyte(_) => 0x50,
        Value::Ushort(_) => 0x60,
        Value::Uint(_) => 0x70,
        Value::Ulong(_) => 0x80,
        Value::Byte(_) => 0x51,
        Value::Short(_) => 0x61,
        Value::Int(_) => 0x71,
        Value::Long(_) => 0x81,
        Value::Float(_) => 0x72,
        Value::Double(_) => 0x82,
        Value::Decimal32(_) => 0x74,
        Value::Decimal64(_) => 0x84,
        Value::Decimal128(_) => 0x94,
        Value::Char(_) => 0x73,
        Value::Timestamp(_) => 0x83,
        Value::Uuid(_) => 0x98,
        Value::Binary(_) => 0xa0 + if large { 0x10 } else { 0 },
        Value::String(_) => 0xa1 + if large { 0x10 } else { 0 },
        Value::Symbol(_) => 0xa3 + if large { 0x10 } else { 0 },
        Value::List(_) => 0xd0,
        Value::Map(_) => 0xd1,
        Value::Array(_) => 0xf0,
    });
    let mut alone = BytesMut::new();
    for item in items {
        match item {
            Value::Null | Value::Described(_) => {}
            Value::Boolean(truth) => out.put_u8(u8::from(*truth)),
            Value::Ubyte(number) => out.put_u8(*number),
            Value::Uint(number) => out.put_u32(*number),
            Value::Ulong(number) => out.put_u64(*number),
            Value::Int(number) => out.put_i32(*number),
            Value::Long(number) => out.put_i64(*number),
            Value::Binary(_) | Value::String(_) | Value::Symbol(_) => {
                let bytes = variable_bytes(item).unwrap_or_default();
                if large {
                    out.put_u32(bytes.len() as u32);
                } else {
                    out.put_u8(bytes.len() as u8);
                }
                out.extend_from_slice(bytes);
            }
            Value::List(list) => large_compound(out, list.len(), |out| {
                for item in list {
                    value(out, item);
                }
            }),
            Value::Map(pairs) => large_compound(out, pairs.len() * 2, |out| {
                for (key, item) in pairs.iter() {
                    value(out, key);
                    value(out, item);
                }
            }),
            Value::Array(inner) => large_compound(out, inner.items().len(), |out| match inner.items() {
                [] => out.put_u8(0x40),
                items => elements(out, &items.iter().collect::<Vec<_>>()),
            }),
            // The rest have one encoding of fixed width: what follows its constructor.
            fixed => {
                alone.clear();
                value(&mut alone, fixed);
                out.extend_from_slice(&alone[1..]);
            }
        }
    }
}

fn large_compound(out: &mut BytesMut, count: usize, content: impl FnOnce(&mut BytesMut)) {
    let start = out.len();
    out.put_u32(0);
    out.put_u32(count as u32);
    content(out);
    let size = (out.len() - start - 4) as u32;
    out[start..start + 4].copy_from_slice(&size.to_be_bytes());
}

fn variable_bytes(value: &Value) -> Option<&[u8]> {
    match value {
        Value::Binary(bytes) => Some(bytes),
        Value::String(text) => Some(text.as_bytes()),
        Value::Symbol(symbol) => Some(symbol.as_str().as_bytes()),
        _ => None,
    }
}

fn array_of_variable<'a, I: Iterator<Item = &'a [u8]>>(
    out: &mut BytesMut,
    small: u8,
    large: u8,
    items: impl Fn() -> I,
) {
    let wide = items().any(|bytes| bytes.len() > 0xff);
    compound(out, 0xe0, 0xf0, items().count(), |out| {
        out.put_u8(if wide { large } else { small });
        for bytes in items() {
            if wide {
                out.put_u32(bytes.len() as u32);
            } else {
                out.put_u8(bytes.len() as u8);
            }
            out.extend_from_slice(bytes);
        }
    });
}

/// Appends the fields of a composite type, one after the other.
///
/// The number of fields is stated beforehand, so that a forgotten one shows in every test.
pub(crate) struct ListWriter<'a> {
    out: &'a mut BytesMut,
    start: usize,
    count: usize,
    written: usize,
}

impl<'a> ListWriter<'a> {
    /// Begins a list of `count` fields with a descriptor.
    pub(crate) fn described(out: &'a mut BytesMut, code: u64, count: usize) -> Self {
        descriptor(out, code);
        let start = out.len();
        out.extend_from_slice(&[0; 9]);
        Self { out, start, count, written: 0 }
    }

    /// Where the next field goes.
    pub(crate) fn next(&mut self) -> &mut BytesMut {
        self.written += 1;
        self.out
    }

    /// Completes the list.
    pub(crate) fn finish(self) {
        debug_assert_eq!(self.written, self.count, "fields of a composite type");
        close_compound(self.out, self.start, 0xc0, 0xd0, self.count);
    }
}
