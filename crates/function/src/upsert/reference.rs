//! RFC 7396 as it is written there, on trees: what the merging of text is held against.

use proptest::prelude::*;
use serde_json::Value;

use super::merge::{Merge, tests::merged};

/// A JSON text as a tree, numbers as they are written.
#[derive(Clone, Debug)]
enum Tree {
    Scalar(&'static str),
    Array(Vec<Tree>),
    Object(Vec<(&'static str, Tree)>),
}

impl Tree {
    /// Some spelling of it: `spelling` chooses escapes and white space.
    fn print(&self, spelling: u64) -> String {
        let space = ["", " ", "\n", ""][(spelling % 4) as usize];
        let next = spelling.rotate_right(2).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        match self {
            Self::Scalar(text) => (*text).to_owned(),
            // Always the same, because arrays are not touched.
            Self::Array(items) => {
                let items: Vec<_> = items.iter().map(|item| item.print(0)).collect();
                format!("[{}]", items.join(","))
            }
            Self::Object(members) => {
                let members: Vec<_> = members
                    .iter()
                    .zip(next..)
                    .map(|((key, value), choice)| {
                        let escape = |c: char| format!("\\u{:04x}", u32::from(c));
                        let key = if choice.is_multiple_of(3) {
                            format!("\"{}\"", key.chars().map(escape).collect::<String>())
                        } else {
                            Value::from(*key).to_string()
                        };
                        format!("{space}{key}{space}:{space}{}{space}", value.print(choice))
                    })
                    .collect();
                format!("{{{}}}", members.join(","))
            }
        }
    }

    /// RFC 7396's MergePatch, word for word, on members that keep their place.
    fn patch(self, patch: &Self) -> Self {
        let Self::Object(patch_members) = patch else { return patch.clone() };
        let mut members = if let Self::Object(members) = self { members } else { Vec::new() };
        for (key, value) in last_of_each(patch_members) {
            let place = members.iter().position(|(candidate, _)| *candidate == key);
            match (place, value) {
                (Some(place), Self::Scalar("null")) => _ = members.remove(place),
                (None, Self::Scalar("null")) => {}
                (Some(place), value) => {
                    let was = std::mem::replace(&mut members[place].1, Self::Scalar("null"));
                    members[place].1 = was.patch(value);
                }
                (None, value) => members.push((key, Self::Scalar("null").patch(value))),
            }
        }
        Self::Object(members)
    }
}

/// Each key at its first place with its last value.
fn last_of_each<'tree>(members: &'tree [(&'static str, Tree)]) -> Vec<(&'static str, &'tree Tree)> {
    let mut unique: Vec<(&'static str, &Tree)> = Vec::new();
    for (key, value) in members {
        match unique.iter_mut().find(|(candidate, _)| candidate == key) {
            Some(found) => found.1 = value,
            None => unique.push((*key, value)),
        }
    }
    unique
}

fn members() -> impl Strategy<Value = Tree> {
    let scalar = prop::sample::select(vec![
        "null",
        "true",
        "false",
        "0",
        "-0",
        "1.0",
        "1e400",
        "12345678901234567890",
        "\"\"",
        "\"\\u00e9\\n\"",
        "\"é\"",
    ])
    .prop_map(Tree::Scalar);
    let key = prop::sample::select(vec!["a", "b", "c", "", "é", "\"", "\\", "\u{1}", "a b"]);
    let tree = scalar.prop_recursive(4, 40, 6, move |inner| {
        prop_oneof![
            1 => prop::collection::vec(inner.clone(), 0..3).prop_map(Tree::Array),
            4 => prop::collection::vec((key.clone(), inner), 0..6).prop_map(Tree::Object),
        ]
    });
    tree.prop_filter("an object", |tree| matches!(tree, Tree::Object(_)))
}

/// RFC 7396's MergePatch on `serde_json`'s values.
fn patch_value(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else { return *target = patch };
    if !target.is_object() {
        *target = Value::Object(serde_json::Map::new());
    }
    let members = target.as_object_mut().expect("an object");
    for (key, value) in patch {
        if value.is_null() {
            members.remove(&key);
        } else {
            patch_value(members.entry(key).or_insert(Value::Null), value);
        }
    }
}

proptest! {
    #[test]
    fn patching_is_rfc_7396(
        events in prop::collection::vec((members(), any::<u64>()), 1..5),
    ) {
        let texts: Vec<_> = events.iter().map(|(event, spelling)| event.print(*spelling)).collect();
        let state = merged(Merge::Patch, texts.iter().map(String::as_str));

        let mut expected = Tree::Object(Vec::new());
        for (event, _) in &events {
            expected = expected.patch(event);
        }
        prop_assert_eq!(&state, &plain(&expected));

        if !state.contains("1e400") && !texts.concat().contains("1e400") {
            let mut value = Value::Null;
            for text in &texts {
                patch_value(&mut value, serde_json::from_str(text).expect("JSON"));
            }
            prop_assert_eq!(serde_json::from_str::<Value>(&state).expect("JSON"), value);
        }
    }
}

/// The tree as a document has it: objects without white space, keys in the one way they are written, arrays as they come.
fn plain(tree: &Tree) -> String {
    match tree {
        Tree::Scalar(_) | Tree::Array(_) => tree.print(0),
        Tree::Object(members) => {
            let member = |(key, value): &(&str, Tree)| format!("{}:{}", Value::from(*key), plain(value));
            format!("{{{}}}", members.iter().map(member).collect::<Vec<_>>().join(","))
        }
    }
}
