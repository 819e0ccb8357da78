//! The README is true of the repository: its library example is a file that is built and run, and what it names exists.

use std::fs;
use std::path::Path;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The text of the first block of code in this language, without its fences.
fn block<'a>(text: &'a str, language: &str) -> &'a str {
    let fence = format!("```{language}\n");
    let (_, rest) = text.split_once(&fence).unwrap_or_else(|| panic!("the README has no block of {language}"));
    rest.split_once("```").expect("a fence that closes").0
}

#[test]
fn the_example_is_the_file_that_is_built() {
    let example = read("examples/digits.rs");
    assert_eq!(block(&read("README.md"), "rust"), example, "README.md must show examples/digits.rs as it is");
    assert!(example.lines().count() <= 25, "{} lines are more than 25", example.lines().count());
}

#[test]
fn two_commands_set_everything_up() {
    let readme = read("README.md");
    // What stands behind the mark is for the reader.
    let commands: Vec<&str> =
        block(&readme, "sh").lines().map(|line| line.split('#').next().unwrap_or(line).trim()).collect();
    assert_eq!(commands, ["cargo run --release -p thalweg-cli -- train examples/data/digits.csv.gz", "./test"]);
}

/// Targets of links and pictures, and code that looks like a path.
fn named(readme: &str) -> Vec<&str> {
    let links = readme.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target);
    let folders = ["examples/", "crates/", "docs/", "shaders/", "tests/", "benches/"];
    let words = readme.split(['`', ' ', '\n', '(', ')', ',', '"']).map(|word| word.trim_end_matches(['.', ';', ':']));
    links.chain(words.filter(|word| folders.iter().any(|folder| word.starts_with(folder)))).collect()
}

#[test]
fn every_document_names_only_files_that_exist() {
    for document in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "examples/data/README.md"] {
        let text = read(document);
        let folder = Path::new(document).parent().unwrap();
        for name in named(&text).into_iter().filter(|name| !name.contains("://")) {
            let exists = root().join(folder).join(name).exists() || root().join(name).exists();
            // The steps of "Adding an operation" name a file that is to be written.
            assert!(exists || name.contains("/name.") || name.contains('{'), "{document} names {name}");
        }
    }
}

#[test]
fn names_are_found() {
    let text = "see [a](x/a.md), ![b](docs/b.svg) and `examples/c.csv`, or [d](https://d.example/)";
    assert_eq!(named(text), ["x/a.md", "docs/b.svg", "https://d.example/", "docs/b.svg", "examples/c.csv"]);
}
