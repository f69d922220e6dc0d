//! Collects the pages of the error codes, so that `tidegate explain` needs no files.

use std::fmt::Write as _;
use std::path::Path;

fn main() {
    let pages =
        Path::new(&std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("../../docs/errors");
    println!("cargo::rerun-if-changed={}", pages.display());
    let mut names: Vec<String> = std::fs::read_dir(&pages)
        .map(|entries| entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect())
        .unwrap_or_default();
    names.sort();
    let mut code = String::from("static PAGES: &[(&str, &str)] = &[\n");
    for name in names.iter().filter(|name| name.starts_with("TG-")) {
        if let Some(error_code) = name.strip_suffix(".md") {
            let path = pages.join(name);
            let _ = writeln!(code, "    ({error_code:?}, include_str!({path:?})),");
        }
    }
    code.push_str("];\n");
    let out = std::env::var("OUT_DIR").expect("cargo sets it");
    std::fs::write(Path::new(&out).join("error_pages.rs"), code)
        .expect("the output directory can be written");
}
