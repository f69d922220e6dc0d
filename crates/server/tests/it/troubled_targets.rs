//! Those who are to be told are in trouble: a mail server that is down, says nothing, says a byte now and then, hangs up or
//! refuses, and a webhook that is down. The program goes on, shows what it could not tell and why, and tells it once when
//! they are back.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};
use tidegate_alerts::catcher::CaughtMail;
use tidegate_alerts::signature::Key;
use tidegate_alerts::target::Secret;
use tidegate_model::clock::SystemClock;

use crate::alerts::{Mails, link_in, press};
use crate::support::{Client, Place, pause, wait_until};

/// What is wrong with a mail server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    /// Nobody listens.
    Down,
    /// It takes the connection and says nothing.
    Silent,
    /// It greets without end, a byte now and then.
    Drips,
    /// It ends every connection.
    HangsUp,
    /// It answers a command, or the connection if that is empty, with this.
    Answers(&'static str, &'static str),
}

impl Trouble {
    fn show(self, mut connection: TcpStream) -> std::io::Result<()> {
        match self {
            Self::Down | Self::HangsUp => Ok(()),
            Self::Silent => connection.read_to_end(&mut Vec::new()).map(drop),
            Self::Drips => loop {
                for byte in b"220-one moment please\r\n" {
                    connection.write_all(&[*byte])?;
                    pause();
                }
            },
            Self::Answers("", answer) => {
                write!(connection, "{answer}\r\n")?;
                connection.read_to_end(&mut Vec::new()).map(drop)
            }
            Self::Answers(step, answer) => {
                connection.write_all(b"220 test\r\n")?;
                let mut lines = BufReader::new(connection.try_clone()?).lines();
                while let Some(line) = lines.next().transpose()? {
                    let said = if line.starts_with(step) { answer } else { "250 ok" };
                    write!(connection, "{said}\r\n")?;
                }
                Ok(())
            }
        }
    }
}

/// An address at which nobody listens yet. It is held, or another test could be given it meanwhile.
struct Reserved(Socket);

impl Reserved {
    fn new() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        Self(socket)
    }

    fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap().as_socket().unwrap()
    }

    fn listen(self) -> TcpListener {
        self.0.listen(128).unwrap();
        self.0.into()
    }
}

/// Stands before the mail server that catches, with its trouble until it is well.
struct Gate {
    address: SocketAddr,
    /// `None` when it is well.
    trouble: Arc<Mutex<Option<Trouble>>>,
    behind: SocketAddr,
    /// Its address while nobody listens there.
    reserved: Option<Reserved>,
}

impl Gate {
    fn new(trouble: Trouble, behind: SocketAddr) -> Self {
        let reserved = Reserved::new();
        let address = reserved.address();
        let trouble_now = Arc::new(Mutex::new(Some(trouble)));
        let mut gate = Self { address, trouble: trouble_now, behind, reserved: Some(reserved) };
        if trouble != Trouble::Down {
            gate.listen();
        }
        gate
    }

    fn listen(&mut self) {
        let Some(listener) = self.reserved.take().map(Reserved::listen) else { return };
        let (trouble, behind) = (self.trouble.clone(), self.behind);
        // It ends with the tests.
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                let trouble = *trouble.lock().unwrap();
                // A connection that breaks is one that the program gave up.
                std::thread::spawn(move || match trouble {
                    Some(trouble) => trouble.show(connection?),
                    None => relay(connection?, behind),
                });
            }
        });
    }

    fn is_well_again(&mut self) {
        *self.trouble.lock().unwrap() = None;
        self.listen();
    }
}

/// Carries bytes both ways.
fn relay(from: TcpStream, to: SocketAddr) -> std::io::Result<()> {
    let to = TcpStream::connect(to)?;
    let (mut up, mut down) = ((from.try_clone()?, to.try_clone()?), (to, from));
    let upwards = std::thread::spawn(move || std::io::copy(&mut up.0, &mut up.1).map(drop));
    std::io::copy(&mut down.0, &mut down.1)?;
    down.1.shutdown(std::net::Shutdown::Both)?;
    upwards.join().unwrap()
}

const HUB: &str = "[hub.h]\npartitions = 2\n[function.f]\nhub = \"h\"\nkind = \"upsert\"\nkey = \"/id\"\n\
                   [function.g]\nhub = \"h\"\nkind = \"upsert\"\nkey = \"/id\"\n";

/// What was to be told of a kind, the oldest first.
fn notices(client: &Client, kind: &str) -> Vec<Value> {
    let mut all = client.objects("/api/v1/notices");
    all.retain(|notice| notice["kind"] == kind);
    all.reverse();
    all
}

fn applied(client: &Client, function: &str) -> Value {
    let all = client.objects("/api/v1/audit");
    all.iter().find(|account| account["function"] == function).unwrap()["applied"].clone()
}

fn told_in_spite_of(trouble: Trouble, said: &str, is_for_good: bool) {
    let mut mails = Mails::catch();
    let mut gate = Gate::new(trouble, mails.address());
    let place = Place::new(&format!(
        "{HUB}[email.ops]\nhost = \"127.0.0.1\"\nport = {}\ntls = \"none\"\ntimeout = \"5s\"\n\
         from = \"tidegate@example.com\"\nto = [\"mia@example.com\"]\n",
        gate.address.port()
    ));
    let server = place.serve();
    let client = server.client(place.key());
    place.ok("circuit open f --reason test");
    let mut delivery = Value::Null;
    wait_until("the mail was not taken", || {
        delivery = notices(&client, "circuit.opened")[0]["deliveries"][0].clone();
        delivery["tries"].as_u64() >= Some(1)
    });
    let state = if is_for_good { "given-up" } else { "due" };
    assert_eq!((&delivery["target"], &delivery["state"]), (&json!("ops:mia@example.com"), &json!(state)));
    assert!(delivery["error"].as_str().unwrap().contains(said), "{trouble:?}: {delivery}");
    let shown = place.ok("alerts told");
    assert!(shown.contains(said) && shown.contains("1 deliveries did not arrive"), "{trouble:?}: {shown}");

    // Nobody but the one who is to be told is held up by it.
    let lines: String = (0..100).map(|n| format!("{{\"id\":\"d{n}\"}}\n")).collect();
    assert!(client.publish("h", "?key=/id", lines.as_bytes()));
    wait_until("the other function has everything", || applied(&client, "g") == 100);

    gate.is_well_again();
    let mut caught: Vec<CaughtMail> = Vec::new();
    let mut comes = |subject: &str| {
        wait_until(subject, || {
            caught.extend(mails.one());
            caught.last().is_some_and(|mail| mail.header("Subject").unwrap().contains(subject))
        });
        caught.clone()
    };
    if is_for_good {
        place.ok("circuit close f --reason test");
    } else {
        let link = link_in(comes("f is stopped").last().unwrap(), &server);
        assert_eq!(press(&server.client("no key".to_owned()), &link).0, 200, "{trouble:?}");
    }
    let caught = comes("f is working again");
    let stopped = caught.iter().filter(|mail| mail.header("Subject").unwrap().contains("f is stopped"));
    assert_eq!(stopped.count(), usize::from(!is_for_good), "{trouble:?}");
    wait_until("the function goes on", || applied(&client, "f") == 100);
    assert!(server.terminate().success());
}

#[test]
fn a_mail_server_in_trouble_holds_up_nobody_and_has_the_mail_once_when_it_is_well() {
    std::thread::scope(|scope| {
        for (trouble, said, is_for_good) in [
            (Trouble::Down, "it cannot be reached", false),
            (Trouble::Silent, "took longer than 5s", false),
            (Trouble::Drips, "took longer than 5s", false),
            (Trouble::HangsUp, "it cannot be reached", false),
            (Trouble::Answers("", "421 too busy"), "it cannot be reached", false),
            (Trouble::Answers("RCPT", "450 greylisted"), "greylisted", false),
            (Trouble::Answers("RCPT", "550 no such user"), "no such user", true),
        ] {
            scope.spawn(move || told_in_spite_of(trouble, said, is_for_good));
        }
    });
}

/// A request that came to a webhook.
#[derive(Clone)]
struct Told {
    head: String,
    body: Vec<u8>,
}

impl Told {
    fn header(&self, name: &str) -> &str {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(of, _)| of.eq_ignore_ascii_case(name)).map(|(_, value)| value).next().unwrap()
    }
}

/// A webhook that takes everything, from now on.
fn take(listener: TcpListener) -> Arc<Mutex<Vec<Told>>> {
    let all: Arc<Mutex<Vec<Told>>> = Arc::default();
    let taken = all.clone();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let taken = taken.clone();
            std::thread::spawn(move || take_one(connection?, &taken));
        }
    });
    all
}

fn take_one(mut connection: TcpStream, taken: &Mutex<Vec<Told>>) -> std::io::Result<()> {
    let mut lines = BufReader::new(connection.try_clone()?);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if lines.read_line(&mut head)? == 0 {
            return Ok(());
        }
    }
    let mut told = Told { head, body: Vec::new() };
    told.body.resize(told.header("content-length").parse().unwrap(), 0);
    lines.read_exact(&mut told.body)?;
    taken.lock().unwrap().push(told);
    connection.write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n")
}

#[test]
fn a_webhook_that_was_down_has_everything_once_and_in_order_though_the_program_was_killed_meanwhile() {
    const SECRET: &str = "a-secret-of-sixteen-bytes-and-more";
    // The address is nobody's until the end.
    let reserved = Reserved::new();
    let address = reserved.address();
    let place = Place::new(&format!(
        "{HUB}[webhook.hook]\nurl = \"http://{address}/alerts\"\nsecret = \"{SECRET}\"\ntimeout = \"5s\"\n"
    ));
    let outages = |count: usize| {
        for number in 0..count {
            place.ok(&format!("circuit open f --reason outage-{number}"));
            place.ok(&format!("circuit close f --reason outage-{number}"));
        }
    };
    let server = place.serve();
    outages(5);
    let client = server.client(place.key());
    let first = || notices(&client, "circuit.opened")[0]["deliveries"][0].clone();
    wait_until("the first was tried", || first()["tries"].as_u64() >= Some(1));
    server.kill();
    // Some of it is told by nobody, because no server runs.
    outages(5);
    let server = place.serve();
    outages(5);
    let client = server.client(place.key());
    let tries = || -> Vec<u64> {
        let mut all = client.objects("/api/v1/notices");
        all.reverse();
        all.iter().map(|notice| notice["deliveries"][0]["tries"].as_u64().unwrap_or(0)).collect()
    };
    wait_until("the first was tried again", || tries()[0] >= 2);
    assert!(tries()[1..].iter().all(|tries| *tries == 0), "only the first is tried: {:?}", tries());

    let taken = take(reserved.listen());
    let is_told = |notice: &Value| notice["deliveries"][0]["state"] == "delivered";
    wait_until("everything was told", || client.objects("/api/v1/notices").iter().all(is_told));
    let taken = taken.lock().unwrap().clone();
    let ids: Vec<&str> = taken.iter().map(|told| told.header("webhook-id")).collect();
    let mut made = client.objects("/api/v1/notices");
    made.reverse();
    assert_eq!(made.len(), 30);
    let number = |id: &str| id.split_once('-').unwrap().0.to_owned();
    let expected: Vec<String> = made.iter().map(|notice| notice["id"].to_string()).collect();
    assert_eq!(ids.iter().map(|id| number(id)).collect::<Vec<_>>(), expected, "each once, and in order");

    let key = Key::new(&Secret::new(SECRET)).unwrap();
    for told in &taken {
        let [id, at, signature] =
            ["webhook-id", "webhook-timestamp", "webhook-signature"].map(|name| told.header(name));
        assert!(key.verify(id, at, signature, &told.body, SystemClock::shared().now(), 300), "{id}");
        let event: Value = serde_json::from_slice(&told.body).unwrap();
        assert_eq!((&event["subject"], &event["id"]), (&json!("f"), &json!(id)));
    }
    assert!(server.terminate().success());
}
