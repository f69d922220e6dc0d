//! Azurite, the emulator of Azure Storage, as its package for Node.js installs it.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A running Azurite. It is killed when dropped.
pub(crate) struct Azurite {
    child: Child,
    port: u16,
    program: PathBuf,
}

const KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

impl Azurite {
    /// Starts it; `None` when it is not on this machine, which is said aloud. Where `CI` is set it has to be.
    pub(crate) fn start() -> Option<Self> {
        let Some(program) = installed() else {
            let missing = "Azurite is not installed: run the suite of the JavaScript client once, or \
                           `npm install --prefix target/azurite azurite@3.35.0`";
            assert!(std::env::var_os("CI").is_none(), "{missing}");
            eprintln!("\nNOT RUN: {missing}\n");
            return None;
        };
        let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        let mut child = Command::new("node")
            .arg(&program)
            .args(["--blobHost", "127.0.0.1", "--inMemoryPersistence", "--skipApiVersionCheck"])
            .args(["--blobPort", &port.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let listens = lines.by_ref().map_while(Result::ok).any(|line| line.contains("successfully listen"));
        assert!(listens, "Azurite ended");
        // It is read on, so that it never waits for a full pipe.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        Some(Self { child, port, program })
    }

    /// How clients get in.
    pub(crate) fn connection_string(&self) -> String {
        format!(
            "AccountName=devstoreaccount1;AccountKey={KEY};BlobEndpoint=http://127.0.0.1:{}/devstoreaccount1",
            self.port
        )
    }
}

#[allow(dead_code, reason = "two test programs have this file, and one of them runs the official clients")]
impl Azurite {
    /// Where the packages are that were installed with it.
    pub(crate) fn modules(&self) -> Option<PathBuf> {
        self.program.ancestors().find(|path| path.ends_with("node_modules")).map(Path::to_owned)
    }

    /// The same as the official clients want it.
    pub(crate) fn connection_string_of_clients(&self) -> String {
        format!("DefaultEndpointsProtocol=http;{}", self.connection_string())
    }
}

impl Drop for Azurite {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Its program, where `npm` or the suite of the JavaScript client has put it.
fn installed() -> Option<PathBuf> {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target");
    let suites = std::fs::read_dir(target.join("clients")).into_iter().flatten();
    let suites = suites.filter_map(|entry| Some(entry.ok()?.path()));
    let mut places = suites.chain([target.join("azurite")]);
    places.find_map(|place| {
        let program = place.join("node_modules/azurite/dist/src/blob/main.js");
        program.is_file().then_some(program)
    })
}
