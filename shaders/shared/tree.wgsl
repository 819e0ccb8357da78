// Sum and maximum over the 64 lanes of a workgroup, in a fixed order: halves are folded onto each other. Every lane
// gets the result. Must be called by all lanes (uniform control flow).
//
// twin: crates/runtime/src/math.rs, `tree_sum` and `tree_maximum`
//
// A lane does three folds at once, so only two barriers are needed instead of six.

var<workgroup> tree: array<f32, 64>;

fn tree_sum(lane: u32, value: f32) -> f32 {
    workgroupBarrier();
    tree[lane] = value;
    workgroupBarrier();
    if (lane < 8u) {
        let even = (tree[lane] + tree[lane + 32u]) + (tree[lane + 16u] + tree[lane + 48u]);
        let odd = (tree[lane + 8u] + tree[lane + 40u]) + (tree[lane + 24u] + tree[lane + 56u]);
        tree[lane] = even + odd;
    }
    workgroupBarrier();
    if (lane == 0u) {
        let even = (tree[0] + tree[4]) + (tree[2] + tree[6]);
        let odd = (tree[1] + tree[5]) + (tree[3] + tree[7]);
        tree[0] = even + odd;
    }
    workgroupBarrier();
    return tree[0];
}

fn tree_maximum(lane: u32, value: f32) -> f32 {
    workgroupBarrier();
    tree[lane] = value;
    workgroupBarrier();
    if (lane < 8u) {
        var largest = tree[lane];
        for (var i = 8u; i < 64u; i += 8u) { largest = maximum(largest, tree[lane + i]); }
        tree[lane] = largest;
    }
    workgroupBarrier();
    if (lane == 0u) {
        var largest = tree[0];
        for (var i = 1u; i < 8u; i++) { largest = maximum(largest, tree[i]); }
        tree[0] = largest;
    }
    workgroupBarrier();
    return tree[0];
}
