// z = f(x, y), element by element, f chosen by OP; both operands contiguous and of the shape of the result.
//
// bindings  1: x [length] read   2: y [length] read   3: z [length] write
// bytes     8 read, 4 written per element
// twin      crates/tensor/src/ops/binary.rs

struct Params {
    length: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read> y: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> z: array<vec4f>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_index(group, groups) * 64u + lane;
    if (4u * i >= params.length) { return; }
    let u = x[i];
    let v = y[i];
    let result = vec4f(combine(u.x, v.x), combine(u.y, v.y), combine(u.z, v.z), combine(u.w, v.w));
    z[i] = keep_first(result, params.length - 4u * i);
}
