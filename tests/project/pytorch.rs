//! The names of PyTorch in `docs/pytorch.md`: each has a name here that the sources define, and every operation of the oracle has
//! a row.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::common::oracle::Oracle;
use thalweg::tensor::functions;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The rows: the name in PyTorch with its arguments, the name here, and the note.
fn rows() -> Vec<[String; 3]> {
    let text = std::fs::read_to_string(root().join("docs/pytorch.md")).unwrap();
    let cells = |line: &str| -> Option<[String; 3]> {
        let mut cells = line.strip_prefix("| `")?.strip_suffix(" |")?.splitn(3, " | ");
        let name = |cell: &str| cell.trim_matches('`').to_string();
        Some([name(cells.next()?), name(cells.next()?), cells.next()?.to_string()])
    };
    text.lines().filter_map(cells).collect()
}

/// The name before the arguments, without the modules before it.
fn own_name(signature: &str) -> &str {
    let name = signature.split('(').next().unwrap();
    name.rsplit('.').next().unwrap()
}

fn sources(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, files);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            files.push(path);
        }
    }
}

/// The names that the libraries define: functions, methods, structs, and entries of macros that write methods.
fn defined() -> BTreeSet<String> {
    let mut files = Vec::new();
    ["crates/tensor/src", "crates/autograd/src", "crates/nn/src"]
        .iter()
        .for_each(|folder| sources(&root().join(folder), &mut files));
    let mut names: BTreeSet<String> = functions::all().iter().map(|function| function.name().to_string()).collect();
    for file in files {
        let text = std::fs::read_to_string(file).unwrap();
        let is_name = |c: char| c.is_alphanumeric() || c == '_';
        for mark in ["pub fn ", "pub struct "] {
            let found = text.split(mark).skip(1).filter_map(|rest| rest.split(|c| !is_name(c)).next());
            names.extend(found.map(str::to_string));
        }
        // Exported names.
        for list in text.split("pub use ").skip(1).filter_map(|rest| rest.split(';').next()) {
            names.extend(list.split(|c| !is_name(c)).map(str::to_string));
        }
        // Calls of macros that write a method for each of some names.
        let arguments = |line: &'_ str| -> Option<String> {
            let (name, rest) = line.split_once("!(")?;
            Some(rest.strip_suffix(");").filter(|_| name.chars().all(is_name))?.to_string())
        };
        for list in text.lines().filter_map(arguments) {
            names.extend(list.split_whitespace().map(str::to_string));
        }
    }
    names
}

#[test]
fn names_of_pytorch_are_found() {
    let (rows, defined) = (rows(), defined());
    assert!(rows.len() >= 150, "{} rows", rows.len());
    for [pytorch, here, _] in &rows {
        assert!(defined.contains(own_name(here)), "{pytorch}: there is no {here}");
    }
    // What has the same name in both needs no search; what has not is in the table, which is what it is for.
    let same = rows.iter().filter(|[pytorch, here, _]| own_name(pytorch) == own_name(here)).count();
    assert!(2 * same > rows.len(), "{same} of {} names are the same", rows.len());
}

#[test]
fn operations_of_the_oracle_have_a_row() {
    let listed: BTreeSet<String> = rows()
        .iter()
        .flat_map(|[pytorch, here, _]| [own_name(pytorch).to_string(), own_name(here).to_string()])
        .collect();
    // Cases with a setting in their name, and forms of one operation.
    let other = |op: &str| match op {
        "add_scalar" | "sub_scalar" => "add".to_string(),
        "mul_scalar" | "mul_self" => "mul".to_string(),
        "pow_scalar" => "pow".to_string(),
        "matmul_self" | "gram" => "matmul".to_string(),
        "max" => "amax".to_string(),
        "min" => "amin".to_string(),
        "norm" => "vector_norm".to_string(),
        "l2_normalize" => "normalize".to_string(),
        "concat" => "cat".to_string(),
        "reshape_of_permuted" => "reshape".to_string(),
        "slice" => "narrow".to_string(),
        "take_along_rows" => "gather".to_string(),
        "index_put_accumulate" => "index_add".to_string(),
        op => op.to_string(),
    };
    for file in ["unary", "binary", "matmul", "reduce", "shape"] {
        let oracle = Oracle::open(&format!("ops/{file}"));
        for case in oracle.cases() {
            let op = other(case.text("op"));
            assert!(listed.contains(&op), "docs/pytorch.md has no row for {op}");
        }
    }
}
