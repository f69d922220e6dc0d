//! A million documents, with memory for a tenth of them.

use std::io::Write as _;

use serde_json::json;

use crate::support::{Place, wait_until};

const DEVICES: u64 = 1_000_000;

/// What a document takes at hand: the host counts 192 bytes besides its text, and the text of a state twice.
const AT_HAND: u64 = 192 + 2 * 40;

#[test]
fn a_million_documents_with_a_cache_for_a_tenth_of_them() {
    let place = Place::new(&format!(
        "[processor]\ndocument_cache_bytes = \"{}KiB\"\n[hub.h]\npartitions = 4\n\
         [function.f]\nhub = \"h\"\nkind = \"upsert\"\ndecode = \"json\"\nkey = \"/id\"\nmerge = \"patch\"\n\
         collection = \"c\"\nmax_event_batch_size = 512\n",
        DEVICES / 10 * AT_HAND / 1024
    ));
    let file = place.write("lines.ndjson", b"");
    let mut lines = std::io::BufWriter::new(std::fs::File::create(&file).expect("a file"));
    for device in 0..DEVICES {
        writeln!(lines, "{{\"id\":\"d{device}\",\"a\":{device}}}").expect("write a line");
    }
    // Each tenth device speaks again, of something else; most of their documents are not at hand any more.
    for device in (0..DEVICES).step_by(10) {
        writeln!(lines, "{{\"id\":\"d{device}\",\"b\":{}}}", device + 1).expect("write a line");
    }
    lines.into_inner().expect("write the rest");

    let server = place.serve();
    place.ok(&format!("send h --key /id --file {}", file.display()));
    wait_until("everything is resolved", || place.json("audit")[0]["pending"] == 0);
    let totals = "SELECT count(*) AS n, sum(json_extract(document, '$.a')) AS a, \
                  sum(json_extract(document, '$.b') = json_extract(document, '$.a') + 1) AS b FROM c";
    let output = place.command("documents query --json").arg(totals).output().expect("the program runs");
    let totals = crate::support::objects(&crate::support::succeeded(output, "the query"));
    assert_eq!(totals, [json!({"n": DEVICES, "a": DEVICES * (DEVICES - 1) / 2, "b": DEVICES / 10})]);
    assert_eq!(place.json("audit")[0]["applied"], DEVICES + DEVICES / 10);
    assert!(server.terminate().success());
}
