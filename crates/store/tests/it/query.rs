//! Queries over the documents.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tidegate_model::clock::Timestamp;
use tidegate_model::commit::{Commit, DocumentWrite};
use tidegate_model::document::{CollectionName, Precondition};
use tidegate_model::error::ErrorCode;
use tidegate_model::ports::Commits;
use tidegate_model::position::{PartitionId, SequenceNumber};
use tidegate_store::SqliteStore;
use tidegate_store::query::{QueryError, QueryLimits, QueryResult};

use crate::load::{self, Place};

/// Puts documents into a collection.
async fn put(store: &SqliteStore, collection: &str, documents: &[(&str, &str)]) {
    let write = |(id, body): &(&str, &str)| DocumentWrite {
        collection: CollectionName::new(collection).unwrap(),
        id: load::id(id),
        body: Bytes::copy_from_slice(body.as_bytes()),
        partition: PartitionId(4),
        sequence_number: SequenceNumber(11),
        precondition: Precondition::Absent,
    };
    let documents = documents.iter().map(write).collect();
    let at = Timestamp::from_millis(1_633_608_001_250);
    store.commit(&Commit { lanes: Vec::new(), health: Vec::new(), documents, at }).await.unwrap();
}

async fn planes() -> (Place, SqliteStore) {
    let place = Place::new();
    let store = place.open();
    let documents = [
        (
            "4b1815",
            r#"{"altitude":38000,"flight":"SWR22","position":{"lat":47.4,"lon":8.5},"onGround":false}"#,
        ),
        ("a0f1bb", r#"{"altitude":31000.5,"flight":null,"position":{"lat":40.6}}"#),
        (
            "c0ffee",
            r#"{"altitude":0,"onGround":true,"id":"hidden by the document's own","Etag":1,"it's":"O'Hare"}"#,
        ),
    ];
    put(&store, "aircraft", &documents).await;
    put(&store, "my-ships.v2", &[("x", r#"{"speed":12}"#)]).await;
    (place, store)
}

async fn rows(store: &SqliteStore, sql: &str) -> Vec<Vec<Value>> {
    let result =
        store.query(sql, QueryLimits::default()).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    assert!(!result.truncated);
    result.rows
}

async fn refusal(store: &SqliteStore, sql: &str) -> QueryError {
    match store.query(sql, QueryLimits::default()).await {
        Err(error) => error,
        Ok(result) => panic!("{sql} was answered: {result:?}"),
    }
}

#[tokio::test]
async fn members_are_columns() {
    let (_place, store) = planes().await;
    let sql = "SELECT id, altitude FROM aircraft WHERE altitude > 30000 ORDER BY altitude DESC";
    let result = store.query(sql, QueryLimits::default()).await.unwrap();
    assert_eq!(
        result,
        QueryResult {
            columns: vec!["id".to_owned(), "altitude".to_owned()],
            rows: vec![vec![json!("4b1815"), json!(38000)], vec![json!("a0f1bb"), json!(31000.5)]],
            truncated: false,
        }
    );
    assert_eq!(rows(&store, "select ONGROUND from AirCraft where id = 'c0ffee'").await, [[json!(1)]]);
    assert_eq!(rows(&store, "SELECT \"it's\" FROM aircraft WHERE altitude = 0").await, [[json!("O'Hare")]]);
    let deep = "SELECT document->>'$.position.lat' AS lat FROM aircraft WHERE lat IS NOT NULL ORDER BY lat";
    assert_eq!(rows(&store, deep).await, [[json!(40.6)], [json!(47.4)]]);
    assert_eq!(
        rows(&store, "SELECT position FROM aircraft LIMIT 1").await,
        [[json!(r#"{"lat":47.4,"lon":8.5}"#)]]
    );
}

#[tokio::test]
async fn every_collection_has_the_fixed_columns() {
    let (_place, store) = planes().await;
    let result =
        store.query("SELECT * FROM aircraft WHERE id = 'c0ffee'", QueryLimits::default()).await.unwrap();
    let fixed = ["id", "document", "partition", "sequence_number", "etag", "updated_at"];
    assert_eq!(
        result.columns,
        [&fixed[..], &["altitude", "flight", "position", "onGround", "it's"]].concat()
    );
    let row = &result.rows[0];
    assert_eq!((&row[0], &row[2], &row[3], &row[4]), (&json!("c0ffee"), &json!(4), &json!(11), &json!("1")));
    assert_eq!(row[5], json!("2021-10-07T12:00:01.250Z"));
    assert!(row[1].as_str().unwrap().starts_with(r#"{"altitude":0,"#));
}

#[tokio::test]
async fn aggregates_joins_and_table_functions_work() {
    let (_place, store) = planes().await;
    assert_eq!(
        rows(&store, "SELECT count(*), max(altitude) FROM aircraft").await,
        [[json!(3), json!(38000)]]
    );
    let join =
        "SELECT a.id, s.speed FROM aircraft a JOIN \"my-ships.v2\" s ON s.speed < a.altitude ORDER BY a.id";
    assert_eq!(rows(&store, join).await, [[json!("4b1815"), json!(12)], [json!("a0f1bb"), json!(12)]]);
    let members =
        "SELECT j.key FROM aircraft, json_each(document) AS j WHERE aircraft.id = 'a0f1bb' ORDER BY 1";
    assert_eq!(rows(&store, members).await, [[json!("altitude")], [json!("flight")], [json!("position")]]);
    let series =
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5) SELECT sum(i) FROM n";
    assert_eq!(rows(&store, series).await, [[json!(15)]]);
    assert_eq!(
        rows(&store, "SELECT 1.5, NULL, x'00ff', 'é'").await,
        [[json!(1.5), json!(null), json!("AP8="), json!("é")]]
    );
}

#[tokio::test]
async fn an_unknown_collection_is_answered_with_the_known_ones() {
    let (_place, store) = planes().await;
    for (sql, name) in [
        ("SELECT * FROM airplanes", "airplanes"),
        ("SELECT * FROM checkpoints", "checkpoints"),
        ("SELECT * FROM main.dead_letters", "dead_letters"),
        ("SELECT body FROM documents_1", "documents_1"),
        ("SELECT * FROM sqlite_schema", "sqlite_master"),
        ("SELECT * FROM pragma_table_list", "pragma_table_list"),
        ("WITH aircraft AS (SELECT * FROM main.checkpoints) SELECT * FROM aircraft", "checkpoints"),
        ("SELECT count(*) FROM checkpoints", "checkpoints"),
        ("SELECT count(*) FROM dbstat", "dbstat"),
        ("SELECT (SELECT max(epoch) FROM ownerships) FROM aircraft", "ownerships"),
    ] {
        let error = refusal(&store, sql).await;
        let QueryError::UnknownCollection { name: found, collections } = &error else {
            panic!("{sql}: {error:?}")
        };
        assert_eq!(found, name, "{sql}");
        assert_eq!(collections, &["aircraft", "my-ships.v2"]);
        assert!(error.to_string().contains("there are: aircraft, my-ships.v2"), "{error}");
        assert_eq!(error.code(), ErrorCode::QUERY_REFUSED);
    }
    let empty = Place::new();
    let error = refusal(&empty.open(), "SELECT * FROM aircraft").await;
    assert!(error.to_string().contains("there are none yet"), "{error}");
}

#[tokio::test]
async fn nothing_can_be_changed() {
    let (place, store) = planes().await;
    let writes = [
        "DELETE FROM aircraft",
        "UPDATE aircraft SET id = 'x'",
        "INSERT INTO aircraft (id) VALUES ('x')",
        "DELETE FROM main.documents_1",
        "CREATE TABLE x (y)",
        "CREATE TEMP TABLE x AS SELECT * FROM aircraft",
        "CREATE TEMP VIEW checkpoints2 AS SELECT * FROM main.checkpoints",
        "DROP VIEW aircraft",
        "DROP TABLE main.documents_1",
        "ALTER TABLE main.documents_1 RENAME TO x",
        "REINDEX",
        "VACUUM",
    ];
    let file = place.path().with_extension("copy");
    let copy = format!("VACUUM INTO '{}'", file.display());
    for sql in writes.into_iter().chain([&copy[..]]) {
        assert_eq!(refusal(&store, sql).await, QueryError::ReadOnly, "{sql}");
    }
    assert!(!file.exists());
    assert_eq!(rows(&store, "SELECT count(*) FROM aircraft").await, [[json!(3)]]);
    store.close().await.unwrap();
    assert_eq!(tidegate_store::check::check(&place.path()).unwrap().problems, [""; 0]);
}

#[tokio::test]
async fn what_is_not_for_queries_is_named() {
    let (place, store) = planes().await;
    let attach = format!("ATTACH '{}' AS other", place.path().display());
    for (sql, what) in [
        ("PRAGMA query_only = 0", "PRAGMA query_only"),
        ("PRAGMA table_info(aircraft)", "PRAGMA table_info"),
        (&attach[..], "ATTACH"),
        ("DETACH main", "ATTACH"),
        ("SELECT load_extension('x')", "load_extension"),
        ("SELECT fts3_tokenizer('simple')", "fts3_tokenizer"),
        ("BEGIN", "a transaction"),
        ("SAVEPOINT x", "a transaction"),
    ] {
        match refusal(&store, sql).await {
            QueryError::Forbidden { what: found } => assert!(found.contains(what), "{sql}: {found}"),
            other => panic!("{sql}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn mistakes_are_explained() {
    let (_place, store) = planes().await;
    for (sql, explained) in [
        ("SELEC 1", "syntax error"),
        ("SELECT altitud FROM aircraft", "no such column: altitud; aircraft has the columns id, document,"),
        ("SELECT \"altitud\" FROM aircraft", "no such column"),
        (
            "SELECT * FROM my-ships.v2",
            "the collection my-ships.v2 is written \"my-ships.v2\", in double quotes",
        ),
        ("SELECT 1; SELECT 2", "one statement"),
        ("", "empty"),
        ("-- nothing", "empty"),
        ("SELECT * FROM aircraft WHERE id = ?1", "parameters"),
        ("SELECT nosuch(1)", "no such function: nosuch"),
        ("SELECT json('{')", "malformed JSON"),
        ("SELECT abs(-9223372036854775807 - 1)", "integer overflow"),
        ("SELECT zeroblob(1000000000)", "too big"),
    ] {
        match refusal(&store, sql).await {
            QueryError::Invalid { message } => assert!(message.contains(explained), "{sql}: {message}"),
            other => panic!("{sql}: {other:?}"),
        }
    }
    let long = format!("SELECT 1 -- {}", "x".repeat(70_000));
    assert!(matches!(refusal(&store, &long).await, QueryError::Invalid { .. }));
    assert!(matches!(refusal(&store, "SELECT '\0'").await, QueryError::Invalid { .. }));
}

#[tokio::test]
async fn limits_hold() {
    let (_place, store) = planes().await;
    let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n";
    let limits = QueryLimits { max_rows: 7, ..QueryLimits::default() };
    let result = store.query(endless, limits).await.unwrap();
    assert_eq!((result.rows.len(), result.truncated), (7, true));

    let exactly =
        store.query("SELECT id FROM aircraft", QueryLimits { max_rows: 3, ..limits }).await.unwrap();
    assert_eq!((exactly.rows.len(), exactly.truncated), (3, false));

    let limits = QueryLimits { max_bytes: 10_000, max_rows: usize::MAX, ..QueryLimits::default() };
    let wide = endless.replace("SELECT i FROM", "SELECT hex(zeroblob(500)) FROM");
    let result = store.query(&wide, limits).await.unwrap();
    assert!(result.truncated && (8..10).contains(&result.rows.len()), "{} rows", result.rows.len());
    let one_too_large = store.query("SELECT hex(zeroblob(9000))", limits).await.unwrap();
    assert_eq!((one_too_large.rows.len(), one_too_large.truncated), (0, true));

    let limit = Duration::from_millis(20);
    let count = endless.replace("SELECT i FROM", "SELECT count(*) FROM");
    let error = store.query(&count, QueryLimits { max_time: limit, ..QueryLimits::default() }).await;
    assert_eq!(error, Err(QueryError::TooSlow { limit }));
    assert_eq!(rows(&store, "SELECT count(*) FROM aircraft").await, [[json!(3)]]);
}

#[tokio::test]
async fn a_query_sees_the_latest_commit_and_new_members() {
    let (_place, store) = planes().await;
    assert!(matches!(refusal(&store, "SELECT squawk FROM aircraft").await, QueryError::Invalid { .. }));
    put(&store, "aircraft", &[("new", r#"{"squawk":"7700"}"#)]).await;
    assert_eq!(rows(&store, "SELECT id FROM aircraft WHERE squawk = '7700'").await, [[json!("new")]]);
    put(&store, "trains", &[("t", "{}")]).await;
    assert_eq!(rows(&store, "SELECT id FROM trains").await, [[json!("t")]]);
}

#[tokio::test]
async fn odd_documents_and_names_do_no_harm() {
    let place = Place::new();
    let store = place.open();
    let many: Vec<String> = (0..500).map(|n| format!("\"m{n}\":{n}")).collect();
    let many = format!("{{{}}}", many.join(","));
    let odd = [
        ("not json", "{\"a\":"),
        ("array", "[1,2]"),
        ("number", "7"),
        (
            "names",
            r#"{"a":1,"A":2,"":3,"x\"y":4,"b\\c":5,"d.e":6,"$":7,"[0]":8,"select":9,"--":10,"n\u0000l":11,"f'g":12}"#,
        ),
    ];
    put(&store, "odd", &odd).await;
    put(&store, "wide", &[("a", many.as_str()), ("b", "{\"m499\":1}")]).await;
    put(&store, "Odd", &[("other", "{\"b\":1}")]).await;
    put(&store, "select", &[("s", "{}")]).await;
    put(&store, "checkpoints", &[("c", "{\"position\":1}")]).await;
    put(&store, "sqlite_x", &[("q", "{}")]).await;

    let sql = r#"SELECT "d.e", "$", "[0]", "select", "--", "f'g", a FROM odd WHERE id = 'names'"#;
    assert_eq!(
        rows(&store, sql).await,
        [[json!(6), json!(7), json!(8), json!(9), json!(10), json!(12), json!(1)]]
    );
    assert_eq!(rows(&store, "SELECT count(*), count(a) FROM odd").await, [[json!(4), json!(1)]]);
    let all = store.query("SELECT * FROM wide", QueryLimits::default()).await.unwrap();
    assert_eq!(all.columns.len(), 206);
    assert_eq!(all.columns.last().map(String::as_str), Some("m499"), "the most frequent ones are kept");
    assert_eq!(rows(&store, "SELECT id FROM Odd").await, [[json!("other")]]);
    assert_eq!(rows(&store, "SELECT id FROM \"select\"").await, [[json!("s")]]);
    assert_eq!(rows(&store, "SELECT id, position FROM checkpoints").await, [[json!("c"), json!(1)]]);
    assert!(matches!(refusal(&store, "SELECT id FROM sqlite_x").await, QueryError::UnknownCollection { .. }));
}

/// A query that runs does not hold up commits, and sees the state it began with.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_go_on_beside_a_query() {
    let (_place, store) = planes().await;
    let store = std::sync::Arc::new(store);
    let asking = std::sync::Arc::clone(&store);
    let slow = tokio::spawn(async move {
        let sql = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300000)
                   SELECT count(*) FROM n, aircraft";
        asking.query(sql, QueryLimits::default()).await.unwrap()
    });
    let epoch = load::begin(&store).await;
    for n in 0..20 {
        load::commit(&store, epoch, n).await.unwrap();
    }
    let counted = slow.await.unwrap().rows[0][0].as_u64().unwrap();
    assert_eq!(counted % 300_000, 0, "{counted}");
}
