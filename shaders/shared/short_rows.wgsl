// Sums over short rows of at most 32 elements, one lane per row.
//
// The order is that of shared/tree.wgsl for a workgroup whose lane j holds element j, so the bits are the same. With
// zeros from lane 32 on, the tree's first fold is t[j] = (e[j] + e[j + 16]) + (e[j + 8] + e[j + 24]).
//
// twin: crates/runtime/src/math.rs, `tree_sum`

// Whether a lane, rather than a workgroup, takes a row.
override SHORT: bool = false;

// Sums of the elements j and j + 16, and of j + 8 and j + 24, for j from 0 to 7.
struct ShortSum {
    even_low: vec4f,
    even_high: vec4f,
    odd_low: vec4f,
    odd_high: vec4f,
}

// Returns the sum with element `i` of the row added.
fn with_element(sum: ShortSum, i: u32, element: f32) -> ShortSum {
    let place = vec4u(i & 15u);
    let first = vec4u(0u, 1u, 2u, 3u);
    let zero = vec4f(0.0);
    let all = vec4f(element);
    return ShortSum(
        sum.even_low + select(zero, all, place == first),
        sum.even_high + select(zero, all, place == first + 4u),
        sum.odd_low + select(zero, all, place == first + 8u),
        sum.odd_high + select(zero, all, place == first + 12u),
    );
}

fn folded(sum: ShortSum) -> f32 {
    let four = (sum.even_low + sum.odd_low) + (sum.even_high + sum.odd_high);
    return (four.x + four.z) + (four.y + four.w);
}
