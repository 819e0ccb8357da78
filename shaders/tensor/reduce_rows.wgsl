// Sum, maximum, minimum or product of each row, times a scale.
//
// bindings  1: x [rows, row_length] read   2: y [rows, segments] write
// bytes     4 read per element
// twin      crates/tensor/src/ops/reduce.rs
//
// A workgroup takes one segment of one row: `segment_length` elements, or the rest in the last one. Lane j adds the
// elements j, j + 64, …, and a tree adds the lanes. Long rows are cut into segments and reduced again. If rows are
// short, a lane takes a row: see shared/short_rows.wgsl.
// Products are taken in the order of sums.

override OP: u32 = 0u;

struct Params {
    rows: u32,
    row_length: u32,
    segments: u32,
    segment_length: u32,
    scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

// The minimum is the negated maximum of the negated elements.
fn sign_of_maximum() -> f32 {
    return select(1.0, -1.0, OP == 2u);
}

// The product with element `i` of the row, in the places of `with_element`.
fn with_factor(product: ShortSum, i: u32, element: f32) -> ShortSum {
    let place = vec4u(i & 15u);
    let first = vec4u(0u, 1u, 2u, 3u);
    let one = vec4f(1.0);
    let all = vec4f(element);
    return ShortSum(
        product.even_low * select(one, all, place == first),
        product.even_high * select(one, all, place == first + 4u),
        product.odd_low * select(one, all, place == first + 8u),
        product.odd_high * select(one, all, place == first + 12u),
    );
}

fn folded_product(product: ShortSum) -> f32 {
    let four = (product.even_low * product.odd_low) * (product.even_high * product.odd_high);
    return (four.x * four.z) * (four.y * four.w);
}

// The product over the lanes of a workgroup, in the order of `tree_sum`.
fn tree_product(lane: u32, value: f32) -> f32 {
    workgroupBarrier();
    tree[lane] = value;
    for (var half = 32u; half > 0u; half = half / 2u) {
        workgroupBarrier();
        if (lane < half) { tree[lane] = tree[lane] * tree[lane + half]; }
    }
    workgroupBarrier();
    return tree[0];
}

fn short_row(row: u32) {
    if (row >= params.rows) { return; }
    let base = row * params.row_length;
    var result = 0.0;
    if (OP == 0u) {
        var sums = ShortSum();
        for (var i = 0u; i < params.row_length; i++) { sums = with_element(sums, i, x[base + i]); }
        result = folded(sums);
    } else if (OP == 3u) {
        let one = vec4f(1.0);
        var product = ShortSum(one, one, one, one);
        for (var i = 0u; i < params.row_length; i++) { product = with_factor(product, i, x[base + i]); }
        result = folded_product(product);
    } else {
        let sign = sign_of_maximum();
        result = -infinity();
        for (var i = 0u; i < params.row_length; i++) { result = maximum(result, sign * x[base + i]); }
        result *= sign;
    }
    y[row] = result * params.scale;
}

fn long_row(index: u32, lane: u32) {
    if (index >= params.rows * params.segments) { return; }
    let row = index / params.segments;
    let start = (index % params.segments) * params.segment_length;
    let end = min(start + params.segment_length, params.row_length);
    let base = row * params.row_length;
    var result = 0.0;
    if (OP == 0u) {
        for (var i = start + lane; i < end; i += 64u) { result += x[base + i]; }
        result = tree_sum(lane, result);
    } else if (OP == 3u) {
        result = 1.0;
        for (var i = start + lane; i < end; i += 64u) { result *= x[base + i]; }
        result = tree_product(lane, result);
    } else {
        let sign = sign_of_maximum();
        result = -infinity();
        for (var i = start + lane; i < end; i += 64u) { result = maximum(result, sign * x[base + i]); }
        result = sign * tree_maximum(lane, result);
    }
    if (lane == 0u) { y[index] = result * params.scale; }
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = group_index(group, groups);
    if (SHORT) {
        short_row(index * 64u + lane);
    } else {
        long_row(index, lane);
    }
}
