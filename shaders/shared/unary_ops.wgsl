// The element-wise functions of one argument, by the number that `crates/tensor/src/ops/unary.rs` gives them.
// `a` and `b` are the operation's own numbers (a slope, bounds, factor and summand).

override OP: u32 = 0u;

fn apply(x: f32, a: f32, b: f32) -> f32 {
    switch (OP) {
        case 0u: { return -x; }
        case 1u: { return abs(x); }
        case 2u: { return select(select(select(0.0, 1.0, x > 0.0), -1.0, x < 0.0), x, is_nan(x)); }
        case 3u: { return safe_exp(x); }
        case 4u: { return safe_log(x); }
        case 5u: { return sqrt(x); }
        case 6u: { return 1.0 / x; }
        case 7u: { return x * x; }
        case 8u: { return select(x, 0.0, x < 0.0); }
        case 9u: { return safe_tanh(x); }
        case 10u: { return sigmoid(x); }
        case 11u: { return gelu(x); }
        case 12u: { return x * sigmoid(x); }
        case 13u: { return softplus(x); }
        case 14u: { return sine_cosine(x).x; }
        case 15u: { return sine_cosine(x).y; }
        case 16u: { return expm1(x); }
        case 17u: { return log1p(x); }
        case 18u: { return erf(x); }
        case 19u: { return a * x + b; }
        case 20u: { return power(x, a); }
        case 21u: { return minimum(maximum(x, a), b); }
        case 22u: { return select(x, a * x, x < 0.0); }
        default: { return x; }
    }
}
