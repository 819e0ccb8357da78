// The tensors of an arena as matrices: the shape of each, and the work of each workgroup.
//
// A kernel that appends this text declares `params`, beginning with `work: Work`, and `matrices`, the binding of the
// table. A workgroup finds its tensor by bisection, so that one launch covers all tensors. Tensors are divided in
// three ways:
//
//   blocks   runs of elements, independent of rows, at most 1,024 per tensor
//   groups   64 / lanes whole rows, each shared by `lanes` lanes, a power of two
//   tiles    64 columns of a segment of 256 rows, one lane per column
//
// twin: crates/tensor/src/optim/matrices.rs

struct Matrix {
    // The position of its first element in the page of the parameters.
    offset: u32,
    rows: u32,
    columns: u32,
    length: u32,
    // 0 if it has fewer than two dimensions.
    is_matrix: u32,
    // The number of lanes that share a row.
    lanes: u32,
    block_elements: u32,
    // The number of segments of its columns.
    segments: u32,
    // The number of preceding workgroups, for each of the three ways.
    first_block: u32,
    first_group: u32,
    first_tile: u32,
    // Where the sums by columns begin: `segments` rows of `columns`.
    first_column: u32,
    // Where it begins in the pages of up to three other arenas; the last number is that of its blocks.
    places: vec4u,
}

// The part of the table that a launch processes, and its workgroups.
struct Work {
    first: u32,
    count: u32,
    first_block: u32,
    blocks: u32,
    first_group: u32,
    groups: u32,
    first_tile: u32,
    tiles: u32,
}

// Where the elements of a block begin and end in its tensor.
fn elements_of(matrix: Matrix, block: u32) -> vec2u {
    let start = (block - matrix.first_block) * matrix.block_elements;
    return vec2u(start, min(start + matrix.block_elements, matrix.length));
}

// Row and column of an element, and their increments for 64 elements, so that only the first one costs a division.
struct Walk {
    row: u32,
    column: u32,
    rows: u32,
    columns: u32,
}

fn walk_from(i: u32, matrix: Matrix) -> Walk {
    let columns = max(matrix.columns, 1u);
    return Walk(i / columns, i % columns, 64u / columns, 64u % columns);
}

fn walk_on(walk: Walk, matrix: Matrix) -> Walk {
    var next = walk;
    next.row += walk.rows;
    next.column += walk.columns;
    if (next.column >= matrix.columns) {
        next.column -= matrix.columns;
        next.row += 1u;
    }
    return next;
}

const BY_BLOCK = 0u;
const BY_GROUP = 1u;
const BY_TILE = 2u;

fn first_of(i: u32, way: u32) -> u32 {
    if (way == BY_BLOCK) { return matrices[i].first_block; }
    if (way == BY_GROUP) { return matrices[i].first_group; }
    return matrices[i].first_tile;
}

// The last tensor that begins at or before a workgroup. Tensors without workgroups begin where the next one does.
fn matrix_at(place: u32, way: u32) -> u32 {
    var low = params.work.first;
    var high = low + params.work.count;
    while (high - low > 1u) {
        let middle = (low + high) / 2u;
        if (first_of(middle, way) <= place) { low = middle; } else { high = middle; }
    }
    return low;
}
