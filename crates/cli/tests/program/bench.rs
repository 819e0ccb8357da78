//! `thalweg bench optim`: its table and its file.

use std::fs;
use std::path::Path;

use crate::common::{adapters, error_line, stdout, thalweg};

const FIELDS: [&str; 9] = [
    "optimizer",
    "parameters",
    "tensors",
    "launches",
    "bytes_per_parameter",
    "nanoseconds_per_parameter",
    "gb_per_s",
    "roof_gb_per_s",
    "share",
];

/// Measures on a device, and checks the file against the figures' own definitions.
fn measure(device: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("optim.json");
    let run = thalweg(&["bench", "optim", "--quick", "--device", device, "--json", path.to_str().expect("as written")]);
    let table = stdout(&run);
    let report: serde_json::Value = serde_json::from_slice(&fs::read(&path).expect("as written")).expect("as written");
    let report = report.as_object().expect("as written");
    assert_eq!(report.keys().collect::<Vec<_>>(), ["device", "driver", "rows"]);
    assert!(
        table.contains(report["device"].as_str().expect("as written"))
            && table.contains(report["driver"].as_str().expect("as written"))
    );
    let rows = report["rows"].as_array().expect("as written");
    for (optimizer, parameters, tensors, launches, bytes) in [
        ("adamw", 65_536, 1, 1, 28),
        ("sgd", 65_536, 1, 1, 20),
        ("adamw-composed", 65_536, 1, 13, 120),
        ("adamw", 1_000_000, 1, 1, 28),
        ("adamw", 1_000_000, 200, 1, 28),
        ("sgd", 1_000_000, 200, 1, 20),
        ("adamw-composed", 1_000_000, 200, 2_600, 120),
    ] {
        let row = rows
            .iter()
            .find(|row| row["optimizer"] == optimizer && row["parameters"] == parameters && row["tensors"] == tensors)
            .unwrap_or_else(|| panic!("no row {optimizer} {parameters} {tensors}: {rows:?}"));
        let mut fields = FIELDS;
        fields.sort_unstable();
        assert_eq!(row.as_object().expect("as written").keys().collect::<Vec<_>>(), fields);
        assert_eq!((&row["launches"], &row["bytes_per_parameter"]), (&launches.into(), &bytes.into()), "{row}");
        let [nanoseconds, speed, roof, share] = ["nanoseconds_per_parameter", "gb_per_s", "roof_gb_per_s", "share"]
            .map(|field| row[field].as_f64().expect("as written"));
        assert!(nanoseconds > 0.0 && roof > 0.0, "{row}");
        assert!((speed - f64::from(bytes) / nanoseconds).abs() < 1e-6 * speed, "{row}");
        assert!((share - speed / roof).abs() < 1e-6 * share, "{row}");
    }
}

#[test]
fn the_cpu_is_measured() {
    measure("cpu");
}

#[test]
fn every_adapter_is_measured() {
    for adapter in adapters() {
        measure(&adapter["index"].to_string());
    }
}

#[test]
fn a_path_that_cannot_be_written_is_refused_before_anything_is_measured() {
    let folder = tempfile::tempdir().unwrap();
    let read_only = folder.path().join("read-only.json");
    fs::write(&read_only, "old").unwrap();
    let mut permissions = fs::metadata(&read_only).unwrap().permissions();
    permissions.set_readonly(true);
    fs::set_permissions(&read_only, permissions).unwrap();
    for path in [folder.path(), &read_only, &folder.path().join("missing/optim.json"), &read_only.join("below")] {
        let line = error_line(&bench_into(path), 2);
        assert!(line.contains("--json") && line.contains(path.to_str().unwrap()), "{line}");
    }
    assert_eq!(fs::read_to_string(&read_only).unwrap(), "old");
}

fn bench_into(path: &Path) -> std::process::Output {
    // Without --quick: it would take a minute, were the path not refused first.
    thalweg(&["bench", "optim", "--device", "cpu", "--json", path.to_str().expect("text")])
}

#[test]
fn an_existing_file_outlives_a_run_that_fails() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("optim.json");
    fs::write(&path, "old").unwrap();
    error_line(&thalweg(&["bench", "optim", "--device", "no such device", "--json", path.to_str().unwrap()]), 2);
    assert_eq!(fs::read_to_string(&path).unwrap(), "old");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}
