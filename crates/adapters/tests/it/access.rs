//! Getting in: keys, tokens that are renewed, access tokens of an issuer, certificates.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use parking_lot::Mutex;
use tidegate_adapters::event_hubs::client::credential::{
    Token, TokenError, TokenKind, TokenSource, signature, tokens_of,
};
use tidegate_adapters::event_hubs::client::entra::{Application, ApplicationTokens, EVENT_HUBS_SCOPE};
use tidegate_adapters::event_hubs::client::{Access, Client, FailureKind, Remote, Server, tls_with_roots};
use tidegate_adapters::event_hubs::{RemoteLog, RemoteLogOptions};
use tidegate_gateway::amqp::AmqpBounds;
use tidegate_model::clock::{Clock, TestClock};
use tidegate_model::connection_string::{ConnectionString, Credential};
use tidegate_model::event::HubName;
use tidegate_model::position::SequenceNumber;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::harness::{KEY, OtherHub, P0, bodies, clock, read_n};

async fn failure(hub: &OtherHub, remote: Remote) -> (FailureKind, String) {
    let error = Client::new(remote, hub.shared_clock()).hub_info().await.unwrap_err();
    (error.kind(), error.to_string())
}

#[tokio::test]
async fn whoever_is_not_let_in_hears_why() {
    let hub = OtherHub::start().await;
    let wrong: ConnectionString =
        "Endpoint=sb://127.0.0.1;SharedAccessKeyName=all;SharedAccessKey=wrong-key".parse().unwrap();
    let tokens = tokens_of(wrong.credential(), hub.shared_clock()).unwrap();
    let (kind, text) = failure(&hub, hub.remote_with(Access::Tokens(tokens))).await;
    assert_eq!(kind, FailureKind::Unauthorized, "{text}");
    assert!(text.contains("401") && !text.contains("wrong-key"), "{text}");

    let (kind, text) = failure(&hub, Remote { hub: "nothing".to_owned(), ..hub.remote() }).await;
    assert_eq!(kind, FailureKind::NotFound, "{text}");

    let Credential::Key { key, .. } = wrong.credential() else { panic!() };
    let plain = Access::Plain { name: "all".to_owned(), key: key.clone() };
    let (kind, text) = failure(&hub, hub.remote_with(plain)).await;
    assert_eq!(kind, FailureKind::Unauthorized, "{text}");
}

#[tokio::test]
async fn a_key_is_also_good_for_sasl_plain() {
    let hub = OtherHub::start().await;
    let connection = hub.connection_string();
    let Credential::Key { name, key } = connection.credential() else { panic!() };
    let plain = Access::Plain { name: name.clone(), key: key.clone() };
    let info = Client::new(hub.remote_with(plain), hub.shared_clock()).hub_info().await.unwrap();
    assert_eq!((info.name.as_str(), info.partition_count), ("flights", 2));
}

/// Signs tokens that live for a second.
struct ShortLived {
    clock: Arc<TestClock>,
    made: watch::Sender<u32>,
}

#[async_trait]
impl TokenSource for ShortLived {
    async fn token(&self, audience: &str) -> Result<Token, TokenError> {
        // Ends are whole seconds.
        let expires_at = self.clock.now().plus(Duration::from_millis(1999));
        self.made.send_modify(|made| *made += 1);
        Ok(Token {
            kind: TokenKind::Signature,
            secret: signature(audience, "all", KEY, expires_at),
            expires_at,
        })
    }
}

#[tokio::test]
async fn tokens_are_renewed_before_they_end() {
    let hub = OtherHub::start().await;
    let source = Arc::new(ShortLived { clock: hub.clock.clone(), made: watch::Sender::new(0) });
    let mut made = source.made.subscribe();
    let client = Client::new(hub.remote_with(Access::Tokens(source)), hub.shared_clock());
    let options = RemoteLogOptions::new(HubName::new("theirs").unwrap());
    let log = RemoteLog::open(client, options, hub.shared_clock()).await.unwrap();
    hub.append_numbers(P0, 0..1).await;
    assert_eq!(bodies(&read_n(&*log, P0, SequenceNumber::ZERO, 1).await), [0]);
    let until_now = *made.borrow();
    // Whatever was put first has long ended then.
    made.wait_for(|made| *made >= until_now + 4).await.unwrap();
    hub.append_numbers(P0, 1..2).await;
    assert_eq!(bodies(&read_n(&*log, P0, SequenceNumber(1), 1).await), [1]);
}

#[tokio::test]
async fn a_token_that_ended_is_replaced_by_a_new_connection() {
    let hub = OtherHub::start().await;
    hub.append_numbers(P0, 0..1).await;
    let log = hub.reader().await;
    assert_eq!(read_n(&*log, P0, SequenceNumber::ZERO, 1).await.len(), 1);
    // The renewal waits on the steady clock, which does not jump: the server finds the token ended before.
    hub.clock.set_now(hub.clock.now().plus(Duration::from_secs(2 * 3600)));
    hub.append_numbers(P0, 1..3).await;
    assert_eq!(bodies(&read_n(&*log, P0, SequenceNumber(1), 2).await), [1, 2]);
}

#[tokio::test]
async fn tls_is_spoken_with_those_whom_a_root_vouches_for() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let certificate = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let pem = certificate.cert.pem();
    let server = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.cert.der().clone()],
            rustls::pki_types::PrivateKeyDer::try_from(certificate.signing_key.serialize_der()).unwrap(),
        )
        .unwrap();
    let server = Arc::new(server);
    let hub = OtherHub::start_with(AmqpBounds::default(), Some(Arc::new(move || server.clone()))).await;
    let with = |tls| {
        let server = Server { host: "127.0.0.1".to_owned(), port: hub.address.port(), tls };
        Client::new(Remote { server, ..hub.remote() }, hub.shared_clock())
    };
    let trusting = with(Some(Arc::new(tls_with_roots(pem.as_bytes()).unwrap())));
    assert_eq!(trusting.hub_info().await.unwrap().partition_count, 2);

    let other = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap().cert.pem();
    let distrusting = with(Some(Arc::new(tls_with_roots(other.as_bytes()).unwrap())));
    let error = distrusting.hub_info().await.unwrap_err();
    assert!(error.to_string().contains("no encrypted connection"), "{error}");
    let plain = with(None).hub_info().await.unwrap_err();
    assert_eq!(plain.kind(), FailureKind::Transient, "{plain}");
    assert!(tls_with_roots(b"nothing").is_err());
}

// Entra

struct Issuer {
    asked: AtomicU32,
    answer: Mutex<(StatusCode, String)>,
    forms: Mutex<Vec<String>>,
}

async fn issue(State(issuer): State<Arc<Issuer>>, form: String) -> (StatusCode, String) {
    issuer.asked.fetch_add(1, Ordering::SeqCst);
    issuer.forms.lock().push(form);
    issuer.answer.lock().clone()
}

async fn issuer() -> (Arc<Issuer>, String) {
    let issuer = Arc::new(Issuer {
        asked: AtomicU32::new(0),
        answer: Mutex::new((StatusCode::OK, r#"{"access_token":"first","expires_in":3600}"#.to_owned())),
        forms: Mutex::default(),
    });
    let router = Router::new().route("/tenant-1/oauth2/v2.0/token", post(issue)).with_state(issuer.clone());
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (issuer, address)
}

#[tokio::test]
async fn an_application_is_given_tokens_and_keeps_them_while_they_are_good() {
    let (issuer, authority) = issuer().await;
    let clock = clock();
    let application = Application {
        authority,
        tenant_id: "tenant-1".to_owned(),
        client_id: "app 1".to_owned(),
        client_secret: "s3cr&t".to_owned(),
        scope: EVENT_HUBS_SCOPE,
    };
    assert!(!format!("{application:?}").contains("s3cr"));
    let client =
        reqwest::Client::builder().no_proxy().tls_backend_preconfigured(tls_for_nobody()).build().unwrap();
    let tokens = ApplicationTokens::new(application, client, clock.clone());
    let token = tokens.token("sb://x/y").await.unwrap();
    assert_eq!((token.secret.as_str(), token.kind), ("first", TokenKind::Jwt));
    tokens.token("sb://x/y").await.unwrap();
    assert_eq!(issuer.asked.load(Ordering::SeqCst), 1, "it is kept");
    let form = issuer.forms.lock()[0].clone();
    for part in [
        "grant_type=client%5Fcredentials",
        "client_id=app%201",
        "client_secret=s3cr%26t",
        "scope=https%3A%2F%2Feventhubs%2Eazure%2Enet%2F%2Edefault",
    ] {
        assert!(form.contains(part), "{form}");
    }

    // It is nearly over, and the issuer is down: it is used all the same, until its end.
    *issuer.answer.lock() = (StatusCode::SERVICE_UNAVAILABLE, "busy".to_owned());
    clock.set_now(clock.now().plus(Duration::from_secs(3400)));
    assert_eq!(tokens.token("sb://x/y").await.unwrap().secret, "first");
    clock.set_now(clock.now().plus(Duration::from_secs(300)));
    let down = tokens.token("sb://x/y").await.unwrap_err();
    assert_eq!(down.kind(), FailureKind::Transient, "{down}");

    let refusal = r#"{"error":"invalid_client","error_description":"AADSTS7000215: Invalid client secret"}"#;
    *issuer.answer.lock() = (StatusCode::UNAUTHORIZED, refusal.to_owned());
    let refused = tokens.token("sb://x/y").await.unwrap_err();
    assert_eq!(refused.kind(), FailureKind::Unauthorized);
    assert!(refused.to_string().contains("invalid_client: AADSTS7000215"), "{refused}");

    *issuer.answer.lock() = (StatusCode::OK, r#"{"access_token":"second","expires_in":3600}"#.to_owned());
    assert_eq!(tokens.token("sb://x/y").await.unwrap().secret, "second");
}

fn tls_for_nobody() -> rustls::ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth()
}
