// The element-wise functions of two arguments, by the number that `crates/tensor/src/ops/binary.rs` gives them.
// Comparisons give 1 or 0. The last ones are derivatives of unary functions times a cotangent `y`.

override OP: u32 = 0u;

fn combine(x: f32, y: f32) -> f32 {
    switch (OP) {
        case 0u: { return x + y; }
        case 1u: { return x - y; }
        case 2u: { return x * y; }
        case 3u: { return x / y; }
        case 4u: { return maximum(x, y); }
        case 5u: { return minimum(x, y); }
        case 6u: { return power(x, y); }
        case 7u: { return select(0.0, 1.0, x == y); }
        case 8u: { return select(0.0, 1.0, x < y); }
        case 9u: { return select(0.0, 1.0, x <= y); }
        case 10u: { return select(0.0, 1.0, x > y); }
        case 11u: { return select(0.0, 1.0, x >= y); }
        // The cotangent where the input (or the output) of a ReLU is positive.
        case 12u: { return select(y, 0.0, x <= 0.0); }
        // (1 - tanh^2) times the cotangent; x is the output.
        case 13u: { return y * (1.0 - x * x); }
        // sigmoid (1 - sigmoid) times the cotangent; x is the output.
        case 14u: { return y * (x * (1.0 - x)); }
        // d/dx of x Phi(x) times the cotangent; x is the input.
        case 15u: { return y * (normal_cdf(x) + x * normal_density(x)); }
        // d/dx of x sigmoid(x) times the cotangent; x is the input.
        case 16u: {
            let s = sigmoid(x);
            return y * (s * (1.0 + x * (1.0 - s)));
        }
        default: { return x; }
    }
}
