use std::sync::Arc;

use tidegate_model::clock::{Clock as _, TestClock};
use tidegate_model::memory::MemoryStore;
use tidegate_model::ports::Store;

use super::*;
use crate::link::LinkText;
use crate::principal::Proof;

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

const LIFETIME: Duration = Duration::from_secs(12 * 3600);

impl Bench {
    async fn link(&self, minutes: u64) -> LinkText {
        let validity = Duration::from_secs(60 * minutes);
        let new = NewLink { name: "mia".to_owned(), role: Role::Operator, validity };
        self.tokens.create_link(new, self.act()).await.unwrap().0
    }

    fn pass(&self, time: Duration) {
        self.clock.set_now(self.clock.now().plus(time));
    }
}

#[tokio::test(start_paused = true)]
async fn a_link_signs_somebody_in_once() {
    let bench = bench();
    let link = bench.link(15).await;
    let stored = bench.store.registers(ACCESS_TOKEN).await.unwrap();
    let secret = link.reveal().rsplit('_').next().unwrap().to_owned();
    assert!(!stored[0].value.to_string().contains(&secret));

    let mia = bench.tokens.follow_link(&link, LIFETIME).await.unwrap();
    assert_eq!((mia.name.as_str(), mia.role), ("mia", Role::Operator));
    assert_eq!(mia.proof, Proof::TokenSession(link.id().clone()));
    let again = bench.tokens.follow_link(&link, LIFETIME).await.unwrap_err();
    assert_eq!(again, LinkRefused::Used { at: NOW });
    let opened = format!("session.open {} by mia (token {})", link.id(), link.id());
    assert_eq!(bench.trail().await, [format!("sign-in-link.create {} by root", link.id()), opened]);

    // What it opened ends like any session's token does.
    bench.tokens.standing(link.id()).await.unwrap();
    bench.tokens.revoke(link.id(), bench.act()).await.unwrap();
    assert!(bench.tokens.standing(link.id()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn of_several_who_follow_a_link_at_once_one_is_signed_in() {
    let bench = bench();
    let link = bench.link(15).await;
    let all =
        futures_util::future::join_all((0..20).map(|_| bench.tokens.follow_link(&link, LIFETIME))).await;
    assert_eq!(all.iter().filter(|one| one.is_ok()).count(), 1);
    assert!(all.iter().all(|one| matches!(one, Ok(_) | Err(LinkRefused::Used { .. }))));
}

#[tokio::test(start_paused = true)]
async fn a_link_that_is_wrong_over_or_revoked_lets_nobody_in() {
    let bench = bench();
    let (late, revoked, good) = (bench.link(15).await, bench.link(60).await, bench.link(60).await);
    bench.tokens.revoke(revoked.id(), bench.act()).await.unwrap();
    bench.pass(Duration::from_secs(15 * 60));
    let follow = async |link: &LinkText| bench.tokens.follow_link(link, LIFETIME).await.unwrap_err();
    let end = bench.clock.now();
    assert_eq!(follow(&late).await, LinkRefused::Expired { at: end });
    assert_eq!(follow(&revoked).await, LinkRefused::Revoked { at: NOW });
    let guessed = LinkText::parse(&format!("tgl_{}_{}", good.id(), "0".repeat(64))).unwrap();
    assert_eq!(follow(&guessed).await, LinkRefused::Unknown);
    // The number of a token is not the number of a link, and a link is no token.
    let token = bench.make("ann", None).await;
    let of_token = LinkText::parse(&format!("tgl_{}", token.reveal().trim_start_matches("tg_"))).unwrap();
    assert_eq!(follow(&of_token).await, LinkRefused::Unknown);
    let as_token = TokenText::parse(&format!("tg_{}", good.reveal().trim_start_matches("tgl_"))).unwrap();
    assert_eq!(bench.tokens.authenticate(&as_token).await, Err(TokenRefused::Unknown));
    bench.tokens.follow_link(&good, LIFETIME).await.unwrap();

    for validity in [Duration::ZERO, MAX_VALIDITY + Duration::from_secs(1)] {
        let new = NewLink { name: "mia".to_owned(), role: Role::Reader, validity };
        let refused = bench.tokens.create_link(new, bench.act()).await.unwrap_err();
        assert_eq!(refused, TokenError::LinkTooLong);
    }
}

#[tokio::test(start_paused = true)]
async fn links_make_room_soon() {
    let bench = bench();
    for _ in 0..MAX_TOKENS {
        bench.link(15).await;
    }
    bench.pass(Duration::from_secs(15 * 60 + 1));
    let followed = bench.link(15).await;
    assert_eq!(bench.tokens.list().await.unwrap().len(), 1, "those that nobody followed are forgotten");
    bench.tokens.follow_link(&followed, LIFETIME).await.unwrap();
    bench.pass(LIFETIME + DAY);
    bench.make("ci", None).await;
    assert_eq!(bench.tokens.list().await.unwrap().len(), 2);
    bench.pass(Duration::from_secs(1));
    bench.make("ci", None).await;
    assert_eq!(bench.tokens.list().await.unwrap().len(), 2);
}
