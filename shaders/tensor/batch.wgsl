// The next batch of a data set that lies on the device: rows of features and of targets in shuffled order, from a
// cursor that the kernel itself moves on.
//
// bindings  1: features [rows, width] read   2: targets [rows, target_width] read   3: order [rows] u32 read
//           4: cursor {position, finished} read_write   5: x [count, width] write   6: y [count, target_width] write
// bytes     12 read, 8 written per element
// twin      crates/tensor/src/ops/batch.rs
//
// Words are copied whatever their type. Positions run on from the first row when they pass the last one. A number that
// is no row gives a sample of NaN (u32: of 0x7fc00000, the same bits).

struct Params {
    rows: u32,
    width: u32,
    target_width: u32,
    count: u32,
}

struct Cursor {
    position: u32,
    finished: atomic<u32>,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> features: array<u32>;
@group(0) @binding(2) var<storage, read> targets: array<u32>;
@group(0) @binding(3) var<storage, read> order: array<u32>;
@group(0) @binding(4) var<storage, read_write> cursor: Cursor;
@group(0) @binding(5) var<storage, read_write> x: array<u32>;
@group(0) @binding(6) var<storage, read_write> y: array<u32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group_index(group, groups) * 64u + lane;
    let position = cursor.position;
    let both = params.width + params.target_width;
    if (i < params.count * both) {
        let sample = i / both;
        let column = i % both;
        let row = order[(position + sample) % params.rows];
        let valid = row < params.rows;
        if (column < params.width) {
            var word = 0x7fc00000u;
            if (valid) { word = features[row * params.width + column]; }
            x[sample * params.width + column] = word;
        } else {
            let target_column = column - params.width;
            var word = 0x7fc00000u;
            if (valid) { word = targets[row * params.target_width + target_column]; }
            y[sample * params.target_width + target_column] = word;
        }
    }
    // The workgroup that ends last, by an integer count, moves the cursor on: all others have read it by then.
    storageBarrier();
    if (lane == 0u && atomicAdd(&cursor.finished, 1u) + 1u == groups.x * groups.y) {
        atomicStore(&cursor.finished, 0u);
        cursor.position = (position + params.count) % params.rows;
    }
}
