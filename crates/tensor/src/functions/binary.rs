//! Functions of two arguments. Comparisons give 1 or 0.

use super::functions;
use crate::math;

/// 1 if a condition holds, else 0.
fn truth(condition: bool) -> f32 {
    f32::from(u8::from(condition))
}

functions! {
    /// x + y.
    ADD = add(x, y) {
        wgsl: "return x + y;",
        twin: x + y,
    }
    /// x - y.
    SUB = sub(x, y) {
        wgsl: "return x - y;",
        twin: x - y,
    }
    /// x y.
    MUL = mul(x, y) {
        wgsl: "return x * y;",
        twin: x * y,
    }
    /// x / y.
    DIV = div(x, y) {
        wgsl: "return x / y;",
        twin: x / y,
    }
    /// The larger one.
    MAXIMUM = maximum(x, y) {
        wgsl: "return maximum(x, y);",
        twin: math::maximum(x, y),
    }
    /// The smaller one.
    MINIMUM = minimum(x, y) {
        wgsl: "return minimum(x, y);",
        twin: math::minimum(x, y),
    }
    /// x to the power y.
    POW = pow(x, y) {
        wgsl: "return power(x, y);",
        twin: x.powf(y),
    }
    /// 1 if x = y, else 0.
    EQ = eq(x, y) {
        wgsl: "return select(0.0, 1.0, x == y);",
        twin: truth(x == y),
    }
    /// 1 if x < y, else 0.
    LT = lt(x, y) {
        wgsl: "return select(0.0, 1.0, x < y);",
        twin: truth(x < y),
    }
    /// 1 if x <= y, else 0.
    LE = le(x, y) {
        wgsl: "return select(0.0, 1.0, x <= y);",
        twin: truth(x <= y),
    }
    /// 1 if x > y, else 0.
    GT = gt(x, y) {
        wgsl: "return select(0.0, 1.0, x > y);",
        twin: truth(x > y),
    }
    /// 1 if x >= y, else 0.
    GE = ge(x, y) {
        wgsl: "return select(0.0, 1.0, x >= y);",
        twin: truth(x >= y),
    }
}
