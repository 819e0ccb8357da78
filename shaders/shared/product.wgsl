// The inner part of the matrix products: a register block of 8 rows and 4 columns per lane.
//
// A kernel that appends this text declares `a` and `b` as storage arrays of f32 and `params.product`. Both operands
// are read through strides, so transposes and views need no copy. A workgroup of 64 lanes, 8 by 8, covers a tile of
// 64 rows and 32 columns. Indices past the edge are clamped, and the stores test them.

struct Place {
    row: u32,
    column: u32,
}

fn place_of(index: u32, lane: u32) -> Place {
    let tiles = (params.product.n + 31u) / 32u;
    return Place((index / tiles) * 64u + (lane / 8u) * 8u, (index % tiles) * 32u + (lane % 8u) * 4u);
}

// Row r of the result holds the sums over k of a[row + r, k] b[k, column + 0 … 3], added in order of k.
fn product_block(row: u32, column: u32) -> array<vec4f, 8> {
    return product_block_at(row, column, 0u, 0u);
}

// The block of a product whose operands start this much later.
fn product_block_at(row: u32, column: u32, a_start: u32, b_start: u32) -> array<vec4f, 8> {
    var p = params.product;
    p.a_offset += a_start;
    p.b_offset += b_start;
    let last_row = p.m - 1u;
    let last_column = p.n - 1u;
    var a0 = p.a_offset + min(row, last_row) * p.a_row;
    var a1 = p.a_offset + min(row + 1u, last_row) * p.a_row;
    var a2 = p.a_offset + min(row + 2u, last_row) * p.a_row;
    var a3 = p.a_offset + min(row + 3u, last_row) * p.a_row;
    var a4 = p.a_offset + min(row + 4u, last_row) * p.a_row;
    var a5 = p.a_offset + min(row + 5u, last_row) * p.a_row;
    var a6 = p.a_offset + min(row + 6u, last_row) * p.a_row;
    var a7 = p.a_offset + min(row + 7u, last_row) * p.a_row;
    var b0 = p.b_offset + min(column, last_column) * p.b_column;
    var b1 = p.b_offset + min(column + 1u, last_column) * p.b_column;
    var b2 = p.b_offset + min(column + 2u, last_column) * p.b_column;
    var b3 = p.b_offset + min(column + 3u, last_column) * p.b_column;
    var c0 = vec4f(0.0);
    var c1 = vec4f(0.0);
    var c2 = vec4f(0.0);
    var c3 = vec4f(0.0);
    var c4 = vec4f(0.0);
    var c5 = vec4f(0.0);
    var c6 = vec4f(0.0);
    var c7 = vec4f(0.0);
    for (var k = 0u; k < p.k; k++) {
        let v = vec4f(b[b0], b[b1], b[b2], b[b3]);
        c0 += a[a0] * v;
        c1 += a[a1] * v;
        c2 += a[a2] * v;
        c3 += a[a3] * v;
        c4 += a[a4] * v;
        c5 += a[a5] * v;
        c6 += a[a6] * v;
        c7 += a[a7] * v;
        a0 += p.a_column;
        a1 += p.a_column;
        a2 += p.a_column;
        a3 += p.a_column;
        a4 += p.a_column;
        a5 += p.a_column;
        a6 += p.a_column;
        a7 += p.a_column;
        b0 += p.b_row;
        b1 += p.b_row;
        b2 += p.b_row;
        b3 += p.b_row;
    }
    return array<vec4f, 8>(c0, c1, c2, c3, c4, c5, c6, c7);
}
