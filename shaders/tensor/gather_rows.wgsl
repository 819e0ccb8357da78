// gathered[i, j] = source[indices[i], j]: rows of a table by their numbers.
//
// bindings  1: source [rows, columns] read   2: indices [count] u32 read   3: gathered [count, columns] write
//           4: faults u32 read_write
// bytes     4 read, 4 written per element, 4 read per row
// twin      crates/tensor/src/ops/gather_rows.rs

struct Params {
    rows: u32,
    columns: u32,
    count: u32,
    lanes: u32,
    operation: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> source: array<vec4u>;
@group(0) @binding(2) var<storage, read> indices: array<u32>;
@group(0) @binding(3) var<storage, read_write> gathered: array<vec4u>;
@group(0) @binding(4) var<storage, read_write> faults: array<atomic<u32>, 4>;

fn row_of(sample: u32) -> u32 {
    let row = indices[sample];
    if (row >= params.rows) { note_fault(row, params.rows, params.operation); }
    return row;
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    gather(group_index(group, groups) * 64u + lane);
}
