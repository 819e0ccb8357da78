//! The build for a user of the library stays small: the crates in the normal dependency tree of the facade.

use std::collections::BTreeSet;
use std::process::Command;

/// The maximum number of crates in the tree of the facade on Linux, including itself.
const MOST_CRATES: usize = 101;

#[test]
fn the_facade_brings_few_crates() {
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--package", "thalweg", "--edges", "normal", "--prefix", "none", "--format", "{p}", "--locked"])
        .args(["--target", "x86_64-unknown-linux-gnu"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let tree = String::from_utf8(tree.stdout).unwrap();
    // Name and version; marks of packages of the workspace and macros follow them.
    let crates: BTreeSet<Vec<&str>> = tree.lines().map(|line| line.split(' ').take(2).collect()).collect();
    assert!(crates.iter().any(|package| package[0] == "wgpu"), "cargo tree does not list the dependencies: {tree}");
    assert!(crates.len() <= MOST_CRATES, "{} crates: {crates:?}", crates.len());
}
