// Sum and maximum over the 64 lanes of a workgroup, in a fixed order: halves are folded onto each other. Every lane
// gets the result. Must be called by all lanes (uniform control flow).
//
// twin: crates/tensor/src/math.rs, `tree_sum` and `tree_maximum`

var<workgroup> tree: array<f32, 64>;

fn tree_sum(lane: u32, value: f32) -> f32 {
    workgroupBarrier();
    tree[lane] = value;
    workgroupBarrier();
    for (var half = 32u; half > 0u; half = half / 2u) {
        if (lane < half) { tree[lane] += tree[lane + half]; }
        workgroupBarrier();
    }
    return tree[0];
}

fn tree_maximum(lane: u32, value: f32) -> f32 {
    workgroupBarrier();
    tree[lane] = value;
    workgroupBarrier();
    for (var half = 32u; half > 0u; half = half / 2u) {
        if (lane < half) { tree[lane] = maximum(tree[lane], tree[lane + half]); }
        workgroupBarrier();
    }
    return tree[0];
}
