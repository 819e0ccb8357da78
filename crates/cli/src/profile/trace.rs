//! A profile in the trace event format, which Perfetto and the tracing page of Chrome show.
//!
//! Source: Trace Event Format (Chromium project).

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use thalweg::tensor::Profile;

use super::spans::HostSpan;

const PROCESS: u64 = 1;
const HOST: u64 = 1;
const DEVICE: u64 = 2;

/// Returns the trace: a track of the host with the library's spans, a track of the device with its kernels. Times count
/// from the start of the profile.
pub(crate) fn trace(device: &str, host: &[HostSpan], profile: &Profile) -> Value {
    let name = |what: &str, thread, name: &str| json!({"ph": "M", "name": what, "pid": PROCESS, "tid": thread, "args": {"name": name}});
    let mut events = vec![
        name("process_name", HOST, "thalweg"),
        name("thread_name", HOST, "host"),
        name("thread_name", DEVICE, &format!("device: {device}")),
    ];
    let since = |instant: Instant| instant.saturating_duration_since(profile.began());
    // Spans that began earlier have no position on the axis.
    let host = host.iter().filter(|span| span.start >= profile.began());
    events.extend(host.map(|span| {
        let (start, end) = (since(span.start), since(span.end));
        event(HOST, span.name, start, end - start, Value::from(span.fields.clone()))
    }));
    events.extend(profile.launches().iter().map(|launch| {
        let arguments = json!({
            "workgroups": launch.workgroups,
            "bytes_read": launch.cost.bytes_read,
            "bytes_written": launch.cost.bytes_written,
            "operations": launch.cost.operations,
        });
        event(DEVICE, launch.kernel, launch.start, launch.duration, arguments)
    }));
    json!({"traceEvents": events, "displayTimeUnit": "ns"})
}

/// Makes a complete event; the format counts in microseconds.
fn event(thread: u64, name: &str, start: Duration, duration: Duration, arguments: Value) -> Value {
    let microseconds = |time: Duration| time.as_nanos() as f64 / 1e3;
    json!({
        "ph": "X",
        "name": name,
        "pid": PROCESS,
        "tid": thread,
        "ts": microseconds(start),
        "dur": microseconds(duration),
        "args": arguments,
    })
}
