// Elements of bf16, two in a word, as f32: a bf16 is the upper half of the bits of an f32.
//
// twin: crates/runtime/src/dtype.rs

// Returns the exact value of an element.
fn bf16_value(bits: u32) -> f32 {
    return bitcast<f32>(bits << 16u);
}

// Returns the bits of the nearest element, ties to even; NaN for NaN.
fn bf16_bits(value: f32) -> u32 {
    let bits = bitcast<u32>(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u) { return (bits >> 16u) | 0x40u; }
    return (bits + 0x7fffu + ((bits >> 16u) & 1u)) >> 16u;
}

// Four neighbours.
fn bf16_load(words: vec2u) -> vec4f {
    return bitcast<vec4f>(vec4u(words.x << 16u, words.x & 0xffff0000u, words.y << 16u, words.y & 0xffff0000u));
}

fn bf16_store(value: vec4f) -> vec2u {
    return vec2u(bf16_pair(value.x, value.y), bf16_pair(value.z, value.w));
}

// Returns the element at a position, from the word that contains it.
fn bf16_at(word: u32, place: u32) -> f32 {
    return bf16_value((word >> (16u * (place & 1u))) & 0xffffu);
}

// Returns the word of two neighbours.
fn bf16_pair(low: f32, high: f32) -> u32 {
    return bf16_bits(low) | (bf16_bits(high) << 16u);
}
