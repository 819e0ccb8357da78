// Gradients times the clip factors of their tensors, in place: for methods that do not read the rows of the table.
//
//   grads[i] = table[first_row + i / 16].z grads[i]     (nothing where the step is to be skipped)
//
// bindings  1: grads [4 vectors] read_write   2: table [rows] read   3: clock read
// bytes     4 read, 4 written per parameter
// twin      crates/tensor/src/optim/tensor_clip.rs

struct Params {
    vectors: u32,
    first_row: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> grads: array<vec4f>;
@group(0) @binding(2) var<storage, read> table: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> clock: Clock;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = 64u * group_index(group, groups) + lane;
    if (i >= params.vectors || clock.clip_factor < 0.0) { return; }
    grads[i] = table[params.first_row + i / 16u].z * grads[i];
}
