//! Common parts of the benches.
//!
//! `THALWEG_BENCH_QUICK=1` leaves out the large sizes and makes short measurements, to check that everything works.

#![allow(dead_code, reason = "each bench uses a part of it")]

use std::time::{Duration, Instant};

use criterion::BenchmarkGroup;
use criterion::measurement::WallTime;
use thalweg::tensor::Device;

/// Returns whether the bench is quick.
pub(crate) fn quick() -> bool {
    std::env::var("THALWEG_BENCH_QUICK").as_deref() == Ok("1")
}

/// Returns the GPU, if there is one, and the CPU.
#[allow(clippy::print_stderr, reason = "a figure is worth nothing without the adapter and driver it was taken on")]
pub(crate) fn devices() -> Vec<Device> {
    let gpu = Device::gpu();
    assert!(
        gpu.is_ok() || std::env::var("THALWEG_REQUIRE_GPU").as_deref() != Ok("1"),
        "THALWEG_REQUIRE_GPU=1, but there is no adapter"
    );
    let devices: Vec<Device> = gpu.into_iter().chain([Device::cpu()]).collect();
    for info in devices.iter().map(Device::info) {
        eprintln!("device: {} ({}, {}), driver: {}", info.name, info.kind, info.backend, info.driver);
    }
    devices
}

/// Returns `cpu` or `gpu`, for names of benches.
pub(crate) fn kind(device: &Device) -> &'static str {
    if device.is_cpu() { "cpu" } else { "gpu" }
}

/// Ends the bench if the device has failed.
pub(crate) fn done<T, E: std::fmt::Display>(result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| panic!("{error}"))
}

/// Sets few samples, because each is a batch of calls, and a short time if the bench is quick.
pub(crate) fn settle(group: &mut BenchmarkGroup<'_, WallTime>) {
    group.sample_size(10);
    if quick() {
        group.warm_up_time(Duration::from_millis(20)).measurement_time(Duration::from_millis(100));
    }
}

/// Returns the time of `calls` calls and of one wait at their end.
pub(crate) fn end_to_end(device: &Device, calls: u64, mut call: impl FnMut()) -> Duration {
    let start = Instant::now();
    (0..calls).for_each(|_| call());
    done(device.synchronize());
    start.elapsed()
}

/// Returns the time that the host needs for `calls` calls, each submitted to an idle device. The waits for the device
/// between them do not count.
pub(crate) fn enqueue(device: &Device, calls: u64, mut call: impl FnMut()) -> Duration {
    let mut taken = Duration::ZERO;
    for _ in 0..calls {
        let start = Instant::now();
        call();
        done(device.flush());
        taken += start.elapsed();
        done(device.synchronize());
    }
    taken
}
