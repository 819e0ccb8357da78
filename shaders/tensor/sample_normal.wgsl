// Normal random numbers around given means: y = mean + deviation z.
//
// bindings  1: means [length] read   2: clock u32 read   3: y [length] write
// bytes     4 read, 4 written per element
// twin      crates/tensor/src/optim/sample.rs
//
// The z of element 4 c + i come from the words of Philox at counter (c, time, stream). The time is the number of the
// clock's steps, done and skipped, so that a captured step draws anew.

struct Params {
    length: u32,
    seed_low: u32,
    seed_high: u32,
    stream_low: u32,
    stream_high: u32,
    deviation: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> means: array<vec4f>;
@group(0) @binding(2) var<storage, read> clock: array<u32>;
@group(0) @binding(3) var<storage, read_write> y: array<vec4f>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_index(group, groups) * 64u + lane;
    if (4u * i >= params.length) { return; }
    let counter = vec4u(i, clock[4] + clock[5], params.stream_low, params.stream_high);
    let words = philox(counter, vec2u(params.seed_low, params.seed_high));
    let z = vec4f(normal_pair(words.x, words.y), normal_pair(words.z, words.w));
    y[i] = keep_first(means[i] + params.deviation * z, params.length - 4u * i);
}
