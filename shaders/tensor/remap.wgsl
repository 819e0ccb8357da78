// Copies a view with a rule for each axis (flips, rolls, repetitions, padding, bands of a matrix), word by word, into a
// tensor or into runs of one.
//
// bindings  1: x read, whole buffer   2: y write, contiguous
// bytes     4 read, 4 written per element
// twin      crates/tensor/src/ops/remap.rs

@group(0) @binding(0) var<uniform> params: Remap;
@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(2) var<storage, read_write> y: array<u32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_index(group, groups) * 64u + lane;
    if (i >= params.length) { return; }
    let place = source(i);
    var value = params.fill;
    if (place != NOWHERE) { value = x[place]; }
    var target_place = i;
    if (params.run != params.pitch) {
        target_place = params.start + i / params.run * params.pitch + i % params.run;
    }
    y[target_place] = value;
}
