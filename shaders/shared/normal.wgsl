// Normal random numbers by Box and Muller. Logarithm, sine and cosine are our own and use only additions and
// products.
//
// twin: crates/tensor/src/ops/random.rs, `normal_pair`

// Returns two independent standard normal numbers from two words.
fn normal_pair(first: u32, second: u32) -> vec2f {
    // 1 - u is in (0, 1], so its logarithm is finite.
    let radius = sqrt(-2.0 * safe_log(1.0 - unit_interval(first)));
    let angle = sine_cosine(6.28318531 * unit_interval(second));
    return radius * vec2f(angle.y, angle.x);
}
