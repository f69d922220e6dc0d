//! The page in front of the real program.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;

use crate::support::{Place, Server, started};

/// A hub that is called like a page.
const CONFIG: &str = "[hub.documents]\npartitions = 1\n";

fn connected(server: &Server, path: &str, accepts: &str) -> TcpStream {
    let address = server.http.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nhost: {address}\r\naccept: {accepts}\r\nconnection: close\r\n\r\n"
    )
    .unwrap();
    stream
}

fn shown(server: &Server, path: &str, accepts: &str) -> String {
    let mut answer = String::new();
    connected(server, path, accepts).read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn pages_come_first_and_everything_else_is_where_it_was() {
    let place = Place::new(CONFIG);
    let (server, told) = started(place.command("run --http 127.0.0.1:0 --json"));
    assert_eq!(told["console"], format!("{}/", server.http));
    let page = shown(&server, "/keys", "text/html");
    assert!(page.starts_with("HTTP/1.1 200") && page.contains("<h1>Keys</h1>"), "{page}");
    assert!(page.contains("content-security-policy: default-src 'none'; script-src 'self'"), "{page}");

    let nothing = shown(&server, "/nothing", "text/html");
    assert!(
        nothing.starts_with("HTTP/1.1 404") && nothing.contains("there is nothing at /nothing"),
        "{nothing}"
    );
    assert!(nothing.contains("<!DOCTYPE html>"), "{nothing}");
    let for_programs = shown(&server, "/nothing", "*/*");
    assert!(
        for_programs.starts_with("HTTP/1.1 404") && for_programs.contains("application/problem+json"),
        "{for_programs}"
    );

    let client = server.client(place.key());
    assert!(client.publish("documents", "", b"{\"a\":1}\n"), "a hub may be called like a page");
    assert!(shown(&server, "/health", "*/*").starts_with("HTTP/1.1 200"));
    assert!(server.terminate().success());
}

#[test]
fn a_server_that_stops_ends_the_pages_that_are_looked_at() {
    let place = Place::new(CONFIG);
    let server = place.serve();
    let mut stream = BufReader::new(connected(&server, "/live?path=%2Fhubs", "text/event-stream"));
    let mut line = String::new();
    while !line.starts_with("event: ") && !line.contains("event: ") {
        line.clear();
        assert_ne!(stream.read_line(&mut line).unwrap(), 0, "the stream says how the page is");
    }
    assert!(server.terminate().success());
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("event: end"), "{rest}");
}

#[test]
fn a_server_may_be_without_the_page() {
    let place = Place::new(&format!("{CONFIG}[console]\nenabled = false\n"));
    let (server, told) = started(place.command("run --http 127.0.0.1:0 --json"));
    assert!(told.get("console").is_none(), "{told}");
    assert!(shown(&server, "/keys", "text/html").starts_with("HTTP/1.1 404"));
    assert!(server.terminate().success());
}
