// Random numbers from a seed: element 4 c + i is word i of Philox at counter (c, 0, stream).
//
// bindings  1: y [length] write
// bytes     4 written per element
// twin      crates/tensor/src/ops/random.rs
//
// NORMAL false: uniform, a + (b - a) u. NORMAL true: normal with mean a and standard deviation b, from pairs
// of uniform numbers: see shared/normal.wgsl.

override NORMAL: bool = false;

struct Params {
    length: u32,
    seed_low: u32,
    seed_high: u32,
    stream_low: u32,
    stream_high: u32,
    a: f32,
    b: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> y: array<vec4f>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_index(group, groups) * 64u + lane;
    if (4u * i >= params.length) { return; }
    let words = philox(vec4u(i, 0u, params.stream_low, params.stream_high), vec2u(params.seed_low, params.seed_high));
    var result: vec4f;
    if (NORMAL) {
        result = params.a + params.b * vec4f(normal_pair(words.x, words.y), normal_pair(words.z, words.w));
    } else {
        let u = vec4f(unit_interval(words.x), unit_interval(words.y), unit_interval(words.z), unit_interval(words.w));
        result = params.a + (params.b - params.a) * u;
    }
    y[i] = keep_first(result, params.length - 4u * i);
}
