use async_trait::async_trait;
use parking_lot::Mutex;
use tidegate_model::clock::{Clock as _, TestClock};
use tidegate_model::memory::MemoryStore;
use tidegate_model::ports::Store;

use super::*;

const START: Timestamp = Timestamp::from_millis(1_700_000_000_000);

struct Bench {
    store: Arc<MemoryStore>,
    clock: Arc<TestClock>,
    sessions: Sessions,
}

impl Bench {
    fn new() -> Self {
        let (store, clock) = (Arc::new(MemoryStore::new()), TestClock::new(START, 7));
        let sessions = Self::over(&store, &clock);
        Self { store, clock, sessions }
    }

    fn over(store: &Arc<MemoryStore>, clock: &Arc<TestClock>) -> Sessions {
        let registers: Arc<dyn Registers> = Arc::<MemoryStore>::clone(store);
        Sessions::new(registers, SessionTimes::default(), clock.clone())
    }

    async fn open(&self, name: &str) -> (String, Session) {
        self.sessions.open(somebody(name)).await.unwrap()
    }

    async fn find(&self, cookie: &str) -> Option<Session> {
        self.sessions.find(cookie).await.unwrap()
    }

    fn pass(&self, minutes: u64) {
        self.clock.set_now(self.clock.now().plus(Duration::from_secs(60 * minutes)));
    }
}

fn somebody(name: &str) -> Principal {
    Principal { name: name.to_owned(), role: Role::Operator, proof: Proof::ProviderSession }
}

#[tokio::test(start_paused = true)]
async fn a_session_ends_when_it_is_idle_and_after_its_longest_time() {
    let bench = Bench::new();
    let (cookie, session) = bench.open("mia").await;
    assert_eq!(bench.find(&cookie).await, Some(session.clone()));
    assert_eq!(bench.find(session.csrf.reveal()).await, None, "one is not the other");
    bench.pass(59);
    assert!(bench.find(&cookie).await.is_some());
    bench.pass(60);
    assert_eq!(bench.find(&cookie).await, None, "it was idle");

    let (cookie, _) = bench.open("mia").await;
    for _ in 0..23 {
        bench.pass(30);
        assert!(bench.find(&cookie).await.is_some());
    }
    bench.pass(30);
    assert_eq!(bench.find(&cookie).await, None, "12 hours are over");
}

#[tokio::test(start_paused = true)]
async fn a_use_is_written_down_now_and_then() {
    let bench = Bench::new();
    let (cookie, _) = bench.open("mia").await;
    let version = async || bench.store.registers(SESSION).await.unwrap()[0].version;
    bench.pass(4);
    bench.find(&cookie).await.unwrap();
    assert_eq!(version().await, Version(1));
    bench.pass(1);
    bench.find(&cookie).await.unwrap();
    bench.find(&cookie).await.unwrap();
    assert_eq!(version().await, Version(2));
}

#[tokio::test(start_paused = true)]
async fn a_restart_signs_nobody_out_and_the_store_lets_nobody_in() {
    let bench = Bench::new();
    let (cookie, session) = bench.open("mia").await;
    let (gone, _) = bench.open("ann").await;
    bench.sessions.close(&gone).await.unwrap();
    let restarted = Bench::over(&bench.store, &bench.clock);
    assert_eq!(restarted.find(&cookie).await.unwrap(), Some(session.clone()));
    assert_eq!(restarted.find(&gone).await.unwrap(), None, "who signed out stays so");
    let stored: String =
        bench.store.registers(SESSION).await.unwrap().iter().map(|one| one.value.to_string()).collect();
    assert!(!stored.contains(&cookie[3..]) && !stored.contains(session.csrf.reveal()), "{stored}");
}

#[tokio::test(start_paused = true)]
async fn another_secret_in_the_same_place_is_nobodys() {
    let bench = Bench::new();
    let (cookie, _) = bench.open("mia").await;
    let guessed = format!("{}{}", &cookie[..3], "0".repeat(64));
    for wrong in [guessed.as_str(), "", "000", &cookie[1..], &cookie.to_uppercase(), "é"] {
        assert_eq!(bench.find(wrong).await, None, "{wrong}");
        bench.sessions.close(wrong).await.unwrap();
    }
    assert!(bench.find(&cookie).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn signing_out_ends_a_session_and_revoking_those_of_a_token() {
    let bench = Bench::new();
    let (cookie, _) = bench.open("mia").await;
    bench.sessions.close(&cookie).await.unwrap();
    assert_eq!(bench.find(&cookie).await, None);

    let id = TokenId::parse("00c0ffee00aa").unwrap();
    let by_token = Principal { proof: Proof::TokenSession(id.clone()), ..somebody("mia") };
    let (one, _) = bench.sessions.open(by_token).await.unwrap();
    let (other, _) = bench.open("mia").await;
    bench.sessions.close_of_token(&id).await.unwrap();
    assert_eq!((bench.find(&one).await.is_some(), bench.find(&other).await.is_some()), (false, true));
}

#[tokio::test(start_paused = true)]
async fn an_admin_sees_who_is_signed_in_and_ends_it() {
    let bench = Bench::new();
    let (cookie, _) = bench.open("mia").await;
    bench.pass(1);
    bench.open("ann").await;
    let listed = bench.sessions.list().await.unwrap();
    let of_mia = bench.find(&cookie).await.unwrap();
    assert_eq!(of_mia.id, listed[1].id, "a session goes by the name it is listed under");
    assert_eq!(listed.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["ann", "mia"]);
    let act = || Act { by: "root".to_owned(), reason: "left".to_owned(), at: bench.clock.now() };
    let ended = bench.sessions.end(&listed[1].id, act()).await.unwrap().unwrap();
    assert_eq!(ended.name, "mia");
    assert_eq!(bench.find(&cookie).await, None);
    assert_eq!(bench.sessions.end(&listed[1].id, act()).await.unwrap(), None);
    let store: Arc<dyn Store> = Arc::<MemoryStore>::clone(&bench.store);
    let trail = store.trail(None, 0, 10).await.unwrap();
    assert_eq!((trail.len(), trail[0].action.as_str()), (1, "session.end"));
}

#[tokio::test(start_paused = true)]
async fn sessions_are_bounded_for_one_person_and_for_all() {
    let bench = Bench::new();
    let (first, _) = bench.open("mia").await;
    let (other, _) = bench.open("ann").await;
    for _ in 0..MAX_SESSIONS_OF_ONE {
        bench.pass(1);
        bench.open("mia").await;
    }
    assert_eq!(bench.find(&first).await, None, "the one that was not used longest made room");
    assert!(bench.find(&other).await.is_some());
    assert_eq!(bench.store.registers(SESSION).await.unwrap().len(), MAX_SESSIONS_OF_ONE + 1);
}

#[test]
fn a_place_is_taken_again() {
    let held = |number: usize, name: &str, used: i64| Held {
        place: format!("{number:03x}"),
        version: Version(3),
        record: SessionRecord {
            id: String::new(),
            sha256: String::new(),
            name: name.to_owned(),
            role: Role::Reader,
            token: None,
            opened_at: START,
            used_at: Timestamp::from_millis(START.as_millis() + used),
        },
    };
    let times = SessionTimes::default();
    let place = |all: &[Held], now: Timestamp| place_for(all, &somebody("zoe"), &times, now);
    assert_eq!(place(&[], START), ("000".to_owned(), Version::NONE));
    let gap = [held(0, "a", 0), held(2, "b", 0)];
    assert_eq!(place(&gap, START), ("001".to_owned(), Version::NONE));
    let later = START.plus(times.idle);
    assert_eq!(place(&gap, later), ("000".to_owned(), Version(3)), "one that is over makes room first");
    let mut full: Vec<Held> = (0..MAX_SESSIONS).map(|number| held(number, &number.to_string(), 5)).collect();
    full[77].record.used_at = START;
    assert_eq!(place(&full, START), ("04d".to_owned(), Version(3)));
    assert_eq!(place_of(&format!("fff{}", "0".repeat(64))), Some("fff"));
}

#[tokio::test(start_paused = true)]
async fn the_token_against_forgery_is_not_printed() {
    let (_, session) = Bench::new().open("mia").await;
    assert!(!format!("{session:?}").contains(session.csrf.reveal()));
    assert!(session.csrf.is(session.csrf.reveal()) && !session.csrf.is(""));
}

/// Registers in which something happens just before the next change.
struct JustBefore {
    store: Arc<MemoryStore>,
    happens: Mutex<Option<RegisterChange>>,
}

#[async_trait]
impl Registers for JustBefore {
    async fn register(&self, key: &RegisterKey) -> Result<Option<Register>, StoreError> {
        self.store.register(key).await
    }

    async fn registers(&self, kind: &'static str) -> Result<Vec<Register>, StoreError> {
        self.store.registers(kind).await
    }

    async fn change_register(&self, change: RegisterChange) -> Result<Version, StoreError> {
        let happens = self.happens.lock().take();
        if let Some(other) = happens {
            self.store.change_register(other).await?;
        }
        self.store.change_register(change).await
    }
}

#[tokio::test(start_paused = true)]
async fn who_signs_out_is_signed_out_although_another_request_uses_the_session_just_then() {
    let bench = Bench::new();
    let (cookie, _) = bench.open("mia").await;
    let stored = bench.store.registers(SESSION).await.unwrap().remove(0);
    let use_of_it = RegisterChange {
        key: RegisterKey::new(SESSION, &stored.name),
        from: stored.version,
        value: Some(stored.value),
        at: bench.clock.now(),
        notices: Vec::new(),
        trail: Vec::new(),
    };
    let between = Arc::new(JustBefore { store: bench.store.clone(), happens: Mutex::new(Some(use_of_it)) });
    let sessions = Sessions::new(between.clone(), SessionTimes::default(), bench.clock.clone());
    sessions.close(&cookie).await.unwrap();
    assert!(between.happens.lock().is_none(), "it was used meanwhile");
    assert_eq!(bench.find(&cookie).await, None);
}

#[tokio::test(start_paused = true)]
async fn one_that_cannot_be_read_keeps_nobody_from_signing_in() {
    let bench = Bench::new();
    let (mia, _) = bench.open("mia").await;
    let (zoe, _) = bench.open("zoe").await;
    let stored = bench.store.registers(SESSION).await.unwrap().remove(0);
    let of_a_later_version = RegisterChange {
        key: RegisterKey::new(SESSION, &stored.name),
        from: stored.version,
        value: Some(serde_json::json!({ "who": "mia" })),
        at: bench.clock.now(),
        notices: Vec::new(),
        trail: Vec::new(),
    };
    bench.store.change_register(of_a_later_version).await.unwrap();
    assert!(bench.sessions.find(&mia).await.is_err(), "it is damaged, and lets nobody in");
    let names = async || -> Vec<String> {
        bench.sessions.list().await.unwrap().into_iter().map(|record| record.name).collect()
    };
    assert_eq!(names().await, ["zoe"]);
    let (ann, _) = bench.open("ann").await;
    assert!(bench.find(&ann).await.is_some() && bench.find(&zoe).await.is_some());
    assert_eq!(names().await.len(), 2);
    assert_eq!(bench.store.registers(SESSION).await.unwrap().len(), 2, "it made room");
    assert_eq!(bench.find(&mia).await, None);
}
