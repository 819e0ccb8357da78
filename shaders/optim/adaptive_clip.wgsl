// Clips gradients by the norms of the parameters, unit by unit, in place; one workgroup per unit.
//
//   most = clipping max(‖param‖, eps);  grad = grad most / max(‖grad‖, 1e-6) where ‖grad‖ > most
//
// bindings  1: grads [elements] read_write   2: values [elements] read   3: units [unit_count] read
// bytes     12 read, 4 written per parameter
// twin      crates/tensor/src/optim/adaptive_clip.rs
// source    Brock, De, Smith, Simonyan: High-performance large-scale image recognition without normalization (ICML 2021)
//
// A unit is an unaligned range of elements: lane j takes the elements j, j + 64, …

struct Params {
    first_unit: u32,
    unit_count: u32,
    clipping: f32,
    eps: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> grads: array<f32>;
@group(0) @binding(2) var<storage, read> values: array<f32>;
// The first element of each unit, and its number of elements.
@group(0) @binding(3) var<storage, read> units: array<vec2u>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = group_index(group, groups);
    var unit = vec2u(0u);
    if (number < params.unit_count) { unit = units[params.first_unit + number]; }
    var square = 0.0;
    var value_square = 0.0;
    for (var i = lane; i < unit.y; i += 64u) {
        let grad = grads[unit.x + i];
        let value = values[unit.x + i];
        square += grad * grad;
        value_square += value * value;
    }
    let norm = sqrt(tree_sum(lane, square));
    let value_norm = sqrt(tree_sum(lane, value_square));
    let most = params.clipping * max(value_norm, params.eps);
    // A NaN fails the comparison or spreads; the later check of norms finds it.
    if (norm > most) {
        let factor = most / max(norm, 1e-6);
        for (var i = lane; i < unit.y; i += 64u) { grads[unit.x + i] = factor * grads[unit.x + i]; }
    }
}
