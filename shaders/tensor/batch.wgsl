// The next batch of a data set on the device: rows of features and of targets in shuffled order, from a cursor that
// the kernel itself advances, where COUNTED.
//
// bindings  1: source, the features [rows, columns] read   2: targets [rows, target_columns] read
//           3: order [rows] u32 read   4: cursor {position, finished} u32 read_write
//           5: gathered, of the features [count, columns] write   6: y, of the targets [count, target_columns] write
// bytes     4 read, 4 written per element, 4 read per row
// twin      crates/tensor/src/ops/batch.rs
//
// Positions wrap around to the first row after the last one. The first `groups` workgroups take the features. The
// others take the targets, which are few, one word per lane.

struct Params {
    rows: u32,
    columns: u32,
    target_columns: u32,
    count: u32,
    lanes: u32,
    groups: u32,
    // 0, known only to the host.
    zero: u32,
}

// Whether the last workgroup to finish advances the cursor: see shared/self_clock.wgsl.
override COUNTED: bool = false;

struct Cursor {
    position: atomic<u32>,
    finished: atomic<u32>,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> source: array<vec4u>;
@group(0) @binding(2) var<storage, read> targets: array<u32>;
@group(0) @binding(3) var<storage, read> order: array<u32>;
@group(0) @binding(4) var<storage, read_write> cursor: Cursor;
@group(0) @binding(5) var<storage, read_write> gathered: array<vec4u>;
@group(0) @binding(6) var<storage, read_write> y: array<u32>;

// Where the batch begins; one lane reads it for all.
var<workgroup> shared_position: u32;
var<private> position: u32;

fn row_of(sample: u32) -> u32 {
    return order[(position + sample) % params.rows];
}

fn take_target(i: u32) {
    if (i >= params.count * params.target_columns) { return; }
    let row = row_of(i / params.target_columns);
    var word = NO_ROW;
    if (row < params.rows) { word = targets[row * params.target_columns + i % params.target_columns]; }
    y[i] = word;
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = group_index(group, groups);
    if (lane == 0u) { shared_position = atomicLoad(&cursor.position); }
    position = workgroupUniformLoad(&shared_position);
    if (index >= params.groups) {
        take_target((index - params.groups) * 64u + lane);
    } else {
        gather(index * 64u + lane);
    }
    // The increment depends on the values read, so the last workgroup can conclude that all others have read.
    if (COUNTED && lane == 0u) {
        if (atomicAdd(&cursor.finished, 1u + (position & params.zero)) + 1u == groups.x * groups.y) {
            atomicStore(&cursor.finished, 0u);
            atomicStore(&cursor.position, (position + params.count) % params.rows);
        }
    }
}
