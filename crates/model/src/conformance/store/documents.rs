//! Checks of documents, their versions and preconditions.

use bytes::Bytes;

use crate::document::{Document, DocumentId, ETag, MAX_DOCUMENT_BYTES, Precondition};
use crate::ports::{Commits, Documents, StoreError};
use crate::position::{PartitionId, SequenceNumber};

use super::StoreFactory;
use super::samples::*;

/// Documents are read in the order of the ids asked for; one that is asked for twice comes twice, one that does not
/// exist is `None`.
pub async fn documents_come_in_the_order_of_the_ids<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let commit =
        documents_only(["b", "a", "c"].map(|name| write(name, &body_of(name), Precondition::Absent)));
    let etag = store.commit(&commit).await.unwrap().etag;

    let asked: Vec<_> = ["c", "missing", "a", "c", "B"].map(id).to_vec();
    let found = store.documents(&collection("planes"), &asked).await.unwrap();
    let stored = |name: &str| {
        Some(Document {
            id: id(name),
            body: Bytes::from(body_of(name)),
            partition: PartitionId(3),
            sequence_number: SequenceNumber(17),
            etag,
            updated_at: at(10),
        })
    };
    assert_eq!(found, vec![stored("c"), None, stored("a"), stored("c"), None]);
    assert_eq!(store.documents(&collection("unknown"), &asked).await, Ok(vec![None; 5]));
    assert_eq!(store.documents(&collection("planes"), &[]).await, Ok(Vec::new()));
}

/// A commit and a read may be as large as a batch gets.
pub async fn many_documents_go_in_and_out<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let names: Vec<_> = (0..5_000_u32).map(|n| format!("{:08x}", n.wrapping_mul(2_654_435_761))).collect();
    let write_all =
        |precondition| documents_only(names.iter().map(|name| write(name, &body_of(name), precondition)));
    let etag = store.commit(&write_all(Precondition::Absent)).await.unwrap().etag;
    store.commit(&write_all(Precondition::Matches(etag))).await.unwrap();
    let ids: Vec<_> = names.iter().map(|name| id(name)).collect();
    let found = store.documents(&collection("planes"), &ids).await.unwrap();
    for (name, document) in names.iter().zip(&found) {
        assert_eq!(document.as_ref().map(|document| &document.body[..]), Some(body_of(name).as_bytes()));
    }
}

/// Ids and states come back as they were, whatever is in them, up to the greatest length.
pub async fn documents_keep_every_byte<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let long_id = "é".repeat(511);
    let large = format!("\"{}\"", "x".repeat(MAX_DOCUMENT_BYTES - 2));
    let odd = [
        ("plain", r#"{"a": 1,  "a":2, "z":1e400}"#),
        ("O'Neill \"; DROP TABLE documents; --", r#"{"nul":"\u0000","é":"日本語"}"#),
        ("%_*?[a]", " [ ] \n"),
        ("日本/语\u{10ffff}", "null"),
        ("0", "\"not an object\""),
        (&long_id, &large),
    ];
    let commit = documents_only(odd.map(|(name, body)| write(name, body, Precondition::Absent)));
    store.commit(&commit).await.unwrap();
    let store = factory.reopen(store).await;
    let found = store.documents(&collection("planes"), &odd.map(|(name, _)| id(name))).await.unwrap();
    for ((name, body), document) in odd.iter().zip(found) {
        let document = document.expect(name);
        assert_eq!(document.id.as_str(), *name);
        assert!(document.body == *body.as_bytes(), "the state of {name} was changed");
    }
}

/// `Absent` and `Matches` hold exactly when they say.
pub async fn preconditions_are_checked<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let changed = StoreError::DocumentChanged { collection: collection("planes"), id: id("a") };
    let put = |body, precondition| documents_only([write("a", body, precondition)]);

    assert_eq!(store.commit(&put("0", Precondition::Matches(ETag(1)))).await, Err(changed.clone()));
    let first = store.commit(&put("1", Precondition::Absent)).await.unwrap().etag;
    assert_eq!(store.commit(&put("2", Precondition::Absent)).await, Err(changed.clone()));
    let second = store.commit(&put("3", Precondition::Matches(first))).await.unwrap().etag;
    assert_eq!(store.commit(&put("4", Precondition::Matches(first))).await, Err(changed));
    let found = store.documents(&collection("planes"), &[id("a")]).await.unwrap().remove(0).unwrap();
    assert_eq!((found.etag, &found.body[..]), (second, &b"3"[..]));

    // The same id in another collection is another document.
    let mut elsewhere = put("5", Precondition::Absent);
    elsewhere.documents[0].collection = collection("ships");
    store.commit(&elsewhere).await.unwrap();
    let found = store.documents(&collection("planes"), &[id("a")]).await.unwrap().remove(0).unwrap();
    assert_eq!(found.etag, second);
}

/// All documents of a commit have its etag, and etags grow, also across restarts.
pub async fn each_commit_has_a_greater_etag<F: StoreFactory>(factory: &F) {
    let mut store = factory.open().await;
    let mut last = None;
    for round in 0..6 {
        let names = [format!("a{round}"), format!("b{round}")];
        let commit = documents_only(names.iter().map(|name| write(name, "{}", Precondition::Absent)));
        let etag = store.commit(&commit).await.unwrap().etag;
        assert!(last.is_none_or(|last| etag > last), "{etag:?} after {last:?}");
        let ids: Vec<_> = names.iter().map(|name| id(name)).collect();
        for document in store.documents(&collection("planes"), &ids).await.unwrap() {
            assert_eq!(document.unwrap().etag, etag);
        }
        last = Some(etag);
        store = factory.reopen(store).await;
    }
}

/// Pages of a listing join without a gap or an overlap, in the byte order of the ids.
pub async fn documents_are_listed_page_by_page<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let mut names: Vec<_> = (0..25).map(|n| format!("n{n}")).collect();
    names.extend(["Z", "a", "é", "\u{10ffff}", "\u{ffff}"].map(str::to_owned));
    let commit = documents_only(names.iter().map(|name| write(name, "{}", Precondition::Absent)));
    store.commit(&commit).await.unwrap();
    names.sort();

    for limit in [1, 7, 30, 1000] {
        let mut listed = Vec::new();
        loop {
            let after = listed.last();
            let page = store.list_documents(&collection("planes"), after, limit).await.unwrap();
            assert!(page.len() <= limit);
            if page.is_empty() {
                break;
            }
            listed.extend(page.into_iter().map(|document| document.id));
        }
        assert_eq!(listed.iter().map(DocumentId::as_str).collect::<Vec<_>>(), names, "pages of {limit}");
    }
    assert_eq!(store.list_documents(&collection("planes"), None, 0).await, Ok(Vec::new()));
    assert_eq!(store.list_documents(&collection("unknown"), None, 10).await, Ok(Vec::new()));
    let all = store.list_documents(&collection("planes"), None, usize::MAX).await.unwrap();
    assert_eq!(all.len(), names.len());
}

/// The collections with documents are listed by name; names that differ only in case are two.
pub async fn collections_are_counted<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    assert_eq!(store.collections().await, Ok(Vec::new()));
    let mut commit = documents_only(["a", "b", "c"].map(|name| write(name, "{}", Precondition::Absent)));
    commit.documents[2].collection = collection("Planes");
    let etag = store.commit(&commit).await.unwrap().etag;
    let commit = documents_only([
        write("a", "[]", Precondition::Matches(etag)),
        write("d", "[]", Precondition::Absent),
    ]);
    store.commit(&commit).await.unwrap();

    let store = factory.reopen(store).await;
    assert_eq!(store.collections().await, Ok(vec![(collection("Planes"), 1), (collection("planes"), 3)]));
}
