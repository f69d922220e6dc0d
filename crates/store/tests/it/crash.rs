//! A program that is killed while it commits loses no acknowledged commit, and half of none.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};

use crate::load::{self, Place};

/// Tells the child where its store is.
const PATH: &str = "TIDEGATE_STORE_CRASH_TEST";

/// What a child says for each commit that went through.
const ACKNOWLEDGED: &str = "acknowledged ";

/// Run by [`a_killed_writer_loses_nothing_acknowledged`] in a process of its own; does nothing otherwise.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let Some(path) = std::env::var_os(PATH) else { return };
    let store = load::open(path.as_ref());
    let epoch = load::begin(&store).await;
    for n in load::commits_in(&store).await.unwrap().. {
        load::commit(&store, epoch, n).await.unwrap();
        if n % 5 == 0 {
            tidegate_model::ports::Commits::barrier(&store).await.unwrap();
        }
        writeln!(std::io::stdout(), "\n{ACKNOWLEDGED}{}", n + 1).unwrap();
    }
}

#[tokio::test]
async fn a_killed_writer_loses_nothing_acknowledged() {
    let place = Place::new();
    let mut before = 0;
    // How long each child lives is given in commits; what it is doing when the kill arrives is up to the machine.
    for lifetime in [0, 1, 2, 30, 3, 55, 17, 80, 8, 41] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "crash::child", "--nocapture"])
            .env(PATH, place.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let acknowledged = lines.filter_map(|line| line.ok()?.strip_prefix(ACKNOWLEDGED)?.parse().ok());
        let mut last: u64 = before;
        for (index, commits) in acknowledged.enumerate() {
            last = commits;
            if index == lifetime {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(last > before, "the child did nothing");

        let report = tidegate_store::check::check(&place.path()).unwrap();
        assert_eq!(report.problems, [""; 0]);
        let store = place.open();
        let commits = load::commits_in(&store).await.unwrap();
        assert!(commits == last || commits == last + 1, "{commits} commits, {last} acknowledged");
        load::assert_holds(&store, commits).await;
        store.close().await.unwrap();
        before = commits;
    }
}
