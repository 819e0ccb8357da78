//! Updates of all parameters by an optimizer, on the GPU and by the CPU twins: fused, and as a composition of tensor
//! operations. The plain copy kernel is their roofline.
//!
//! `THALWEG_BENCH_QUICK=1` leaves out the large sizes and makes short measurements.

mod common;

// The same updates as those of `thalweg bench optim`, which are written once.
#[allow(dead_code, reason = "the program asks for the names, and this bench does not")]
#[path = "../crates/cli/src/updates.rs"]
mod updates;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use thalweg::nn::MethodEntry;
use thalweg::tensor::{Clip, Device, Result};

use common::{devices, done, end_to_end, kind, quick, settle};
use updates::Parameters;

/// Numbers of parameters, and numbers of tensors for them.
const SIZES: [(usize, usize); 4] = [(64 << 10, 1), (1 << 20, 1), (16 << 20, 1), (1_000_000, 200)];

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
        bencher.iter_custom(|calls| end_to_end(device, calls, || done(update())));
    });
}

fn optim(criterion: &mut Criterion) {
    for device in devices() {
        let kind = kind(&device);
        for (parameters, tensors) in SIZES {
            if quick() && parameters > 1 << 20 {
                continue;
            }
            let mut group = criterion.benchmark_group(format!("optim/{kind}/{parameters} in {tensors}"));
            settle(&mut group);
            let count = parameters as u64;
            let layout = done(Parameters::new(&device, tensors, parameters / tensors));
            let measured = updates::updates_of(&device, parameters);
            for (name, update) in measured.filter(|(name, _)| MethodEntry::find(name).is_some()) {
                for (clip, name) in [(Clip::Off, name.to_string()), (Clip::Norm(1.0), format!("{name}, clipped"))] {
                    let bytes = count * updates::update_bytes(&*update, clip);
                    bench(&mut group, &device, &name, bytes, done(layout.update(update.clone(), clip)));
                }
            }
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
