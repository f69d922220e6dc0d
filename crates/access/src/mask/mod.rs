//! Masking: what of events and documents a role below the one that a rule names does not see.
//!
//! It works on the answers of the API as JSON, on their way out, so that nothing which the API learns to tell is forgotten:
//! every member that may hold an event's body, a document or a text made of them is known here by its name. Where it
//! cannot be told which hub or collection something is of, every rule counts.

mod pointer;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use crate::role::Role;
pub use pointer::{InvalidPointer, Pointer};

/// What stands where something is masked.
pub const MASKED: &str = "(masked)";

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaskRule {
    /// The hubs whose events it is about.
    pub hubs: About,
    /// The collections whose documents it is about.
    pub collections: About,
    /// Fields of bodies and documents.
    pub fields: Vec<Pointer>,
    /// Properties and system properties, by name.
    pub properties: Vec<String>,
    /// Whether bodies and documents are masked as a whole.
    pub bodies: bool,
    /// Whether the texts of errors are, which a function may put values into.
    pub errors: bool,
    /// Who sees everything: this role and those above.
    pub below: Role,
}

/// What a rule is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    /// Everything.
    All,
    /// What has one of these names; none is possible.
    Only(Vec<String>),
}

impl About {
    /// `None` is something whose name is not known.
    fn covers(&self, name: Option<&str>) -> bool {
        match (self, name) {
            (Self::All, _) => true,
            (Self::Only(names), None) => !names.is_empty(),
            (Self::Only(names), Some(name)) => names.iter().any(|one| one.eq_ignore_ascii_case(name)),
        }
    }
}

/// All rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Masks(Vec<MaskRule>);

/// What somebody may see. The guard puts it among a request's extensions where that is not everything: a handler whose answer has
/// none of the API's shapes, by which documents are known on their way out, masks them itself before it makes its own.
#[derive(Clone, Debug)]
pub struct Sight {
    masks: Masks,
    role: Role,
}

impl Sight {
    /// What a role may see.
    pub fn new(masks: &Masks, role: Role) -> Self {
        Self { masks: masks.clone(), role }
    }

    /// Masks a document.
    pub fn mask_document(&self, collection: &str, document: &mut Value) {
        self.masks.mask_document(self.role, collection, document);
    }
}

/// Where something comes from, as far as that is known.
#[derive(Clone, Copy, Debug, Default)]
pub struct Origin<'o> {
    /// The hub.
    pub hub: Option<&'o str>,
    /// The collection.
    pub collection: Option<&'o str>,
}

impl Masks {
    /// These rules.
    pub fn new(rules: Vec<MaskRule>) -> Self {
        Self(rules)
    }

    /// True when a role sees everything.
    pub fn spare(&self, role: Role) -> bool {
        self.0.iter().all(|rule| role.covers(rule.below))
    }

    /// True when a role may ask in SQL: not where documents are masked, for a query can say the same in other words.
    pub fn allow_queries(&self, role: Role) -> bool {
        let hides = |rule: &&MaskRule| rule.bodies || !rule.fields.is_empty();
        let mut below = self.0.iter().filter(|rule| !role.covers(rule.below));
        !below.any(|rule| hides(&rule) && rule.collections.covers(None))
    }

    /// Masks a document by itself.
    pub fn mask_document(&self, role: Role, collection: &str, document: &mut Value) {
        let rules: Vec<&MaskRule> = self.0.iter().filter(|rule| !role.covers(rule.below)).collect();
        let origin = Origin { hub: None, collection: Some(collection) };
        Walk { rules: &rules }.document(document, origin);
    }

    /// Masks an answer for a role.
    pub fn mask(&self, role: Role, origin: Origin<'_>, answer: &mut Value) {
        let rules: Vec<&MaskRule> = self.0.iter().filter(|rule| !role.covers(rule.below)).collect();
        if !rules.is_empty() {
            Walk { rules: &rules }.value(answer, origin);
        }
    }
}

struct Walk<'w> {
    rules: &'w [&'w MaskRule],
}

impl Walk<'_> {
    fn value(&self, value: &mut Value, origin: Origin<'_>) {
        match value {
            Value::Array(items) => items.iter_mut().for_each(|item| self.value(item, origin)),
            Value::Object(members) => self.object(members, origin),
            _ => {}
        }
    }

    fn object(&self, members: &mut Map<String, Value>, origin: Origin<'_>) {
        let text = |name: &str| members.get(name).and_then(Value::as_str).map(str::to_owned);
        let (hub, collection) = (text("hub"), text("collection"));
        let origin = Origin {
            hub: hub.as_deref().or(origin.hub),
            collection: collection.as_deref().or(origin.collection),
        };
        let is_document = collection.is_some() && members.contains_key("id");
        // The words of a person are not made of events; those of a function are.
        let is_failure = ["class", "fingerprint", "attempts"].iter().any(|name| members.contains_key(*name));
        let is_log = members.contains_key("level") && members.contains_key("target");
        for (name, value) in members {
            match name.as_str() {
                "body" if is_document => self.document(value, origin),
                "body" => self.body(value, origin),
                "body_base64" => self.base64(value, origin),
                "document" | "before" | "after" if !is_state(value) => self.document(value, origin),
                "properties" | "system_properties" => self.properties(value, origin),
                "document_diff" | "edited_diff" | "diff" | "preview" => self.text(value, |rule| {
                    rule.bodies || !rule.fields.is_empty() || !rule.properties.is_empty()
                }),
                "error" | "held" => self.text(value, |rule| rule.errors),
                "reason" if is_failure => self.text(value, |rule| rule.errors),
                "message" if is_log => self.text(value, |rule| rule.errors),
                _ => self.value(value, origin),
            }
        }
    }

    /// A text made of events or documents.
    fn text(&self, value: &mut Value, hides: impl Fn(&MaskRule) -> bool) {
        if value.is_string() && self.rules.iter().any(|rule| hides(rule)) {
            *value = MASKED.into();
        }
    }

    fn properties(&self, value: &mut Value, origin: Origin<'_>) {
        let Some(members) = value.as_object_mut() else { return };
        for rule in self.rules.iter().filter(|rule| rule.hubs.covers(origin.hub)) {
            for name in &rule.properties {
                if let Some(value) = members.get_mut(name) {
                    *value = MASKED.into();
                }
            }
        }
    }

    fn document(&self, value: &mut Value, origin: Origin<'_>) {
        if value.is_null() {
            return;
        }
        for rule in self.rules.iter().filter(|rule| rule.collections.covers(origin.collection)) {
            if rule.bodies {
                *value = MASKED.into();
                return;
            }
            rule.fields.iter().for_each(|field| field.mask(value));
        }
    }

    /// The body of an event as text.
    fn body(&self, value: &mut Value, origin: Origin<'_>) {
        match value {
            Value::String(text) => {
                if let Some(masked) = self.bytes(text.as_bytes(), origin) {
                    *value = masked.into();
                }
            }
            Value::Null => {}
            // Somebody took it apart already.
            other => self.parsed(other, origin),
        }
    }

    fn base64(&self, value: &mut Value, origin: Origin<'_>) {
        let Some(text) = value.as_str() else { return };
        // What cannot be read is not shown.
        let bytes = STANDARD.decode(text).unwrap_or_default();
        if let Some(masked) = self.bytes(&bytes, origin) {
            *value = STANDARD.encode(masked).into();
        }
    }

    /// What is shown instead of a body; `None` for the body itself.
    fn bytes(&self, body: &[u8], origin: Origin<'_>) -> Option<String> {
        let mut rules = self.rules.iter().filter(|rule| rule.hubs.covers(origin.hub));
        let hides = |rule: &&&MaskRule| rule.bodies || !rule.fields.is_empty();
        rules.find(hides)?;
        match serde_json::from_slice::<Value>(body) {
            Ok(mut parsed) => {
                self.parsed(&mut parsed, origin);
                Some(match parsed {
                    Value::String(text) if text == MASKED => text,
                    other => other.to_string(),
                })
            }
            // Where the fields of a broken body are, nobody can say.
            Err(_) => Some(MASKED.to_owned()),
        }
    }

    fn parsed(&self, body: &mut Value, origin: Origin<'_>) {
        for rule in self.rules.iter().filter(|rule| rule.hubs.covers(origin.hub)) {
            if rule.bodies {
                *body = MASKED.into();
                return;
            }
            rule.fields.iter().for_each(|field| field.mask(body));
        }
    }
}

/// True for a document with its name and collection around it.
fn is_state(value: &Value) -> bool {
    value.get("collection").is_some_and(Value::is_string) && value.get("id").is_some()
}

#[cfg(test)]
mod tests;
