// Philox4x32-10: a counter-based generator of random numbers. It returns four words for every counter and key, and
// has no state.
//
// source  Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy as 1, 2, 3 (SC 2011)
// twin    crates/runtime/src/philox.rs

// The high and the low word of a product, computed from halves, since WGSL has no 64-bit integers.
fn multiply_wide(x: u32, y: u32) -> vec2u {
    let x0 = x & 0xffffu;
    let x1 = x >> 16u;
    let y0 = y & 0xffffu;
    let y1 = y >> 16u;
    let low = x0 * y0;
    let middle = x1 * y0 + (low >> 16u);
    let carry = x0 * y1 + (middle & 0xffffu);
    return vec2u(x1 * y1 + (middle >> 16u) + (carry >> 16u), x * y);
}

fn philox(counter: vec4u, key: vec2u) -> vec4u {
    var c = counter;
    var k = key;
    for (var round = 0u; round < 10u; round++) {
        let p0 = multiply_wide(0xD2511F53u, c.x);
        let p1 = multiply_wide(0xCD9E8D57u, c.z);
        c = vec4u(p1.x ^ c.y ^ k.x, p1.y, p0.x ^ c.w ^ k.y, p0.y);
        k = k + vec2u(0x9E3779B9u, 0xBB67AE85u);
    }
    return c;
}

// Returns a word as a number in [0, 1): its upper 24 bits.
fn unit_interval(word: u32) -> f32 {
    return f32(word >> 8u) * 5.9604644775390625e-8;
}
