//! Compares the documents with what they should be: a fold of the reports as they were published, which knows nothing of
//! the log, the processor or the function.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use tidegate_model::document::{CollectionName, DocumentId};
use tidegate_model::event::EventData;
use tidegate_model::ports::Documents;

use super::function::chained;
use crate::failure::Failure;

/// How many documents are read at a time.
const PAGE: usize = 500;

/// What the comparison found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Compared {
    /// How many documents there should be.
    pub(super) expected: u64,
    /// How many are as they should be.
    pub(super) right: u64,
    /// The ids of those that are missing, wrong, or should not be there.
    pub(super) wrong: Vec<String>,
}

/// Compares the documents of a collection with the fold of `published`.
pub(super) async fn documents(
    store: &dyn Documents,
    collection: &CollectionName,
    published: &[EventData],
) -> Result<Compared, Failure> {
    let mut found = BTreeMap::new();
    let mut after: Option<DocumentId> = None;
    loop {
        let page = store.list_documents(collection, after.as_ref(), PAGE).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.id.clone());
        for document in page {
            let value: Value = serde_json::from_slice(&document.body).unwrap_or_default();
            found.insert(document.id.as_str().to_owned(), value);
        }
    }
    Ok(compare(&fold(published), &found))
}

/// The document of each aircraft, from its reports in their order (pure).
fn fold(published: &[EventData]) -> BTreeMap<String, Value> {
    let mut aircraft: BTreeMap<String, Value> = BTreeMap::new();
    for event in published {
        let key = event.partition_key.as_deref().unwrap_or_default().to_owned();
        let report: Value = serde_json::from_slice(&event.body).unwrap_or_default();
        let before = aircraft.get(&key);
        let number = |value: Option<&Value>| value.and_then(Value::as_f64);
        let highest = [number(before.map(|before| &before["highest"])), number(report.get("altitude"))];
        let highest = highest.into_iter().flatten().reduce(f64::max);
        let next = json!({
            "reports": before.map_or(0, |before| before["reports"].as_u64().unwrap_or_default()) + 1,
            "last_report": report["timestamp"],
            "highest": highest,
            "chain": chained(before.and_then(|before| before["chain"].as_str()).unwrap_or_default(), &event.body),
        });
        aircraft.insert(key, next);
    }
    aircraft
}

fn compare(expected: &BTreeMap<String, Value>, found: &BTreeMap<String, Value>) -> Compared {
    let is_right = |id: &&String| expected.get(*id).is_some() && expected.get(*id) == found.get(*id);
    let surplus = found.keys().filter(|id| !expected.contains_key(*id));
    Compared {
        expected: expected.len() as u64,
        right: expected.keys().filter(is_right).count() as u64,
        wrong: expected.keys().filter(|id| !is_right(id)).chain(surplus).cloned().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(key: &'static str, timestamp: i64, altitude: f64) -> EventData {
        let body = json!({ "icao24": key, "timestamp": timestamp, "altitude": altitude }).to_string();
        EventData { partition_key: Some(key.into()), ..EventData::new(body) }
    }

    #[test]
    fn a_report_that_is_missing_twice_or_late_is_found() {
        let right = [report("a", 1, 10.0), report("a", 2, 30.0), report("b", 2, 5.0), report("a", 3, 20.0)];
        let expected = fold(&right);
        assert_eq!(expected["a"]["reports"], 3);
        assert_eq!(expected["a"]["highest"], 30.0);
        assert_eq!(compare(&expected, &expected), Compared { expected: 2, right: 2, wrong: Vec::new() });

        let [first, second, other, last] = right;
        let missing = [first.clone(), other.clone(), last.clone()];
        let twice = [first.clone(), second.clone(), second.clone(), other.clone(), last.clone()];
        let late = [second.clone(), first.clone(), other.clone(), last.clone()];
        for wrong in [&missing[..], &twice, &late] {
            let compared = compare(&expected, &fold(wrong));
            assert_eq!(compared, Compared { expected: 2, right: 1, wrong: vec!["a".to_owned()] });
        }
        let surplus = compare(&expected, &fold(&[first, second, other, last, report("c", 1, 1.0)]));
        assert_eq!(surplus, Compared { expected: 2, right: 2, wrong: vec!["c".to_owned()] });
    }
}
