//! Merging an event into a document, as text: RFC 7396, or replacement.
//!
//! Members that the document has keep their place, new ones are appended. What is not changed is copied as it is
//! written, so that numbers keep every digit.

use bytes::Bytes;
use hashbrown::HashMap;
use smallvec::SmallVec;
use tidegate_model::document::MAX_DOCUMENT_BYTES;

use super::object::{Object, View, members_of};
use super::scan::{Member, Span};
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

/// Builds documents. What one leaves in memory is used by the next.
#[derive(Default)]
pub(super) struct Merger {
    text: Vec<u8>,
    members: Vec<Member>,
}

impl Merger {
    /// The state of a document after an event. The error says why there cannot be such a document.
    pub(super) fn merge(
        &mut self,
        merge: Merge,
        current: Option<&Object>,
        event: &Object,
    ) -> Result<Object, String> {
        self.text.clear();
        self.members.clear();
        let current = match merge {
            Merge::Patch => current.map_or(View::EMPTY, Object::view),
            Merge::Replace => View::EMPTY,
        };
        let members = &mut self.members;
        write_merged(&mut self.text, merge, current, event.view(), &mut |member| members.push(member));
        check_size(self.text.len())?;
        let object = Object::from_parts(Bytes::copy_from_slice(&self.text), self.members.clone());
        self.text.shrink_to(MAX_DOCUMENT_BYTES / 16);
        Ok(object)
    }
}

/// A member of the merged object: what it was and what the event says about it.
struct Merged<'text> {
    key: &'text [u8],
    was: Option<&'text Member>,
    event: Option<&'text Member>,
}

/// Appends to `out` what becomes of `current` through `event`, and tells `each` where the members are.
fn write_merged(
    out: &mut Vec<u8>,
    merge: Merge,
    current: View<'_>,
    event: View<'_>,
    each: &mut dyn FnMut(Member),
) {
    out.push(b'{');
    let mut first = true;
    for member in pair(current, event) {
        let value = match (member.was, member.event) {
            (_, Some(says)) => event.value(says),
            (Some(was), None) => current.value(was),
            (None, None) => continue,
        };
        let patched = member.event.is_some() && merge == Merge::Patch;
        if patched && value == b"null" {
            continue;
        }
        if !std::mem::take(&mut first) {
            out.push(b',');
        }
        let key = Span::new(out.len(), out.len() + member.key.len());
        out.extend_from_slice(member.key);
        out.push(b':');
        let start = out.len();
        if patched && value.first() == Some(&b'{') {
            let was = member.was.map_or(&b"null"[..], |was| current.value(was));
            write_patched(out, was, value);
        } else {
            out.extend_from_slice(value);
        }
        each(Member { key, value: Span::new(start, out.len()) });
    }
    out.push(b'}');
}

/// Appends to `out` what becomes of any value when it is patched with an object.
fn write_patched(out: &mut Vec<u8>, current: &[u8], patch: &[u8]) {
    let patch_members = members_of(patch);
    let event = View { text: patch, members: &patch_members };
    if current.first() == Some(&b'{') {
        let members = members_of(current);
        write_merged(out, Merge::Patch, View { text: current, members: &members }, event, &mut |_| ());
    } else {
        write_merged(out, Merge::Patch, View::EMPTY, event, &mut |_| ());
    }
}

/// Objects of up to this many members are searched member by member.
const FEW: usize = 32;

/// The members of two objects by key: those of `current` in their order, then the new ones in theirs.
fn pair<'text>(current: View<'text>, event: View<'text>) -> SmallVec<[Merged<'text>; FEW]> {
    let mut merged: SmallVec<[Merged<'_>; FEW]> = SmallVec::new();
    let mut places = HashMap::new();
    let mut place_of = |merged: &SmallVec<[Merged<'text>; FEW]>, key: &'text [u8]| {
        if merged.len() <= FEW {
            return merged.iter().position(|member| member.key == key);
        }
        for (place, member) in merged.iter().enumerate().skip(places.len()) {
            places.insert(member.key, place);
        }
        places.get(key).copied()
    };
    // An object of ours has each key once.
    merged.extend(current.members.iter().map(|was| Merged { key: current.key(was), was: Some(was), event: None }));
    // Events of one kind write their members in one order, so the next member is most often the next one.
    let mut next = 0;
    for says in event.members {
        let key = event.key(says);
        let place = match merged.get(next) {
            Some(member) if member.key == key => Some(next),
            _ => place_of(&merged, key),
        };
        if let Some(place) = place {
            merged[place].event = Some(says);
            next = place + 1;
        } else {
            merged.push(Merged { key, was: None, event: Some(says) });
            next = merged.len();
        }
    }
    merged
}
