//! Trigonometric and hyperbolic functions of one argument, and their inverses.

use super::*;
use crate::functions;
use crate::math;

/// Calls a macro with the entries of this file.
#[doc(hidden)]
#[macro_export]
macro_rules! trigonometric_functions {
    ($callback:ident $($extra:tt)*) => {
        $callback! {
            $($extra)*

            /// the sine of x in radians, element by element.
            pub SIN = sin(x) {
                wgsl: "return sine_cosine(x).x;",
                twin: x.sin(),
                derivatives: [MUL(g, COS(x))],
                conventions: [
                    "NaN at infinities" => "the same",
                    "on GPUs beyond 8,192, where it is the driver's sine" => "accurate"
                ],
                checks: [Check::over(-8000.0, 8000.0).within(SINE).up_to(8192.0).smooth(-3.0, 3.0)],
            }

            /// the cosine of x in radians, element by element.
            pub COS = cos(x) {
                wgsl: "return sine_cosine(x).y;",
                twin: x.cos(),
                derivatives: [NEG(MUL(g, SIN(x)))],
                conventions: [
                    "NaN at infinities" => "the same",
                    "on GPUs beyond 8,192, where it is the driver's cosine" => "accurate"
                ],
                checks: [Check::over(-8000.0, 8000.0).within(SINE).up_to(8192.0).smooth(-3.0, 3.0)],
            }

            /// the tangent of x in radians, element by element.
            pub TAN = tan(x) {
                wgsl: "return safe_tan(x);",
                twin: x.tan(),
                derivatives: [MUL(g, AFFINE[1.0, 1.0](SQUARE(result)))],
                conventions: [
                    "NaN at infinities" => "the same",
                    "on GPUs beyond 8,192, where it is the driver's tangent" => "accurate"
                ],
                checks: [Check::over(-1.4, 1.4).within(MORE_ULP).up_to(20.0).smooth(-1.0, 1.0)],
            }

            /// the angle in [-π/2, π/2] whose sine is x, element by element.
            pub ASIN = asin(x) {
                wgsl: "return safe_asin(x);",
                twin: x.asin(),
                derivatives: [MUL(g, RSQRT(MUL(AFFINE[-1.0, 1.0](x), AFFINE[1.0, 1.0](x))))],
                conventions: [
                    "NaN outside of [-1, 1]" => "the same",
                    "the derivatives at -1 and 1 are infinite" => "the same"
                ],
                checks: [Check::over(-1.0, 1.0).within(MORE_ULP).smooth(-0.7, 0.7)],
            }

            /// the angle in [0, π] whose cosine is x, element by element.
            pub ACOS = acos(x) {
                wgsl: "return safe_acos(x);",
                twin: x.acos(),
                derivatives: [NEG(MUL(g, RSQRT(MUL(AFFINE[-1.0, 1.0](x), AFFINE[1.0, 1.0](x)))))],
                conventions: [
                    "NaN outside of [-1, 1]" => "the same",
                    "the derivatives at -1 and 1 are infinite" => "the same"
                ],
                checks: [Check::over(-1.0, 1.0).within(MORE_ULP).smooth(-0.7, 0.7)],
            }

            /// the angle in [-π/2, π/2] whose tangent is x, element by element.
            pub ATAN = atan(x) {
                wgsl: "return safe_atan(x);",
                twin: x.atan(),
                derivatives: [DIV(g, AFFINE[1.0, 1.0](SQUARE(x)))],
                checks: [Check::over(-10.0, 10.0).within(MORE_ULP).smooth(-2.0, 2.0)],
            }

            /// the hyperbolic sine of x, (e^x - e^-x) / 2, element by element.
            pub SINH = sinh(x) {
                wgsl: "return safe_sinh(x);",
                twin: x.sinh(),
                derivatives: [MUL(g, COSH(x))],
                checks: [Check::over(-89.0, 89.0).within(MORE_ULP).smooth(-2.0, 2.0)],
            }

            /// the hyperbolic cosine of x, (e^x + e^-x) / 2, element by element.
            pub COSH = cosh(x) {
                wgsl: "return safe_cosh(x);",
                twin: x.cosh(),
                derivatives: [MUL(g, SINH(x))],
                checks: [Check::over(-89.0, 89.0).within(MORE_ULP).smooth(-2.0, 2.0)],
            }

            /// the number whose hyperbolic sine is x, element by element.
            pub ASINH = asinh(x) {
                wgsl: "return safe_asinh(x);",
                twin: math::asinh(x),
                derivatives: [DIV(g, HYPOT(x, 1.0))],
                checks: [Check::over(-10.0, 10.0).within(MORE_ULP).smooth(-2.0, 2.0)],
            }

            /// the number that is at least 0 whose hyperbolic cosine is x, element by element.
            pub ACOSH = acosh(x) {
                wgsl: "return safe_acosh(x);",
                twin: math::acosh(x),
                derivatives: [MUL(g, MUL(RSQRT(AFFINE[1.0, -1.0](x)), RSQRT(AFFINE[1.0, 1.0](x))))],
                conventions: ["NaN below 1" => "the same", "the derivative at 1 is infinite" => "the same"],
                checks: [Check::over(1.0, 10.0).within(MORE_ULP).smooth(1.5, 3.0)],
            }

            /// the number whose hyperbolic tangent is x, element by element.
            pub ATANH = atanh(x) {
                wgsl: "return safe_atanh(x);",
                twin: x.atanh(),
                derivatives: [DIV(g, MUL(AFFINE[-1.0, 1.0](x), AFFINE[1.0, 1.0](x)))],
                conventions: ["infinite at -1 and 1, NaN beyond" => "the same"],
                checks: [Check::over(-0.99, 0.99).within(MORE_ULP).smooth(-0.7, 0.7)],
            }
        }
    };
}

trigonometric_functions!(functions);
