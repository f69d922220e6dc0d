//! `[mask.NAME]`: what of events and documents is not shown to everybody.

use toml_edit::Item;

use tidegate_access::Role;
use tidegate_access::mask::{About, MaskRule, Pointer};

use crate::config::elements::oidc::Texts;
use crate::config::key::{Element, Key, KeyInfo};
use crate::config::reader::Reader;
use crate::config::value::{Place, Setting};

const FIELDS: Key<Pointers> = Key::optional(
    "fields",
    "none",
    "Fields of bodies and documents: JSON pointers, in which `*` stands for every element or member. A body that is no JSON \
     is masked as a whole.",
);
const PROPERTIES: Key<Texts> =
    Key::optional("properties", "none", "Properties and system properties of events, by name.");
const BODIES: Key<bool> =
    Key::with_default("bodies", "false", "Whether bodies and documents are masked as a whole.");
const ERRORS: Key<bool> = Key::optional(
    "errors",
    "as `bodies`",
    "Whether the texts of errors are masked: a function may put values into them.",
);
const HUBS: Key<Texts> =
    Key::optional("hubs", "all, and none where `collections` is given", "Only events of these hubs.");
const COLLECTIONS: Key<Texts> = Key::optional(
    "collections",
    "all, and none where `hubs` is given",
    "Only documents of these collections.",
);
const BELOW: Key<Role> = Key::with_default(
    "below",
    "\"operator\"",
    "Who does not see it: the roles below this one. An admin sees everything.",
);

/// The element.
pub(crate) static ELEMENT: Element = Element {
    header: "[mask.NAME]",
    doc: "What of events and documents the page, the API and the commands do not show to everybody; `(masked)` stands there \
          instead. Who may not see a document whole may not ask for documents in SQL either. Partition keys and ids are never \
          masked, nor is what clients receive by AMQP or functions are given.",
    keys: &[&FIELDS as &dyn KeyInfo, &PROPERTIES, &BODIES, &ERRORS, &HUBS, &COLLECTIONS, &BELOW],
    example: "[mask.positions]\nfields = [\"/position/lat\", \"/position/lon\"]\nproperties = [\"operator\"]\nbelow = \"operator\"\n",
};

/// Reads the table.
pub(crate) fn read(reader: &mut Reader<'_, '_>) -> Option<MaskRule> {
    let (fields, properties) = (reader.get_optional(&FIELDS), reader.get_optional(&PROPERTIES));
    let (bodies, errors) = (reader.get(&BODIES), reader.get_optional(&ERRORS));
    let (hubs, collections) = (reader.get_optional(&HUBS), reader.get_optional(&COLLECTIONS));
    let below = reader.get(&BELOW);
    let (fields, properties) = (fields?, properties?);
    let (bodies, errors) = (bodies?, errors?);
    if fields.is_none() && properties.is_none() && !bodies && errors != Some(true) {
        let at = reader.span();
        reader.contradiction(at, "it masks nothing", "give `fields`, `properties`, `bodies` or `errors`");
        return None;
    }
    let (hubs, collections) = (hubs?, collections?);
    let (of_hubs, of_collections) = (hubs.is_some(), collections.is_some());
    let about = |names: Option<Texts>, is_other_given: bool| match names {
        Some(names) => About::Only(names.0),
        None if is_other_given => About::Only(Vec::new()),
        None => About::All,
    };
    Some(MaskRule {
        hubs: about(hubs, of_collections),
        collections: about(collections, of_hubs),
        fields: fields.map(|fields| fields.0).unwrap_or_default(),
        properties: properties.map(|names| names.0).unwrap_or_default(),
        bodies,
        errors: errors.unwrap_or(bodies),
        below: below?,
    })
}

/// Where fields are.
struct Pointers(Vec<Pointer>);

impl Setting for Pointers {
    const TYPE: &'static str = "an array of JSON pointers";
    const EXAMPLE: &'static str = "[\"/position/lat\", \"/readings/*/value\"]";

    fn read(item: &Item, place: &mut Place<'_, '_>) -> Option<Self> {
        let array = item.as_array().filter(|array| !array.is_empty());
        let pointers: Option<Vec<Pointer>> =
            array.and_then(|array| array.iter().map(|value| value.as_str()?.parse().ok()).collect());
        if pointers.is_none() {
            place.not_a::<Self>(item);
        }
        pointers.map(Self)
    }
}
