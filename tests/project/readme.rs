//! The README matches the repository: its library example is a file that is built and run, and the files it names
//! exist.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use thalweg::tensor::functions;
use thalweg::tensor::functions::Elementwise;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Returns the text of the first block of code in this language, without its fences.
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
    // The text after the mark is for the reader.
    let commands: Vec<&str> =
        block(&readme, "sh").lines().map(|line| line.split('#').next().unwrap_or(line).trim()).collect();
    assert_eq!(commands, ["cargo run --release -p thalweg-cli -- train examples/data/digits.csv.gz", "./test"]);
}

/// Returns the targets of links and pictures, and code that looks like a path.
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
            // The steps of "Adding an operation" name a file that does not exist yet.
            assert!(exists || name.contains("/name.") || name.contains('{'), "{document} names {name}");
        }
    }
}

#[test]
fn names_are_found() {
    let text = "see [a](x/a.md), ![b](docs/b.svg) and `examples/c.csv`, or [d](https://d.example/)";
    assert_eq!(named(text), ["x/a.md", "docs/b.svg", "https://d.example/", "docs/b.svg", "examples/c.csv"]);
}

/// Returns the text of `docs/operations.md`.
fn table_of_functions() -> String {
    let mut text = String::from(
        "# Element-wise functions

This table is generated from the entries of `crates/tensor/src/functions`: `THALWEG_WRITE_DOCS=1 cargo test --test project readme`
writes it anew.

Each function is a method of `Tensor` and of `Var`; the first argument is the tensor itself. Numbers follow the semicolon.
In a derivative, `g` is the gradient with respect to the result, and there is one for each argument; `flat` means that it
is zero everywhere. Behind each convention is that of PyTorch, in brackets.

| function | result | derivatives | conventions (PyTorch) |
|---|---|---|---|
",
    );
    for function in functions::all() {
        let Elementwise { function: inner, about, derivative_texts, conventions, .. } = function;
        let numbers = if inner.numbers.is_empty() { String::new() } else { format!("; {}", inner.numbers.join(", ")) };
        let signature = format!("`{}({}{numbers})`", inner.name, inner.arguments.join(", "));
        let about: Vec<&str> = about.split_whitespace().collect();
        let derivatives: Vec<String> = derivative_texts.iter().map(|text| format!("`{}`", readable(text))).collect();
        let conventions: Vec<String> =
            conventions.iter().map(|(here, pytorch)| format!("{here} ({pytorch})")).collect();
        let cells = [signature, about.join(" "), derivatives.join("<br>"), conventions.join("<br>")];
        writeln!(text, "| {} |", cells.map(|cell| cell.replace('|', "\\|")).join(" | ")).unwrap();
    }
    text
}

/// Returns a derivative with the names of functions instead of those of their constants.
fn readable(derivative: &str) -> String {
    let text = derivative.split_whitespace().collect::<Vec<_>>().join(" ");
    let tight =
        [(" (", "("), ("( ", "("), (" )", ")"), (" [", "["), ("[ ", "["), (" ]", "]"), (" ,", ","), ("- ", "-")];
    tight.iter().fold(text, |text, (from, to)| text.replace(from, to)).to_lowercase()
}

#[test]
fn the_table_of_functions_is_that_of_the_library() {
    let (path, text) = ("docs/operations.md", table_of_functions());
    if std::env::var_os("THALWEG_WRITE_DOCS").is_some() {
        fs::write(root().join(path), &text).unwrap();
    }
    let is_same = read(path) == text;
    assert!(
        is_same,
        "{path} is not what the entries say; write it anew by THALWEG_WRITE_DOCS=1 cargo test --test project readme"
    );
}
