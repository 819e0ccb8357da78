// Replaces the values of all parameters by others, and stores the old ones, in one launch.
//
//   kept  = param
//   param = param + weight (other - param)          (weight 1: other)
//
// Frozen parameters do not change, and no parameter changes while counts[count] is 0.
//
// bindings  1: values [4 vectors] read_write   2: others [4 vectors] read   3: table [rows] read   4: counts read
//           5: kept [4 vectors] read_write
// bytes     8 read, 8 written per parameter
// twin      crates/tensor/src/optim/swap_in.rs

// Whether the table has rows that mark frozen tensors: see shared/update.wgsl.
override SEGMENTED: bool = false;

struct Params {
    vectors: u32,
    first_row: u32,
    weight: f32,
    count: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> values: array<vec4f>;
@group(0) @binding(2) var<storage, read> others: array<vec4f>;
@group(0) @binding(3) var<storage, read> table: array<vec4f>;
@group(0) @binding(4) var<storage, read> counts: array<u32>;
@group(0) @binding(5) var<storage, read_write> kept: array<vec4f>;

fn is_frozen(i: u32) -> bool {
    if (SEGMENTED) { return table[params.first_row + i / 16u].x < 0.0; }
    return false;
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let block = group_index(group, groups);
    let has_others = counts[params.count] != 0u;
    for (var j = 0u; j < 4u; j++) {
        let i = vector_of(block, lane, j);
        if (i < params.vectors) {
            let value = values[i];
            let other = others[i];
            let between = select(value + params.weight * (other - value), other, params.weight == 1.0);
            kept[i] = value;
            values[i] = select(value, between, has_others && !is_frozen(i));
        }
    }
}
