// Partial sums of squares of the last update and of the parameters before it, the first stage of their 2-norms.
//
//   partials[offset + group] = sum (value - previous)^2, sum previous^2
//
// bindings  1: values [4 vectors] read   2: previous [4 vectors] read   3: partials write at `offset` … `offset` + workgroups
// bytes     8 read per parameter
// twin      crates/tensor/src/optim/statistics.rs
//
// A fixed number of workgroups strides over the arena in blocks of 256 parameters, so the order of the sums depends
// only on the size.

struct Params {
    vectors: u32,
    workgroups: u32,
    offset: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> values: array<vec4f>;
@group(0) @binding(2) var<storage, read> previous: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> partials: array<vec2f>;

fn sum_of_components(x: vec4f) -> f32 {
    return (x.x + x.y) + (x.z + x.w);
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
    var updates = vec4f(0.0);
    var weights = vec4f(0.0);
    for (var i = group.x * 64u + lane; i < params.vectors; i += params.workgroups * 64u) {
        let weight = previous[i];
        let update = values[i] - weight;
        updates += update * update;
        weights += weight * weight;
    }
    let update_sum = tree_sum(lane, sum_of_components(updates));
    let weight_sum = tree_sum(lane, sum_of_components(weights));
    if (lane == 0u) { partials[params.offset + group.x] = vec2f(update_sum, weight_sum); }
}
