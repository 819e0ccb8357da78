//! Functions of one argument that are made of additions, products, quotients and comparisons.

use super::functions;
use crate::math;

functions! {
    /// -x.
    NEG = neg(x) {
        wgsl: "return -x;",
        twin: -x,
    }
    /// |x|.
    ABS = abs(x) {
        wgsl: "return abs(x);",
        twin: x.abs(),
    }
    /// -1, 0 or 1; NaN stays.
    SIGN = sign(x) {
        wgsl: "return select(select(select(0.0, 1.0, x > 0.0), -1.0, x < 0.0), x, is_nan(x));",
        twin: if x.is_nan() || x == 0.0 { x } else { 1f32.copysign(x) },
    }
    /// The square root.
    SQRT = sqrt(x) {
        wgsl: "return sqrt(x);",
        twin: x.sqrt(),
    }
    /// 1 / x.
    RECIPROCAL = reciprocal(x) {
        wgsl: "return 1.0 / x;",
        twin: 1.0 / x,
    }
    /// x².
    SQUARE = square(x) {
        wgsl: "return x * x;",
        twin: x * x,
    }
    /// factor x + summand.
    AFFINE = affine(x; factor, summand) {
        wgsl: "return factor * x + summand;",
        twin: factor * x + summand,
    }
    /// x between two bounds; NaN stays.
    CLAMP = clamp(x; low, high) {
        wgsl: "return minimum(maximum(x, low), high);",
        twin: math::minimum(math::maximum(x, low), high),
    }
}
