// Multiplies gradients by the clip factors of their tensors in place and resets the factors to 1: for methods that
// cannot read the rows of the table.
//
//   grads[i] = table[first_row + i / 16].z grads[i], then table[..].z = 1     (nothing if the step is skipped)
//
// bindings  1: grads [4 vectors] read_write   2: table [rows] read_write   3: clock read
// bytes     4 read, 4 written per parameter
// twin      crates/tensor/src/optim/tensor_clip.rs

struct Params {
    vectors: u32,
    first_row: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> grads: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> table: array<vec4f>;
@group(0) @binding(3) var<storage, read> clock: Clock;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = 64u * group_index(group, groups) + lane;
    let row = params.first_row + i / 16u;
    let is_done = i < params.vectors && clock.clip_factor >= 0.0;
    if (is_done) { grads[i] = table[row].z * grads[i]; }
    // The lanes of a row belong to one workgroup: all reads happen before the write.
    storageBarrier();
    if (is_done && i % 16u == 0u) { table[row].z = 1.0; }
}
