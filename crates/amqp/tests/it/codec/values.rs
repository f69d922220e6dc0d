//! Values: vectors of the specification and round trips.

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use tidegate_amqp::codec::value::{Array, Described, MAX_DEPTH, Map, MixedTypes, Symbol, Value};
use tidegate_amqp::codec::{DecodeError, DecodeProblem};

use super::strategies;

pub(super) fn encode(value: &Value) -> Bytes {
    let mut out = BytesMut::new();
    value.encode(&mut out);
    out.freeze()
}

fn problem(bytes: &[u8]) -> DecodeProblem {
    Value::decode(bytes).unwrap_err().problem
}

/// Every encoding of a type decodes to the type, with all codes of part 1, section 1.6 of the specification.
#[test]
fn every_format_code_decodes() {
    let vectors: &[(&[u8], Value)] = &[
        (&[0x40], Value::Null),
        (&[0x56, 0], Value::Boolean(false)),
        (&[0x56, 1], Value::Boolean(true)),
        (&[0x41], Value::Boolean(true)),
        (&[0x42], Value::Boolean(false)),
        (&[0x50, 0xfe], Value::Ubyte(254)),
        (&[0x60, 1, 2], Value::Ushort(258)),
        (&[0x70, 1, 2, 3, 4], Value::Uint(0x0102_0304)),
        (&[0x52, 0xff], Value::Uint(255)),
        (&[0x43], Value::Uint(0)),
        (&[0x80, 1, 2, 3, 4, 5, 6, 7, 8], Value::Ulong(0x0102_0304_0506_0708)),
        (&[0x53, 0xff], Value::Ulong(255)),
        (&[0x44], Value::Ulong(0)),
        (&[0x51, 0xff], Value::Byte(-1)),
        (&[0x61, 0xff, 0xfe], Value::Short(-2)),
        (&[0x71, 0xff, 0xff, 0xff, 0xfd], Value::Int(-3)),
        (&[0x54, 0xfd], Value::Int(-3)),
        (&[0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfc], Value::Long(-4)),
        (&[0x55, 0xfc], Value::Long(-4)),
        (&[0x72, 0x3f, 0x80, 0, 0], Value::Float(1.0)),
        (&[0x82, 0xbf, 0xf0, 0, 0, 0, 0, 0, 0], Value::Double(-1.0)),
        (&[0x74, 1, 2, 3, 4], Value::Decimal32([1, 2, 3, 4])),
        (&[0x84, 1, 2, 3, 4, 5, 6, 7, 8], Value::Decimal64([1, 2, 3, 4, 5, 6, 7, 8])),
        (&[0x94, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15], {
            Value::Decimal128([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15])
        }),
        (&[0x73, 0, 1, 0xf3, 0x0a], Value::Char('\u{1f30a}')),
        (&[0x83, 0, 0, 1, 0x42, 0x4d, 0x5c, 0x10, 0], Value::Timestamp(0x0142_4d5c_1000)),
        (&[0x98, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15], {
            Value::Uuid(uuid::Uuid::from_u128(0x0001_0203_0405_0607_0809_0a0b_0c0d_0e0f))
        }),
        (b"\xa0\x02\x00\xff", Value::Binary(Bytes::from_static(b"\x00\xff"))),
        (b"\xb0\x00\x00\x00\x02\x00\xff", Value::Binary(Bytes::from_static(b"\x00\xff"))),
        (b"\xa1\x03abc", Value::from("abc")),
        (b"\xb1\x00\x00\x00\x03abc", Value::from("abc")),
        (b"\xa3\x03abc", Value::Symbol(Symbol::new("abc"))),
        (b"\xb3\x00\x00\x00\x03abc", Value::Symbol(Symbol::new("abc"))),
        (&[0x45], Value::List(vec![])),
        (&[0xc0, 1, 0], Value::List(vec![])),
        (&[0xc0, 3, 2, 0x41, 0x40], Value::List(vec![Value::Boolean(true), Value::Null])),
        (&[0xd0, 0, 0, 0, 5, 0, 0, 0, 1, 0x43], Value::List(vec![Value::Uint(0)])),
        (b"\xc1\x06\x02\xa1\x01k\x54\x07", Value::Map(Map::new().with("k", 7))),
        (b"\xd1\x00\x00\x00\x09\x00\x00\x00\x02\xa1\x01k\x54\x07", Value::Map(Map::new().with("k", 7))),
        (b"\xe0\x06\x02\xa1\x01a\x01b", Value::Array(Array::of_strings(["a", "b"]))),
        (
            b"\xf0\x00\x00\x00\x09\x00\x00\x00\x02\xa3\x01a\x01b",
            Value::Array(Array::of_symbols([Symbol::new("a"), Symbol::new("b")])),
        ),
        (&[0xe0, 2, 0, 0x40], Value::Array(Array::default())),
        // Some peers leave out the constructor of an array without elements.
        (&[0xe0, 1, 0], Value::Array(Array::default())),
        (&[0xe0, 5, 3, 0x56, 1, 0, 1], {
            Value::Array(Array::new(vec![true.into(), false.into(), true.into()]).unwrap())
        }),
    ];
    for (bytes, expected) in vectors {
        assert_eq!(Value::decode(bytes).as_ref(), Ok(expected), "{bytes:02x?}");
    }
}

/// Figures 1.3 to 1.5 of part 1 of the specification.
#[test]
fn the_examples_of_the_specification() {
    let url = b"\x00\xa1\x03URL\xa1\x1ehttp://example.org/hello-world";
    let expected = Value::Described(Box::new(Described {
        descriptor: "URL".into(),
        value: "http://example.org/hello-world".into(),
    }));
    assert_eq!(Value::decode(url), Ok(expected.clone()));
    assert_eq!(encode(&expected), &url[..]);

    let book = b"\x00\xa3\x11example:book:list\xc0\x40\x03\xa1\x15AMQP for & by Dummies\
                 \xe0\x25\x02\xa1\x0eRob J. Godfrey\x13Rafael H. Schloming\x40";
    let expected = Value::Described(Box::new(Described {
        descriptor: Symbol::new("example:book:list").into(),
        value: Value::List(vec![
            "AMQP for & by Dummies".into(),
            Array::of_strings(["Rob J. Godfrey", "Rafael H. Schloming"]).into(),
            Value::Null,
        ]),
    }));
    assert_eq!(Value::decode(book), Ok(expected.clone()));
    assert_eq!(encode(&expected), &book[..]);
}

#[test]
fn the_most_compact_encoding_is_written() {
    let vectors: &[(Value, &[u8])] = &[
        (Value::Boolean(true), &[0x41]),
        (Value::Uint(0), &[0x43]),
        (Value::Uint(255), &[0x52, 255]),
        (Value::Uint(256), &[0x70, 0, 0, 1, 0]),
        (Value::Ulong(0), &[0x44]),
        (Value::Ulong(0x75), &[0x53, 0x75]),
        (Value::Int(-128), &[0x54, 0x80]),
        (Value::Int(128), &[0x71, 0, 0, 0, 128]),
        (Value::Long(-1), &[0x55, 0xff]),
        (Value::List(vec![]), &[0x45]),
        (Value::List(vec![Value::Null]), &[0xc0, 2, 1, 0x40]),
        (Value::Map(Map::new()), &[0xc1, 1, 0]),
    ];
    for (value, bytes) in vectors {
        assert_eq!(encode(value), *bytes, "{value:?}");
    }
}

#[test]
fn a_compound_value_grows_its_head_at_256_bytes() {
    for (length, code) in [(251, 0xc0), (252, 0xc0), (253, 0xd0), (254, 0xd0)] {
        let value = Value::List(vec!["x".repeat(length).into()]);
        let bytes = encode(&value);
        assert_eq!(bytes[0], code, "{length}");
        assert_eq!(Value::decode(&bytes), Ok(value));
    }
    let many = Value::List(vec![Value::Null; 256]);
    assert_eq!(encode(&many)[0], 0xd0);
    assert_eq!(Value::decode(&encode(&many)), Ok(many));
}

#[test]
fn text_can_be_shared_with_what_it_was_decoded_from() {
    let bytes = encode(&"a text of some length".into());
    let Value::String(shared) = Value::decode_shared(&bytes).unwrap() else { panic!("not a string") };
    assert_eq!(shared.as_bytes().as_ptr(), bytes[2..].as_ptr());
    let Value::String(copied) = Value::decode(&bytes).unwrap() else { panic!("not a string") };
    assert_ne!(copied.as_bytes().as_ptr(), bytes[2..].as_ptr());
}

#[test]
fn what_is_wrong_is_named() {
    use DecodeProblem::*;
    assert_eq!(problem(&[]), Truncated);
    assert_eq!(problem(&[0x70, 1, 2, 3]), Truncated);
    assert_eq!(problem(b"\xa1\x05four"), Truncated);
    assert_eq!(problem(b"\xb1\xff\xff\xff\xfffour"), Truncated);
    assert_eq!(problem(&[0xc0, 9, 1, 0x40]), Truncated);
    assert_eq!(problem(&[0xc0, 0]), Truncated);
    assert_eq!(problem(&[0xc0, 2, 2, 0x40]), Truncated);
    assert_eq!(problem(&[0xc0, 3, 1, 0x40, 0x40]), WrongSize);
    assert_eq!(problem(&[0xc1, 2, 1, 0x40]), OddMap);
    assert_eq!(problem(&[0x57, 1]), UnknownFormatCode(0x57));
    assert_eq!(problem(&[0x46]), UnknownFormatCode(0x46));
    assert_eq!(problem(&[0x40, 0x40]), TrailingBytes);
    assert_eq!(problem(b"\xa1\x01\xff"), NotUtf8);
    assert_eq!(problem("\u{a3}\u{e4}".as_bytes()), UnknownFormatCode(0xc2));
    assert_eq!(problem(b"\xa3\x02\xc3\xa4"), NotAscii);
    assert_eq!(problem(&[0x56, 2]), Invalid("a boolean is 0 or 1"));
    assert_eq!(problem(&[0x73, 0, 0, 0xd8, 0]), Invalid("not a Unicode character"));
    let error = Value::decode(&[0xc0, 4, 2, 0x40, 0x57, 0]).unwrap_err();
    assert_eq!(error, DecodeError { place: "value", at: 4, problem: UnknownFormatCode(0x57) });
    assert_eq!(error.to_string(), "value, byte 4: unknown format code 0x57");
    assert_eq!(error.condition().as_str(), "amqp:decode-error");
}

#[test]
fn nesting_ends_somewhere() {
    let nested = |levels: usize| {
        let mut value = Value::Null;
        for _ in 0..levels {
            value = Value::List(vec![value]);
        }
        encode(&value)
    };
    assert!(Value::decode(&nested(usize::from(MAX_DEPTH))).is_ok());
    assert_eq!(problem(&nested(usize::from(MAX_DEPTH) + 1)), DecodeProblem::TooDeep);
    assert_eq!(problem(&[0; 100_000]), DecodeProblem::TooDeep);
    // The constructor of an array can be described, and that again.
    let mut bytes = vec![0xf0, 0, 0, 1, 4, 0, 0, 0, 0];
    bytes.resize(265, 0);
    assert_eq!(problem(&bytes), DecodeProblem::TooDeep);
}

#[test]
fn an_array_of_nothing_cannot_be_long() {
    // Four billion times true, in ten bytes.
    assert_eq!(problem(&[0xf0, 0, 0, 0, 5, 0xff, 0xff, 0xff, 0xff, 0x41]), DecodeProblem::TooMany);
    assert_eq!(Value::decode(&[0xe0, 2, 1, 0x41]), Ok(Array::new(vec![true.into()]).unwrap().into()));
}

#[test]
fn arrays_hold_one_type() {
    assert_eq!(Array::new(vec!["a".into(), 1.into()]), Err(MixedTypes));
    let described = |descriptor: u64, value: Value| {
        Value::Described(Box::new(Described { descriptor: descriptor.into(), value }))
    };
    assert_eq!(Array::new(vec![described(1, 1.into()), described(2, 1.into())]), Err(MixedTypes));
    assert!(Array::new(vec![described(1, 1.into()), described(1, 2.into())]).is_ok());
}

#[test]
fn maps_find_symbols_and_strings() {
    let map = Map::new().with(Symbol::new("a"), 1).with("b", 2).with("a", 3);
    assert_eq!(map.get("a"), Some(&Value::Int(1)));
    assert_eq!(map.get("b").and_then(Value::as_i64), Some(2));
    assert_eq!(map.get("c"), None);
}

#[test]
fn symbols_are_ascii() {
    assert_eq!(Symbol::new("f\u{fc}r").as_str(), "f?r");
}

proptest! {
    #[test]
    fn values_survive_the_round_trip(value in strategies::value()) {
        let bytes = encode(&value);
        prop_assert_eq!(&Value::decode(&bytes).unwrap(), &value);
        prop_assert_eq!(&Value::decode_shared(&bytes).unwrap(), &value);
    }
}
