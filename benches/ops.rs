//! Element-wise chains: eager, recorded operation by operation, and recorded in one generated kernel. AdamW as a
//! composition of tensor operations in the same three ways, next to its hand-written kernel.
//!
//! `THALWEG_BENCH_QUICK=1` leaves out the large sizes and makes short measurements.

mod common;

// The composition of `thalweg bench optim`, which is written once.
#[allow(dead_code, reason = "only the composition and the fused update are needed here")]
#[path = "../crates/cli/src/updates.rs"]
mod updates;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use thalweg::tensor::{Clip, DType, Device, RecordOptions, Result, Tensor};

use common::{devices, done, end_to_end, kind, quick, settle};
use updates::Parameters;

const SIZES: [usize; 3] = [4 << 10, 256 << 10, 4 << 20];

type Measure = fn(&mut BenchmarkGroup<'_, WallTime>, &Device, usize);

/// Measures calls that repeat an action, each with one wait at its end.
fn bench(
    group: &mut BenchmarkGroup<'_, WallTime>,
    device: &Device,
    name: &str,
    mut times: impl FnMut(u64) -> Result<()>,
) {
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|count| end_to_end(device, 1, || done(times(count))));
    });
}

/// Measures a body that runs eagerly, recorded without fusion, and recorded with fused chains.
fn three_ways(group: &mut BenchmarkGroup<'_, WallTime>, device: &Device, mut body: impl FnMut() -> Result<()>) {
    bench(group, device, "eager", |count| (0..count).try_for_each(|_| body()));
    for (name, fuse) in [("recorded", false), ("fused", true)] {
        let options = RecordOptions { fuse, ..RecordOptions::default() };
        let (recording, ()) = done(device.record_with(options, &mut body));
        bench(group, device, name, |count| recording.replay(count as usize));
    }
}

fn ops(criterion: &mut Criterion) {
    for device in devices() {
        for elements in SIZES {
            if quick() && elements > 256 << 10 {
                continue;
            }
            let measures: [(&str, Measure); 2] = [("chain", chain), ("adamw", adamw)];
            for (name, measure) in measures {
                let mut group = criterion.benchmark_group(format!("ops/{}/{name} {elements}", kind(&device)));
                settle(&mut group);
                group.throughput(Throughput::Elements(elements as u64));
                measure(&mut group, &device, elements);
                group.finish();
                device.release_memory();
            }
        }
    }
}

/// Computes tanh, square, affine, product, sum.
fn chain(group: &mut BenchmarkGroup<'_, WallTime>, device: &Device, elements: usize) {
    let x = done(Tensor::normal(device, 0, 0, 0.0, 1.0, &[elements]));
    let y = done(Tensor::normal(device, 0, 1, 0.0, 1.0, &[elements]));
    let result = done(Tensor::zeros(device, DType::F32, &[elements]));
    three_ways(group, device, || x.tanh()?.square()?.affine(2.0, 1.0)?.mul(&y)?.add(&x)?.copy_into(&result));
}

fn adamw(group: &mut BenchmarkGroup<'_, WallTime>, device: &Device, elements: usize) {
    let zeros = || done(Tensor::zeros(device, DType::F32, &[elements]));
    let full = |value: f32| done(Tensor::full(device, value, &[elements]));
    let (state, grad) = ([full(0.5), zeros(), zeros()], full(0.01));
    three_ways(group, device, || {
        let mut next = state.clone();
        let [value, moment1, moment2] = &mut next;
        updates::compose_adamw(value, &grad, moment1, moment2, 1)?;
        next.iter().zip(&state).try_for_each(|(next, state)| next.copy_into(state))
    });
    let parameters = done(Parameters::new(device, 1, elements));
    let mut update = done(parameters.update(std::rc::Rc::new(updates::ADAMW), Clip::Off));
    bench(group, device, "kernel eager", |count| (0..count).try_for_each(|_| update()));
    let (recording, ()) = done(device.record(&mut update));
    bench(group, device, "kernel recorded", |count| recording.replay(count as usize));
}

criterion_group!(benches, ops);
criterion_main!(benches);
