// Attention: sizes, operands and scores that its three kernels share. The kernels compute scores again rather than store
// them, tile by tile, so their memory is linear in the lengths.
//
// twin: crates/tensor/src/ops/attention/cpu.rs
//
// A workgroup has eight rows of its own, eight lanes each, and goes through tiles of eight rows of the other side, or of
// four if vectors are longer than 64. A vector of up to 128 numbers is up to 32 `vec4f`.

struct Operand {
    // Distances between neighbours: batch, head, row, column.
    strides: vec4u,
    offset: u32,
}

struct Params {
    q: Operand,
    k: Operand,
    v: Operand,
    mask: Operand,
    g: Operand,
    batches: u32,
    heads: u32,
    key_heads: u32,
    rows: u32,
    keys: u32,
    width: u32,
    // The tiles of this launch, of all of them.
    first: u32,
    end: u32,
    tiles: u32,
    is_causal: u32,
    has_mask: u32,
    scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> q: array<f32>;
@group(0) @binding(2) var<storage, read> k: array<f32>;
@group(0) @binding(3) var<storage, read> v: array<f32>;
@group(0) @binding(4) var<storage, read> mask: array<f32>;

// Eight rows of a head of a batch, the first of which is `first`.
struct Block {
    batch: u32,
    head: u32,
    first: u32,
}

// The number of blocks of all heads with so many rows.
fn block_count(rows: u32, heads: u32) -> u32 {
    return params.batches * heads * ((rows + 7u) / 8u);
}

fn block_at(index: u32, rows: u32, heads: u32) -> Block {
    let blocks = (rows + 7u) / 8u;
    return Block(index / blocks / heads, index / blocks % heads, index % blocks * 8u);
}

const NO_SCORE: u32 = 0xff800000u;

fn is_no_score(score: f32) -> bool {
    return bitcast<u32>(score) == NO_SCORE;
}

// The rows of a tile.
fn tile_rows() -> u32 {
    return select(8u, 4u, params.width > 64u);
}

fn vector_count() -> u32 {
    return (params.width + 3u) / 4u;
}

fn place(operand: Operand, batch: u32, head: u32, row: u32) -> u32 {
    let strides = operand.strides;
    return operand.offset + batch * strides.x + head * strides.y + row * strides.z;
}

// The row among those of all heads in [batches, rows, heads].
fn row_place(batch: u32, head: u32, row: u32) -> u32 {
    return (batch * params.rows + row) * params.heads + head;
}

fn q_at(start: u32, column: u32) -> f32 {
    if (column < params.width) { return q[start + column * params.q.strides.w]; }
    return 0.0;
}

fn q_vector(batch: u32, head: u32, row: u32, i: u32) -> vec4f {
    if (row >= params.rows) { return vec4f(0.0); }
    let start = place(params.q, batch, head, row);
    return vec4f(q_at(start, 4u * i), q_at(start, 4u * i + 1u), q_at(start, 4u * i + 2u), q_at(start, 4u * i + 3u));
}

fn k_at(start: u32, column: u32) -> f32 {
    if (column < params.width) { return k[start + column * params.k.strides.w]; }
    return 0.0;
}

fn k_vector(batch: u32, head: u32, row: u32, i: u32) -> vec4f {
    if (row >= params.keys) { return vec4f(0.0); }
    let start = place(params.k, batch, head, row);
    return vec4f(k_at(start, 4u * i), k_at(start, 4u * i + 1u), k_at(start, 4u * i + 2u), k_at(start, 4u * i + 3u));
}

fn v_at(start: u32, column: u32) -> f32 {
    if (column < params.width) { return v[start + column * params.v.strides.w]; }
    return 0.0;
}

fn v_vector(batch: u32, head: u32, row: u32, i: u32) -> vec4f {
    if (row >= params.keys) { return vec4f(0.0); }
    let start = place(params.v, batch, head, row);
    return vec4f(v_at(start, 4u * i), v_at(start, 4u * i + 1u), v_at(start, 4u * i + 2u), v_at(start, 4u * i + 3u));
}

// Adds the products of four numbers in their order.
fn add_products(sum: f32, x: vec4f, y: vec4f) -> f32 {
    return (((sum + x.x * y.x) + x.y * y.y) + x.z * y.z) + x.w * y.w;
}

// The score of a key, from the product of its vector with the query's; -∞ if the key does not count.
fn score(batch: u32, head: u32, row: u32, key: u32, product: f32) -> f32 {
    let is_hidden = params.is_causal != 0u && key > row;
    if (row >= params.rows || key >= params.keys || is_hidden) { return from_bits(NO_SCORE); }
    let scaled = product * params.scale;
    if (params.has_mask == 0u) { return scaled; }
    let masked = mask[place(params.mask, batch, head, row) + key * params.mask.strides.w];
    if (is_no_score(masked) && !is_nan(scaled)) { return masked; }
    return scaled + masked;
}

// e^(score - largest); 0 if the key does not count.
fn weight(score: f32, largest: f32) -> f32 {
    if (is_no_score(score)) { return 0.0; }
    return safe_exp(score - largest);
}
