// Lookahead's slow weights, in one launch after each step of the inner method: every `period` steps
//
//   slow  = slow + alpha (param - slow)
//   param = slow
//
// and nothing at the other steps. The step is the clock's. After a skipped step slow = param, or the sum has not
// changed. Frozen parameters and their slow weights do not change.
//
// bindings  1: values [4 vectors] read_write   2: slow [4 vectors] read_write   3: clock read   4: table [rows] read
// bytes     8 read, 8 written per parameter, at every `period`-th step
// twin      crates/tensor/src/optim/lookahead.rs
// source    Zhang, Lucas, Hinton, Ba: Lookahead optimizer: k steps forward, 1 step back (NeurIPS 2019); optax.lookahead

// The index of the clock's step among its words.
const STEP = 4u;

// Whether the table has rows that mark frozen tensors: see shared/update.wgsl.
override SEGMENTED: bool = false;

struct Params {
    vectors: u32,
    period: u32,
    alpha: f32,
    // Where the rows of this page begin in the table.
    first_row: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> values: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> slow: array<vec4f>;
@group(0) @binding(3) var<storage, read> clock: array<u32>;
@group(0) @binding(4) var<storage, read> table: array<vec4f>;

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
    if (clock[STEP] % params.period != 0u) { return; }
    let block = group_index(group, groups);
    for (var j = 0u; j < 4u; j++) {
        let i = vector_of(block, lane, j);
        if (i < params.vectors && !is_frozen(i)) {
            let before = slow[i];
            let next = before + params.alpha * (values[i] - before);
            slow[i] = next;
            values[i] = next;
        }
    }
}
