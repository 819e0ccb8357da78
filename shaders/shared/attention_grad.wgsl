// The gradient of the result of attention, for both backward kernels.
//
// twin: crates/tensor/src/ops/attention/cpu.rs

@group(0) @binding(5) var<storage, read> g: array<f32>;

fn g_at(start: u32, column: u32) -> f32 {
    if (column < params.width) { return g[start + column * params.g.strides.w]; }
    return 0.0;
}

fn g_vector(batch: u32, head: u32, row: u32, i: u32) -> vec4f {
    if (row >= params.rows) { return vec4f(0.0); }
    let start = place(params.g, batch, head, row);
    return vec4f(g_at(start, 4u * i), g_at(start, 4u * i + 1u), g_at(start, 4u * i + 2u), g_at(start, 4u * i + 3u));
}

// The share of a key in its row, from its score, the row's largest one and the sum.
fn share(score: f32, largest: f32, sum: f32) -> f32 {
    if (is_no_score(score)) { return 0.0; }
    return safe_exp(score - largest) / sum;
}
