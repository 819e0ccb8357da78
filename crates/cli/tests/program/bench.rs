//! `thalweg bench`: its tables and its files.

use std::fs;
use std::path::Path;

use crate::common::{adapters, error_line, stdout, thalweg};

const OPTIM_FIELDS: [&str; 10] = [
    "optimizer",
    "parameters",
    "tensors",
    "clipping",
    "launches",
    "bytes_per_parameter",
    "nanoseconds_per_parameter",
    "gb_per_s",
    "roof_gb_per_s",
    "share",
];

const MATMUL_FIELDS: [&str; 12] = [
    "form",
    "m",
    "n",
    "k",
    "transpose_a",
    "transpose_b",
    "microseconds",
    "gflops",
    "gemm_gflops",
    "share",
    "gemm_256_gflops",
    "share_of_256",
];

const STEP_FIELDS: [&str; 10] = [
    "network",
    "batch",
    "mode",
    "steps_per_submission",
    "launches_per_step",
    "submissions_per_step",
    "host_syncs_per_step",
    "microseconds_per_step",
    "host_microseconds_per_step",
    "kernel_microseconds_per_step",
];

/// Runs a short bench on a device. Returns its table and the rows of its file, which have these fields and no others.
fn measure(bench: &[&str], device: &str, fields: &[&str]) -> (String, Vec<serde_json::Value>) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("figures.json");
    let mut arguments = vec!["bench"];
    arguments.extend(bench);
    arguments.extend(["--quick", "--device", device, "--json", path.to_str().expect("as written")]);
    let table = stdout(&thalweg(&arguments));
    let report: serde_json::Value = serde_json::from_slice(&fs::read(&path).expect("as written")).expect("as written");
    let report = report.as_object().expect("as written");
    assert_eq!(report.keys().collect::<Vec<_>>(), ["device", "driver", "processor", "rows"]);
    assert!(
        table.contains(report["device"].as_str().expect("as written"))
            && table.contains(report["driver"].as_str().expect("as written"))
            && table.contains(report["processor"].as_str().expect("as written"))
    );
    let rows = report["rows"].as_array().expect("as written").clone();
    let mut fields = fields.to_vec();
    fields.sort_unstable();
    for row in &rows {
        assert_eq!(row.as_object().expect("as written").keys().collect::<Vec<_>>(), fields);
    }
    (table, rows)
}

/// Returns a field of a row that is a number.
fn number(row: &serde_json::Value, field: &str) -> f64 {
    row[field].as_f64().unwrap_or_else(|| panic!("{field}: {row}"))
}

/// Returns the device `cpu`, and the index of each adapter.
fn devices() -> Vec<String> {
    std::iter::once("cpu".to_string()).chain(adapters().iter().map(|adapter| adapter["index"].to_string())).collect()
}

#[test]
fn optim_measures_updates_on_every_device() {
    for device in devices() {
        let (_, rows) = measure(&["optim"], &device, &OPTIM_FIELDS);
        check_optim(&rows);
    }
}

#[test]
fn optim_measures_those_that_are_named() {
    let (_, rows) = measure(&["optim", "--optimizer", "lion,sgd,rmsprop-centered"], "cpu", &OPTIM_FIELDS);
    let names: std::collections::BTreeSet<_> = rows.iter().map(|row| row["optimizer"].as_str().unwrap()).collect();
    assert_eq!(names, ["lion", "rmsprop-centered", "sgd"].into());
    let line = error_line(&thalweg(&["bench", "optim", "--optimizer", "lbfgs"]), 2);
    assert!(line.contains("--optimizer") && line.contains("lbfgs"), "{line}");
}

/// Compares the rows with the definitions of their numbers.
fn check_optim(rows: &[serde_json::Value]) {
    let (off, on) = (false, true);
    for (optimizer, parameters, tensors, clipping, launches, bytes) in [
        ("adamw", 65_536, 1, off, 1, 28),
        ("adamw", 65_536, 1, on, 3, 32),
        ("sgd", 65_536, 1, off, 1, 12),
        ("momentum", 65_536, 1, off, 1, 20),
        ("rmsprop", 65_536, 1, off, 1, 20),
        ("adamw-composed", 65_536, 1, off, 13, 120),
        ("adamw", 1_000_000, 1, off, 1, 28),
        ("adamw", 1_000_000, 200, off, 1, 28),
        ("adamw", 1_000_000, 200, on, 3, 32),
        ("momentum", 1_000_000, 200, off, 1, 20),
        ("momentum", 1_000_000, 200, on, 3, 24),
        ("adamw-composed", 1_000_000, 200, off, 2_600, 120),
    ] {
        let row = rows
            .iter()
            .filter(|row| row["optimizer"] == optimizer && row["parameters"] == parameters)
            .find(|row| row["tensors"] == tensors && row["clipping"] == clipping)
            .unwrap_or_else(|| panic!("no row {optimizer} {parameters} {tensors} {clipping}: {rows:?}"));
        assert_eq!((&row["launches"], &row["bytes_per_parameter"]), (&launches.into(), &bytes.into()), "{row}");
        let [nanoseconds, speed, roof, share] =
            ["nanoseconds_per_parameter", "gb_per_s", "roof_gb_per_s", "share"].map(|field| number(row, field));
        assert!(nanoseconds > 0.0 && roof > 0.0, "{row}");
        assert!((speed - f64::from(bytes) / nanoseconds).abs() < 1e-6 * speed, "{row}");
        assert!((share - speed / roof).abs() < 1e-6 * share && share <= 1.0, "{row}");
    }
    // The reference on the CPU, which launches nothing.
    for row in rows.iter().filter(|row| row["optimizer"] == "adamw-by-hand") {
        assert_eq!((&row["launches"], &row["bytes_per_parameter"]), (&0.into(), &28.into()), "{row}");
    }
}

#[test]
fn matmul_measures_the_products_of_a_step_on_every_device() {
    for device in devices() {
        let (table, rows) = measure(&["matmul"], &device, &MATMUL_FIELDS);
        assert!(table.contains("weight-grad"), "{table}");
        for (m, n, k, transpose_a, transpose_b) in [
            (64, 256, 784, false, true),
            (64, 784, 256, false, false),
            (256, 784, 64, true, false),
            (10, 128, 64, true, false),
            (256, 256, 256, false, false),
        ] {
            let row = rows
                .iter()
                .find(|row| {
                    (&row["m"], &row["n"], &row["k"]) == (&m.into(), &n.into(), &k.into())
                        && (&row["transpose_a"], &row["transpose_b"]) == (&transpose_a.into(), &transpose_b.into())
                })
                .unwrap_or_else(|| panic!("no row {m} {n} {k}: {rows:?}"));
            let [gflops, gemm, share, microseconds] =
                ["gflops", "gemm_gflops", "share", "microseconds"].map(|field| number(row, field));
            assert!(gflops > 0.0 && gemm > 0.0, "{row}");
            assert!((share - gflops / gemm).abs() < 1e-6 * share, "{row}");
            let operations = 2.0 * f64::from(m) * f64::from(n) * f64::from(k);
            assert!((gflops - operations / microseconds / 1e3).abs() < 1e-6 * gflops, "{row}");
        }
    }
}

#[test]
fn step_measures_a_training_step_on_every_device() {
    for device in devices() {
        let (table, rows) = measure(&["step", "--batch", "16"], &device, &STEP_FIELDS);
        let modes: Vec<_> = rows.iter().map(|row| row["mode"].as_str().expect("as written")).collect();
        // An adapter whose subgroups vary has no hand-written step.
        let by_hand = match (device.as_str(), table.contains("no step written by hand")) {
            ("cpu", _) => 1,
            (_, left_out) => {
                if left_out {
                    0
                } else {
                    2
                }
            }
        };
        let noop: &[&str] = if device == "cpu" { &[] } else { &["noop-eager", "noop-recorded", "noop-recorded"] };
        let by_hand = &["by-hand"; 2][..by_hand];
        assert_eq!(modes, [&["eager", "recorded", "recorded"], by_hand, noop].concat());
        assert!(table.contains("eager takes"), "{table}");
        assert_eq!(table.contains("as long as the step written by hand"), !by_hand.is_empty(), "{table}");
        let launches = number(&rows[0], "launches_per_step");
        for row in &rows {
            assert_eq!((&row["network"], &row["batch"]), (&"784-256-128-10".into(), &16.into()), "{row}");
            assert_eq!(number(row, "host_syncs_per_step"), 0.0, "{row}");
            let mode = row["mode"].as_str().expect("as written");
            assert!(number(row, "microseconds_per_step") > 0.0 && number(row, "host_microseconds_per_step") > 0.0);
            // An adapter that does nothing takes no time for kernels.
            let kernel = number(row, "kernel_microseconds_per_step");
            assert!(if mode.starts_with("noop") { kernel == 0.0 } else { kernel > 0.0 }, "{row}");
            if mode != "by-hand" {
                assert_eq!(number(row, "launches_per_step"), launches, "{row}");
            }
            let submissions = if device == "cpu" { 0.0 } else { 1.0 / number(row, "steps_per_submission") };
            // A submission that would keep the device busy for long is split.
            let most = if device == "cpu" || mode.starts_with("noop") { submissions } else { launches };
            let measured = number(row, "submissions_per_step");
            assert!((submissions..=most).contains(&measured), "{row}");
        }
    }
}

#[test]
fn wrong_flags_are_refused_in_one_line() {
    for (arguments, part) in [
        (&["step", "--batch", "0"][..], "--batch"),
        (&["step", "--batch", "64,x"], "--batch"),
        (&["step", "--batch", "100000"], "--batch"),
        (&["matmul", "--batch", "64"], "--batch"),
        (&["matmul", "--device", "no such device"], "no such device"),
        (&["products"], "products"),
    ] {
        let line = error_line(&thalweg(&[&["bench"], arguments].concat()), 2);
        assert!(line.contains(part), "{line}");
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
        for bench in ["optim", "matmul", "step"] {
            let line = error_line(&bench_into(bench, path), 2);
            assert!(line.contains("--json") && line.contains(path.to_str().unwrap()), "{line}");
        }
    }
    assert_eq!(fs::read_to_string(&read_only).unwrap(), "old");
}

fn bench_into(bench: &str, path: &Path) -> std::process::Output {
    // Without --quick: it would take a minute if the path were not refused first.
    thalweg(&["bench", bench, "--device", "cpu", "--json", path.to_str().expect("text")])
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

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_costs_the_file_and_not_the_figures() {
    for arguments in [&["bench", "matmul", "--quick", "--json"][..], &["profile", "--batch", "8", "--trace"]] {
        let output = thalweg(&[arguments, &["/dev/full", "--device", "cpu"]].concat());
        let (table, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(table.contains("GFLOP/s") && error.contains("/dev/full: No space"), "{output:?}");
    }
}
