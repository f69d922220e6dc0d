//! Checks of registers: one truth for all instances.

use std::sync::Arc;

use serde_json::json;

use crate::error::ErrorKind;
use crate::notice::NewNotice;
use crate::ports::{DeadLetters, Outbox, RegisterChange, Registers, StoreError};
use crate::register::{Register, RegisterKey, Version};

use super::StoreFactory;
use super::samples::*;

/// A register is made, changed and removed by who knows its version.
pub async fn a_register_is_changed_by_who_knows_its_version<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let key = RegisterKey::new(KINDS[0], "track");
    assert_eq!(store.register(&key).await, Ok(None));
    let made = store.change_register(change("track", Version::NONE, Some(json!({"n": 1})))).await.unwrap();
    assert!(made > Version::NONE);
    let expected =
        |version, value, ms| Register { name: "track".to_owned(), version, value, changed_at: at(ms) };
    assert_eq!(store.register(&key).await, Ok(Some(expected(made, json!({"n": 1}), 30))));

    let second =
        RegisterChange { at: at(31), ..change("track", made, Some(json!([null, "é\u{0}", 1.5, -1]))) };
    let changed = store.change_register(second).await.unwrap();
    assert!(changed > made);
    let store = factory.reopen(store).await;
    let now = Some(expected(changed, json!([null, "é\u{0}", 1.5, -1]), 31));
    assert_eq!(store.register(&key).await, Ok(now.clone()));

    for stale in [Version::NONE, made, Version(changed.0 + 1)] {
        for value in [Some(json!(2)), None] {
            let refused = store.change_register(change("track", stale, value)).await.unwrap_err();
            assert_eq!(refused, StoreError::RegisterMoved { register: key.to_string() }, "{stale:?}");
            assert_eq!(refused.kind(), ErrorKind::Conflict);
        }
    }
    assert_eq!(store.register(&key).await, Ok(now));
    let removed = store.change_register(change("track", changed, None)).await.unwrap();
    assert!(removed > changed);
    assert_eq!(store.register(&key).await, Ok(None));
    assert_eq!(store.registers(KINDS[0]).await, Ok(Vec::new()));
}

/// Versions grow for ever: who decided on a register before it was removed and made again loses.
pub async fn versions_of_a_register_never_go_back<F: StoreFactory>(factory: &F) {
    let mut store = factory.open().await;
    let (mut last, mut old) = (Version::NONE, Vec::new());
    for round in 0..4 {
        let made = store.change_register(change("track", Version::NONE, Some(json!(round)))).await.unwrap();
        assert!(made > last, "{made:?} after {last:?}");
        for stale in &old {
            let refused = store.change_register(change("track", *stale, Some(json!("stale")))).await;
            assert!(refused.is_err(), "{stale:?} is not {made:?}");
        }
        let removed = store.change_register(change("track", made, None)).await.unwrap();
        assert!(removed > made);
        // It does not exist now, so its last version is no version to change it from.
        assert!(store.change_register(change("track", removed, Some(json!(0)))).await.is_err());
        old.extend([made, removed]);
        last = removed;
        store = factory.reopen(store).await;
    }
}

/// Registers are listed by kind, ordered by name; one name may have a register of each kind.
pub async fn registers_are_listed_by_kind<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    for name in ["b", "a", "track/flights/10", "B", "é"] {
        store.change_register(change(name, Version::NONE, Some(json!(name)))).await.unwrap();
    }
    let pause = RegisterChange {
        key: RegisterKey::new(KINDS[1], "a"),
        ..change("a", Version::NONE, Some(json!("a pause")))
    };
    store.change_register(pause.clone()).await.unwrap();
    let store = factory.reopen(store).await;
    let listed = store.registers(KINDS[0]).await.unwrap();
    let names: Vec<_> = listed.iter().map(|register| register.name.as_str()).collect();
    assert_eq!(names, ["B", "a", "b", "track/flights/10", "é"]);
    for register in &listed {
        assert_eq!(register.value, json!(register.name));
        let key = RegisterKey::new(KINDS[0], register.name.clone());
        assert_eq!(store.register(&key).await, Ok(Some(register.clone())));
    }
    let pauses = store.registers(KINDS[1]).await.unwrap();
    assert_eq!(pauses.len(), 1);
    assert_eq!((pauses[0].name.as_str(), &pauses[0].value), ("a", &json!("a pause")));
    assert_eq!(store.registers("unknown").await, Ok(Vec::new()));
}

/// What is to be told, and the lines of the audit trail, are there with the change, or none of it is.
pub async fn a_change_its_notices_and_its_trail_are_one<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let notice = |n: i64| NewNotice {
        kind: "circuit.opened".to_owned(),
        subject: format!("track {n}"),
        at: at(n),
        data: json!({ "n": n, "nested": [{}] }),
    };
    let full = |from| RegisterChange {
        notices: vec![notice(1), notice(2)],
        trail: vec![line("circuit.open", "track", act("ann", 1)), line("circuit.open", "dep", act("bob", 2))],
        ..change("track", from, Some(json!("open")))
    };
    let version = store.change_register(full(Version::NONE)).await.unwrap();
    let store = factory.reopen(store).await;
    let notices = store.recent_notices(10).await.unwrap();
    assert_eq!(notices.iter().map(|notice| notice.id.0).collect::<Vec<_>>(), [2, 1]);
    assert_eq!(
        notices.iter().map(|stored| stored.notice.clone()).collect::<Vec<_>>(),
        [notice(2), notice(1)]
    );
    assert!(notices.iter().all(|stored| stored.deliveries.is_empty()));
    let lines: Vec<_> =
        (1..).zip(full(version).trail).map(|(number, entry)| entry.numbered(number)).collect();
    assert_eq!(store.trail(None, 0, 10).await, Ok(lines));

    let unchanged = Everything::of(&store).await;
    store.change_register(full(Version::NONE)).await.unwrap_err();
    store.change_register(full(Version(version.0 + 1))).await.unwrap_err();
    assert_eq!(Everything::of(&store).await, unchanged);

    // A removal may tell something, too.
    store.change_register(RegisterChange { value: None, ..full(version) }).await.unwrap();
    assert_eq!(store.recent_notices(10).await.unwrap().len(), 4);
    assert_eq!(trail_len(&store).await, 4);
}

/// Of many instances that decide on the same version at once, one wins, and only its notice goes out.
pub async fn of_many_changes_at_once_one_wins<F: StoreFactory>(factory: &F) {
    const INSTANCES: usize = 16;
    let store = Arc::new(factory.open().await);
    let mut version = Version::NONE;
    for round in 0..5 {
        let mut deciding = tokio::task::JoinSet::new();
        for instance in 0..INSTANCES {
            let store = Arc::clone(&store);
            let decided = RegisterChange {
                notices: vec![NewNotice {
                    kind: "circuit.opened".to_owned(),
                    subject: "track".to_owned(),
                    at: at(30),
                    data: json!([round, instance]),
                }],
                ..change("track", version, Some(json!([round, instance])))
            };
            deciding.spawn(async move { (instance, store.change_register(decided).await) });
        }
        let mut winners = Vec::new();
        for (instance, answer) in deciding.join_all().await {
            match answer {
                Ok(new) => winners.push((instance, new)),
                Err(refused) => assert!(matches!(refused, StoreError::RegisterMoved { .. }), "{refused:?}"),
            }
        }
        let [(winner, new)] = winners[..] else { panic!("round {round}: {winners:?}") };
        let register = store.register(&RegisterKey::new(KINDS[0], "track")).await.unwrap().unwrap();
        assert_eq!((register.version, &register.value), (new, &json!([round, winner])));
        let newest = store.recent_notices(1).await.unwrap().remove(0);
        assert_eq!((newest.id.0, newest.notice.data), (round + 1, json!([round, winner])));
        version = new;
    }
}
