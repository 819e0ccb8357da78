// Elements of f16, two in a word, as f32.
//
// twin: crates/runtime/src/dtype.rs
//
// The conversions use integers: WGSL leaves the rounding of `pack2x16float` open and its overflow undefined, and a
// device may flush subnormal numbers to zero in both directions. Source: IEEE 754-2019, binary16.

// Returns the exact value of an element.
fn f16_value(bits: u32) -> f32 {
    let exponent = (bits >> 10u) & 0x1fu;
    let fraction = bits & 0x3ffu;
    // A subnormal number is a multiple of 2⁻²⁴.
    var magnitude = bitcast<u32>(f32(fraction) * 5.9604644775390625e-8);
    if (exponent == 31u) { magnitude = 0x7f800000u | (fraction << 13u); }
    else if (exponent > 0u) { magnitude = ((exponent + 112u) << 23u) | (fraction << 13u); }
    return bitcast<f32>(((bits & 0x8000u) << 16u) | magnitude);
}

// Returns the bits of the nearest element, ties to even; infinity from 65,520 on; NaN for NaN.
fn f16_bits(value: f32) -> u32 {
    let bits = bitcast<u32>(value);
    let sign = (bits >> 16u) & 0x8000u;
    let magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) { return sign | 0x7e00u | ((magnitude >> 13u) & 0x3ffu); }
    // From 2⁻¹⁴ on: another exponent bias, and 13 bits less. A carry of the rounding may reach infinity.
    if (magnitude >= 0x38800000u) {
        let rounded = (magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13u) & 1u)) >> 13u;
        return sign | min(rounded, 0x7c00u);
    }
    // Below: multiples of 2⁻²⁴. Half of 2⁻²⁴ is a tie and rounds to zero, which is even.
    if (magnitude < 0x33000000u) { return sign; }
    let dropped = 126u - (magnitude >> 23u);
    let significand = (magnitude & 0x7fffffu) | 0x800000u;
    let whole = significand >> dropped;
    let rest = significand & ((1u << dropped) - 1u);
    let half = 1u << (dropped - 1u);
    return sign | (whole + u32(rest > half || (rest == half && (whole & 1u) == 1u)));
}

// Four neighbours.
fn f16_load(words: vec2u) -> vec4f {
    return vec4f(
        f16_value(words.x & 0xffffu),
        f16_value(words.x >> 16u),
        f16_value(words.y & 0xffffu),
        f16_value(words.y >> 16u),
    );
}

fn f16_store(value: vec4f) -> vec2u {
    return vec2u(f16_pair(value.x, value.y), f16_pair(value.z, value.w));
}

// Returns the element at a position, from the word that contains it.
fn f16_at(word: u32, place: u32) -> f32 {
    return f16_value((word >> (16u * (place & 1u))) & 0xffffu);
}

// Returns the word of two neighbours.
fn f16_pair(low: f32, high: f32) -> u32 {
    return f16_bits(low) | (f16_bits(high) << 16u);
}
