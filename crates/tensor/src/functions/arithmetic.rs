//! Functions of one argument that consist of additions, products, quotients and comparisons.

use super::*;
use crate::functions;
use crate::math;

/// Calls a macro with the entries of this file.
#[doc(hidden)]
#[macro_export]
macro_rules! arithmetic_functions {
    ($callback:ident $($extra:tt)*) => {
        $callback! {
            $($extra)*

            /// -x, element by element.
            pub NEG = neg(x) {
                wgsl: "return -x;",
                twin: -x,
                derivatives: [NEG(g)],
                checks: [Check::over(-10.0, 10.0).smooth(-2.0, 2.0)],
            }

            /// |x|, element by element.
            pub ABS = abs(x) {
                wgsl: "return abs(x);",
                twin: x.abs(),
                derivatives: [MUL(g, SIGN(x))],
                conventions: ["the derivative at 0 is 0" => "the same", "the derivative at NaN is NaN" => "0"],
                checks: [Check::over(-10.0, 10.0).smooth(-2.0, 2.0).kink(|x, _| x[0].abs())],
            }

            /// the sign of x, -1, 0 or 1, element by element.
            pub SIGN = sign(x) {
                wgsl: "return select(select(select(0.0, 1.0, x > 0.0), -1.0, x < 0.0), x, is_nan(x));",
                twin: if x.is_nan() || x == 0.0 { x } else { 1f32.copysign(x) },
                derivatives: [flat],
                conventions: ["the sign of NaN is NaN, as in NumPy" => "0", "the derivative is 0 everywhere" => "the same"],
                checks: [Check::over(-1.0, 1.0).kink(|x, _| x[0].abs())],
            }

            /// the square root of x, element by element.
            pub SQRT = sqrt(x) {
                wgsl: "return sqrt(x);",
                twin: x.sqrt(),
                derivatives: [AFFINE[0.5, 0.0](DIV(g, result))],
                conventions: [
                    "NaN below 0" => "the same",
                    "the derivative at 0 is infinite" => "the same"
                ],
                checks: [Check::over(0.0, 10.0).within(ROUNDED).smooth(0.3, 3.0)],
            }

            /// 1 / √x, element by element.
            pub RSQRT = rsqrt(x) {
                wgsl: "return 1.0 / sqrt(x);",
                twin: 1.0 / x.sqrt(),
                derivatives: [AFFINE[-0.5, 0.0](MUL(g, MUL(result, SQUARE(result))))],
                conventions: ["infinite at 0, NaN below" => "the same"],
                checks: [Check::over(0.0, 10.0).within(TWICE_ROUNDED).smooth(0.3, 3.0)],
            }

            /// 1 / x, element by element.
            pub RECIPROCAL = reciprocal(x) {
                wgsl: "return 1.0 / x;",
                twin: 1.0 / x,
                derivatives: [NEG(MUL(g, SQUARE(result)))],
                conventions: ["infinite at 0, and so is the derivative" => "the same"],
                checks: [Check::over(-10.0, 10.0).within(ROUNDED).smooth(0.5, 3.0)],
            }

            /// x², element by element.
            pub SQUARE = square(x) {
                wgsl: "return x * x;",
                twin: x * x,
                derivatives: [AFFINE[2.0, 0.0](MUL(g, x))],
                checks: [Check::over(-10.0, 10.0).smooth(-2.0, 2.0)],
            }

            /// factor x + summand, element by element.
            pub AFFINE = affine(x; factor, summand) {
                wgsl: "return factor * x + summand;",
                twin: factor * x + summand,
                derivatives: [AFFINE[factor, 0.0](g)],
                checks: [Check::over(-10.0, 10.0).numbers(&[1.7, -0.3]).within(SUM).smooth(-2.0, 2.0)],
            }

            /// x clamped to the range from `low` to `high`, element by element.
            pub CLAMP = clamp(x; low, high) {
                wgsl: "return minimum(maximum(x, low), high);",
                twin: math::minimum(math::maximum(x, low), high),
                derivatives: [CLAMP_GRAD[low, high](x, g)],
                conventions: [
                    "NaN stays, with a derivative of 0" => "the same",
                    "the derivative at the bounds is 1" => "the same",
                    "`high` if `low` is larger" => "the same"
                ],
                checks: [Check::over(-2.0, 2.0).numbers(&[-0.5, 0.7]).kink(|x, n| (x[0] - n[0]).abs().min((x[0] - n[1]).abs()))],
            }
        }
    };
}

arithmetic_functions!(functions);
