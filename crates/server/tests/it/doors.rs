//! The other ways in: AMQP in TLS, whose certificate is renewed while the server runs, and AMQP through a WebSocket at the
//! HTTP front door.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use tidegate_amqp::connection::{Connection, Event, Login, Options};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::Message;
use tokio_tungstenite::tungstenite::{self, http};

use crate::dead_letters::fails;
use crate::support::{Place, Server, started, text};

const ALL: &[&SupportedProtocolVersion] = &[&TLS12, &TLS13];

fn serve(place: &Place) -> (Server, Value) {
    started(place.command("run --http 127.0.0.1:0 --amqp 127.0.0.1:0 --json"))
}

fn make_certificate(place: &Place, more: &str) -> CertificateDer<'static> {
    place.run_alone(&format!("dev-cert --out tls {more}"));
    CertificateDer::from_pem_file(place.path().join("tls/server.pem")).unwrap()
}

/// What the server shows to a client that trusts this certificate alone; AMQP is spoken to the point where it is open.
async fn shown(
    address: &str,
    name: &'static str,
    trusted: &CertificateDer<'static>,
    versions: &[&'static SupportedProtocolVersion],
) -> Result<CertificateDer<'static>, std::io::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from(name).unwrap();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    open_amqp(&mut stream).await;
    Ok(stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned())
}

/// Speaks AMQP until the connection is open.
async fn open_amqp(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) {
    let mut engine = Connection::client(Options::new("test"), Login::Anonymous, Duration::ZERO);
    loop {
        while let Some(event) = engine.next_event() {
            match event {
                Event::Opened(_) => return,
                Event::Closed(ending) => panic!("the server ended the connection: {ending:?}"),
                _ => {}
            }
        }
        while engine.wants_write() {
            stream.write_buf(engine.output()).await.unwrap();
        }
        stream.flush().await.unwrap();
        assert_ne!(stream.read_buf(engine.read_buffer()).await.unwrap(), 0, "the server went away");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_renewed_while_the_server_runs() {
    let place = Place::new(
        "[hub.h]\n[amqp]\nlisten = \"127.0.0.1:0\"\ntls = { certificate = \"tls/server.pem\", key = \"tls/server.key\" }\n",
    );
    let said = fails(&place, "run --http 127.0.0.1:0 --json", 2);
    assert!(said.contains("tls/server.pem cannot be read"), "{said}");
    let first = make_certificate(&place, "");
    let (server, start) = serve(&place);
    let string = start["connection_string"].as_str().unwrap();
    assert!(!string.contains("UseDevelopmentEmulator"), "{string}");
    let address = start["amqp"].as_str().unwrap();
    for versions in [&[&TLS12][..], &[&TLS13]] {
        assert_eq!(shown(address, "localhost", &first, versions).await.unwrap(), first);
    }
    assert_eq!(shown(address, "127.0.0.1", &first, ALL).await.unwrap(), first);

    let second = make_certificate(&place, "--force --host events.test");
    assert_ne!(first, second);
    assert_eq!(shown(address, "events.test", &second, ALL).await.unwrap(), second);
    assert!(shown(address, "localhost", &first, ALL).await.is_err(), "the old one is not shown any more");

    place.write("tls/server.key", b"no key");
    for _ in 0..3 {
        assert_eq!(
            shown(address, "localhost", &second, ALL).await.unwrap(),
            second,
            "the last good one stays"
        );
    }
    let third = make_certificate(&place, "--force");
    assert_eq!(shown(address, "localhost", &third, ALL).await.unwrap(), third);
    let (status, log) = server.terminate_and_tell();
    assert!(status.success());
    assert_eq!(log.matches("the changed certificate cannot be used").count(), 1, "it is told once: {log}");
    assert!(log.contains("server.key"), "{log}");
}

#[test]
fn a_development_certificate_is_not_replaced_by_mistake() {
    let place = Place::new("");
    let first = make_certificate(&place, "");
    let key = place.path().join("tls/server.key");
    assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    let again = place.program("dev-cert --out tls");
    assert_eq!(again.status.code(), Some(2));
    assert!(text(&again.stderr).contains("--force"), "{}", text(&again.stderr));
    assert_eq!(CertificateDer::from_pem_file(place.path().join("tls/server.pem")).unwrap(), first);
    let bad = place.program("dev-cert --out other --host caf\u{e9}:80");
    assert_eq!(bad.status.code(), Some(2), "{}", text(&bad.stderr));
    assert!(!place.path().join("other").exists());
    let said = text(&place.program("dev-cert --out told").stdout);
    for part in ["connection_verify=", "NODE_EXTRA_CA_CERTS=", "SSL_CERT_FILE=", "[amqp]"] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

type Socket = WebSocketStream<TcpStream>;

async fn web_socket(
    server: &Server,
    path: &str,
    subprotocol: &'static str,
) -> Result<Socket, Box<tungstenite::Error>> {
    let address = server.http.strip_prefix("http://").unwrap();
    let mut request = format!("ws://{address}{path}").into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static(subprotocol));
    let stream = TcpStream::connect(address).await.unwrap();
    let (socket, response) = tokio_tungstenite::client_async(request, stream).await?;
    assert_eq!(response.headers()["sec-websocket-protocol"], subprotocol);
    Ok(socket)
}

/// The status of a refusal.
fn refused(result: Result<Socket, Box<tungstenite::Error>>) -> http::StatusCode {
    match result.map_err(|error| *error) {
        Err(tungstenite::Error::Http(response)) => response.status(),
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("it was let in"),
    }
}

/// Takes the engine on until an event is one that `wanted` takes.
async fn until(socket: &mut Socket, engine: &mut Connection, wanted: impl Fn(&Event) -> bool) {
    loop {
        while let Some(event) = engine.next_event() {
            if wanted(&event) {
                return;
            }
        }
        while engine.wants_write() {
            let output = engine.output();
            let some = output.remaining().min(7);
            // In small pieces, cut anywhere.
            let message = Message::Binary(output.copy_to_bytes(some));
            socket.send(message).await.unwrap();
        }
        match socket.next().await {
            Some(Ok(Message::Binary(bytes))) => engine.read_buffer().extend_from_slice(&bytes),
            Some(Ok(_)) => {}
            ended => panic!("the server went away: {ended:?}"),
        }
    }
}

const PATH: &str = "/$servicebus/websocket";

#[tokio::test(flavor = "multi_thread")]
async fn amqp_is_spoken_through_a_web_socket_of_the_http_door() {
    // There is no AMQP port at all.
    let place = Place::new("[hub.h]\n[amqp]\nmax_connections = 2\n");
    let server = place.serve();
    assert_eq!(refused(web_socket(&server, PATH, "soap").await), http::StatusCode::BAD_REQUEST);
    let plain = server.client(place.key()).request("GET", PATH, "text/plain", b"").unwrap();
    assert_eq!(plain.0, 400, "{}", text(&plain.1));

    let mut sockets = Vec::new();
    for (path, protocol) in [(PATH.to_owned(), "AMQPWSB10"), (format!("{PATH}/"), "amqp")] {
        let mut socket = web_socket(&server, &path, protocol).await.unwrap();
        let mut engine = Connection::client(Options::new("test"), Login::Anonymous, Duration::ZERO);
        until(&mut socket, &mut engine, |event| matches!(event, Event::Opened(_))).await;
        sockets.push((socket, engine));
    }
    let full = refused(web_socket(&server, PATH, "AMQPWSB10").await);
    assert_eq!(full, http::StatusCode::SERVICE_UNAVAILABLE, "they count as AMQP connections");
    let (mut gone, _) = sockets.pop().unwrap();
    gone.close(None).await.unwrap();
    while gone.next().await.is_some_and(|message| message.is_ok()) {}
    crate::support::wait_until("its place is free", || {
        tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(web_socket(&server, PATH, "AMQPWSB10")).is_ok()
        })
    });

    // A server that stops tells its clients, and waits for them to have been told.
    let (mut socket, mut engine) = sockets.pop().unwrap();
    let stopping = tokio::task::spawn_blocking(move || server.terminate());
    until(&mut socket, &mut engine, |event| matches!(event, Event::Closed(_))).await;
    while engine.wants_write() {
        let all = engine.output().remaining();
        let message: Bytes = engine.output().copy_to_bytes(all);
        let _ = socket.send(Message::Binary(message)).await;
    }
    assert!(stopping.await.unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_web_socket_can_be_switched_off() {
    let place = Place::new("[hub.h]\n[amqp]\nwebsocket = false\n");
    let server = place.serve();
    assert_eq!(refused(web_socket(&server, PATH, "AMQPWSB10").await), http::StatusCode::NOT_FOUND);
}
