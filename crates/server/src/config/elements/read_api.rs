//! `[read_api.NAME]`: documents of a collection under an address of one's own.

use toml_edit::Item;

use tidegate_model::document::CollectionName;

use crate::config::key::{Element, Key, KeyInfo};
use crate::config::reader::Reader;
use crate::config::value::{Place, Setting};

/// Documents of a collection under an address of one's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadApiConfig {
    /// Its name.
    pub name: String,
    /// The address up to the document's id, such as `/api/v1/dronestatus`.
    pub base: String,
    /// What the address calls the id, such as `deviceid`.
    pub parameter: String,
    /// The collection.
    pub collection: CollectionName,
    /// What is answered, and where in the document it is; the whole document if there is nothing.
    pub fields: Vec<(String, Vec<String>)>,
}

const PATH: Key<ReadPath> = Key::required(
    "path",
    "The address: at least three parts, the first of them `api`, and at the end the document's id in braces, such as \
     `/api/v1/dronestatus/{deviceid}`. It is answered with the id in the query as well: `/api/v1/dronestatus?deviceid=…`.",
);
const COLLECTION: Key<CollectionName> =
    Key::required("collection", "The collection that the documents are in.");
const FIELDS: Key<Fields> = Key::optional(
    "fields",
    "the whole document",
    "What is answered: a member for each of these, with what the JSON pointer leads to in the document; a member is left out \
     where it leads to nothing.",
);

/// The element.
pub(crate) static ELEMENT: Element = Element {
    header: "[read_api.NAME]",
    doc: "Documents of a collection under an address and in a form of their own, for programs that ask for nothing else. The \
          answers are 200 with the document, 400 without an id, 404 without such a document, and 401 for who may not read.",
    keys: &[&PATH as &dyn KeyInfo, &COLLECTION, &FIELDS],
    example: "[read_api.dronestatus]\npath = \"/api/v1/dronestatus/{deviceid}\"\ncollection = \"drones\"\n",
};

/// Reads the read API `name`; `None` when something of it is wrong.
pub(crate) fn read(name: &str, reader: &mut Reader<'_, '_>) -> Option<ReadApiConfig> {
    let (path, collection) = (reader.get(&PATH), reader.get(&COLLECTION));
    let fields = reader.get_optional(&FIELDS);
    let ReadPath { base, parameter } = path?;
    if let Some(own) = own_address(&base) {
        let at = reader.span_of(&PATH);
        let problem = format!("the address {base} belongs to {own} of the program itself");
        reader.contradiction(at, &problem, "choose another, such as `/api/v1/devices/{id}`");
        return None;
    }
    let fields = fields?.map(|fields| fields.0).unwrap_or_default();
    Some(ReadApiConfig { name: name.to_owned(), base, parameter, collection: collection?, fields })
}

/// The address of the program's own API that `base` would stand in the way of.
fn own_address(base: &str) -> Option<String> {
    let below = format!("{base}/");
    let own = crate::api::openapi::document().paths.paths.into_keys();
    own.into_iter().find(|path| path == base || path.starts_with(&below))
}

struct ReadPath {
    base: String,
    parameter: String,
}

impl Setting for ReadPath {
    const TYPE: &'static str = "an address such as `/api/v1/dronestatus/{deviceid}`";
    const EXAMPLE: &'static str = "\"/api/v1/dronestatus/{deviceid}\"";

    fn read(item: &Item, place: &mut Place<'_, '_>) -> Option<Self> {
        let path = item.as_str().and_then(parse_path);
        if path.is_none() {
            place.not_a::<Self>(item);
        }
        path
    }
}

fn parse_path(path: &str) -> Option<ReadPath> {
    let (base, id) = path.rsplit_once('/')?;
    let parameter = id.strip_prefix('{')?.strip_suffix('}')?;
    let word = |text: &str, more: &[u8]| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || more.contains(&byte))
    };
    let parts: Vec<&str> = base.strip_prefix('/')?.split('/').collect();
    let plain = |part: &&str| word(part, b"-._~") && !part.bytes().all(|byte| byte == b'.');
    let is_plain = parts.len() >= 3 && parts[0] == "api" && parts.iter().all(plain);
    (is_plain && word(parameter, b"_"))
        .then(|| ReadPath { base: base.to_owned(), parameter: parameter.to_owned() })
}

struct Fields(Vec<(String, Vec<String>)>);

impl Setting for Fields {
    const TYPE: &'static str = "a table of names with JSON pointers";
    const EXAMPLE: &'static str = "{ id = \"/id\", battery = \"/Battery\" }";

    fn read(item: &Item, place: &mut Place<'_, '_>) -> Option<Self> {
        let table = item.as_table_like().filter(|table| !table.is_empty());
        let fields: Option<Vec<_>> = table.and_then(|table| {
            let field = |(name, item): (&str, &Item)| Some((name.to_owned(), pointer(item.as_str()?)?));
            table.iter().map(field).collect()
        });
        if fields.is_none() {
            place.not_a::<Self>(item);
        }
        fields.map(Self)
    }
}

/// The parts of a JSON pointer (RFC 6901); none for the whole document.
fn pointer(text: &str) -> Option<Vec<String>> {
    if text.is_empty() {
        return Some(Vec::new());
    }
    let parts = text.strip_prefix('/')?.split('/');
    Some(parts.map(|part| part.replace("~1", "/").replace("~0", "~")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_ends_with_an_id_and_stands_in_nobodys_way() {
        let path = parse_path("/api/v1/dronestatus/{deviceid}").unwrap();
        assert_eq!((path.base.as_str(), path.parameter.as_str()), ("/api/v1/dronestatus", "deviceid"));
        for bad in [
            "",
            "/",
            "/api/v1/dronestatus",
            "/api/{id}",
            "/api/v1/{id}",
            "/other/v1/x/{id}",
            "/api/v1/{x}/{id}",
            "/api/v1//{id}",
            "/api/v1/../{id}",
            "/api/v1/x/{*rest}",
            "/api/v1/x/{}",
            "api/v1/x/{id}",
        ] {
            assert!(parse_path(bad).is_none(), "{bad}");
        }
        assert!(own_address("/api/v1/hubs").is_some());
        assert!(own_address("/api/v1/dead-letters").is_some());
        assert!(own_address("/api/v1/dronestatus").is_none());
    }
}
