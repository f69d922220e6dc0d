//! Merging an event into a document, as text: RFC 7396, or replacement.
//!
//! Members that the document has keep their place, new ones are appended. What is not changed is copied as it is
//! written, so that numbers keep every digit.

use bytes::Bytes;
use hashbrown::HashMap;
use smallvec::SmallVec;

use super::index::{Member, Source, Span, View, begin_member, end_member};
use super::object::Object;
use crate::typed::check_size;

/// How an event becomes a part of its document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Merge {
    /// The event is a JSON merge patch (RFC 7396): its members replace those of the document, objects are merged
    /// member by member, and null removes.
    Patch,
    /// The event is the document's new state.
    Replace,
}

/// Builds documents, in memory that is used again.
#[derive(Default)]
pub(super) struct Merger {
    text: Vec<u8>,
    index: Vec<Member>,
}

impl Merger {
    /// The state of a document after an event. The error says why there cannot be such a document.
    pub(super) fn merge(
        &mut self,
        merge: Merge,
        current: Option<&Object>,
        event: View<'_>,
    ) -> Result<Object, String> {
        self.text.clear();
        self.index.clear();
        let current = match merge {
            Merge::Patch => current.map_or(View::EMPTY, Object::view),
            Merge::Replace => View::EMPTY,
        };
        let merged = pair(current, Keys::Unique, event);
        write_merged(&mut self.text, &mut self.index, merge, &merged);
        check_size(self.text.len())?;
        Ok(Object::from_parts(Bytes::copy_from_slice(&self.text), self.index.clone()))
    }
}

/// Appends to `out` the object with these members, and to `index` where they are.
fn write_merged(out: &mut Vec<u8>, index: &mut Vec<Member>, merge: Merge, merged: &[Merged<'_>]) {
    out.push(b'{');
    let mut copier = Copier { out, text: b"", start: 0, end: 0 };
    let mut first = true;
    for member in merged {
        let patch = if merge == Merge::Patch { member.says } else { None };
        if patch.is_some_and(|patch| patch.value() == b"null") {
            continue;
        }
        let Some(source) = member.says.or(member.was) else { continue };
        if let Some(patch) = patch.and_then(Source::object) {
            let (key, start) = copier.key(source, std::mem::take(&mut first));
            let place = begin_member(index, key);
            let current = member.was.and_then(Source::object).unwrap_or(View::EMPTY);
            write_merged(copier.out, index, Merge::Patch, &pair(current, Keys::Any, patch));
            end_member(index, place, Span::new(start, copier.out.len()));
        } else {
            copier.member(source, std::mem::take(&mut first), index);
        }
    }
    copier.flush();
    out.push(b'}');
}

/// Copies members of objects, neighbours in one go.
struct Copier<'out, 'text> {
    out: &'out mut Vec<u8>,
    /// The text that is copied from, and the part of it that is next.
    text: &'text [u8],
    start: usize,
    end: usize,
}

impl<'text> Copier<'_, 'text> {
    /// Copies a member, and adds to `index` where it is in the copy.
    fn member(&mut self, source: Source<'text>, first: bool, index: &mut Vec<Member>) {
        let member = source.member();
        let Member { key, value, .. } = member;
        let (start, end) = (key.start as usize, value.end as usize);
        if value.start != key.end + 1 {
            let (key, to) = self.key(source, first);
            self.out.extend_from_slice(source.value());
            let place = begin_member(index, key);
            let from = value.start as usize;
            index.extend(source.nested().iter().map(|member| member.moved(from, to)));
            end_member(index, place, Span::new(to, self.out.len()));
            return;
        }
        let follows = !first
            && std::ptr::eq(self.text, source.text)
            && start == self.end + 1
            && self.end > self.start
            && self.text[self.end] == b',';
        if !follows {
            self.flush();
            if !first {
                self.out.push(b',');
            }
            (self.text, self.start) = (source.text, start);
        }
        self.end = end;
        let (from, to) = (self.start, self.out.len());
        index.push(member.moved(from, to));
        if member.nested > 0 {
            index.extend(source.nested().iter().map(|member| member.moved(from, to)));
        }
    }

    /// Copies a key and its colon. Returns where the key is, and where the value is to begin.
    fn key(&mut self, source: Source<'_>, first: bool) -> (Span, usize) {
        self.flush();
        if !first {
            self.out.push(b',');
        }
        let start = self.out.len();
        self.out.extend_from_slice(source.key());
        let key = Span::new(start, self.out.len());
        self.out.push(b':');
        (key, self.out.len())
    }

    fn flush(&mut self) {
        self.out.extend_from_slice(&self.text[self.start..self.end]);
        (self.text, self.start, self.end) = (b"", 0, 0);
    }
}

/// A member of the merged object.
struct Merged<'text> {
    key: &'text [u8],
    /// What it was before the event, if it was there.
    was: Option<Source<'text>>,
    /// What the event says about it, if it says something.
    says: Option<Source<'text>>,
}

/// Objects of up to this many members are searched member by member.
const FEW: usize = 32;

type Members<'text> = SmallVec<[Merged<'text>; FEW]>;

/// What is known about the keys of an object.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keys {
    /// No two are equal: the object was written by [`Merger::merge`].
    Unique,
    /// Some may be equal.
    Any,
}

/// The members of two objects by key: those of `current` in their order, then the new ones in theirs.
fn pair<'text>(current: View<'text>, keys: Keys, event: View<'text>) -> Members<'text> {
    let mut merged = Members::new();
    let mut places = Places::default();
    for source in current.members() {
        let key = source.key();
        match if keys == Keys::Any { places.find(&merged, key) } else { None } {
            Some(place) => merged[place].was = Some(source),
            None => merged.push(Merged { key, was: Some(source), says: None }),
        }
    }
    // Events of one kind write their members in one order, so the next member is most often the next one.
    let mut next = 0;
    for source in event.members() {
        let key = source.key();
        let place = match merged.get(next) {
            Some(expected) if expected.key == key => Some(next),
            _ => places.find(&merged, key),
        };
        if let Some(place) = place {
            merged[place].says = Some(source);
            next = place + 1;
        } else {
            merged.push(Merged { key, was: None, says: Some(source) });
            next = merged.len();
        }
    }
    merged
}

/// Finds members by key, in time that does not grow with the square of their number.
#[derive(Default)]
struct Places<'text>(HashMap<&'text [u8], usize>);

impl<'text> Places<'text> {
    fn find(&mut self, members: &Members<'text>, key: &[u8]) -> Option<usize> {
        if members.len() <= FEW {
            return members.iter().position(|member| member.key == key);
        }
        for (place, member) in members.iter().enumerate().skip(self.0.len()) {
            self.0.insert(member.key, place);
        }
        self.0.get(key).copied()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn object(text: &str) -> Object {
        Object::parse(Bytes::copy_from_slice(text.as_bytes())).expect("an object")
    }

    /// What becomes of a document through events.
    pub(in crate::upsert) fn merged<'text>(
        merge: Merge,
        events: impl IntoIterator<Item = &'text str>,
    ) -> String {
        let mut merger = Merger::default();
        let mut document = None;
        for event in events {
            let state = merger.merge(merge, document.as_ref(), object(event).view()).expect("small enough");
            let parsed =
                Object::parse(state.view().text.to_vec().into()).expect("a merged document is an object");
            assert_eq!(parsed.view().index, state.view().index, "the places of the members are right");
            document = Some(state);
        }
        String::from_utf8(document.expect("an event").view().text.to_vec()).expect("text")
    }

    fn patched<'text>(events: impl IntoIterator<Item = &'text str>) -> String {
        merged(Merge::Patch, events)
    }

    #[test]
    fn the_examples_of_the_rfc() {
        // RFC 7396, appendix A: those whose target and patch are objects.
        for (target, patch, result) in [
            (r#"{"a":"b"}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"b":"c"}"#, r#"{"a":"b","b":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"a":null}"#, r#"{}"#),
            (r#"{"a":"b","b":"c"}"#, r#"{"a":null}"#, r#"{"b":"c"}"#),
            (r#"{"a":["b"]}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"c"}"#, r#"{"a":["b"]}"#, r#"{"a":["b"]}"#),
            (r#"{"a":{"b":"c"}}"#, r#"{"a":{"b":"d","c":null}}"#, r#"{"a":{"b":"d"}}"#),
            (r#"{"a":[{"b":"c"}]}"#, r#"{"a":[1]}"#, r#"{"a":[1]}"#),
            (r#"{"a":"foo"}"#, r#"{"b":[null,{"c":null}]}"#, r#"{"a":"foo","b":[null,{"c":null}]}"#),
            (r#"{}"#, r#"{"a":{"bb":{"ccc":null}}}"#, r#"{"a":{"bb":{}}}"#),
        ] {
            assert_eq!(patched([target, patch]), result, "{target} patched with {patch}");
        }
    }

    #[test]
    fn members_keep_their_place_and_new_ones_follow() {
        assert_eq!(
            patched([r#"{"a":1,"b":2,"c":3}"#, r#"{"z":0,"c":4,"a":5}"#, r#"{"b":null,"y":1}"#]),
            r#"{"a":5,"c":4,"z":0,"y":1}"#
        );
    }

    #[test]
    fn numbers_keep_their_digits_and_space_goes() {
        assert_eq!(
            patched([r#" { "a" : 1.0 , "b" : 1e400 } "#, "{\"c\":\n-0.10E+01,\"d\": [ 1.50 ]}"]),
            r#"{"a":1.0,"b":1e400,"c":-0.10E+01,"d":[ 1.50 ]}"#
        );
    }

    #[test]
    fn the_last_of_equal_keys_counts_however_it_is_written() {
        assert_eq!(patched([r#"{"a":1,"b":2,"\u0061":3}"#]), r#"{"a":3,"b":2}"#);
        assert_eq!(patched([r#"{"a":1}"#, r#"{"a":2,"a":null}"#]), "{}");
        assert_eq!(patched([r#"{"a":1}"#, r#"{"a":null,"a":2}"#]), r#"{"a":2}"#);
        assert_eq!(patched([r#"{"x":{"a":{"b":1},"a":{"c":2}}}"#]), r#"{"x":{"a":{"c":2}}}"#);
        assert_eq!(
            merged(Merge::Replace, [r#"{"a":1,"b":null,"a":{"c":null}}"#]),
            r#"{"a":{"c":null},"b":null}"#
        );
        // What replacing copied is patched as if the key were there once.
        let replaced = object(&merged(Merge::Replace, [r#"{"x":{"a":1,"b":2,"a":3}}"#]));
        let patch = object(r#"{"x":{"a":4}}"#);
        let state =
            Merger::default().merge(Merge::Patch, Some(&replaced), patch.view()).expect("small enough");
        assert_eq!(state.view().text, br#"{"x":{"a":4,"b":2}}"#);
    }

    #[test]
    fn many_members_are_merged_like_few() {
        let many = |from: usize, to: usize, value: &str| {
            let members: Vec<_> = (from..to).map(|number| format!("\"k{number}\":{value}")).collect();
            format!("{{{}}}", members.join(","))
        };
        let twice =
            format!("{{{},{}}}", many(0, 9000, "2").trim_matches(['{', '}']), r#""k7":3,"k8999":null"#);
        let state = patched([many(0, 5000, "1").as_str(), &twice, &many(0, 100, "null")]);
        let expected = many(100, 8999, "2");
        assert_eq!(state, expected);
    }

    #[test]
    fn objects_are_merged_as_deep_as_they_may_be_nested() {
        let nested = |member: &str| format!("{}{{{member}}}{}", "{\"a\":".repeat(126), "}".repeat(126));
        let state = patched([nested("\"b\":1").as_str(), &nested("\"c\":2"), &nested("\"b\":null")]);
        assert_eq!(state, nested("\"c\":2"));
    }

    #[test]
    fn a_document_larger_than_a_store_takes_is_refused() {
        let half = format!("{{\"a\":\"{}\"}}", "x".repeat(1_048_570));
        let document = object(&half);
        let event = object(&half.replace("\"a\"", "\"bb\""));
        let error =
            Merger::default().merge(Merge::Patch, Some(&document), event.view()).expect_err("too large");
        assert_eq!(error, "it would be 2097156 bytes of JSON; the limit is 2097152");
        assert!(Merger::default().merge(Merge::Replace, Some(&document), event.view()).is_ok());
    }
}
