//! `thalweg profile`: its table and its trace.

use std::fs;

use serde_json::Value;

use crate::common::{adapters, error_line, stdout, thalweg};

/// The library's spans of its work on the host.
const SPANS: [&str; 7] = ["compile", "encode", "read_back", "record", "replay", "submit", "wait"];

/// Returns start and end of a complete event, in microseconds.
fn range(event: &Value) -> (f64, f64) {
    let [start, duration] = ["ts", "dur"].map(|field| event[field].as_f64().expect("a number"));
    assert!(start >= 0.0 && duration >= 0.0, "{event}");
    (start, start + duration)
}

/// Returns the complete events of a track, in order of their start.
fn track(trace: &Value, thread: u64) -> Vec<Value> {
    let events = trace["traceEvents"].as_array().expect("as written");
    events.iter().filter(|event| event["ph"] == "X" && event["tid"] == thread).cloned().collect()
}

/// Profiles on a device and checks the trace by the rules of the format. Returns the table.
fn profile(device: &str, is_hardware: bool) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("trace.json");
    let run = thalweg(&[
        "profile",
        "--device",
        device,
        "--network",
        "20,16,3",
        "--batch",
        "8",
        "--trace",
        path.to_str().expect("as written"),
    ]);
    let table = stdout(&run);
    for part in ["kernel", "linear_weight_grad", "adam", "a step takes", "GB/s", "module", "layers.0", "(no module)"] {
        assert!(table.contains(part), "{part}: {table}");
    }
    let trace: Value = serde_json::from_slice(&fs::read(&path).expect("as written")).expect("JSON");
    let (host, kernels) = (track(&trace, 1), track(&trace, 2));
    assert!(!host.is_empty() && !kernels.is_empty());
    for event in &host {
        assert!(SPANS.iter().any(|name| event["name"] == *name), "{event}");
    }
    // One step eager, one recorded, nine replayed: every kernel of a step occurs as often.
    let updates = kernels.iter().filter(|event| event["name"] == "adam").count();
    assert_eq!(updates, 11);
    assert_eq!(kernels.len() % 11, 0);
    for event in &kernels {
        // The name of a generated kernel begins with the operation.
        let name = event["name"].as_str().expect("a name");
        assert!(thalweg::nn::kernels().any(|kernel| name.starts_with(kernel.name())), "{event}");
        assert!(event["args"]["workgroups"].as_u64() > Some(0), "{event}");
    }
    // Kernels run one after the other, except that hardware may run independent ones side by side. Each span of the
    // host is inside the open one, or after it. The numbers are rounded to a thousandth of a microsecond.
    for pair in kernels.windows(2) {
        let (start, end) = range(&pair[0]);
        assert!(if is_hardware { start } else { end } <= range(&pair[1]).0 + 0.002, "{pair:?}");
    }
    let mut open: Vec<f64> = Vec::new();
    for event in &host {
        let (start, end) = range(event);
        open.retain(|&outer| outer > start + 0.002);
        assert!(open.last().is_none_or(|&outer| end <= outer + 0.002), "{event}");
        open.push(end);
    }
    let replays: Vec<_> = host.iter().filter(|event| event["name"] == "replay").map(|e| &e["args"]["times"]).collect();
    assert_eq!(replays, [1, 8]);
}

#[test]
fn the_cpu_is_profiled() {
    profile("cpu", false);
}

#[test]
fn every_adapter_is_profiled() {
    for adapter in adapters() {
        profile(&adapter["index"].to_string(), adapter["kind"] == "hardware");
    }
}

#[test]
fn wrong_flags_and_files_are_refused_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing/trace.json");
    for (arguments, part) in [
        (&["--network", "784"][..], "two widths"),
        (&["--network", "784,0,10"], "from 1 to 65536"),
        (&["--network", "784,many,10"], "--network"),
        (&["--network", "65536,65536"], "67108864"),
        (&["--batch", "0"], "--batch"),
        (&["--device", "no such device"], "no such device"),
        (&["--trace", missing.to_str().unwrap()], "--trace"),
    ] {
        let line = error_line(&thalweg(&[&["profile"], arguments].concat()), 2);
        assert!(line.contains(part), "{line}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}
