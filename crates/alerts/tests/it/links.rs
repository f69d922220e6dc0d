//! The link in the mail, from the circuit that opens to the function that is restarted.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode, header};
use parking_lot::Mutex;
use tidegate_alerts::catcher::Catcher;
use tidegate_alerts::incident::{self, Stage};
use tidegate_alerts::links::token::Claim;
use tidegate_alerts::links::{
    DEFAULT_LIFETIME, Issuer, LINK_USE, LinkKey, Links, Restart, RestartError, prune, routes,
};
use tidegate_alerts::target::Target;
use tidegate_model::checkpoint::FunctionName;
use tidegate_model::circuit::{Circuit, CircuitState};
use tidegate_model::memory::MemoryStore;
use tidegate_model::ports::{DeadLetters, Registers};
use tidegate_model::register::Version;
use tokio::sync::watch;
use tower::ServiceExt;

use crate::clock::ManualClock;
use crate::setup::{mail_target, now, open_circuit, run, set_circuit, shared, store};

/// What a restart does.
enum Outcome {
    Fail,
    Stall,
}

/// Closes the circuit, or fails as the test says.
struct Restarter {
    memory: MemoryStore,
    clock: Arc<ManualClock>,
    outcomes: Mutex<VecDeque<Outcome>>,
    restarts: Mutex<Vec<String>>,
    stalled: watch::Sender<bool>,
}

#[async_trait]
impl Restart for Restarter {
    async fn restart(&self, function: &FunctionName, by: &str) -> Result<(), RestartError> {
        let outcome = self.outcomes.lock().pop_front();
        match outcome {
            Some(Outcome::Fail) => return Err(RestartError("the store is <busy>".to_owned())),
            Some(Outcome::Stall) => {
                self.stalled.send_replace(true);
                std::future::pending::<()>().await;
            }
            None => {}
        }
        self.restarts.lock().push(by.to_owned());
        let closed = Circuit { by: by.to_owned(), ..Circuit::closed(now(&self.clock)) };
        set_circuit(&self.memory, function.as_str(), &closed, Vec::new()).await;
        Ok(())
    }
}

struct Site {
    memory: MemoryStore,
    clock: Arc<ManualClock>,
    restarter: Arc<Restarter>,
    router: Router,
}

fn key() -> LinkKey {
    LinkKey::new([7; 32])
}

impl Site {
    fn new() -> Self {
        let (memory, clock) = (MemoryStore::new(), ManualClock::new());
        let restarter = Arc::new(Restarter {
            memory: memory.clone(),
            clock: Arc::clone(&clock),
            outcomes: Mutex::default(),
            restarts: Mutex::default(),
            stalled: watch::Sender::new(false),
        });
        let restart: Arc<dyn Restart> = Arc::<Restarter>::clone(&restarter);
        let links = Links::new(key(), &store(&memory), restart, shared(&clock));
        Self { memory, clock, restarter, router: routes(Arc::new(links)) }
    }

    /// A link about the outage that begins now.
    fn link(&self) -> String {
        let claim = Claim {
            function: FunctionName::new("aircraft").unwrap(),
            version: Version(1),
            opened_at: now(&self.clock),
            expires_at: now(&self.clock).plus(DEFAULT_LIFETIME),
            nonce: key().nonce("1-1", "ops:mia@example.com"),
            sent_to: "ops:mia@example.com".to_owned(),
        };
        format!("/restart/{}", key().sign(&claim))
    }

    async fn open(&self) -> String {
        open_circuit(&self.memory, "aircraft", now(&self.clock)).await;
        self.link()
    }

    async fn ask(&self, request: Request<Body>) -> (StatusCode, HeaderMap, String) {
        let answer = self.router.clone().oneshot(request).await.unwrap();
        let (head, body) = answer.into_parts();
        let body = to_bytes(body, 1 << 20).await.unwrap();
        (head.status, head.headers, String::from_utf8(body.to_vec()).unwrap())
    }

    async fn get(&self, path: &str) -> (StatusCode, String) {
        let (status, _, body) = self.ask(Request::get(path).body(Body::empty()).unwrap()).await;
        (status, body)
    }

    async fn post(&self, path: &str, form: &str) -> (StatusCode, String) {
        let request = Request::post(path)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Body::from(form.to_owned()))
            .unwrap();
        let (status, _, body) = self.ask(request).await;
        (status, body)
    }

    fn restarts(&self) -> Vec<String> {
        self.restarter.restarts.lock().clone()
    }
}

#[tokio::test]
async fn the_mail_about_an_open_circuit_restarts_it() {
    let site = Site::new();
    let (catcher, mut mails) = Catcher::listen(0).await.unwrap();
    let issuer = Issuer::new(key(), "https://tide.example.com/", DEFAULT_LIFETIME);
    let target = Target::Email(mail_target(catcher.address()));
    let _running = run(&site.memory, &[target], Some(issuer), &site.clock);
    open_circuit(&site.memory, "aircraft", now(&site.clock)).await;
    site.clock.settled(1).await;
    site.clock.advance(Duration::from_secs(2));

    let text = mails.recv().await.unwrap().text();
    let link =
        text.split_whitespace().find_map(|word| word.strip_prefix("https://tide.example.com")).unwrap();
    let (status, page) = site.get(link).await;
    assert_eq!(status, StatusCode::OK);
    assert!(page.contains("120 final failures in 30 s"), "{page}");
    let (status, page) = site.post(link, "name=Mia+%3Cb%3E").await;
    assert_eq!(status, StatusCode::OK);
    assert!(page.contains("Mia &lt;b&gt;") && !page.contains("<b>"), "{page}");

    assert_eq!(site.restarts(), ["Mia <b> by the link to ops:mia@example.com"]);
    let trail = site.memory.trail(Some("aircraft"), 0, 10).await.unwrap();
    assert_eq!(trail.len(), 1);
    assert_eq!(trail[0].action, "circuit.restart-link");
    assert_eq!(trail[0].act.by, "Mia <b> by the link to ops:mia@example.com");
    assert_eq!(trail[0].act.at, now(&site.clock));

    let incidents = incident::list(&site.memory).await.unwrap();
    assert_eq!(incidents[0].stage, Stage::Restarting);
    incident::advance(&site.memory, &site.memory, &[], now(&site.clock)).await.unwrap();
    assert_eq!(incident::list(&site.memory).await.unwrap()[0].stage, Stage::Closed);
}

#[tokio::test]
async fn looking_changes_nothing_however_often_a_scanner_does_it() {
    let site = Site::new();
    let link = site.open().await;
    for _ in 0..5 {
        let (status, page) = site.get(&link).await;
        assert_eq!(status, StatusCode::OK);
        assert!(page.contains("<form method=\"post\">"));
        let head = Request::head(&link).body(Body::empty()).unwrap();
        assert_eq!(site.ask(head).await.0, StatusCode::OK);
    }
    let put = Request::put(&link).body(Body::empty()).unwrap();
    assert_eq!(site.ask(put).await.0, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(site.memory.registers(LINK_USE).await.unwrap(), []);
    assert_eq!(site.memory.trail(None, 0, 10).await.unwrap(), []);
    assert_eq!(site.restarts().len(), 0);
}

#[tokio::test]
async fn a_link_works_once() {
    let site = Site::new();
    let link = site.open().await;
    assert_eq!(site.post(&link, "").await.0, StatusCode::OK);
    // The same outage goes on: the probe failed.
    let reopened = Circuit {
        state: CircuitState::Open,
        opened_at: Some(now(&site.clock)),
        ..Circuit::closed(now(&site.clock))
    };
    set_circuit(&site.memory, "aircraft", &reopened, Vec::new()).await;
    for (status, page) in [site.post(&link, "").await, site.get(&link).await] {
        assert_eq!(status, StatusCode::GONE);
        assert!(page.contains("was used already"), "{page}");
    }
    assert_eq!(site.restarts(), ["the link to ops:mia@example.com"]);
}

#[tokio::test]
async fn of_many_who_press_at_once_one_restarts() {
    let site = Site::new();
    let link = site.open().await;
    let presses = (0..10).map(|_| site.post(&link, "name=x"));
    let statuses: Vec<_> =
        futures_util::future::join_all(presses).await.into_iter().map(|(status, _)| status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == StatusCode::OK).count(), 1, "{statuses:?}");
    assert_eq!(site.restarts().len(), 1);
}

#[tokio::test]
async fn forged_expired_and_outdated_links_have_their_own_pages() {
    let site = Site::new();
    let link = site.open().await;
    let forged = format!("{}A", &link[..link.len() - 1]);
    for path in [forged.as_str(), "/restart/x", "/restart/%FF", "/restart/%3Cscript%3E"] {
        let (status, page) = site.post(path, "").await;
        assert!(status == StatusCode::FORBIDDEN || status == StatusCode::BAD_REQUEST, "{path}: {status}");
        assert!(!page.contains("<script>"));
    }

    // Another outage of the same function.
    site.clock.advance(Duration::from_secs(60));
    set_circuit(&site.memory, "aircraft", &Circuit::closed(now(&site.clock)), Vec::new()).await;
    let (status, page) = site.post(&link, "").await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert!(page.contains("aircraft is running"), "{page}");
    open_circuit(&site.memory, "aircraft", now(&site.clock)).await;
    let (status, page) = site.post(&link, "").await;
    assert_eq!(status, StatusCode::GONE);
    assert!(page.contains("earlier outage"), "{page}");

    let newer = site.link();
    site.clock.advance(DEFAULT_LIFETIME);
    let (status, page) = site.post(&newer, "").await;
    assert_eq!(status, StatusCode::GONE);
    assert!(page.contains("has expired"), "{page}");
    assert_eq!(site.restarts().len(), 0);
}

#[tokio::test]
async fn a_restart_that_fails_does_not_use_up_the_link() {
    let site = Site::new();
    let link = site.open().await;
    site.restarter.outcomes.lock().push_back(Outcome::Fail);
    let (status, page) = site.post(&link, "").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(page.contains("the store is &lt;busy&gt;"), "{page}");
    assert_eq!(incident::list(&site.memory).await.unwrap()[0].stage, Stage::Waiting);
    let (status, page) = site.get(&link).await;
    assert_eq!(status, StatusCode::OK);
    assert!(page.contains("The last try to restart it failed"), "{page}");
    assert_eq!(site.post(&link, "").await.0, StatusCode::OK);
    assert_eq!(site.restarts().len(), 1);
}

#[tokio::test]
async fn a_crash_between_the_use_and_the_restart_leaves_the_link_for_another_try() {
    let site = Site::new();
    let link = site.open().await;
    site.restarter.outcomes.lock().push_back(Outcome::Stall);
    let mut stalled = site.restarter.stalled.subscribe();
    tokio::select! {
        _ = site.post(&link, "") => panic!("it stalls"),
        _ = stalled.wait_for(|stalled| *stalled) => {}
    }
    let (status, page) = site.post(&link, "").await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert!(page.contains("under way"), "{page}");
    site.clock.advance(Duration::from_secs(60));
    assert_eq!(site.post(&link, "").await.0, StatusCode::OK);
    assert_eq!(site.restarts().len(), 1);
}

#[tokio::test]
async fn a_page_is_kept_nowhere_and_tells_its_address_to_nobody() {
    let site = Site::new();
    let link = site.open().await;
    for path in [link.as_str(), "/restart/x"] {
        let (_, headers, page) = site.ask(Request::get(path).body(Body::empty()).unwrap()).await;
        assert_eq!(headers[header::CACHE_CONTROL], "no-store");
        assert_eq!(headers[header::REFERRER_POLICY], "no-referrer");
        assert!(headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap().contains("default-src 'none'"));
        assert!(!page.contains("<script") && !page.contains("http"), "{page}");
    }
}

#[tokio::test]
async fn a_hostile_form_is_refused_or_cut() {
    let site = Site::new();
    let link = site.open().await;
    let (status, _) = site.post(&link, &format!("name={}", "x".repeat(10_000))).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(site.restarts().len(), 0);
    let (status, _) = site.post(&link, &format!("name={}%0D%0A{}&other=1", "a", "x".repeat(3000))).await;
    assert_eq!(status, StatusCode::OK);
    let by = site.restarts()[0].clone();
    assert!(by.chars().count() < 200 && !by.contains('\n'), "{by:?}");
}

#[tokio::test]
async fn uses_are_forgotten_after_their_links_have_expired() {
    let site = Site::new();
    let link = site.open().await;
    site.post(&link, "").await;
    prune(&site.memory, now(&site.clock)).await.unwrap();
    assert_eq!(site.memory.registers(LINK_USE).await.unwrap().len(), 1);
    site.clock.advance(DEFAULT_LIFETIME + Duration::from_secs(61));
    prune(&site.memory, now(&site.clock)).await.unwrap();
    assert_eq!(site.memory.registers(LINK_USE).await.unwrap(), []);
}
