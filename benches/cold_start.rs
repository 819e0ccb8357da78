//! The time from the start of a process to the end of its first training step: opening the device, compiling kernels,
//! memory, data, and the step itself.
//!
//! The bench starts a new process of itself for each run, because drivers and the library cache much within one. On a
//! GPU drivers cache compiled kernels on disk: `warm` uses the cache of earlier runs, `empty caches` a new folder each
//! time. Mesa's drivers and NVIDIA's follow the variables for that folder; others may use their own. Times are wall
//! times. `THALWEG_BENCH_QUICK=1` leaves the empty caches out.

mod common;

// The same step as that of `thalweg bench step`.
#[allow(dead_code, reason = "nothing is recorded here")]
#[path = "../crates/cli/src/bench/training_step.rs"]
mod training_step;

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use criterion::Criterion;
use thalweg::Result;
use thalweg::tensor::Device;

use common::{devices, done, kind, quick};
use training_step::{TrainingStep, WIDTHS};

/// Marks a process as the measured one, and names its device.
const DEVICE: &str = "THALWEG_COLD_START_DEVICE";

/// The variables for the folder of compiled kernels.
const CACHES: [&str; 2] = ["MESA_SHADER_CACHE_DIR", "__GL_SHADER_DISK_CACHE_PATH"];

/// Runs one step of a network on a new device.
fn first_step(device: &str) -> Result<()> {
    let device = Device::open(device)?;
    TrainingStep::new(&device, &WIDTHS, 64)?.step()?;
    Ok(device.synchronize()?)
}

/// Returns the time of a process that makes one step.
fn start(device: &str, cache: &Path) -> Duration {
    let program = done(std::env::current_exe());
    let mut command = Command::new(program);
    command.env(DEVICE, device).envs(CACHES.map(|variable| (variable, cache))).stderr(Stdio::null());
    let start = Instant::now();
    let status = done(command.status());
    let taken = start.elapsed();
    assert!(status.success(), "the process that was measured failed");
    taken
}

fn cold_start(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("cold_start");
    common::settle(&mut group);
    let folder = done(tempfile::tempdir());
    for device in devices() {
        let device = kind(&device);
        group.bench_function(format!("{device}/warm"), |bencher| {
            bencher.iter_custom(|calls| (0..calls).map(|_| start(device, folder.path())).sum());
        });
        if device == "cpu" || quick() {
            continue;
        }
        group.bench_function(format!("{device}/empty caches"), |bencher| {
            bencher.iter_custom(|calls| {
                let fresh = |_| {
                    let cache = done(tempfile::tempdir_in(folder.path()));
                    start(device, cache.path())
                };
                (0..calls).map(fresh).sum()
            });
        });
    }
    group.finish();
}

fn main() -> ExitCode {
    if let Ok(device) = std::env::var(DEVICE) {
        return match first_step(&device) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        };
    }
    let mut criterion = Criterion::default().configure_from_args();
    cold_start(&mut criterion);
    criterion.final_summary();
    ExitCode::SUCCESS
}
