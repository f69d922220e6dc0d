use std::sync::Arc;

use tidegate_model::clock::{Clock as _, TestClock};
use tidegate_model::memory::MemoryStore;
use tidegate_model::ports::Store;

use super::*;

struct Bench {
    store: Arc<MemoryStore>,
    clock: Arc<TestClock>,
    tokens: Tokens,
}

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);
const DAY: Duration = Duration::from_secs(24 * 3600);

fn bench() -> Bench {
    let clock = TestClock::new(NOW, 7);
    let store = Arc::new(MemoryStore::new());
    let registers: Arc<dyn Registers> = Arc::<MemoryStore>::clone(&store);
    Bench { tokens: Tokens::new(registers, clock.clone()), store, clock }
}

impl Bench {
    fn act(&self) -> Act {
        Act { by: "root".to_owned(), reason: "hired".to_owned(), at: self.clock.now() }
    }

    async fn make(&self, name: &str, days: Option<u32>) -> TokenText {
        let expires_at = days.map(|days| self.clock.now().plus(DAY * days));
        let new = NewToken { name: name.to_owned(), role: Role::Operator, expires_at };
        self.tokens.create(new, self.act()).await.unwrap().0
    }

    async fn trail(&self) -> Vec<String> {
        let store: Arc<dyn Store> = Arc::<MemoryStore>::clone(&self.store);
        let trail = store.trail(None, 0, 100).await.unwrap();
        trail.into_iter().map(|line| format!("{} {} by {}", line.action, line.subject, line.act.by)).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_opens_until_its_end_and_the_store_does_not_have_it() {
    let bench = bench();
    let token = bench.make("mia", Some(90)).await;
    let record = bench.tokens.authenticate(&token).await.unwrap();
    assert_eq!((record.name.as_str(), record.role, record.last_used_at), ("mia", Role::Operator, Some(NOW)));

    let stored = bench.store.registers(ACCESS_TOKEN).await.unwrap();
    let secret = token.reveal().rsplit('_').next().unwrap().to_owned();
    assert!(!stored[0].value.to_string().contains(&secret));
    assert_eq!(bench.trail().await, [format!("token.create {} by root", token.id())]);

    bench.clock.set_now(NOW.plus(DAY * 90));
    let refused = bench.tokens.authenticate(&token).await.unwrap_err();
    assert_eq!(refused, TokenRefused::Expired { id: token.id().clone(), at: NOW.plus(DAY * 90) });
}

#[tokio::test(start_paused = true)]
async fn another_secret_with_a_known_number_is_as_unknown_as_any() {
    let bench = bench();
    let token = bench.make("mia", None).await;
    let text = format!("tg_{}_{}", token.id(), "0".repeat(64));
    let guessed = TokenText::parse(&text).unwrap();
    assert_eq!(bench.tokens.authenticate(&guessed).await, Err(TokenRefused::Unknown));
    let other = TokenText::mint(&*bench.clock);
    assert_eq!(bench.tokens.authenticate(&other).await, Err(TokenRefused::Unknown));
}

#[tokio::test(start_paused = true)]
async fn a_revoked_token_opens_nothing_from_the_next_request_on() {
    let bench = bench();
    let token = bench.make("mia", None).await;
    let (record, changed) = bench.tokens.revoke(token.id(), bench.act()).await.unwrap();
    assert!(changed && record.revoked.is_some());
    let refused = bench.tokens.authenticate(&token).await.unwrap_err();
    assert_eq!(refused, TokenRefused::Revoked { id: token.id().clone(), at: NOW });
    assert_eq!(bench.tokens.standing(token.id()).await, Err(refused));
    assert!(!bench.tokens.revoke(token.id(), bench.act()).await.unwrap().1, "once");
    assert_eq!(bench.trail().await.len(), 2);

    let unknown = TokenId::parse("00c0ffee00aa").unwrap();
    let error = bench.tokens.revoke(&unknown, bench.act()).await.unwrap_err();
    assert_eq!(error, TokenError::NotFound { id: unknown });
}

#[tokio::test(start_paused = true)]
async fn a_new_name_counts_from_the_next_request_on() {
    let bench = bench();
    let token = bench.make("mia", None).await;
    bench.tokens.rename(token.id(), "Mia Torres", bench.act()).await.unwrap();
    assert_eq!(bench.tokens.authenticate(&token).await.unwrap().name, "Mia Torres");
    assert!(!bench.tokens.rename(token.id(), "Mia Torres", bench.act()).await.unwrap().1);
    assert!(bench.tokens.rename(token.id(), "Mia (root)", bench.act()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_use_is_written_down_once_an_hour_at_most() {
    let bench = bench();
    let token = bench.make("mia", None).await;
    let version = async || bench.store.registers(ACCESS_TOKEN).await.unwrap()[0].version.0;
    for _ in 0..5 {
        bench.tokens.authenticate(&token).await.unwrap();
    }
    assert_eq!(version().await, 2);
    bench.clock.set_now(NOW.plus(LAST_USED_STEP));
    bench.tokens.authenticate(&token).await.unwrap();
    assert_eq!(version().await, 3);
}

#[tokio::test(start_paused = true)]
async fn there_are_so_many_and_those_that_ended_long_ago_make_room() {
    let bench = bench();
    for _ in 0..MAX_TOKENS {
        bench.make("ci", Some(1)).await;
    }
    let new = || NewToken { name: "ci".to_owned(), role: Role::Reader, expires_at: None };
    assert_eq!(bench.tokens.create(new(), bench.act()).await.unwrap_err(), TokenError::TooMany);
    bench.clock.set_now(NOW.plus(DAY + KEPT_FOR + Duration::from_millis(1)));
    bench.tokens.create(new(), bench.act()).await.unwrap();
    assert_eq!(bench.tokens.list().await.unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_a_token_is_not_made() {
    let bench = bench();
    let past = NewToken { name: "mia".to_owned(), role: Role::Admin, expires_at: Some(NOW) };
    let nobody = NewToken { name: " ".to_owned(), role: Role::Admin, expires_at: None };
    for (new, code) in [(past, ErrorCode::BAD_REQUEST), (nobody, ErrorCode::BAD_REQUEST)] {
        assert_eq!(bench.tokens.create(new, bench.act()).await.unwrap_err().code(), code);
    }
    assert_eq!(bench.tokens.list().await.unwrap(), []);
    assert_eq!(bench.trail().await, Vec::<String>::new());
}
