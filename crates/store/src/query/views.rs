//! The collections as tables with a column for each member of their documents.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

use rusqlite::Connection;
use serde::Deserialize;
use serde::de::{IgnoredAny, MapAccess, Visitor};

use crate::documents::{self, Collection};
use crate::error::Failure;
use crate::schema::documents_table;

/// The columns that every collection has.
const FIXED_COLUMNS: [(&str, &str); 6] = [
    ("id", "id"),
    ("document", "body"),
    ("partition", "partition"),
    ("sequence_number", "sequence_number"),
    // As the other interfaces write it.
    ("etag", "printf('%x', etag)"),
    ("updated_at", "strftime('%Y-%m-%dT%H:%M:%fZ', updated_at / 1000.0, 'unixepoch')"),
];

/// The most members of a collection that become columns.
const MAX_MEMBERS: usize = 200;

/// How many of the first and of the last documents of a collection are looked at for members.
const SAMPLED_AT_EACH_END: usize = 500;

/// How many bytes of documents are looked at in a collection, at each end.
const SAMPLED_BYTES: usize = 2 << 20;

/// A collection as a query sees it.
pub(super) struct View {
    /// Its name.
    pub(super) name: String,
    /// Its columns.
    pub(super) columns: Vec<String>,
}

/// Makes a temporary view of each collection that `sql` can be about. The views of earlier queries are gone then.
pub(super) fn make(connection: &mut Connection, sql: &str) -> Result<Vec<View>, Failure> {
    connection.pragma_update(None, "query_only", false)?;
    drop_all(connection)?;
    let mentioned = mentioned(documents::collections(connection)?, sql);
    mentioned.into_iter().map(|collection| make_one(connection, &collection)).collect()
}

/// The collections whose names occur in `sql`. SQLite does not tell names apart by case: where collections differ only
/// in that, the one that occurs as it is written wins.
fn mentioned(collections: Vec<Collection>, sql: &str) -> Vec<Collection> {
    let lower_sql = sql.to_ascii_lowercase();
    let lower = |collection: &Collection| collection.name.as_str().to_ascii_lowercase();
    let mut found: Vec<_> =
        collections.into_iter().filter(|collection| lower_sql.contains(&lower(collection))).collect();
    found.sort_by_key(|collection| !sql.contains(collection.name.as_str()));
    let mut taken = HashSet::new();
    // SQLite keeps names that begin like this to itself.
    found.retain(|collection| !lower(collection).starts_with("sqlite_") && taken.insert(lower(collection)));
    found
}

fn drop_all(connection: &Connection) -> Result<(), Failure> {
    let mut views = connection.prepare("SELECT name FROM sqlite_temp_schema WHERE type = 'view'")?;
    let names: Vec<String> = views.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    for name in names {
        connection.execute_batch(&format!("DROP VIEW temp.{}", quoted(&name)))?;
    }
    Ok(())
}

fn make_one(connection: &Connection, collection: &Collection) -> Result<View, Failure> {
    let table = documents_table(collection.number);
    let members = members(connection, &table)?;
    let mut columns: Vec<String> = FIXED_COLUMNS.map(|(name, _)| name.to_owned()).to_vec();
    let mut selected: Vec<String> =
        FIXED_COLUMNS.iter().map(|(name, value)| format!("{value} AS {}", quoted(name))).collect();
    for member in members {
        // A state that is no JSON has no members; without the test one of them would fail every query.
        let path = format!("$.\"{member}\"").replace('\'', "''");
        selected.push(format!("iif(json_valid(body), body ->> '{path}', NULL) AS {}", quoted(&member)));
        columns.push(member);
    }
    let name = collection.name.to_string();
    let selected = selected.join(", ");
    connection.execute_batch(&format!(
        "CREATE TEMP VIEW {} AS SELECT {selected} FROM main.{table}",
        quoted(&name)
    ))?;
    Ok(View { name, columns })
}

/// The names of members in a sample of the documents, in the order in which they were met. Where there are too many,
/// those that most documents have.
fn members(connection: &Connection, table: &str) -> Result<Vec<String>, Failure> {
    let mut members: Vec<Member> = Vec::new();
    let mut known: HashMap<String, usize> = HashMap::new();
    for direction in ["ASC", "DESC"] {
        let mut sample = connection.prepare(&format!(
            "SELECT body FROM {table} ORDER BY rowid {direction} LIMIT {SAMPLED_AT_EACH_END}"
        ))?;
        let mut rows = sample.query([])?;
        let mut bytes = 0;
        while let Some(row) = rows.next()? {
            let body = row.get_ref(0)?.as_bytes().map_err(rusqlite::Error::from)?;
            bytes += body.len();
            if bytes > SAMPLED_BYTES {
                break;
            }
            let Ok(Members(names)) = serde_json::from_slice(body) else { continue };
            for name in names.into_iter().filter(|name| can_be_a_column(name)) {
                let index = *known.entry(name.to_ascii_lowercase()).or_insert(members.len());
                match members.get_mut(index) {
                    Some(member) => member.documents += 1,
                    None => members.push(Member { name, documents: 1 }),
                }
            }
        }
    }
    let mut kept: Vec<usize> = (0..members.len()).collect();
    kept.sort_by_key(|index| Reverse(members[*index].documents));
    kept.truncate(MAX_MEMBERS);
    kept.sort_unstable();
    Ok(kept.into_iter().map(|index| std::mem::take(&mut members[index].name)).collect())
}

/// A member of the documents of a collection.
struct Member {
    name: String,
    /// How many documents of the sample have it.
    documents: usize,
}

/// False for the names of the fixed columns, and for those that a JSON path cannot hold: it has no way to write a quote
/// or a backslash.
fn can_be_a_column(name: &str) -> bool {
    let fixed = FIXED_COLUMNS.iter().any(|(fixed, _)| fixed.eq_ignore_ascii_case(name));
    !fixed
        && !name.is_empty()
        && name.len() <= 128
        && !name.contains(['"', '\\'])
        && !name.contains(char::is_control)
}

/// A name as SQL writes it.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The names of the members of a JSON object, without their values.
struct Members(Vec<String>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Names;

        impl<'de> Visitor<'de> for Names {
            type Value = Members;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Members, A::Error> {
                let mut names = Vec::new();
                while let Some((name, IgnoredAny)) = object.next_entry()? {
                    names.push(name);
                }
                Ok(Members(names))
            }
        }

        deserializer.deserialize_map(Names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_model::document::CollectionName;

    fn collections(names: &[&str]) -> Vec<Collection> {
        let collection = |(number, name): (usize, &&str)| Collection {
            number: number as i64,
            name: CollectionName::new(name).unwrap(),
            documents: 1,
        };
        names.iter().enumerate().map(collection).collect()
    }

    fn names(collections: &[Collection]) -> Vec<&str> {
        collections.iter().map(|collection| collection.name.as_str()).collect()
    }

    #[test]
    fn only_the_collections_that_a_query_names_get_a_view() {
        let all = || collections(&["Planes", "planes", "ships", "sqlite_x"]);
        assert_eq!(names(&mentioned(all(), "SELECT * FROM PLANES")), ["Planes"]);
        assert_eq!(names(&mentioned(all(), "SELECT * FROM planes, Ships")), ["planes", "ships"]);
        assert_eq!(names(&mentioned(all(), "SELECT * FROM sqlite_x")), [""; 0]);
    }

    #[test]
    fn members_are_read_without_their_values() {
        let read = |text| serde_json::from_str(text).map(|Members(names)| names);
        assert_eq!(read(r#"{"a": {"b": [1]}, "c": null}"#).unwrap(), ["a", "c"]);
        assert!(read("[1]").is_err());
    }
}
