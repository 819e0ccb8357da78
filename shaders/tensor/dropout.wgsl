// Dropout: y = x mask; mask is 0 with the given probability, else 1 / (1 - probability).
//
// bindings  1: x [length] read   2: state {call, finished} read_write   3: y [length] write   4: mask [length] write
// bytes     4 read, 8 written per element
// twin      crates/tensor/src/ops/dropout.rs
// source    Srivastava et al., Dropout (JMLR 2014), in the inverted form
//
// Element 4 c + i uses word i of Philox at counter (c, call, stream) and is kept if the word is at least `threshold`
// = probability 2^32. The kernel itself advances `call`, where COUNTED.

struct Params {
    length: u32,
    seed_low: u32,
    seed_high: u32,
    stream_low: u32,
    stream_high: u32,
    threshold: u32,
    scale: f32,
    // 0, known only to the host.
    zero: u32,
}

// Whether the last workgroup to finish advances the state: see shared/self_clock.wgsl.
override COUNTED: bool = false;

struct State {
    call: atomic<u32>,
    finished: atomic<u32>,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> state: State;
@group(0) @binding(3) var<storage, read_write> y: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> mask: array<vec4f>;

var<workgroup> shared_call: u32;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_index(group, groups) * 64u + lane;
    // One lane reads for all.
    if (lane == 0u) { shared_call = atomicLoad(&state.call); }
    let call = workgroupUniformLoad(&shared_call);
    if (4u * i < params.length) {
        let key = vec2u(params.seed_low, params.seed_high);
        let words = philox(vec4u(i, call, params.stream_low, params.stream_high), key);
        let kept = select(vec4f(0.0), vec4f(params.scale), words >= vec4u(params.threshold));
        let count = params.length - 4u * i;
        mask[i] = keep_first(kept, count);
        y[i] = keep_first(x[i] * kept, count);
    }
    // The increment depends on the values read, so the last workgroup can conclude that all others have read.
    if (COUNTED && lane == 0u) {
        if (atomicAdd(&state.finished, 1u + (call & params.zero)) + 1u == groups.x * groups.y) {
            atomicStore(&state.finished, 0u);
            atomicStore(&state.call, call + 1u);
        }
    }
}
