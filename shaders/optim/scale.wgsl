// Multiplies all elements of a page by a factor.
//
// bindings  1: values [4 vectors] read_write
// bytes     4 read, 4 written per element
// twin      crates/tensor/src/optim/pages.rs

struct Params {
    vectors: u32,
    factor: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> values: array<vec4f>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let block = group_index(group, groups);
    for (var j = 0u; j < 4u; j++) {
        let i = vector_of(block, lane, j);
        if (i < params.vectors) { values[i] *= params.factor; }
    }
}
