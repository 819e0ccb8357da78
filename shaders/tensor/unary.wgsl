// y = f(x), element by element, f chosen by OP.
//
// bindings  1: x [length] read   2: y [length] write
// bytes     4 read, 4 written per element
// twin      crates/tensor/src/ops/unary.rs
//
// Both tensors are contiguous; a lane takes four neighbours.

struct Params {
    length: u32,
    a: f32,
    b: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4f>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_index(group, groups) * 64u + lane;
    if (4u * i >= params.length) { return; }
    let v = x[i];
    let result = vec4f(
        apply(v.x, params.a, params.b),
        apply(v.y, params.a, params.b),
        apply(v.z, params.a, params.b),
        apply(v.w, params.a, params.b),
    );
    y[i] = keep_first(result, params.length - 4u * i);
}
