//! Functions of two arguments.

use super::*;
use crate::functions;
use crate::math;

/// Returns the distance of two arguments.
fn apart(x: &[f32], _: &[f32]) -> f32 {
    (x[0] - x[1]).abs()
}

/// Returns the distance of the nearer argument from 0.
fn from_zero(x: &[f32], _: &[f32]) -> f32 {
    x[0].abs().min(x[1].abs())
}

/// Returns the distance of the first argument from the nearest multiple of the second, or of that from 0.
fn from_multiple(x: &[f32], _: &[f32]) -> f32 {
    (x[0] - x[1] * (x[0] / x[1]).round()).abs().min(x[1].abs())
}

/// Calls a macro with the entries of this file.
#[doc(hidden)]
#[macro_export]
macro_rules! binary_functions {
    ($callback:ident $($extra:tt)*) => {
        $callback! {
            $($extra)*

            /// x + y, element by element.
            pub ADD = add(x, y) {
                wgsl: "return x + y;",
                twin: x + y,
                derivatives: [g, g],
                checks: [Check::over(-3.0, 3.0)],
            }

            /// x - y, element by element.
            pub SUB = sub(x, y) {
                wgsl: "return x - y;",
                twin: x - y,
                derivatives: [g, NEG(g)],
                checks: [Check::over(-3.0, 3.0)],
            }

            /// x y, element by element.
            pub MUL = mul(x, y) {
                wgsl: "return x * y;",
                twin: x * y,
                derivatives: [MUL(g, y), MUL(g, x)],
                checks: [Check::over(-3.0, 3.0)],
            }

            /// x / y, element by element.
            pub DIV = div(x, y) {
                wgsl: "return x / y;",
                twin: x / y,
                derivatives: [DIV(g, y), NEG(DIV(MUL(g, result), y))],
                conventions: ["infinite where y is 0, NaN where x is 0 as well" => "the same"],
                checks: [Check::over(-3.0, 3.0).within(ROUNDED).smooth(0.5, 2.0)],
            }

            /// the larger one of x and y, element by element.
            pub MAXIMUM = maximum(x, y) {
                wgsl: "return maximum(x, y);",
                twin: math::maximum(x, y),
                derivatives: [
                    MUL(g, ADD(GT(x, y), AFFINE[0.5, 0.0](EQ(x, y)))),
                    MUL(g, ADD(GT(y, x), AFFINE[0.5, 0.0](EQ(x, y))))
                ],
                conventions: [
                    "equal ones share the gradient" => "the same",
                    "NaN wins" => "the same",
                    "the derivatives at NaN are 0" => "1"
                ],
                checks: [Check::over(-3.0, 3.0).kink(apart)],
            }

            /// the smaller one of x and y, element by element.
            pub MINIMUM = minimum(x, y) {
                wgsl: "return minimum(x, y);",
                twin: math::minimum(x, y),
                derivatives: [
                    MUL(g, ADD(LT(x, y), AFFINE[0.5, 0.0](EQ(x, y)))),
                    MUL(g, ADD(LT(y, x), AFFINE[0.5, 0.0](EQ(x, y))))
                ],
                conventions: [
                    "equal ones share the gradient" => "the same",
                    "NaN wins" => "the same",
                    "the derivatives at NaN are 0" => "1"
                ],
                checks: [Check::over(-3.0, 3.0).kink(apart)],
            }

            /// x to the power y, element by element, as C's `pow`: 0⁰ is 1, and a negative base takes whole exponents only.
            pub POW = pow(x, y) {
                wgsl: "return power(x, y);",
                twin: x.powf(y),
                derivatives: [
                    // Where y = 0 the exponent is set to 0: the factor y makes the product 0.
                    MUL(g, MUL(y, POW(x, ADD(AFFINE[1.0, -1.0](y), EQ(y, 0.0))))),
                    // Where x = 0 and y is not negative the power does not depend on y: the logarithm is set to 0.
                    MUL(g, MUL(result, LOG(ADD(x, MUL(EQ(x, 0.0), GE(y, 0.0))))))
                ],
                conventions: [
                    "the derivative with respect to x is 0 where y is 0" => "the same",
                    "the derivative with respect to y is 0 where x is 0 and y is not negative" => "the same"
                ],
                checks: [Check::over(-3.0, 3.0).within(POWER).smooth(0.5, 2.0)],
            }

            /// 1 where x = y, else 0, element by element.
            pub EQ = eq(x, y) {
                wgsl: "return select(0.0, 1.0, x == y);",
                twin: truth(x == y),
                derivatives: [flat, flat],
                conventions: ["0 where one is NaN" => "the same"],
                checks: [Check::over(-3.0, 3.0).kink(apart)],
            }

            /// 1 where x < y, else 0, element by element.
            pub LT = lt(x, y) {
                wgsl: "return select(0.0, 1.0, x < y);",
                twin: truth(x < y),
                derivatives: [flat, flat],
                conventions: ["0 where one is NaN" => "the same"],
                checks: [Check::over(-3.0, 3.0).kink(apart)],
            }

            /// 1 where x <= y, else 0, element by element.
            pub LE = le(x, y) {
                wgsl: "return select(0.0, 1.0, x <= y);",
                twin: truth(x <= y),
                derivatives: [flat, flat],
                conventions: ["0 where one is NaN" => "the same"],
                checks: [Check::over(-3.0, 3.0).kink(apart)],
            }

            /// 1 where x > y, else 0, element by element.
            pub GT = gt(x, y) {
                wgsl: "return select(0.0, 1.0, x > y);",
                twin: truth(x > y),
                derivatives: [flat, flat],
                conventions: ["0 where one is NaN" => "the same"],
                checks: [Check::over(-3.0, 3.0).kink(apart)],
            }

            /// 1 where x >= y, else 0, element by element.
            pub GE = ge(x, y) {
                wgsl: "return select(0.0, 1.0, x >= y);",
                twin: truth(x >= y),
                derivatives: [flat, flat],
                conventions: ["0 where one is NaN" => "the same"],
                checks: [Check::over(-3.0, 3.0).kink(apart)],
            }

            /// 1 where x and y differ, else 0, element by element.
            pub NE = ne(x, y) {
                wgsl: "return select(1.0, 0.0, x == y);",
                twin: truth(x != y),
                derivatives: [flat, flat],
                conventions: ["1 where one is NaN" => "the same"],
                checks: [Check::over(-3.0, 3.0).kink(apart)],
            }

            /// 1 where x and y are not 0, else 0, element by element.
            pub LOGICAL_AND = logical_and(x, y) {
                wgsl: "return select(1.0, 0.0, x == 0.0 || y == 0.0);",
                twin: truth(x != 0.0 && y != 0.0),
                derivatives: [flat, flat],
                conventions: ["NaN counts as true" => "the same"],
                checks: [Check::over(-3.0, 3.0).kink(from_zero)],
            }

            /// 1 where x or y is not 0, else 0, element by element.
            pub LOGICAL_OR = logical_or(x, y) {
                wgsl: "return select(1.0, 0.0, x == 0.0 && y == 0.0);",
                twin: truth(x != 0.0 || y != 0.0),
                derivatives: [flat, flat],
                conventions: ["NaN counts as true" => "the same"],
                checks: [Check::over(-3.0, 3.0).kink(from_zero)],
            }

            /// 1 where one of x and y is 0 and the other one is not, else 0, element by element.
            pub LOGICAL_XOR = logical_xor(x, y) {
                wgsl: "return select(0.0, 1.0, (x == 0.0) != (y == 0.0));",
                twin: truth((x == 0.0) != (y == 0.0)),
                derivatives: [flat, flat],
                conventions: ["NaN counts as true" => "the same"],
                checks: [Check::over(-3.0, 3.0).kink(from_zero)],
            }

            /// x - y trunc(x / y), element by element, exact, with the sign of x, as C's `fmod`.
            pub FMOD = fmod(x, y) {
                wgsl: "return exact_fmod(x, y);",
                twin: x % y,
                derivatives: [g, NEG(MUL(g, TRUNC(DIV(x, y))))],
                conventions: ["NaN where y is 0 or x is infinite" => "the same"],
                checks: [Check::over(-10.0, 10.0).kink(from_multiple)],
            }

            /// x - y floor(x / y), element by element, with the sign of y, as Python's `%`.
            pub REMAINDER = remainder(x, y) {
                wgsl: "return exact_remainder(x, y);",
                twin: math::remainder(x, y),
                derivatives: [g, NEG(MUL(g, FLOOR(DIV(x, y))))],
                conventions: ["NaN where y is 0 or x is infinite" => "the same"],
                checks: [Check::over(-10.0, 10.0).kink(from_multiple)],
            }

            /// the angle in [-π, π] of the point with the coordinates x and y, element by element, as C's `atan2`.
            pub ATAN2 = atan2(y, x) {
                wgsl: "return safe_atan2(y, x);",
                twin: y.atan2(x),
                derivatives: [
                    DIV(MUL(g, DIV(x, HYPOT(x, y))), HYPOT(x, y)),
                    NEG(DIV(MUL(g, DIV(y, HYPOT(x, y))), HYPOT(x, y)))
                ],
                conventions: [
                    "the signs of zeros count" => "the same",
                    "the derivatives are NaN where both are 0" => "the same"
                ],
                checks: [Check::over(-3.0, 3.0).within(MORE_ULP).smooth(0.5, 2.0)],
            }

            /// √(x² + y²), element by element, without overflow on the way.
            pub HYPOT = hypot(x, y) {
                wgsl: "return safe_hypot(x, y);",
                twin: x.hypot(y),
                derivatives: [MUL(g, DIV(x, result)), MUL(g, DIV(y, result))],
                conventions: [
                    "infinite where one is, also beside NaN" => "the same",
                    "the derivatives are NaN where both are 0" => "the same"
                ],
                checks: [Check::over(-3.0, 3.0).within(MORE_ULP).smooth(0.5, 2.0)],
            }
        }
    };
}

binary_functions!(functions);
