//! Collects the titles of the error codes from their pages, so that an error and its page say the same.

use std::fmt::Write as _;
use std::path::Path;

fn main() {
    let pages =
        Path::new(&std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("../../docs/errors");
    println!("cargo::rerun-if-changed={}", pages.display());
    let mut titles: Vec<(String, String)> = std::fs::read_dir(&pages)
        .map(|entries| entries.flatten().filter_map(|entry| title(&entry.path())).collect())
        .unwrap_or_default();
    titles.sort();
    let mut code = String::from("static TITLES: &[(&str, &str)] = &[\n");
    for (error_code, title) in titles {
        let _ = writeln!(code, "    ({error_code:?}, {title:?}),");
    }
    code.push_str("];\n");
    let out = std::env::var("OUT_DIR").expect("cargo sets it");
    std::fs::write(Path::new(&out).join("titles.rs"), code).expect("the output directory can be written");
}

/// The code and title of a page that begins `# TG-404: The hub does not exist`.
fn title(page: &Path) -> Option<(String, String)> {
    let text = std::fs::read_to_string(page).ok()?;
    let (code, title) = text.lines().next()?.strip_prefix("# ")?.split_once(": ")?;
    Some((code.to_owned(), title.trim().to_owned()))
}
