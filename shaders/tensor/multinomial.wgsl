// Draws classes with given weights, with replacement: the first class whose running sum is more than u times the total.
//
// bindings  1: sums [rows, classes] read, running sums of the weights   2: drawn [rows, count] u32 write
// bytes     4 log2(classes) read, 4 written per draw
// twin      crates/tensor/src/ops/draws.rs
//
// Draw 4 c + i, counted through all rows, takes u from word i of Philox at counter (c, 0, stream). A lane searches by halves.

struct Params {
    rows: u32,
    classes: u32,
    count: u32,
    seed_low: u32,
    seed_high: u32,
    stream_low: u32,
    stream_high: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> sums: array<f32>;
@group(0) @binding(2) var<storage, read_write> drawn: array<u32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_index(group, groups) * 64u + lane;
    if (i >= params.rows * params.count) { return; }
    let counter = vec4u(i / 4u, 0u, params.stream_low, params.stream_high);
    let u = unit_interval(philox(counter, vec2u(params.seed_low, params.seed_high))[i % 4u]);
    let at = i / params.count * params.classes;
    let total = sums[at + params.classes - 1u];
    var wanted = u * total;
    // The product may round to the total, which no sum exceeds.
    if (wanted >= total && total > 0.0) { wanted = bitcast<f32>(bitcast<u32>(total) - 1u); }
    var low = 0u;
    var high = params.classes - 1u;
    while (low < high) {
        let middle = (low + high) / 2u;
        if (sums[at + middle] > wanted) { high = middle; } else { low = middle + 1u; }
    }
    drawn[i] = low;
}
