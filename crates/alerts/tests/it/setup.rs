//! What the tests have in common.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tidegate_alerts::dispatcher::{Dispatcher, Publisher};
use tidegate_alerts::links::Issuer;
use tidegate_alerts::target::{
    DEFAULT_EMAIL_TIMEOUT, DEFAULT_WEBHOOK_TIMEOUT, Email, MailTls, Schema, Secret, Target, Webhook,
};
use tidegate_model::circuit::{CIRCUIT, Circuit, CircuitState};
use tidegate_model::clock::{Clock, SharedClock, Timestamp};
use tidegate_model::memory::MemoryStore;
use tidegate_model::notice::{Delivery, NewNotice};
use tidegate_model::ports::{Outbox, RegisterChange, Registers, Store};
use tidegate_model::register::{RegisterKey, Version};
use tokio::task::AbortHandle;

use crate::clock::ManualClock;

pub(crate) fn store(memory: &MemoryStore) -> Arc<dyn Store> {
    Arc::new(memory.clone())
}

pub(crate) fn shared(clock: &Arc<ManualClock>) -> SharedClock {
    Arc::<ManualClock>::clone(clock)
}

/// Makes a notice, as something that changed a register would.
pub(crate) async fn tell(memory: &MemoryStore, kind: &str, subject: &str, at: Timestamp) {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let name = format!("a test {}", NUMBER.fetch_add(1, Ordering::Relaxed));
    let notice = NewNotice {
        kind: kind.to_owned(),
        subject: subject.to_owned(),
        at,
        data: serde_json::json!({ "function": subject, "new_dead_letters": 12 }),
    };
    let change = RegisterChange {
        key: RegisterKey::new("test", name),
        from: Version::NONE,
        value: Some(serde_json::json!(1)),
        at,
        notices: vec![notice],
        trail: Vec::new(),
    };
    memory.change_register(change).await.unwrap();
}

/// Opens the circuit of `function`, with its notice, as the host does.
pub(crate) async fn open_circuit(memory: &MemoryStore, function: &str, at: Timestamp) {
    let circuit = Circuit {
        state: CircuitState::Open,
        reason: "120 final failures in 30 s, the limit is 100".to_owned(),
        by: "tidegate".to_owned(),
        opened_at: Some(at),
        ..Circuit::closed(at)
    };
    let notice = NewNotice {
        kind: "circuit.opened".to_owned(),
        subject: function.to_owned(),
        at,
        data: serde_json::json!(circuit),
    };
    set_circuit(memory, function, &circuit, vec![notice]).await;
}

pub(crate) async fn set_circuit(
    memory: &MemoryStore,
    function: &str,
    circuit: &Circuit,
    notices: Vec<NewNotice>,
) {
    let key = RegisterKey::new(CIRCUIT, function);
    let from = memory.register(&key).await.unwrap().map_or(Version::NONE, |register| register.version);
    let value = Some(serde_json::json!(circuit));
    let change = RegisterChange { key, from, value, at: circuit.since, notices, trail: Vec::new() };
    memory.change_register(change).await.unwrap();
}

/// How the deliveries of each notice stand, the oldest notice first.
pub(crate) async fn deliveries(memory: &MemoryStore) -> Vec<Vec<Delivery>> {
    let mut notices = memory.recent_notices(1000).await.unwrap();
    notices.reverse();
    notices.into_iter().map(|notice| notice.deliveries).collect()
}

pub(crate) fn mail_target(address: SocketAddr) -> Email {
    Email {
        name: "ops".to_owned(),
        host: address.ip().to_string(),
        port: address.port(),
        tls: MailTls::None,
        credentials: None,
        from: "Tidegate <tidegate@example.com>".to_owned(),
        to: vec!["Mia <mia@example.com>".to_owned()],
        timeout: DEFAULT_EMAIL_TIMEOUT,
    }
}

pub(crate) fn hook_target(name: &str, url: String) -> Webhook {
    Webhook {
        name: name.to_owned(),
        url: Secret::new(url),
        schema: Schema::CloudEvents,
        secret: None,
        headers: Vec::new(),
        handshake: false,
        timeout: DEFAULT_WEBHOOK_TIMEOUT,
    }
}

pub(crate) fn publisher(instance: &str) -> Publisher {
    Publisher {
        source: "https://tide.example.com".to_owned(),
        origin: "tide.example.com".to_owned(),
        instance: instance.to_owned(),
    }
}

/// A dispatcher that runs until it is dropped: that is a crash.
pub(crate) struct Running(AbortHandle);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

pub(crate) fn run(
    memory: &MemoryStore,
    targets: &[Target],
    issuer: Option<Issuer>,
    clock: &Arc<ManualClock>,
) -> Running {
    run_as("one", memory, targets, issuer, clock)
}

pub(crate) fn run_as(
    instance: &str,
    memory: &MemoryStore,
    targets: &[Target],
    issuer: Option<Issuer>,
    clock: &Arc<ManualClock>,
) -> Running {
    let dispatcher =
        Dispatcher::new(&store(memory), targets, &publisher(instance), issuer, shared(clock)).unwrap();
    Running(
        tokio::spawn(async move {
            let _: Infallible = dispatcher.run().await;
        })
        .abort_handle(),
    )
}

pub(crate) fn now(clock: &Arc<ManualClock>) -> Timestamp {
    clock.now()
}
