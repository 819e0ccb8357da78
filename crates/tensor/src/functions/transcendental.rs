//! Exponentials, logarithms, powers, sines and the error function.

use super::functions;
use crate::math;

functions! {
    /// e^x.
    EXP = exp(x) {
        wgsl: "return safe_exp(x);",
        twin: x.exp(),
    }
    /// The natural logarithm.
    LOG = log(x) {
        wgsl: "return safe_log(x);",
        twin: x.ln(),
    }
    /// e^x - 1.
    EXPM1 = expm1(x) {
        wgsl: "return expm1(x);",
        twin: x.exp_m1(),
    }
    /// ln(1 + x).
    LOG1P = log1p(x) {
        wgsl: "return log1p(x);",
        twin: x.ln_1p(),
    }
    /// x to a constant power.
    POWF = powf(x; exponent) {
        wgsl: "return power(x, exponent);",
        twin: x.powf(exponent),
    }
    /// The sine.
    SIN = sin(x) {
        wgsl: "return sine_cosine(x).x;",
        twin: x.sin(),
    }
    /// The cosine.
    COS = cos(x) {
        wgsl: "return sine_cosine(x).y;",
        twin: x.cos(),
    }
    /// The error function.
    ERF = erf(x) {
        wgsl: "return erf(x);",
        twin: math::erf(x),
    }
}
