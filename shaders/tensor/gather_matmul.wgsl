// c = a b + bias, or c += a b + bias, for each product of a batch whose operands are addressed by tables: element (i, k) of a
// is at rows[i] + columns[k], and so for b. Convolutions are such products; nothing of them is copied.
//
// bindings  1: a read   2: b read   3: tables read, those of a's rows and columns, of b's rows and columns
//           4: bias [m] for each product read   5: c [batch, m, n] read_write, contiguous
// work      2 m n k operations per product
// twin      crates/tensor/src/matmul/batch.rs

struct Params {
    product: Product,
    batch: Batch,
    has_bias: u32,
    accumulate: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read> tables: array<u32>;
@group(0) @binding(4) var<storage, read> bias: array<f32>;
@group(0) @binding(5) var<storage, read_write> c: array<f32>;

// A lane computes four neighbours of a row, added in order of k.
@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let p = params.product;
    let wide = (p.n + 3u) / 4u;
    let place = group_index(group, groups) * 64u + lane;
    let index = place / (wide * p.m);
    if (index >= params.batch.count) { return; }
    let row = place / wide % p.m;
    let column = place % wide * 4u;
    let offsets = offsets_of(index, params.batch);
    let a_place = p.a_offset + offsets.x + tables[p.a_row + row];
    let b_place = p.b_offset + offsets.y;
    let last = p.n - 1u;
    let b0 = b_place + tables[p.b_column + column];
    let b1 = b_place + tables[p.b_column + min(column + 1u, last)];
    let b2 = b_place + tables[p.b_column + min(column + 2u, last)];
    let b3 = b_place + tables[p.b_column + min(column + 3u, last)];
    var sums = vec4f(0.0);
    for (var k = 0u; k < p.k; k++) {
        let step = tables[p.b_row + k];
        sums += a[a_place + tables[p.a_column + k]] * vec4f(b[b0 + step], b[b1 + step], b[b2 + step], b[b3 + step]);
    }
    if (params.has_bias != 0u) { sums += bias[offsets.z + row]; }
    let base = (index * p.m + row) * p.n + column;
    for (var e = 0u; e < min(4u, p.n - column); e++) {
        if (params.accumulate != 0u) {
            c[base + e] += sums[e];
        } else {
            c[base + e] = sums[e];
        }
    }
}
