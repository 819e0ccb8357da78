// The weights of classes given by their numbers, and the places of these in rows: 0 for an ignored class and for a number
// that is no class, whose weights are 0 and NaN.
//
// bindings  1: labels [n] read, u32   2: of_classes [classes] read; not read without WEIGHTED, then of any length
//           3: places [n] write, u32   4: weights [n] write
// bytes     4 to 8 read and 8 written per label
// twin      crates/tensor/src/ops/class_weights.rs

struct Params {
    length: u32,
    classes: u32,
    // The distance of two rows.
    stride: u32,
    // The class to ignore, if `ignores` is 1.
    ignored: u32,
    ignores: u32,
}

override WEIGHTED: bool;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> labels: array<u32>;
@group(0) @binding(2) var<storage, read> of_classes: array<f32>;
@group(0) @binding(3) var<storage, read_write> places: array<u32>;
@group(0) @binding(4) var<storage, read_write> weights: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_index(group, groups) * 64u + lane;
    if (i >= params.length) { return; }
    let label = labels[i];
    let is_ignored = params.ignores == 1u && label == params.ignored;
    var column = 0u;
    var weight = 0.0;
    if (!is_ignored) {
        if (label < params.classes) {
            column = label;
            weight = 1.0;
            if (WEIGHTED) { weight = of_classes[label]; }
        } else {
            weight = nan();
        }
    }
    places[i] = i * params.stride + column;
    weights[i] = weight;
}
