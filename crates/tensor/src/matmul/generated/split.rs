//! Products whose inner dimension is split among workgroups: for results with few tiles and a long sum, on hardware.
//!
//! A first launch stores the partial sums of each slice. A second adds them in the order of the slices and applies
//! the epilogue. The order of the sum differs from that of k, so only the profile decides on it, not a measurement.

use super::form::Epilogue;
use crate::kernel::{Access, Call, Kernel};
use crate::math::{relu, relu_grad};
use crate::matmul::product::Product;

/// The parameters of the kernel of the partial sums.
#[repr(C)]
#[derive(Debug, Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
pub(crate) struct PartialParams {
    pub(crate) product: Product,
}

/// The parameters of the kernel that adds them.
#[repr(C)]
#[derive(Debug, Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
pub(crate) struct SumParams {
    pub(crate) rows: u32,
    pub(crate) columns: u32,
    pub(crate) slices: u32,
    /// The number of elements of a slice's results: rows columns, and the sums of the rows if enabled.
    pub(crate) stride: u32,
}

/// The number of invocations of a workgroup that adds partial sums.
pub(crate) const SUM_WORKGROUP: usize = 64;

/// Computes partial sums of slices of k: those of the product, then those of the rows of a, slice after slice.
pub(crate) fn partial_twin(call: Call<'_>) {
    let PartialParams { product } = call.params();
    let [a, b, partial] = call.bindings();
    let (a, b, partial) = (a.read::<f32>(), b.read::<f32>(), partial.write::<f32>());
    let (results, rows) = (product.m as usize * product.n as usize, product.m as usize);
    let slices = product.k.div_ceil(product.slice.max(1)) as usize;
    let stride = partial.len() / slices.max(1);
    for (slice, partial) in partial.chunks_mut(stride.max(1)).take(slices).enumerate() {
        let first = slice as u32 * product.slice;
        let part = Product {
            k: product.slice.min(product.k - first),
            a_offset: product.a_offset + first * product.a_column,
            b_offset: product.b_offset + first * product.b_row,
            ..product
        };
        part.compute(a, b, partial, false, |_, _, _| ());
        if stride >= results + rows {
            part.row_sums_of_a(a, &mut partial[results..results + rows], false);
        }
    }
}

/// Adds partial sums in order of the slices and applies an epilogue.
fn add(call: Call<'_>, epilogue: Epilogue) {
    let params: SumParams = call.params();
    let mut slices = call.slices().into_iter();
    let mut next = || slices.next().unwrap_or_else(|| unreachable!("a launch has its kernel's bindings"));
    let partial = next().read::<f32>();
    let sum = |i: usize| {
        (0..params.slices as usize).map(|slice| partial[slice * params.stride as usize + i]).fold(0.0, |x, y| x + y)
    };
    let results = params.rows as usize * params.columns as usize;
    let columns = params.columns as usize;
    match epilogue {
        Epilogue::Matmul { accumulate } | Epilogue::WeightGrad { accumulate } => {
            let store = |target: &mut [f32], first: usize| {
                for (i, y) in target.iter_mut().enumerate() {
                    *y = if accumulate { *y + sum(first + i) } else { sum(first + i) };
                }
            };
            store(next().write(), 0);
            if matches!(epilogue, Epilogue::WeightGrad { .. }) {
                store(next().write(), results);
            }
        }
        Epilogue::Linear { relu: asked } => {
            let bias = next().read::<f32>();
            for (i, y) in next().write::<f32>().iter_mut().enumerate() {
                let value = sum(i) + bias[i % columns];
                *y = if asked { relu(value) } else { value };
            }
        }
        Epilogue::InputGrad => {
            let activation = next().read::<f32>();
            for (i, dx) in next().write::<f32>().iter_mut().enumerate() {
                *dx = relu_grad(activation[i], sum(i));
            }
        }
        Epilogue::Batch { .. } | Epilogue::Gather { .. } | Epilogue::Partial { .. } => {
            unreachable!("the inner dimension of these is not split")
        }
    }
}

/// Returns the kernel that adds partial sums for an epilogue; its parameters are [`SumParams`].
pub(crate) fn sum_kernel(epilogue: Epilogue, shader: &'static thalweg_shaders::Shader) -> Kernel {
    use Access::{Read, Write};
    let (access, twin): (&'static [Access], fn(Call<'_>)) = match epilogue {
        Epilogue::Matmul { accumulate: false } => {
            (&[Read, Write], |call| add(call, Epilogue::Matmul { accumulate: false }))
        }
        Epilogue::Matmul { accumulate: true } => {
            (&[Read, Write], |call| add(call, Epilogue::Matmul { accumulate: true }))
        }
        Epilogue::Linear { relu: false } => (&[Read, Read, Write], |call| add(call, Epilogue::Linear { relu: false })),
        Epilogue::Linear { relu: true } => (&[Read, Read, Write], |call| add(call, Epilogue::Linear { relu: true })),
        Epilogue::InputGrad => (&[Read, Read, Write], |call| add(call, Epilogue::InputGrad)),
        Epilogue::WeightGrad { accumulate: false } => {
            (&[Read, Write, Write], |call| add(call, Epilogue::WeightGrad { accumulate: false }))
        }
        Epilogue::WeightGrad { accumulate: true } => {
            (&[Read, Write, Write], |call| add(call, Epilogue::WeightGrad { accumulate: true }))
        }
        Epilogue::Batch { .. } | Epilogue::Gather { .. } | Epilogue::Partial { .. } => {
            unreachable!("the inner dimension of these is not split")
        }
    };
    Kernel { shader, uniform: size_of::<SumParams>(), access, variants: &[&[]], twin }
}

/// Returns the WGSL of the kernel that adds partial sums.
pub(crate) fn sum_text(epilogue: Epilogue) -> String {
    let (bindings, store) = match epilogue {
        Epilogue::Matmul { accumulate } => ("read_write c", if accumulate { "c[i] += sum;" } else { "c[i] = sum;" }),
        Epilogue::Linear { relu } => (
            "read bias,read_write c",
            if relu {
                "let value = sum + bias[i % params.columns]; c[i] = select(value, 0.0, value < 0.0);"
            } else {
                "c[i] = sum + bias[i % params.columns];"
            },
        ),
        Epilogue::InputGrad => ("read activation,read_write c", "c[i] = select(sum, 0.0, activation[i] <= 0.0);"),
        Epilogue::WeightGrad { accumulate } => (
            "read_write c,read_write bias_grad",
            if accumulate {
                "if (i < results) { c[i] += sum; } else { bias_grad[i - results] += sum; }"
            } else {
                "if (i < results) { c[i] = sum; } else { bias_grad[i - results] = sum; }"
            },
        ),
        Epilogue::Batch { .. } | Epilogue::Gather { .. } | Epilogue::Partial { .. } => {
            unreachable!("the inner dimension of these is not split")
        }
    };
    let mut text = format!(
        "// Generated: partial sums added in order of the slices, {epilogue:?}.
struct Params {{ rows: u32, columns: u32, slices: u32, stride: u32 }}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> partial: array<f32>;
"
    );
    for (i, binding) in bindings.split(',').enumerate() {
        let (access, name) = binding.split_once(' ').unwrap_or(("read", binding));
        text += &format!("@group(0) @binding({}) var<storage, {access}> {name}: array<f32>;\n", i + 2);
    }
    text + &format!(
        "@compute @workgroup_size({SUM_WORKGROUP})
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {{
    let i = (group.y * groups.x + group.x) * {SUM_WORKGROUP}u + lane;
    if (i >= params.stride) {{ return; }}
    let results = params.rows * params.columns;
    var sum = 0.0;
    for (var slice = 0u; slice < params.slices; slice++) {{
        sum += partial[slice * params.stride + i];
    }}
    {store}
}}
"
    )
}
