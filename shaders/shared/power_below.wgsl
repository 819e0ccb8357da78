// Returns the power of two at or below a number, in the middle of the range of exponents; 1 for zero, NaN and infinity.
//
// twin: crates/tensor/src/linalg/mod.rs
fn power_below(x: f32) -> f32 {
    let exponent = bitcast<u32>(x) & INFINITY_BITS;
    if (exponent == 0u || exponent == INFINITY_BITS) { return 1.0; }
    return bitcast<f32>(clamp(exponent, 2u << 23u, 252u << 23u));
}

// Returns the reciprocal of such a power, exactly.
fn reciprocal_power(power: f32) -> f32 {
    return bitcast<f32>((254u << 23u) - bitcast<u32>(power));
}
