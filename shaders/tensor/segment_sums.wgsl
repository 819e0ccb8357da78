// table[key, j] += the sum of the rows of x with this key, for sorted keys: one stage of it.
//
// bindings  1: keys [count] u32 read   2: order [count] u32 read   3: x [.., columns] read
//           4: table [rows, columns] read_write   5: end_keys [2 chunks] u32 write   6: ends [2 chunks, columns] write
//           7: faults u32 read_write
// bytes     4 read per element, 8 per run of equal keys
// twin      crates/tensor/src/ops/scatter_add.rs
//
// A lane takes one column of a chunk of 32 keys. A run of equal keys that lies within a chunk is added to the table. The
// first and the last run of a chunk may go on in its neighbours: their keys and sums are the input of the next stage, in
// which they are neighbours again. A chunk that is one run has its sum first and then -0, which adds nothing. The only
// chunk of the last stage adds all of its runs. Keys that are no row of the table are skipped.

// Whether row i of x has the number order[i], as in the first stage.
override ORDERED: bool = false;

const CHUNK: u32 = 32u;

struct Params {
    count: u32,
    rows: u32,
    columns: u32,
    operation: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> keys: array<u32>;
@group(0) @binding(2) var<storage, read> order: array<u32>;
@group(0) @binding(3) var<storage, read> x: array<f32>;
@group(0) @binding(4) var<storage, read_write> table: array<f32>;
@group(0) @binding(5) var<storage, read_write> end_keys: array<u32>;
@group(0) @binding(6) var<storage, read_write> ends: array<f32>;
@group(0) @binding(7) var<storage, read_write> faults: array<atomic<u32>, 4>;

fn value(i: u32, column: u32) -> f32 {
    var row = i;
    if (ORDERED) {
        row = order[i];
        if (keys[i] >= params.rows) { note_fault(keys[i], params.rows, params.operation); }
    }
    return x[row * params.columns + column];
}

fn add(key: u32, column: u32, sum: f32) {
    if (key < params.rows) { table[key * params.columns + column] += sum; }
}

fn leave(end: u32, key: u32, column: u32, sum: f32) {
    if (column == 0u) { end_keys[end] = key; }
    ends[end * params.columns + column] = sum;
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = group_index(group, groups) * 64u + lane;
    let chunks = (params.count + CHUNK - 1u) / CHUNK;
    if (index >= chunks * params.columns) { return; }
    let chunk = index / params.columns;
    let column = index % params.columns;
    let end = min((chunk + 1u) * CHUNK, params.count);
    var key = keys[chunk * CHUNK];
    var sum = value(chunk * CHUNK, column);
    var is_first = chunks > 1u;
    for (var i = chunk * CHUNK + 1u; i < end; i++) {
        let next = keys[i];
        if (next == key) {
            sum += value(i, column);
            continue;
        }
        if (is_first) { leave(2u * chunk, key, column, sum); } else { add(key, column, sum); }
        is_first = false;
        key = next;
        sum = value(i, column);
    }
    if (chunks == 1u) {
        add(key, column, sum);
    } else if (is_first) {
        leave(2u * chunk, key, column, sum);
        leave(2u * chunk + 1u, key, column, bitcast<f32>(0x80000000u));
    } else {
        leave(2u * chunk + 1u, key, column, sum);
    }
}
