//! A training step of a small network: eager, collected without a submission per step, and recorded, with one or
//! several steps per submission. The time of the host (`enqueue`) and of the whole (`end to end`) are separate; wgpu's
//! `noop` adapter shows the host's part without a driver.
//!
//! With a batch of 512 the device takes most of the time: there the ways must not differ end to end.
//! `THALWEG_BENCH_QUICK=1` leaves the large batch out and makes short measurements.

mod common;

// The same step as that of `thalweg bench step`.
#[path = "../crates/cli/src/bench/training_step.rs"]
mod training_step;

use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use thalweg::tensor::Device;

use common::{devices, done, end_to_end, enqueue, kind, quick, settle};
use training_step::{TrainingStep, WIDTHS};

const BATCHES: [usize; 2] = [64, 512];

const STEPS_PER_SUBMISSION: [usize; 2] = [1, 8];

/// A way to time a number of calls.
type Timer = fn(&Device, u64, &mut dyn FnMut()) -> Duration;

fn bench(
    group: &mut BenchmarkGroup<'_, WallTime>,
    device: &Device,
    timer: Timer,
    name: &str,
    steps: usize,
    mut call: impl FnMut(),
) {
    group.throughput(Throughput::Elements(steps as u64));
    group.bench_function(name, |bencher| bencher.iter_custom(|calls| timer(device, calls, &mut call)));
}

fn step(criterion: &mut Criterion) {
    let named = devices().into_iter().map(|device| (kind(&device), device));
    for (kind, device) in named.chain([("noop", done(Device::noop()))]) {
        for batch in BATCHES {
            if quick() && batch > 64 {
                continue;
            }
            let mut step = done(TrainingStep::new(&device, &WIDTHS, batch));
            let recording = done(step.record());
            let timers: [(&str, Timer); 2] =
                [("end to end", |d, n, call| end_to_end(d, n, call)), ("enqueue", |d, n, call| enqueue(d, n, call))];
            for (what, timer) in timers {
                let mut group = criterion.benchmark_group(format!("step/{kind}/{batch}/{what}"));
                settle(&mut group);
                bench(&mut group, &device, timer, "eager", 1, || {
                    done(step.step());
                    done(device.flush());
                });
                if what == "end to end" {
                    bench(&mut group, &device, timer, "batched", 1, || done(step.step()));
                }
                for steps in STEPS_PER_SUBMISSION {
                    let name = format!("recorded, {steps} a submission");
                    bench(&mut group, &device, timer, &name, steps, || done(recording.replay(steps)));
                }
                group.finish();
            }
            drop((step, recording));
            device.release_memory();
        }
    }
}

criterion_group!(benches, step);
criterion_main!(benches);
