//! Who may do what: on this machine looking is open; everything else needs a token, a key or a session.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::support::{CONFIG, Place, Server, text};

/// An answer: its status, its head and its body.
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (own, value) = line.split_once(':')?;
            own.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// What `Set-Cookie` puts there, as the browser sends it back.
    fn cookie(&self) -> String {
        let cookie = self.header("set-cookie").expect("a cookie");
        cookie.split(';').next().unwrap().to_owned()
    }

    fn refused(&self, status: u16, code: &str) -> &Self {
        assert_eq!(self.status, status, "{}", self.body);
        assert!(self.body.contains(code), "{}", self.body);
        self
    }
}

/// Asks with exactly these headers.
fn ask(server: &Server, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let address = server.http.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    let mut head =
        format!("{method} {path} HTTP/1.1\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
    let mut given: Vec<(&str, &str)> = headers.to_vec();
    for (name, value) in [("host", address), ("content-type", "application/json")] {
        if !given.iter().any(|(own, _)| *own == name) {
            given.push((name, value));
        }
    }
    given.iter().for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
    stream.write_all(format!("{head}\r\n{body}").as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let answer = text(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").expect("a whole answer");
    let status = head.get(9..12).and_then(|digits| digits.parse().ok()).expect("a status");
    let is_chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    assert!(!is_chunked, "this client reads no chunks");
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

/// Makes a token; its number and its text.
fn token(place: &Place, words: &str) -> (String, String) {
    let made = place.json(&format!("tokens create {words}")).remove(0);
    (made["id"].as_str().unwrap().to_owned(), made["token"].as_str().unwrap().to_owned())
}

const PAUSE: (&str, &str) = ("/api/v1/pauses/aircraft/pause", r#"{"reason":"x"}"#);
const HUB: (&str, &str) = ("/api/v1/hubs", r#"{"hub":"extra","partitions":1}"#);
const TOKEN: (&str, &str) = ("/api/v1/tokens", r#"{"name":"eve","role":"admin"}"#);

#[test]
fn on_this_machine_looking_is_open_and_changing_is_not() {
    let place = Place::new(CONFIG);
    let server = place.serve();
    let who = ask(&server, "GET", "/api/v1/session", &[], "").json();
    assert_eq!(
        (&who["role"], &who["by"], &who["signed_in"]),
        (&json!("reader"), &json!("loopback"), &json!(false))
    );
    let hubs = ask(&server, "GET", "/api/v1/hubs", &[], "");
    assert_eq!(hubs.status, 200, "{}", hubs.body);
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "same-origin"),
        ("cache-control", "no-store"),
    ] {
        assert_eq!(hubs.header(name), Some(value), "{name}");
    }
    for (path, body) in [PAUSE, HUB, TOKEN] {
        let refused = ask(&server, "POST", path, &[], body);
        assert!(refused.refused(401, "TG-401").header("www-authenticate").is_some());
    }
    // Who may do what is told to admins only.
    ask(&server, "GET", "/api/v1/tokens", &[], "").refused(401, "TG-401");
    // A page that gave this machine's address its own name, and a page of another site.
    for headers in [
        &[("host", "evil.example.com")][..],
        &[("host", "127.0.0.1.evil.example.com:8780")],
        &[("origin", "http://evil.example.com")],
        &[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors")],
        &[("x-forwarded-for", "192.0.2.9")],
    ] {
        ask(&server, "GET", "/api/v1/hubs", headers, "").refused(401, "TG-401");
    }
    ask(&server, "GET", "/api/v1/hubs", &[("authorization", "Bearer wrong")], "").refused(401, "TG-401");
    let publish = ask(&server, "POST", "/flights/messages", &[], "x");
    publish.refused(401, "TG-401");
}

#[test]
fn a_server_that_others_reach_opens_to_nobody_without_a_sign_in() {
    let closed = format!("{CONFIG}\n[console]\nopen_on_loopback = false\n");
    let proxied = format!("{CONFIG}\n[console]\npublic_url = \"https://tide.example.com\"\n");
    for (config, listen) in [(CONFIG, "0.0.0.0:0"), (&closed, "127.0.0.1:0"), (&proxied, "127.0.0.1:0")] {
        let place = Place::new(config);
        let (server, _) = crate::support::started(place.command(&format!("run --http {listen} --json")));
        let port = server.http.rsplit_once(':').unwrap().1;
        let host = format!("127.0.0.1:{port}");
        let (_, reader) = token(&place, "rea --role reader");
        for path in ["/api/v1/hubs", "/api/v1/dead-letters", "/api/v1/circuits", "/api/v1/trail"] {
            ask(&server, "GET", path, &[("host", &host)], "").refused(401, "TG-401");
            let answer = ask(&server, "GET", path, &[("authorization", &bearer(&reader))], "");
            assert_eq!(answer.status, 200, "{listen} {path}: {}", answer.body);
        }
        let nobody = ask(&server, "GET", "/api/v1/session", &[("host", &host)], "").json();
        assert_eq!(nobody["role"], Value::Null);
    }
}

#[test]
fn each_role_may_what_it_may() {
    let place = Place::new(CONFIG);
    let server = place.serve();
    let tokens =
        ["reader", "operator", "admin"].map(|role| token(&place, &format!("{role}-1 --role {role}")).1);
    for ((path, body), least) in [(PAUSE, 1), (HUB, 2), (TOKEN, 2)] {
        for (place, text) in tokens.iter().enumerate() {
            let answer = ask(&server, "POST", path, &[("authorization", &bearer(text))], body);
            if place < least {
                answer.refused(403, "TG-403");
            } else {
                assert!(answer.status < 300, "{path}: {}", answer.body);
                break;
            }
        }
    }
    let listed = ask(&server, "GET", "/api/v1/tokens", &[("authorization", &bearer(&tokens[1]))], "");
    assert!(listed.refused(403, "TG-403").body.contains("operator-1 has the role operator"));
    // They are not for publishing, which needs a key.
    let publish = ask(&server, "POST", "/flights/messages", &[("authorization", &bearer(&tokens[2]))], "x");
    publish.refused(401, "TG-401");
}

#[test]
fn a_token_that_is_wrong_over_or_revoked_lets_nobody_in() {
    let place = Place::new(CONFIG);
    place.serve().terminate();
    // Made without a server; it counts for the one that starts then.
    let (id, good) = token(&place, "mia --role operator --expires 12h");
    let server = place.serve();
    let with = |text: &str| ask(&server, "GET", "/api/v1/hubs", &[("authorization", &bearer(text))], "");
    assert_eq!(with(&good).status, 200);
    let mut wrong = good.clone();
    let last = if wrong.pop() == Some('0') { '1' } else { '0' };
    wrong.push(last);
    assert!(with(&wrong).refused(401, "TG-401").body.contains("is not known here"));

    let (short, over) = token(&place, "zoe --role reader --expires 1ms");
    let expired = with(&over);
    assert!(expired.refused(401, "TG-401").body.contains(&format!("{short} expired at")), "{}", expired.body);

    let listed = place.json("tokens list");
    let of = |id: &str| listed.iter().find(|token| token["id"] == id).unwrap().clone();
    assert_eq!((&of(&id)["state"], &of(&short)["state"]), (&json!("active"), &json!("expired")));
    assert!(of(&id)["last_used_at"].is_string());
    place.ok(&format!("tokens revoke {id} --reason left"));
    assert!(with(&good).refused(401, "TG-401").body.contains(&format!("{id} was revoked at")));
    assert!(place.ok(&format!("tokens revoke tg_{id}")).contains("revoked already"));

    let keys = std::fs::read_dir(place.data().join("store")).unwrap();
    let secret = good.rsplit('_').next().unwrap();
    for file in keys {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!text(&bytes).contains(secret), "the secret is nowhere");
    }
}

#[test]
fn the_trail_names_the_person_also_after_a_rename() {
    let place = Place::new(CONFIG);
    let server = place.serve();
    let (id, mia) = token(&place, "mia --role operator");
    let act = |action: &str, more: &[(&str, &str)]| {
        let mut headers = vec![("tidegate-user", "somebody-else")];
        headers.extend(more);
        let path = format!("/api/v1/pauses/aircraft/{action}");
        let answer = ask(&server, "POST", &path, &headers, r#"{"reason":"x"}"#);
        assert_eq!(answer.status, 200, "{}", answer.body);
    };
    let authorization = bearer(&mia);
    act("pause", &[("authorization", &authorization)]);
    place.ok(&format!("tokens rename {id} miriam --reason married"));
    act("resume", &[("authorization", &authorization)]);

    let trail = place.json("trail");
    let by = |action: &str| trail.iter().find(|line| line["action"] == action).unwrap()["by"].clone();
    assert_eq!(by("pause"), format!("mia (token {id})"));
    assert_eq!(by("resume"), format!("miriam (token {id})"));
    let rename = trail.iter().find(|line| line["action"] == "token.rename").unwrap();
    assert_eq!(
        (&rename["subject"], &rename["detail"]),
        (&json!(id), &json!({"from": "mia", "to": "miriam"}))
    );
}

#[test]
fn a_session_acts_from_its_own_page_only() {
    let place = Place::new(CONFIG);
    let server = place.serve();
    let (id, mia) = token(&place, "mia --role operator");
    let sign_in = json!({ "token": mia }).to_string();
    let foreign = [("origin", "http://evil.example.com")];
    ask(&server, "POST", "/api/v1/session", &foreign, &sign_in).refused(403, "TG-419");

    let signed_in = ask(&server, "POST", "/api/v1/session", &[("origin", &server.http)], &sign_in);
    assert_eq!(signed_in.status, 201, "{}", signed_in.body);
    let set = signed_in.header("set-cookie").unwrap();
    assert!(set.contains("HttpOnly") && set.contains("SameSite=Lax") && set.contains("Path=/"), "{set}");
    assert!(!signed_in.body.contains(&mia) && !set.contains(&mia));
    let (cookie, csrf) = (signed_in.cookie(), signed_in.json()["csrf"].as_str().unwrap().to_owned());
    let who = ask(&server, "GET", "/api/v1/session", &[("cookie", &cookie)], "").json();
    assert_eq!(
        (&who["name"], &who["role"], &who["csrf"]),
        (&json!(format!("mia (token {id})")), &json!("operator"), &json!(csrf))
    );

    let (path, body) = PAUSE;
    let act = |headers: &[(&str, &str)]| {
        let mut all = vec![("cookie", cookie.as_str())];
        all.extend(headers);
        ask(&server, "POST", path, &all, body)
    };
    act(&[]).refused(403, "TG-419");
    act(&[("tidegate-csrf", "0")]).refused(403, "TG-419");
    act(&[("tidegate-csrf", &csrf), ("origin", "http://evil.example.com")]).refused(403, "TG-419");
    act(&[("tidegate-csrf", &csrf), ("sec-fetch-site", "cross-site")]).refused(403, "TG-419");
    let done = act(&[("tidegate-csrf", &csrf), ("origin", &server.http), ("sec-fetch-site", "same-origin")]);
    assert_eq!(done.status, 200, "{}", done.body);
    let by = place.json("trail").last().unwrap()["by"].clone();
    assert_eq!(by, format!("mia (token {id})"));

    // Another site cannot sign somebody out either.
    let out = |headers: &[(&str, &str)]| {
        let mut all = vec![("cookie", cookie.as_str())];
        all.extend(headers);
        ask(&server, "DELETE", "/api/v1/session", &all, "")
    };
    out(&[]).refused(403, "TG-419");
    let left = out(&[("tidegate-csrf", &csrf)]);
    assert_eq!((left.status, left.header("set-cookie").unwrap().contains("Max-Age=0")), (204, true));
    act(&[("tidegate-csrf", &csrf)]).refused(401, "TG-401");
}

#[test]
fn sign_ins_are_counted_and_good_ones_cost_nothing() {
    let place = Place::new(CONFIG);
    let server = place.serve();
    let (_, mia) = token(&place, "mia --role reader");
    let sign_in =
        |token: &str| ask(&server, "POST", "/api/v1/session", &[], &json!({ "token": token }).to_string());
    for _ in 0..20 {
        assert_eq!(sign_in(&mia).status, 201);
    }
    let refused = (0..20).map(|_| sign_in("tg_guess")).find(|answer| answer.status != 401).unwrap();
    refused.refused(429, "TG-429");
    assert!(refused.header("retry-after").unwrap().parse::<u32>().unwrap() >= 1);
    sign_in(&mia).refused(429, "TG-429");
    // Who has a token is not held up by who guesses.
    let answer = ask(&server, "GET", "/api/v1/hubs", &[("authorization", &bearer(&mia))], "");
    assert_eq!(answer.status, 200);
}

#[test]
fn a_token_that_was_made_survives_a_crash_and_a_half_made_one_opens_nothing() {
    let place = Place::new(CONFIG);
    let mut made = Vec::new();
    for round in 0..4_usize {
        let server = place.serve();
        let client = server.client(place.key());
        // Some are answered, and the server is killed while the next one is on its way.
        let (told, hear) = std::sync::mpsc::channel();
        let making = std::thread::spawn(move || {
            let mut answered = Vec::new();
            for number in 0.. {
                let body = json!({ "name": format!("ci-{round}-{number}"), "role": "reader" }).to_string();
                match client.request("POST", "/api/v1/tokens", "application/json", body.as_bytes()) {
                    Ok((201, answer)) => answered.push(serde_json::from_slice::<Value>(&answer).unwrap()),
                    _ => return answered,
                }
                let _ = told.send(());
            }
            answered
        });
        for _ in 0..=round * 3 {
            hear.recv().unwrap();
        }
        server.kill();
        made.extend(making.join().unwrap());
    }
    assert!(made.len() >= 4);
    let server = place.serve();
    for token in &made {
        let text = token["token"].as_str().unwrap();
        let answer = ask(&server, "GET", "/api/v1/hubs", &[("authorization", &bearer(text))], "");
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
    // Each that is there, answered or not, stands in the trail.
    let (listed, trail) = (place.json("tokens list"), place.json("trail"));
    assert!(listed.len() >= made.len());
    let of_trail = trail.iter().filter(|line| line["action"] == "token.create").count();
    assert_eq!(of_trail, listed.len());
}

#[test]
fn who_is_below_the_role_of_a_rule_sees_neither_field_nor_query() {
    let masks = "[mask.positions]\nfields = [\"/lat\"]\nproperties = [\"pilot\"]\nerrors = true\n";
    let place = Place::new(&format!("{CONFIG}\n{masks}"));
    let server = place.serve();
    let lines = concat!(r#"{"icao24":"a","lat":"N51-SECRET"}"#, "\n", r#"{"lat":"N51-SECRET"}"#, "\n");
    assert!(server.client(place.key()).publish("flights", "", lines.as_bytes()));
    place.caught_up(2);
    let (_, operator) = token(&place, "ops --role operator");
    let paths = (0..8).map(|partition| format!("/api/v1/hubs/flights/events?partition={partition}"));
    let mut paths: Vec<String> = paths.collect();
    paths.extend(
        [
            "/api/v1/collections/aircraft/documents",
            "/api/v1/collections/aircraft/documents/a",
            "/api/v1/dead-letters?event=true",
            "/api/v1/dead-letters/1",
        ]
        .map(str::to_owned),
    );
    let base64 = "TjUxLVNFQ1JF";
    let (mut seen, mut hidden) = (0, 0);
    for path in &paths {
        for accept in ["application/json", "application/x-ndjson"] {
            let guest = ask(&server, "GET", path, &[("accept", accept)], "");
            assert_eq!(guest.status, 200, "{path}: {}", guest.body);
            assert!(!guest.body.contains("SECRET") && !guest.body.contains(base64), "{path}: {}", guest.body);
            hidden += usize::from(guest.body.contains("(masked)"));
            let headers = [("accept", accept), ("authorization", &bearer(&operator))];
            seen += usize::from(ask(&server, "GET", path, &headers, "").body.contains("SECRET"));
        }
    }
    assert!(seen >= 10 && hidden == seen, "{seen} answers tell an operator, {hidden} mask it from a guest");
    let sql = r#"{"sql":"SELECT document FROM aircraft"}"#;
    ask(&server, "POST", "/api/v1/query", &[], sql).refused(403, "TG-505");
    let rows = ask(&server, "POST", "/api/v1/query", &[("authorization", &bearer(&operator))], sql);
    assert!(rows.body.contains("SECRET"), "{}", rows.body);
}

#[test]
fn an_identity_provider_that_does_not_answer_is_told_at_the_sign_in() {
    let oidc =
        "[oidc]\nissuer = \"http://127.0.0.1:1\"\nclient_id = \"tidegate\"\nroles = { all = \"reader\" }\n";
    let place = Place::new(&format!("{CONFIG}\n{oidc}"));
    let server = place.serve();
    assert_eq!(ask(&server, "GET", "/api/v1/session", &[], "").json()["provider"], "/sign-in/oidc");
    let away = ask(&server, "GET", "/sign-in/oidc?then=/dead-letters", &[], "");
    assert_eq!((away.status, away.header("location")), (303, Some("/sign-in")));
    let problem = away.cookie();
    assert!(problem.contains("does%20not%20answer"), "{problem}");
    let shown = ask(&server, "GET", "/sign-in", &[("cookie", &problem), ("accept", "text/html")], "");
    assert!(shown.body.contains("does not answer") && shown.body.contains("TG-420"), "{}", shown.body);
    assert!(shown.header("set-cookie").unwrap().contains("Max-Age=0"), "it is shown once");
    // What comes back without having been begun here.
    let back =
        ask(&server, "GET", "/sign-in/oidc/callback?state=x&code=y", &[("cookie", "tidegate_sign_in=z")], "");
    assert!(back.cookie().contains("TG-420"), "{}", back.head);
    let rebound = ask(&server, "GET", "/sign-in/oidc", &[("host", "evil.example.com")], "");
    assert!(rebound.cookie().contains("public_url"), "{}", rebound.head);
}

#[test]
fn a_key_for_one_hub_opens_that_hub_and_nothing_beside_it() {
    let place =
        Place::new(&format!("{CONFIG}\n[hub.drones]\npartitions = 1\n[console]\nopen_on_loopback = false\n"));
    place.serve().terminate();
    let keys = place.data().join("keys.json");
    let mut list: Value = serde_json::from_slice(&std::fs::read(&keys).unwrap()).unwrap();
    for (name, rights, hub) in [
        ("listener", "listen", Some("flights")),
        ("sender", "send", Some("flights")),
        ("reader", "listen", None),
    ] {
        let mut key = json!({ "name": name, "key": format!("key-of-{name}"), "rights": [rights] });
        if let Some(hub) = hub {
            key["hub"] = json!(hub);
        }
        list["keys"].as_array_mut().unwrap().push(key);
    }
    std::fs::write(&keys, list.to_string()).unwrap();
    let server = place.serve();
    let signature = sas("http%3A%2F%2Fh%2Fflights", "reader", "key-of-reader");
    for (authorization, of_hub, of_other, of_all) in [
        (bearer("key-of-listener"), 200, 403, 403),
        (bearer("key-of-sender"), 403, 403, 403),
        (bearer("key-of-reader"), 200, 200, 200),
        (bearer("other"), 401, 401, 401),
        // A signature reaches no further than what it was made for, whatever its key may.
        (signature, 200, 401, 401),
    ] {
        let status = |path: &str| ask(&server, "GET", path, &[("authorization", &authorization)], "").status;
        for (path, expected) in [
            ("/api/v1/hubs/flights", of_hub),
            ("/api/v1/hubs/FLIGHTS", of_hub),
            ("/api/v1/hubs/drones", of_other),
            ("/api/v1/hubs", of_all),
            ("/api/v1/overview", of_all),
        ] {
            assert_eq!(status(path), expected, "{path} with {authorization}");
        }
        // A slash in a name would make another address of it.
        let slash = ask(&server, "GET", "/api/v1/hubs/flights%2Fx", &[("authorization", &authorization)], "");
        slash.refused(400, "TG-400");
    }
}

/// A shared access signature for an hour.
fn sas(encoded_sr: &str, name: &str, key: &str) -> String {
    use base64::Engine as _;
    use ring::hmac;
    use tidegate_model::clock::SystemClock;
    let se = SystemClock::shared().now().as_millis() / 1000 + 3600;
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes());
    let signature = hmac::sign(&key, format!("{encoded_sr}\n{se}").as_bytes());
    let signature = base64::engine::general_purpose::STANDARD.encode(signature);
    let signature = crate::visitor::percent_encoded(&signature);
    format!("SharedAccessSignature sr={encoded_sr}&sig={signature}&se={se}&skn={name}")
}

/// What opens something is in no log, however much is logged: neither what counts nor what was tried.
#[test]
fn no_secret_is_ever_logged() {
    let config = format!(
        "{CONFIG}\n[access.pumps]\nrights = [\"send\"]\nprimary_key = \"key-of-the-pumps\"\n[oidc]\nissuer = \"http://127.0.0.1:1\"\n\
         client_id = \"tidegate\"\nclient_secret = \"hush-of-the-client\"\nroles = {{ all = \"reader\" }}\n"
    );
    let place = Place::new(&config);
    place.serve().terminate();
    let mut command = place.command("run --http 127.0.0.1:0 --amqp 127.0.0.1:0 --json --sign-in-link");
    command.env("TIDEGATE_LOG", "trace");
    let (server, told) = crate::support::started(command);
    let link = told["sign_in_link"].as_str().unwrap().rsplit('_').next().unwrap().to_owned();
    let (_, token) = token(&place, "mia --role operator");
    let mut browser = crate::visitor::Visitor::at(&server.http);
    browser
        .post("/sign-in", &[("link", told["sign_in_link"].as_str().unwrap().split_once("link=").unwrap().1)]);
    let csrf = browser.session()["csrf"].as_str().unwrap().to_owned();
    let cookie = browser.cookie("tidegate_session").unwrap().to_owned();
    browser.post("/sign-in", &[("token", &token)]);
    browser.post("/sign-in", &[("token", &format!("{token}0"))]);
    browser.get("/sign-in/oidc");
    let signature = sas("http%3A%2F%2Fh%2Fflights", "pumps", "key-of-the-pumps");
    for authorization in
        [bearer(&token), bearer("key-of-the-pumps"), signature.clone(), bearer("a.guessed.secret-of-nobody")]
    {
        ask(&server, "POST", "/flights/messages", &[("authorization", &authorization)], "x");
        ask(&server, "GET", "/api/v1/hubs", &[("authorization", &authorization)], "");
    }
    let kept =
        server.client(place.key()).request("GET", "/api/v1/logs?limit=1000", "text/plain", b"").unwrap();
    let (_, log) = server.terminate_and_tell();
    assert!(log.contains("a sign-in was refused"), "it is logged that something was tried: {log}");
    let all = format!("{log}{}", text(&kept.1));
    let root = place.key();
    for secret in [
        root.as_str(),
        token.rsplit('_').next().unwrap(),
        &link,
        &csrf,
        &cookie[3..],
        "key-of-the-pumps",
        "hush-of-the-client",
        signature.split('&').nth(1).unwrap(),
        "secret-of-nobody",
    ] {
        assert!(
            !all.contains(secret),
            "{secret} is logged: {:?}",
            all.lines().find(|line| line.contains(secret))
        );
    }
}

#[test]
fn on_this_machine_a_command_without_a_key_looks_and_is_told_what_to_type_to_act() {
    let place = Place::new(CONFIG);
    let server = place.serve();
    let elsewhere = tempfile::tempdir().unwrap();
    let run = |words: &str, key: Option<&str>| {
        let mut command = crate::support::program();
        command.current_dir(elsewhere.path()).args(words.split(' ')).args(["--server", &server.http]);
        key.map(|key| command.env("TIDEGATE_KEY", key));
        command.output().unwrap()
    };
    for words in ["hubs list", "dead-letters list", "circuit status", "audit", "trail"] {
        let looked = run(words, None);
        assert!(looked.status.success(), "{words}: {}", text(&looked.stderr));
    }
    let acts = "pause aircraft --reason x";
    let refused = run(acts, None);
    let said = text(&refused.stderr);
    assert!(!refused.status.success() && said.contains("TG-401"), "{said}");
    assert!(said.contains("tidegate tokens create NAME --role operator"), "{said}");
    assert!(said.contains("export TIDEGATE_KEY=tg_"), "{said}");
    // What it tells to type works.
    let token = token(&place, "me --role operator").1;
    let acted = run(acts, Some(&token));
    assert!(acted.status.success(), "{}", text(&acted.stderr));
    // The key of a directory here goes to no other machine.
    let other = place.run("hubs list --server http://tidegate.invalid:1");
    assert!(text(&other.stderr).contains("does not answer"), "{}", text(&other.stderr));
}
