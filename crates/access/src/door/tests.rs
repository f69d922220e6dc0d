use http::header::{COOKIE, HOST, ORIGIN};
use http::{HeaderMap, Method, Uri};
use tidegate_model::clock::{Clock as _, TestClock};
use tidegate_model::memory::MemoryStore;
use tidegate_model::ports::Registers;
use tidegate_model::trail::Act;

use super::*;
use crate::request::Ends;
use crate::session::SessionTimes;
use crate::tokens::{NewToken, TokenRefused};

/// One key that everything is allowed to.
struct RootKey;

#[async_trait]
impl Keys for RootKey {
    async fn holder(
        &self,
        authorization: &str,
        _: Role,
        _: &str,
        _: Timestamp,
    ) -> Result<Principal, Refused> {
        match authorization {
            "Bearer root" => Ok(Principal { name: "root".to_owned(), role: Role::Admin, proof: Proof::Key }),
            _ => {
                Err(Refused::Key { is_forbidden: false, message: "no key".to_owned(), action: String::new() })
            }
        }
    }
}

struct Bench {
    door: Door,
    clock: Arc<TestClock>,
}

fn bench(open_on_loopback: bool, public_origin: Option<&str>) -> Bench {
    let clock = TestClock::new(Timestamp::from_millis(1_700_000_000_000), 7);
    let store: Arc<dyn Registers> = Arc::new(MemoryStore::new());
    let settings = DoorSettings {
        open_on_loopback,
        public_origin: public_origin.map(str::to_owned),
        masks: Masks::default(),
    };
    let tokens = Tokens::new(store.clone(), clock.clone());
    let sessions = Sessions::new(store, SessionTimes::default(), clock.clone());
    Bench { door: Door::new(settings, Arc::new(RootKey), tokens, sessions, clock.clone()), clock }
}

/// A request from this machine to its loopback.
struct Request {
    method: Method,
    headers: HeaderMap,
    from: &'static str,
}

fn get() -> Request {
    let headers = HeaderMap::from_iter([(HOST, "127.0.0.1:8780".parse().unwrap())]);
    Request { method: Method::GET, headers, from: "127.0.0.1:40000" }
}

fn post() -> Request {
    Request { method: Method::POST, ..get() }
}

impl Request {
    fn with(mut self, name: impl http::header::IntoHeaderName, value: &str) -> Self {
        self.headers.insert(name, value.parse().unwrap());
        self
    }

    fn from(self, from: &'static str) -> Self {
        Self { from, ..self }
    }

    async fn enter(&self, bench: &Bench, needed: Role) -> Result<Principal, Refused> {
        let ends = Ends { listener: "127.0.0.1".parse().unwrap(), peer: self.from.parse().unwrap() };
        let uri = Uri::from_static("/api/v1/hubs");
        let asked = Asked { method: &self.method, uri: &uri, headers: &self.headers, ends: Some(ends) };
        bench.door.enter(asked, needed, "").await.map(|entered| entered.principal)
    }
}

impl Bench {
    async fn token(&self, role: Role) -> TokenText {
        let act = Act { by: "root".to_owned(), reason: String::new(), at: self.clock.now() };
        let new = NewToken { name: "mia".to_owned(), role, expires_at: None };
        self.door.tokens.create(new, act).await.unwrap().0
    }

    async fn signed_in(&self, token: &TokenText, role: Role) -> (String, Session) {
        let proof = Proof::TokenSession(token.id().clone());
        self.door.sessions.open(Principal { name: "mia".to_owned(), role, proof }).await.unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn on_this_machine_looking_is_open_and_nothing_else() {
    let bench = bench(true, None);
    assert_eq!(get().enter(&bench, Role::Reader).await, Ok(Principal::guest()));
    assert_eq!(get().enter(&bench, Role::Operator).await, Err(Refused::NotSignedIn));
    assert_eq!(get().from("192.0.2.9:40000").enter(&bench, Role::Reader).await, Err(Refused::NotSignedIn));
    let rebound = get().with(HOST, "evil.example.com");
    assert_eq!(rebound.enter(&bench, Role::Reader).await, Err(Refused::NotSignedIn));
    let closed = self::bench(false, None);
    assert_eq!(get().enter(&closed, Role::Reader).await, Err(Refused::NotSignedIn));
}

#[tokio::test(start_paused = true)]
async fn a_header_decides_also_when_it_is_wrong() {
    let bench = bench(true, None);
    let token = bench.token(Role::Operator).await;
    let with = |text: &str| get().with(AUTHORIZATION, text);
    assert_eq!(with("Bearer root").enter(&bench, Role::Admin).await.unwrap().name, "root");
    let holder = with(&format!("bearer  {}", token.reveal())).enter(&bench, Role::Operator).await.unwrap();
    assert_eq!((holder.name.as_str(), holder.proof), ("mia", Proof::Token(token.id().clone())));
    let refused = with(&format!("Bearer {}", token.reveal())).enter(&bench, Role::Admin).await.unwrap_err();
    assert!(matches!(refused, Refused::RoleTooLow { role: Role::Operator, needed: Role::Admin, .. }));
    for wrong in ["Bearer other", "Basic root", "", "Bearer tg_"] {
        let refused = with(wrong).enter(&bench, Role::Reader).await.unwrap_err();
        assert_eq!(refused.status(), 401, "{wrong}: it is no guest who shows something wrong");
    }
    let text = token.reveal();
    let end = if text.ends_with('0') { "1" } else { "0" };
    let guessed = format!("Bearer {}{end}", &text[..text.len() - 1]);
    let refused = with(&guessed).enter(&bench, Role::Reader).await.unwrap_err();
    assert_eq!(refused, Refused::Token(TokenRefused::Unknown));
}

#[tokio::test(start_paused = true)]
async fn a_session_changes_something_only_with_its_token_and_from_its_site() {
    let bench = bench(true, Some("https://tide.example.com"));
    let token = bench.token(Role::Operator).await;
    let (secret, session) = bench.signed_in(&token, Role::Operator).await;
    let cookie = format!("__Host-tidegate_session={secret}");
    let csrf = session.csrf.reveal();
    let signed = |request: Request| request.with(COOKIE, &cookie);

    assert_eq!(signed(get()).enter(&bench, Role::Operator).await.unwrap().name, "mia");
    assert_eq!(signed(post()).enter(&bench, Role::Operator).await, Err(Refused::Forged));
    let other = bench.signed_in(&token, Role::Operator).await.1;
    let with_other = signed(post()).with(CSRF_HEADER, other.csrf.reveal());
    assert_eq!(with_other.enter(&bench, Role::Operator).await, Err(Refused::Forged));
    let meant = || signed(post()).with(CSRF_HEADER, csrf);
    meant().enter(&bench, Role::Operator).await.unwrap();
    meant().with(ORIGIN, "https://tide.example.com").enter(&bench, Role::Operator).await.unwrap();
    let foreign = meant().with(ORIGIN, "https://evil.example.com");
    assert_eq!(foreign.enter(&bench, Role::Operator).await, Err(Refused::OtherSite));
    let cross = meant().with("sec-fetch-site", "cross-site");
    assert_eq!(cross.enter(&bench, Role::Operator).await, Err(Refused::OtherSite));
}

#[tokio::test(start_paused = true)]
async fn a_session_ends_with_its_token_and_has_its_role() {
    let bench = bench(false, None);
    let token = bench.token(Role::Reader).await;
    // The token was an operator's when somebody signed in with it.
    let (secret, _) = bench.signed_in(&token, Role::Operator).await;
    let cookie = format!("tidegate_session={secret}");
    let signed = || get().with(COOKIE, &cookie);
    assert_eq!(signed().enter(&bench, Role::Reader).await.unwrap().role, Role::Reader);
    assert!(matches!(signed().enter(&bench, Role::Operator).await, Err(Refused::RoleTooLow { .. })));
    let act = Act { by: "root".to_owned(), reason: String::new(), at: bench.clock.now() };
    bench.door.tokens.revoke(token.id(), act).await.unwrap();
    assert_eq!(signed().enter(&bench, Role::Reader).await, Err(Refused::NotSignedIn));
}
