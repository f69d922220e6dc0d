//! Merging an event into a document, as text: RFC 7396, or replacement.
//!
//! Members that the document has keep their place, new ones are appended. What is not changed is copied as it is
//! written, so that numbers keep every digit.

use hashbrown::HashMap;

use super::object::{Member, Object, Shape, Span, View, read_members};
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
    text: String,
    members: Vec<Member>,
}

impl Merger {
    /// The state of a document after an event. The error says why there cannot be such a document.
    pub(super) fn merge(
        &mut self,
        merge: Merge,
        current: Option<&Object>,
        event: View<'_>,
    ) -> Result<Object, String> {
        if let Some(current) = current
            && says_all(current, event)
        {
            check_size(event.text.len())?;
            // A copy: the event's text is a piece of what was read from the log at once.
            let (text, members) = (event.text.into(), event.members.to_vec());
            return Ok(Object { text, members, shape: current.shape });
        }
        self.text.clear();
        self.members.clear();
        let current = match merge {
            Merge::Patch => current.map_or(View::EMPTY, Object::view),
            Merge::Replace => View::EMPTY,
        };
        self.write(merge, &pair(current, event))
            .map_err(|problem| format!("an object within it is {problem}"))?;
        check_size(self.text.len())?;
        Ok(Object::new(&self.text, &self.members))
    }

    /// Appends the object with these members to the text, and the places of its members.
    fn write(&mut self, merge: Merge, merged: &[Merged<'_>]) -> Result<(), String> {
        let first = self.members.len();
        self.text.push('{');
        for Merged { key, was, says } in merged {
            let Some(value) = says.or(*was) else { continue };
            let patched = merge == Merge::Patch && says.is_some();
            if patched && value == "null" {
                continue;
            }
            if self.members.len() > first {
                self.text.push(',');
            }
            let start = self.text.len();
            self.text.push_str(key);
            let key = Span::new(start, self.text.len());
            self.text.push(':');
            let start = self.text.len();
            if patched && value.starts_with('{') {
                self.write_patched(was.unwrap_or_default(), value)?;
            } else {
                self.text.push_str(value);
            }
            self.members.push(Member { key, value: Span::new(start, self.text.len()) });
        }
        self.text.push('}');
        Ok(())
    }

    /// Appends the object that a patch makes of a value. The members of both are read only now, so what is nested is
    /// read once more for each level down to it; [`MAX_DEPTH`](super::object::MAX_DEPTH) bounds that.
    fn write_patched(&mut self, was: &str, patch: &str) -> Result<(), String> {
        let was = if was.starts_with('{') { was } else { "{}" };
        let (mut was_members, mut patch_members) = (Vec::new(), Vec::new());
        let was = read_members(was, &mut was_members)?;
        let patch = read_members(patch, &mut patch_members)?;
        let was = View { text: &was, members: &was_members };
        let written = self.members.len();
        self.write(Merge::Patch, &pair(was, View { text: &patch, members: &patch_members }))?;
        self.members.truncate(written);
        Ok(())
    }
}

/// True when an event says everything that its document holds, and so is the document's new state as it is written.
/// Most telemetry is like that, and then there is nothing to merge.
fn says_all(current: &Object, event: View<'_>) -> bool {
    event.is_compact()
        // Null removes, and objects are merged.
        && event.members().all(|(_, value)| value != "null" && !value.starts_with('{'))
        // The keys of a document come once each, so those of the event do, too.
        && current.shape == Shape::of(event)
}

/// A member of the merged object.
struct Merged<'text> {
    key: &'text str,
    /// Its value before the event, if it was there.
    was: Option<&'text str>,
    /// What the event says about it, if it says something.
    says: Option<&'text str>,
}

/// The members of two objects. The last one of equal keys counts, at the place of the first.
fn pair<'text>(current: View<'text>, event: View<'text>) -> Vec<Merged<'text>> {
    let mut members = Members::with_capacity(current.members.len().max(event.members.len()));
    for (key, value) in current.members() {
        members.get(key).was = Some(value);
    }
    for (key, value) in event.members() {
        members.get(key).says = Some(value);
    }
    members.list
}

/// Up to so many members are looked through one by one; that is quicker than hashing.
const FEW: usize = 32;

/// Finds members by key.
struct Members<'text> {
    list: Vec<Merged<'text>>,
    /// Where each key is, once there are more than a few.
    index: HashMap<&'text str, usize>,
    /// The place after the one found last. Events name their members in one order, so this is mostly the next one.
    next: usize,
}

impl<'text> Members<'text> {
    fn with_capacity(capacity: usize) -> Self {
        Self { list: Vec::with_capacity(capacity), index: HashMap::new(), next: 0 }
    }

    /// The member with this key, made at the end if there is none.
    fn get(&mut self, key: &'text str) -> &mut Merged<'text> {
        let found = match self.list.get(self.next) {
            Some(member) if member.key == key => Some(self.next),
            _ if self.list.len() <= FEW => self.list.iter().position(|member| member.key == key),
            _ => {
                if self.index.is_empty() {
                    self.index =
                        self.list.iter().enumerate().map(|(place, member)| (member.key, place)).collect();
                }
                self.index.get(key).copied()
            }
        };
        let place = found.unwrap_or_else(|| {
            self.list.push(Merged { key, was: None, says: None });
            let place = self.list.len() - 1;
            if !self.index.is_empty() {
                self.index.insert(key, place);
            }
            place
        });
        self.next = place + 1;
        &mut self.list[place]
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::object::read_object;
    use super::*;

    fn object(json: &str) -> Object {
        let mut members = Vec::new();
        let text =
            read_object(&bytes::Bytes::copy_from_slice(json.as_bytes()), &mut members).expect("an object");
        Object::new(&text, &members)
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
            let read = object(&state.text);
            assert!(state.view().members().eq(read.view().members()), "the places of the members are right");
            document = Some(state);
        }
        document.expect("an event").text.to_string()
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
    fn an_event_that_says_everything_replaces_its_document_unless_it_has_to_be_read() {
        let document = r#"{"a":1,"b":{"c":2},"d":"x"}"#;
        for (event, state) in [
            (r#"{"a":3,"b":4,"d":"y"}"#, r#"{"a":3,"b":4,"d":"y"}"#),
            (r#"{"a":3,"b":null,"d":"y"}"#, r#"{"a":3,"d":"y"}"#),
            (r#"{"a":3,"b":{"e":5},"d":"y"}"#, r#"{"a":3,"b":{"c":2,"e":5},"d":"y"}"#),
            (r#"{"a":3, "b":4,"d":"y"}"#, r#"{"a":3,"b":4,"d":"y"}"#),
            (r#"{"a":3,"b":4,"d":"y" }"#, r#"{"a":3,"b":4,"d":"y"}"#),
            (r#"{"a":3,"b":4,"\u0064":"y"}"#, r#"{"a":3,"b":4,"d":"y"}"#),
            (r#"{"a":3,"d":4,"b":"y"}"#, r#"{"a":3,"b":"y","d":4}"#),
            (r#"{"a":3,"a":4,"d":"y"}"#, r#"{"a":4,"b":{"c":2},"d":"y"}"#),
            (r#"{"a":3,"b":4}"#, r#"{"a":3,"b":4,"d":"x"}"#),
        ] {
            assert_eq!(patched([document, event]), state, "{event}");
        }
        assert_eq!(patched(["{}", "{}"]), "{}");
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
        assert_eq!(state.text, r#"{"x":{"a":4,"b":2}}"#);
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
