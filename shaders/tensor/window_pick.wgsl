// y[plane, i] = x[plane, places[plane, i]]: the elements at the places of maxima; 0 if there is no such place.
//
// bindings  1: x [planes, size] read   2: places [planes, count] u32 read   3: y [planes, count] write
// bytes     8 read, 4 written per element
// twin      crates/tensor/src/windows/maxima.rs

struct Params {
    size: u32,
    count: u32,
    length: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> places: array<u32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_index(group, groups) * 64u + lane;
    if (i >= params.length) { return; }
    let place = places[i];
    var value = 0.0;
    if (place < params.size) { value = x[i / params.count * params.size + place]; }
    y[i] = value;
}
