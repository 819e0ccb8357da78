//! Matrix products: a naive kernel, a kernel with tiles in workgroup memory, the library's, and the `gemm` crate, in the
//! widest vectors of the processor and in those of 256 bits.
//!
//! The first two are those of every introduction; they are kernels of the bench, made with the public interface.
//! `THALWEG_BENCH_QUICK=1` leaves out the large sizes and makes short measurements.

mod common;

// The same call as that of `thalweg bench matmul`.
#[path = "../crates/cli/src/bench/gemm.rs"]
mod gemm_crate;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use thalweg::tensor::{Access, Call, DType, Kernel, Launch, Result, Shader, Tensor};

use common::{devices, done, end_to_end, kind, quick, settle};
use gemm_crate::Matrix;

/// c[m, n] = a[m, k] b[k, n]: the layers of a small network with a batch of 64, and squares.
const SHAPES: [[usize; 3]; 6] =
    [[64, 256, 784], [64, 128, 256], [64, 10, 128], [256, 256, 256], [512, 512, 512], [1024, 1024, 1024]];

/// The products per submission.
const AT_ONCE: usize = 8;

/// The rows and columns per workgroup of the bench's own kernels.
const TILE: usize = 16;

static NAIVE: Shader = Shader {
    name: "bench_matmul_naive",
    path: "benches/matmul.rs",
    text: "
struct Extents { m: u32, n: u32, k: u32, columns: u32 }

@group(0) @binding(0) var<uniform> extents: Extents;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> c: array<f32>;

@compute @workgroup_size(16, 16)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) lane: vec3u) {
    let row = group.x / extents.columns * 16 + lane.y;
    let column = group.x % extents.columns * 16 + lane.x;
    if (row >= extents.m || column >= extents.n) {
        return;
    }
    var sum = 0.0;
    for (var k = 0u; k < extents.k; k++) {
        sum += a[row * extents.k + k] * b[k * extents.n + column];
    }
    c[row * extents.n + column] = sum;
}",
    shared: &[],
};

static TILED: Shader = Shader {
    name: "bench_matmul_tiled",
    path: "benches/matmul.rs",
    text: "
struct Extents { m: u32, n: u32, k: u32, columns: u32 }

@group(0) @binding(0) var<uniform> extents: Extents;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> c: array<f32>;

var<workgroup> a_tile: array<array<f32, 16>, 16>;
var<workgroup> b_tile: array<array<f32, 16>, 16>;

@compute @workgroup_size(16, 16)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) lane: vec3u) {
    let row = group.x / extents.columns * 16 + lane.y;
    let column = group.x % extents.columns * 16 + lane.x;
    var sum = 0.0;
    for (var start = 0u; start < extents.k; start += 16u) {
        let a_k = start + lane.x;
        let b_k = start + lane.y;
        a_tile[lane.y][lane.x] = 0.0;
        b_tile[lane.y][lane.x] = 0.0;
        if (row < extents.m && a_k < extents.k) {
            a_tile[lane.y][lane.x] = a[row * extents.k + a_k];
        }
        if (column < extents.n && b_k < extents.k) {
            b_tile[lane.y][lane.x] = b[b_k * extents.n + column];
        }
        workgroupBarrier();
        for (var k = 0u; k < 16u; k++) {
            sum += a_tile[lane.y][k] * b_tile[k][lane.x];
        }
        workgroupBarrier();
    }
    if (row < extents.m && column < extents.n) {
        c[row * extents.n + column] = sum;
    }
}",
    shared: &[],
};

/// Computes c = a b in three loops.
fn twin(call: Call<'_>) {
    let [_, n, k, _] = call.params::<[u32; 4]>().map(|extent| extent as usize);
    let [a, b, c] = call.bindings();
    let (a, b) = (a.read::<f32>(), b.read::<f32>());
    for (i, c) in c.write::<f32>().iter_mut().enumerate() {
        let (row, column) = (i / n, i % n);
        *c = (0..k).map(|k_| a[row * k + k_] * b[k_ * n + column]).sum();
    }
}

const ACCESS: &[Access] = &[Access::Read, Access::Read, Access::Write];

static NAIVE_KERNEL: Kernel = Kernel { shader: &NAIVE, uniform: 16, access: ACCESS, variants: &[&[]], twin };

static TILED_KERNEL: Kernel = Kernel { shader: &TILED, uniform: 16, access: ACCESS, variants: &[&[]], twin };

fn launch(kernel: &'static Kernel, [m, n, k]: [usize; 3], a: &Tensor, b: &Tensor, c: &Tensor) -> Result<()> {
    let columns = n.div_ceil(TILE);
    Launch::new(kernel, [m, n, k, columns].map(|extent| extent as u32))
        .bind(a)
        .bind(b)
        .bind(c)
        .workgroups(m.div_ceil(TILE) * columns)
        .run(c.device())
}

/// Compares the bench's own kernels with the library's: a wrong product may well be a fast one.
fn check(shape: [usize; 3], a: &Tensor, b: &Tensor, c: &Tensor) -> Result<()> {
    let expected = a.matmul(b)?.to_vec::<f32>()?;
    for kernel in [&NAIVE_KERNEL, &TILED_KERNEL] {
        launch(kernel, shape, a, b, c)?;
        let found = c.to_vec::<f32>()?;
        let worst = found.iter().zip(&expected).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max);
        assert!(worst < 1e-3, "{} at {shape:?} is off by {worst}", kernel.name());
    }
    Ok(())
}

fn matmul(criterion: &mut Criterion) {
    for device in devices() {
        for shape @ [m, n, k] in SHAPES {
            if quick() && m * n * k > 1 << 24 {
                continue;
            }
            let mut group = criterion.benchmark_group(format!("matmul/{}/{m}x{n}x{k}", kind(&device)));
            settle(&mut group);
            group.throughput(Throughput::Elements(2 * (m * n * k * AT_ONCE) as u64));
            let operand = |stream, shape: &[usize]| Tensor::uniform(&device, 0, stream, -1.0, 1.0, shape);
            let (a, b) = (done(operand(0, &[m, k])), done(operand(1, &[k, n])));
            let c = done(Tensor::zeros(&device, DType::F32, &[m, n]));
            let mut bench = |name: &str, product: &dyn Fn() -> Result<()>| {
                let (recording, ()) = done(device.record(product));
                group.bench_function(name, |bencher| {
                    bencher.iter_custom(|calls| end_to_end(&device, calls, || done(recording.replay(AT_ONCE))));
                });
            };
            bench("ours", &|| a.matmul_into(&b, &c, false));
            if !device.is_cpu() {
                done(check(shape, &a, &b, &c));
                bench("naive", &|| launch(&NAIVE_KERNEL, shape, &a, &b, &c));
                bench("tiled", &|| launch(&TILED_KERNEL, shape, &a, &b, &c));
            }
            let (a, b) = (done(a.to_vec::<f32>()), done(b.to_vec::<f32>()));
            let mut product = vec![0.0; m * n];
            let (a, b) = (Matrix::new(&a, k, false), Matrix::new(&b, n, false));
            group.bench_function("gemm", |bencher| {
                bencher.iter(|| (0..AT_ONCE).for_each(|_| gemm_crate::multiply(shape, a, b, &mut product)));
            });
            if gemm_crate::multiply_in_256_bits(shape, a, b, &mut product) {
                group.bench_function("gemm-256", |bencher| {
                    bencher.iter(|| {
                        for _ in 0..AT_ONCE {
                            gemm_crate::multiply_in_256_bits(shape, a, b, &mut product);
                        }
                    });
                });
            }
            group.finish();
            device.release_memory();
        }
    }
}

criterion_group!(benches, matmul);
criterion_main!(benches);
