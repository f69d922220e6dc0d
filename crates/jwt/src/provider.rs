//! An identity provider for tests.

use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::{RwLock, watch};

/// A provider that publishes one key, whose name a test changes, counts how often it is asked, and answers when it may.
pub(crate) struct Provider {
    /// Its address.
    pub(crate) address: String,
    /// The name of its key; with none it answers that it is broken.
    pub(crate) kid: Arc<Mutex<Option<&'static str>>>,
    asked: watch::Receiver<u32>,
    /// Held for writing, it answers nothing.
    pub(crate) may_answer: Arc<RwLock<()>>,
}

impl Provider {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let issuer = address.clone();
        let (kid, may_answer) = (Arc::new(Mutex::new(Some("one"))), Arc::new(RwLock::new(())));
        let (counted, asked) = watch::channel(0);
        let (published, answers) = (kid.clone(), may_answer.clone());
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut head = [0; 4096];
                let length = stream.read(&mut head).await.unwrap_or(0);
                let discovers = head[..length].starts_with(b"GET /.well-known/openid-configuration ");
                counted.send_modify(|asked| *asked += 1);
                let _may = answers.read().await;
                let key = published
                    .lock()
                    .map(|kid| json!({"kty": "EC", "crv": "P-256", "kid": kid, "x": "AA", "y": "AA"}));
                let (status, body) = match key {
                    Some(_) if discovers => {
                        let keys = format!("{issuer}/keys");
                        ("200 OK", json!({ "issuer": issuer, "jwks_uri": keys }).to_string())
                    }
                    Some(key) => ("200 OK", json!({ "keys": [key] }).to_string()),
                    None => ("500 Broken", String::new()),
                };
                let answer = format!(
                    "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                    body.len()
                );
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        Self { address, kid, asked, may_answer }
    }

    /// Where its keys are.
    pub(crate) fn url(&self) -> String {
        format!("{}/keys", self.address)
    }

    /// How often it was asked, for whatever.
    pub(crate) fn asked(&self) -> u32 {
        *self.asked.borrow()
    }

    /// Returns when it was asked this often.
    pub(crate) async fn was_asked(&self, times: u32) {
        self.asked.clone().wait_for(|asked| *asked >= times).await.unwrap();
    }
}
