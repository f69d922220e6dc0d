//! What the documents say about tests is true: each test that the delivery contract names exists, and each of the numbered
//! scenarios has one.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &Path) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

/// The names of tests in a text: words in backquotes that begin with a crate and have a module.
fn named_tests(text: &str) -> Vec<&str> {
    let quoted = text.lines().flat_map(|line| line.split('`').skip(1).step_by(2));
    let is_path = |word: &&str| {
        word.split("::").count() >= 3
            && word.chars().all(|letter| letter.is_ascii_alphanumeric() || "_:".contains(letter))
    };
    quoted.filter(is_path).collect()
}

/// Whether a source has a test with this name, or, in a suite that others run, a function.
fn has_test(source: &str, name: &str, is_suite: bool) -> bool {
    let function = format!("fn {name}");
    source.match_indices(&function).any(|(at, _)| {
        let mut before = source[..at].rsplit('\n');
        // The line with the function itself, as far as it goes before its name.
        let begins = before.next().unwrap_or_default().trim();
        let mut attributes = before.take_while(|line| line.trim_start().starts_with("#["));
        let is_test = attributes.any(|line| line.contains("test"));
        let is_function =
            ["", "async", "pub async", "pub(super) async", "pub(crate) async"].contains(&begins);
        let is_whole_name = source[at + function.len()..].starts_with(['(', '<']);
        is_whole_name && is_function && (is_suite || is_test)
    })
}

fn exists(test: &str) -> bool {
    let mut words: Vec<&str> = test.split("::").collect();
    let (Some(name), package) = (words.pop(), words.remove(0)) else { return false };
    let directory = root().join("crates").join(package);
    let module: PathBuf = words.iter().collect();
    let sources = [
        directory.join("tests/it").join(&module).with_extension("rs"),
        directory.join("src").join(&module).with_extension("rs"),
        directory.join("src").join(&module).join("mod.rs"),
    ];
    let is_suite = words.first() == Some(&"conformance");
    sources.iter().filter_map(|path| read(path)).any(|source| has_test(&source, name, is_suite))
}

#[test]
fn every_test_that_the_delivery_contract_names_exists() {
    let contract = read(&root().join("docs/design/delivery.md")).expect("the contract is there");
    let named = named_tests(&contract);
    assert!(named.len() > 60, "only {} tests were found in it", named.len());
    let missing: Vec<&&str> = named.iter().filter(|test| !exists(test)).collect();
    assert!(missing.is_empty(), "docs/design/delivery.md names tests that do not exist: {missing:#?}");

    assert!(!exists("server::promises::this_one_is_not_there"));
    assert!(!exists("server::promises::exists"), "it is a function and no test");
}

#[test]
fn each_of_the_scenarios_has_a_test() {
    let files = ["host", "server", "adapters"]
        .map(|package| root().join("crates").join(package).join("tests/it/scenarios.rs"));
    let mut numbers = BTreeSet::new();
    for source in files.iter().filter_map(|path| read(path)) {
        for rest in source.split("fn scenario_").skip(1) {
            let name = rest.split(['(', '<']).next().unwrap_or_default();
            assert!(has_test(&source, &format!("scenario_{name}"), false), "scenario_{name} is never run");
            numbers.insert(name[..2].parse().expect("a scenario has two digits"));
        }
    }
    let of_adapters = files.last().and_then(|path| read(path)).unwrap_or_default();
    assert!(
        of_adapters.contains("fn scenario_12_"),
        "checkpoint blobs that answer 503 are a scenario of the adapters"
    );
    assert_eq!(numbers, (1..=23).collect::<BTreeSet<u32>>());
}
