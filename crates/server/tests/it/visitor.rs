//! Somebody with a browser: keeps cookies, sends forms as pages have them, and follows no address by itself.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::Value;

use crate::support::text;

/// A browser at one server.
#[derive(Clone)]
pub(crate) struct Visitor {
    address: String,
    cookies: BTreeMap<String, String>,
}

/// What it was shown.
pub(crate) struct Shown {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Shown {
    /// Where it is led.
    pub(crate) fn leads_to(&self) -> &str {
        self.header("location").unwrap_or_else(|| panic!("{} {}", self.status, self.body))
    }

    /// A header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (own, value) = line.split_once(':')?;
            own.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// What a hidden field of its forms holds.
    pub(crate) fn field(&self, name: &str) -> String {
        let begin = format!("name=\"{name}\" value=\"");
        let value =
            self.body.split(&begin).nth(1).unwrap_or_else(|| panic!("no field {name}: {}", self.body));
        value.split('"').next().unwrap().to_owned()
    }

    /// The object that it is.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {} {}", self.head, self.body))
    }
}

impl Visitor {
    /// A browser that was never here; `origin` such as `http://127.0.0.1:8780`.
    pub(crate) fn at(origin: &str) -> Self {
        let address = origin.strip_prefix("http://").unwrap().trim_end_matches('/').to_owned();
        Self { address, cookies: BTreeMap::new() }
    }

    /// Looks at an address.
    pub(crate) fn get(&mut self, path: &str) -> Shown {
        self.send("GET", path, &[("accept", "text/html"), ("sec-fetch-site", "none")], "")
    }

    /// Asks the API as a program on this browser's page does.
    pub(crate) fn api(&mut self, path: &str) -> Value {
        let shown = self.send("GET", path, &[("accept", "application/json")], "");
        assert_eq!(shown.status, 200, "{path}: {}", shown.body);
        shown.json()
    }

    /// Sends a form from a page of this server.
    pub(crate) fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Shown {
        let encoded: Vec<String> =
            fields.iter().map(|(name, value)| format!("{name}={}", percent_encoded(value))).collect();
        let origin = format!("http://{}", self.address);
        let headers = [
            ("content-type", "application/x-www-form-urlencoded"),
            ("origin", origin.as_str()),
            ("sec-fetch-site", "same-origin"),
        ];
        self.send("POST", path, &headers, &encoded.join("&"))
    }

    /// Asks with these headers and the cookies; cookies that come back are kept.
    pub(crate) fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Shown {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let cookies: Vec<String> =
            self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut head = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\nhost: {}\r\n", self.address);
        head.push_str(&format!("content-length: {}\r\n", body.len()));
        if !cookies.is_empty() {
            head.push_str(&format!("cookie: {}\r\n", cookies.join("; ")));
        }
        headers.iter().for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
        stream.write_all(format!("{head}\r\n{body}").as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let answer = text(&answer);
        let (head, body) = answer.split_once("\r\n\r\n").expect("a whole answer");
        assert!(!head.to_ascii_lowercase().contains("transfer-encoding"), "this browser reads no chunks");
        for line in head.lines() {
            let Some((name, value)) = line.split_once(": ") else { continue };
            if name.eq_ignore_ascii_case("set-cookie") {
                let (name, rest) = value.split_once('=').unwrap();
                let kept = rest.split(';').next().unwrap().to_owned();
                match rest.contains("Max-Age=0") {
                    true => self.cookies.remove(name),
                    false => self.cookies.insert(name.to_owned(), kept),
                };
            }
        }
        let status = head[9..12].parse().expect("a status");
        Shown { status, head: head.to_owned(), body: body.to_owned() }
    }

    /// What the API says of who this is.
    pub(crate) fn session(&mut self) -> Value {
        self.api("/api/v1/session")
    }

    /// The cookie of this name.
    pub(crate) fn cookie(&self, name: &str) -> Option<&str> {
        self.cookies.get(name).map(String::as_str)
    }
}

/// Text as a value of a form.
pub(crate) fn percent_encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}
