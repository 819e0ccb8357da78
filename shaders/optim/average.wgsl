// A running average of all parameters, in one launch.
//
//   average = average + share (param - average)
//
// share: 1 / t, or 1 - decay, or (1 - decay) / (1 - decay^t); at the first update t = 1 the average is the parameter.
//
// bindings  1: values [4 vectors] read   2: averages [4 vectors] read_write   3: counter read_write
// bytes     8 read, 4 written per parameter
// twin      crates/tensor/src/optim/average.rs
//
// The launch of the last page moves the counter on: its workgroup that ends last, told by an integer count.

struct Params {
    vectors: u32,
    kind: u32,
    one_minus_decay: f32,
    is_last: u32,
}

struct Counter {
    updates: u32,
    finished: atomic<u32>,
    // 1 - decay^t.
    correction: f32,
    spare: u32,
}

const EQUAL = 0u;
const EXPONENTIAL = 1u;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> values: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> averages: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> counter: Counter;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let updates = counter.updates + 1u;
    let correction = counter.correction + params.one_minus_decay * (1.0 - counter.correction);
    var share = params.one_minus_decay / correction;
    if (params.kind == EQUAL) { share = 1.0 / f32(updates); }
    if (params.kind == EXPONENTIAL) { share = params.one_minus_decay; }
    let block = group_index(group, groups);
    for (var j = 0u; j < 4u; j++) {
        let i = vector_of(block, lane, j);
        if (i < params.vectors) {
            let value = values[i];
            let average = averages[i];
            averages[i] = select(average + share * (value - average), value, updates == 1u);
        }
    }
    storageBarrier();
    if (params.is_last != 0u && lane == 0u && atomicAdd(&counter.finished, 1u) + 1u == groups.x * groups.y) {
        atomicStore(&counter.finished, 0u);
        counter.updates = updates;
        counter.correction = correction;
    }
}
