//! What the benches share.
//!
//! `THALWEG_BENCH_QUICK=1` leaves out the large sizes and measures shortly: to see that everything works.

#![allow(dead_code, reason = "each bench uses a part of it")]

use std::time::{Duration, Instant};

use criterion::BenchmarkGroup;
use criterion::measurement::WallTime;
use thalweg::tensor::Device;

/// Whether to be quick.
pub(crate) fn quick() -> bool {
    std::env::var("THALWEG_BENCH_QUICK").as_deref() == Ok("1")
}

/// The GPU, where there is one, and the CPU.
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

/// `cpu` or `gpu`, for names of benches.
pub(crate) fn kind(device: &Device) -> &'static str {
    if device.is_cpu() { "cpu" } else { "gpu" }
}

/// Ends the bench where the device has failed.
pub(crate) fn done<T, E: std::fmt::Display>(result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| panic!("{error}"))
}

/// Few samples, since each is a batch of calls; hardly any time where it is to be quick.
pub(crate) fn settle(group: &mut BenchmarkGroup<'_, WallTime>) {
    group.sample_size(10);
    if quick() {
        group.warm_up_time(Duration::from_millis(20)).measurement_time(Duration::from_millis(100));
    }
}

/// The time of so many calls and of one wait at their end.
pub(crate) fn end_to_end(device: &Device, calls: u64, mut call: impl FnMut()) -> Duration {
    let start = Instant::now();
    (0..calls).for_each(|_| call());
    done(device.synchronize());
    start.elapsed()
}

/// The time that the host needs for so many calls, each handed over to an idle device; what the device takes is waited
/// for in between and does not count.
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
