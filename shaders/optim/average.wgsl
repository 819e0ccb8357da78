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
// The launch of the last page advances the counter, where COUNTED.

struct Params {
    vectors: u32,
    kind: u32,
    one_minus_decay: f32,
    is_last: u32,
    // 0, known only to the host.
    zero: u32,
}

// Whether the last workgroup to finish advances the counter: see shared/self_clock.wgsl.
override COUNTED: bool = false;

struct Counter {
    updates: atomic<u32>,
    finished: atomic<u32>,
    // The bits of 1 - decay^t.
    correction: atomic<u32>,
    spare: u32,
}

const EQUAL = 0u;
const EXPONENTIAL = 1u;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> values: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> averages: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> counter: Counter;

// The counter before this update: one lane reads it for all.
struct Before {
    updates: u32,
    correction: f32,
}

var<workgroup> shared_before: Before;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    if (lane == 0u) {
        shared_before = Before(atomicLoad(&counter.updates), bitcast<f32>(atomicLoad(&counter.correction)));
    }
    let before = workgroupUniformLoad(&shared_before);
    let updates = before.updates + 1u;
    let correction = before.correction + params.one_minus_decay * (1.0 - before.correction);
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
    // The increment depends on the values read, so the last workgroup can conclude that all others have read.
    if (COUNTED && params.is_last != 0u && lane == 0u) {
        let one = 1u + ((updates ^ bitcast<u32>(correction)) & params.zero);
        if (atomicAdd(&counter.finished, one) + 1u == groups.x * groups.y) {
            atomicStore(&counter.finished, 0u);
            atomicStore(&counter.updates, updates);
            atomicStore(&counter.correction, bitcast<u32>(correction));
        }
    }
}
