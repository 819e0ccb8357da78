//! Exponentials, logarithms, powers and the error function.

use std::f32::consts::{FRAC_2_SQRT_PI, LN_2, LOG2_E, LOG10_E};

use super::*;
use crate::functions;
use crate::math;

/// Calls a macro with the entries of this file.
#[doc(hidden)]
#[macro_export]
macro_rules! transcendental_functions {
    ($callback:ident $($extra:tt)*) => {
        $callback! {
            $($extra)*

            /// e^x, element by element.
            pub EXP = exp(x) {
                wgsl: "return safe_exp(x);",
                twin: x.exp(),
                derivatives: [MUL(g, result)],
                checks: [Check::over(-100.0, 88.0).within(FEW_ULP).smooth(-2.0, 2.0)],
            }

            /// the natural logarithm of x, element by element.
            pub LOG = log(x) {
                wgsl: "return safe_log(x);",
                twin: x.ln(),
                derivatives: [DIV(g, x)],
                conventions: ["-∞ at 0, NaN below" => "the same", "the derivative at 0 is infinite" => "the same"],
                checks: [Check::over(0.0, 10.0).within(FEW_ULP).smooth(0.3, 3.0)],
            }

            /// e^x - 1, element by element, accurate near 0.
            pub EXPM1 = expm1(x) {
                wgsl: "return expm1(x);",
                twin: x.exp_m1(),
                derivatives: [MUL(g, EXP(x))],
                conventions: ["the derivative is e^x, accurate far below 0" => "result + 1, which is 0 there"],
                checks: [Check::over(-2.0, 2.0).within(MORE_ULP).smooth(-1.0, 1.0)],
            }

            /// ln(1 + x), element by element, accurate near 0.
            pub LOG1P = log1p(x) {
                wgsl: "return log1p(x);",
                twin: x.ln_1p(),
                derivatives: [DIV(g, AFFINE[1.0, 1.0](x))],
                conventions: ["-∞ at -1, NaN below" => "the same"],
                checks: [Check::over(-0.99, 2.0).within(MORE_ULP).smooth(-0.5, 2.0)],
            }

            /// x to a constant power, element by element, as C's `pow`: 0⁰ is 1, and a negative base takes whole exponents
            /// only.
            pub POWF = powf(x; exponent) {
                wgsl: "return power(x, exponent);",
                twin: x.powf(exponent),
                derivatives: [POWF_GRAD[exponent](x, g)],
                conventions: [
                    "NaN to the power 0 is 1" => "the same",
                    "the derivative is 0 everywhere if the exponent is 0" => "the same"
                ],
                checks: [
                    Check::over(0.0, 50.0).numbers(&[1.7]).within(POWER).smooth(0.3, 2.0),
                    Check::over(-10.0, 10.0).numbers(&[-3.0]).within(POWER).smooth(-2.0, -0.5),
                    Check::over(-10.0, 10.0).numbers(&[3.0]).within(POWER).smooth(-2.0, 2.0),
                    Check::over(-10.0, 10.0).numbers(&[0.0]).smooth(-2.0, 2.0),
                    // The shader computes a root, the twin a power of the standard library, which is accurate to an
                    // ulp.
                    Check::over(-10.0, 10.0).numbers(&[0.5]).within(FEW_ULP).smooth(0.3, 3.0),
                    Check::over(-3.0, 3.0).numbers(&[65.0]).within(POWER).without_gradients(),
                    Check::over(-10.0, 10.0).numbers(&[f32::NAN]).without_gradients()
                ],
            }

            /// the error function of x, element by element.
            pub ERF = erf(x) {
                wgsl: "return erf(x);",
                twin: math::erf(x),
                derivatives: [MUL(g, AFFINE[FRAC_2_SQRT_PI, 0.0](EXP(NEG(SQUARE(x)))))],
                checks: [Check::over(-5.0, 5.0).within(MORE_ULP).smooth(-2.0, 2.0)],
            }

            /// 2^x, element by element.
            pub EXP2 = exp2(x) {
                wgsl: "return safe_exp2(x);",
                twin: x.exp2(),
                derivatives: [AFFINE[LN_2, 0.0](MUL(g, result))],
                checks: [Check::over(-140.0, 127.0).within(FEW_ULP).smooth(-2.0, 2.0)],
            }

            /// the logarithm of x to the base 2, element by element.
            pub LOG2 = log2(x) {
                wgsl: "return safe_log2(x);",
                twin: x.log2(),
                derivatives: [AFFINE[LOG2_E, 0.0](DIV(g, x))],
                conventions: ["-∞ at 0, NaN below" => "the same", "the derivative at 0 is infinite" => "the same"],
                checks: [Check::over(0.0, 10.0).within(FEW_ULP).smooth(0.3, 3.0)],
            }

            /// the logarithm of x to the base 10, element by element.
            pub LOG10 = log10(x) {
                wgsl: "return safe_log10(x);",
                twin: x.log10(),
                derivatives: [AFFINE[LOG10_E, 0.0](DIV(g, x))],
                conventions: ["-∞ at 0, NaN below" => "the same", "the derivative at 0 is infinite" => "the same"],
                checks: [Check::over(0.0, 10.0).within(FEW_ULP).smooth(0.3, 3.0)],
            }

            /// the complementary error function of x, 1 - erf(x), element by element, accurate far above 0.
            pub ERFC = erfc(x) {
                wgsl: "return erfc(x);",
                twin: math::erfc(x),
                derivatives: [MUL(g, AFFINE[-FRAC_2_SQRT_PI, 0.0](EXP(NEG(SQUARE(x)))))],
                checks: [Check::over(-5.0, 9.0).within(ERFC_TOLERANCE).smooth(-2.0, 2.0)],
            }
        }
    };
}

transcendental_functions!(functions);
