//! Killed again and again while events are published and processed, the program loses nothing and does nothing twice.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::ledger::{Random, check_log, check_results, line};
use crate::support::{Place, wait_until};

const CONFIG: &str = "[hub.h]\npartitions = 4\n\
                      [function.f]\nhub = \"h\"\nkind = \"upsert\"\nkey = \"/id\"\nmax_event_batch_size = 64\n";

const ROUNDS: u64 = 6;

#[test]
fn a_killed_server_has_lost_nothing_and_done_nothing_twice() {
    let place = Place::new(CONFIG);
    // Another seed kills at other moments.
    let seed =
        std::env::var("TIDEGATE_CRASH_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_261_121);
    let mut random = Random(seed);
    let acknowledged = Arc::new(Mutex::new(Vec::new()));
    let mut number = 0;
    for round in 0..ROUNDS {
        let server = place.serve();
        let client = server.client(place.key());
        // The batches of this round: small ones and some large, so that the server is killed in the middle of both.
        let batches: Vec<Vec<Vec<u8>>> = (0..200)
            .map(|_| {
                let size = if random.below(10) == 0 { 2000 } else { 1 + random.below(60) };
                (0..size)
                    .map(|_| {
                        number += 1;
                        line(&mut random, number)
                    })
                    .collect()
            })
            .collect();
        let done = Arc::new(AtomicUsize::new(0));
        let sender = std::thread::spawn({
            let (acknowledged, done) = (acknowledged.clone(), done.clone());
            move || {
                for batch in batches {
                    let mut body = batch.join(&b'\n');
                    body.push(b'\n');
                    if !client.publish("h", "?key=/id", &body) {
                        return;
                    }
                    acknowledged.lock().unwrap().extend(batch);
                    done.fetch_add(1, Ordering::SeqCst);
                }
            }
        });
        // The last round comes to its end, so that the kill meets a server that only processes.
        let enough = if round + 1 == ROUNDS { 200 } else { 1 + random.below(120) as usize };
        wait_until("enough batches are acknowledged", || done.load(Ordering::SeqCst) >= enough);
        server.kill();
        sender.join().unwrap();
    }

    let server = place.serve();
    let events = place.json("events read h");
    place.caught_up(events.len() as u64);
    check_log(&events, &acknowledged.lock().unwrap());
    check_results(&place, &events);
    assert!(server.terminate().success());
    assert_eq!(place.run("audit").status.code(), Some(0));
    check_results(&place, &events);
}
