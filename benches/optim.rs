//! Updates of all parameters by an optimizer: fused, as a composition of tensor operations, on the GPU and by the CPU
//! twins, beside the plain copy kernel that is their roof.
//!
//! `THALWEG_BENCH_QUICK=1` leaves out the large sizes and measures shortly.

// The same updates as those of `thalweg bench optim`: what is measured is written once.
#[path = "../crates/cli/src/bench/updates.rs"]
mod updates;

use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use thalweg::tensor::{Device, Result};

use updates::Parameters;

/// Numbers of parameters, and of the tensors that they are spread over.
const SIZES: [(usize, usize); 4] = [(64 << 10, 1), (1 << 20, 1), (16 << 20, 1), (1_000_000, 200)];

fn quick() -> bool {
    std::env::var("THALWEG_BENCH_QUICK").as_deref() == Ok("1")
}

#[allow(clippy::print_stderr, reason = "a figure is worth nothing without the adapter and driver it was taken on")]
fn devices() -> Vec<Device> {
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

/// Ends the bench where the device has failed.
fn done<T>(result: Result<T>) -> T {
    result.unwrap_or_else(|error| panic!("{error}"))
}

/// Measures batches of calls, each with one wait at its end.
fn bench(
    group: &mut BenchmarkGroup<'_, WallTime>,
    device: &Device,
    name: &str,
    bytes: u64,
    mut update: impl FnMut() -> Result<()>,
) {
    group.throughput(Throughput::BytesDecimal(bytes));
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|calls| {
            let start = Instant::now();
            for _ in 0..calls {
                done(update());
            }
            done(device.synchronize());
            start.elapsed()
        });
    });
}

fn optim(criterion: &mut Criterion) {
    for device in devices() {
        let kind = if device.is_cpu() { "cpu" } else { "gpu" };
        for (parameters, tensors) in SIZES {
            if quick() && parameters > 1 << 20 {
                continue;
            }
            let mut group = criterion.benchmark_group(format!("optim/{kind}/{parameters} in {tensors}"));
            group.sample_size(10);
            if quick() {
                group.warm_up_time(Duration::from_millis(20)).measurement_time(Duration::from_millis(100));
            }
            let count = parameters as u64;
            let layout = done(Parameters::new(&device, tensors, parameters / tensors));
            bench(&mut group, &device, "adamw", count * updates::ADAMW_BYTES, done(layout.adamw()));
            bench(&mut group, &device, "sgd", count * updates::SGD_BYTES, done(layout.sgd()));
            let composed = done(layout.adamw_composed());
            bench(&mut group, &device, "adamw-composed", count * updates::ADAMW_COMPOSED_BYTES, composed);
            for (number, copy) in done(updates::copies(&device, parameters)).into_iter().enumerate() {
                bench(&mut group, &device, &format!("copy {}", 1 << number), count * updates::COPY_BYTES, copy);
            }
            group.finish();
            device.release_memory();
        }
    }
}

criterion_group!(benches, optim);
criterion_main!(benches);
