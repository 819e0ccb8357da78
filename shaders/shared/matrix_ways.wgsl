// The loop over matrices by blocks, groups of rows and tiles of columns in one launch. A kernel that appends this
// text and shared/matrices.wgsl declares `take_block`, `take_group` and `take_tile`, each with its number and the
// lane. A workgroup calls one of them, in uniform control flow.

// The segment of a lane's column, and the column, which may be past the end.
fn segment_and_column(matrix: Matrix, tile: u32, lane: u32) -> vec2u {
    let tiles = (matrix.columns + 63u) / 64u;
    let number = tile - matrix.first_tile;
    return vec2u(number / tiles, number % tiles * 64u + lane);
}

// The range of rows of a segment, with an exclusive end.
fn rows_of_segment(matrix: Matrix, segment: u32) -> vec2u {
    return vec2u(segment * 256u, min(segment * 256u + 256u, matrix.rows));
}

// The row that a lane shares, which may be past the end.
fn row_of_group(matrix: Matrix, group: u32, lane: u32) -> u32 {
    return (group - matrix.first_group) * (64u / matrix.lanes) + lane / matrix.lanes;
}

// Returns an element of the gradient, clipped and scaled.
fn gradient_at(matrix: Matrix, row: u32, column: u32, factor: f32) -> f32 {
    return factor * limited(grads[matrix.offset + row * matrix.columns + column]);
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = group_index(group, groups);
    let work = params.work;
    if (index < work.blocks) {
        take_block(work.first_block + index, lane);
    } else if (index < work.blocks + work.groups) {
        take_group(work.first_group + index - work.blocks, lane);
    } else if (index < work.blocks + work.groups + work.tiles) {
        take_tile(work.first_tile + index - work.blocks - work.groups, lane);
    }
}
