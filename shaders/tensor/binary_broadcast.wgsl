// z = f(x, y), element by element, f chosen by OP; the operands are read through strides, 0 where they broadcast.
//
// bindings  1: x read   2: y read   3: z [length] write, contiguous
// bytes     8 read, 4 written per element
// twin      crates/tensor/src/ops/binary.rs
//
// Shape and strides are in elements, up to eight dimensions, the last one fastest.

struct Params {
    shape: array<vec4u, 2>,
    x_strides: array<vec4u, 2>,
    y_strides: array<vec4u, 2>,
    length: u32,
    rank: u32,
    x_offset: u32,
    y_offset: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> y: array<f32>;
@group(0) @binding(3) var<storage, read_write> z: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_index(group, groups) * 64u + lane;
    if (i >= params.length) { return; }
    var x_index = params.x_offset;
    var y_index = params.y_offset;
    var rest = i;
    for (var d = params.rank; d > 0u; d--) {
        let extent = params.shape[(d - 1u) / 4u][(d - 1u) % 4u];
        let coordinate = rest % extent;
        rest = rest / extent;
        x_index += coordinate * params.x_strides[(d - 1u) / 4u][(d - 1u) % 4u];
        y_index += coordinate * params.y_strides[(d - 1u) / 4u][(d - 1u) % 4u];
    }
    z[i] = combine(x[x_index], y[y_index]);
}
