//! The declared `rust-version` holds for the dependencies: none of them needs a newer compiler.
//!
//! Clippy (`incompatible_msrv`) checks thalweg's own use of the standard library.

use std::process::Command;

use serde_json::Value;

/// Returns the numbers of a version, including the patch; 0 for missing ones.
fn version(text: &str) -> [u32; 3] {
    let mut numbers = text.split('.').map_while(|part| part.parse().ok());
    std::array::from_fn(|_| numbers.next().unwrap_or(0))
}

fn output_of(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn no_dependency_needs_a_newer_rust() {
    let declared = env!("CARGO_PKG_RUST_VERSION");
    let rustc = output_of(Command::new("rustc").arg("-vV"));
    let host = rustc.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    // For this platform only, whose packages are already here: others would have to be downloaded.
    let metadata = output_of(
        Command::new(env!("CARGO"))
            .args(["metadata", "--format-version", "1", "--locked", "--filter-platform", host])
            .current_dir(env!("CARGO_MANIFEST_DIR")),
    );
    let metadata: Value = serde_json::from_str(&metadata).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let wgpu = packages.iter().any(|package| package["name"] == "wgpu");
    assert!(wgpu, "cargo metadata does not list the dependencies");

    let too_new: Vec<String> = packages
        .iter()
        .filter_map(|package| {
            let needed = package["rust_version"].as_str()?;
            let newer = version(needed) > version(declared);
            newer.then(|| format!("{} {} needs {needed}", package["name"], package["version"]))
        })
        .collect();
    assert!(too_new.is_empty(), "rust-version = {declared} is declared, but: {}", too_new.join(", "));

    for package in packages.iter().filter(|package| package["source"].is_null()) {
        assert_eq!(package["rust_version"], declared, "{} declares another one", package["name"]);
    }
}

#[test]
fn versions_compare_by_number() {
    assert!(
        version("1.100") > version("1.89") && version("1.89.1") > version("1.89") && version("1.89.0") == [1, 89, 0]
    );
}
