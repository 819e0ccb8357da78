// Sums and maxima of rows that are shared by a power of two of lanes, in a fixed order: halves are folded onto each
// other. Every lane gets the result of its row. Must be called by all lanes (uniform control flow).
//
// twin: crates/tensor/src/optim/matrices.rs, `fold_row`

var<workgroup> folded: array<f32, 64>;

fn row_sum(lane: u32, lanes: u32, value: f32) -> f32 {
    workgroupBarrier();
    folded[lane] = value;
    workgroupBarrier();
    for (var half = lanes / 2u; half > 0u; half /= 2u) {
        if (lane % lanes < half) { folded[lane] += folded[lane + half]; }
        workgroupBarrier();
    }
    return folded[lane - lane % lanes];
}

fn row_maximum(lane: u32, lanes: u32, value: f32) -> f32 {
    workgroupBarrier();
    folded[lane] = value;
    workgroupBarrier();
    for (var half = lanes / 2u; half > 0u; half /= 2u) {
        if (lane % lanes < half) { folded[lane] = maximum(folded[lane], folded[lane + half]); }
        workgroupBarrier();
    }
    return folded[lane - lane % lanes];
}
