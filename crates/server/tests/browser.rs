//! The console in a real browser, against the real program.
//!
//! The suite is in `crates/console/browser/suite`: Node drives headless Chromium with Playwright, and axe looks at every page.
//! It starts the program by starting this test again, with a function of its own whose downstream is away while a file says
//! so. Without Node.js 20 or Chromium the suite is ignored, and says so; where `CI` is set it fails then.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use serde::{Deserialize, Serialize};
use tidegate::Program;
use tidegate_function::{Batch, BatchFunction, DocumentId, Event, Failure, FunctionError, Rejection, batch};

/// Makes this process the program instead of its test: the file that says that the downstream is away.
const AWAY_FILE: &str = "TIDEGATE_TEST_AWAY_FILE";

fn main() -> ExitCode {
    if let Some(away) = std::env::var_os(AWAY_FILE) {
        return Program::new().function(batch("positions", Positions { away: away.into() })).main();
    }
    let arguments = Arguments::from_args();
    let trial = Trial::ignorable_test("the_console_in_a_browser", in_a_browser);
    libtest_mimic::run(&arguments, vec![trial]).exit_code()
}

fn in_a_browser() -> Result<Completion, Failed> {
    if let Some(missing) = missing() {
        if std::env::var_os("CI").is_some() {
            return Err(missing.into());
        }
        eprintln!("\nNOT RUN: the console in a browser: {missing}\n");
        return Ok(Completion::ignored_with(missing));
    }
    let suite = Path::new(env!("CARGO_MANIFEST_DIR")).join("../console/browser");
    let environment = installed(&suite)?;
    // What fails leaves a picture here, and what succeeds the ones that documentation shows.
    let pictures = environment.join("pictures");
    std::fs::create_dir_all(&pictures)?;
    let status = Command::new("node")
        .args(["--test", "--test-concurrency=1", "--test-reporter=spec"])
        .args(std::env::var("TIDEGATE_BROWSER_TESTS").map(|only| format!("--test-name-pattern={only}")))
        .arg(suite.join("suite/console.test.mjs"))
        .env("TIDEGATE_MODULES", environment.join("node_modules"))
        .env("TIDEGATE_PICTURES", &pictures)
        .env("TIDEGATE_PROGRAM", std::env::current_exe()?)
        .stdin(Stdio::null())
        .status()?;
    if status.success() {
        Ok(Completion::Completed)
    } else {
        Err(format!("tests of the suite failed, see above; pictures are in {}", pictures.display()).into())
    }
}

/// What the suite needs and this machine lacks.
fn missing() -> Option<String> {
    let works = |program: &str, argument: &str| {
        let status = Command::new(program)
            .arg(argument)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        status.is_ok_and(|status| status.success())
    };
    let needed = [("node", "nodejs"), ("npm", "npm"), ("chromium", "chromium")];
    let (tool, package) = needed.into_iter().find(|(tool, _)| !works(tool, "--version"))?;
    Some(format!("{tool} cannot be found (on Debian: apt-get install {package})"))
}

/// The directory with the modules of the suite, installed on the first run as the lock file says.
fn installed(suite: &Path) -> Result<PathBuf, Failed> {
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("browser");
    let lock = std::fs::read(suite.join("package-lock.json"))?;
    if std::fs::read(cache.join("complete")).is_ok_and(|complete| complete == lock) {
        return Ok(cache);
    }
    std::fs::create_dir_all(&cache)?;
    for file in ["package.json", "package-lock.json"] {
        std::fs::copy(suite.join(file), cache.join(file))?;
    }
    let status = Command::new("npm")
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"])
        .current_dir(&cache)
        .stdin(Stdio::null())
        .status()?;
    if !status.success() {
        return Err("npm could not install the modules, which takes a registry that can be reached".into());
    }
    std::fs::write(cache.join("complete"), lock)?;
    Ok(cache)
}

/// What is published.
#[derive(Deserialize)]
struct Report {
    id: String,
    latitude: f64,
    longitude: f64,
    altitude: f64,
}

/// The document of an aircraft.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Aircraft {
    reports: u64,
    latitude: f64,
    longitude: f64,
    altitude: f64,
}

/// Keeps the last position of each aircraft, and asks a downstream before, which is away while a file is there.
struct Positions {
    away: PathBuf,
}

fn report(event: &Event) -> Result<Report, Rejection> {
    serde_json::from_slice(event.body()).map_err(|error| Rejection { reason: error.to_string() })
}

impl BatchFunction for Positions {
    fn documents(&self, event: &Event) -> Result<Vec<DocumentId>, Rejection> {
        let id = DocumentId::new(&report(event)?.id);
        Ok(vec![id.map_err(|invalid| Rejection { reason: invalid.to_string() })?])
    }

    async fn run(&self, events: Vec<Event>, batch: &mut Batch) -> Result<(), FunctionError> {
        for event in &events {
            if self.away.exists() {
                batch.on(event).fail(Failure::new("GET https://weather.example/v1: 503 Service Unavailable"));
                return Ok(());
            }
            let (Ok(report), Ok(ids)) = (report(event), self.documents(event)) else { continue };
            for id in ids {
                let before: Aircraft = batch.document(&id)?.unwrap_or_default();
                let Report { latitude, longitude, altitude, .. } = report;
                let after = Aircraft { reports: before.reports + 1, latitude, longitude, altitude };
                batch.on(event).upsert(&id, after);
            }
        }
        Ok(())
    }
}
