//! Functions of two arguments.

use super::*;
use crate::functions;
use crate::math;

/// Returns 1 if a condition is true, else 0.
fn truth(condition: bool) -> f32 {
    f32::from(u8::from(condition))
}

/// Returns the distance between two arguments.
fn apart(x: &[f32], _: &[f32]) -> f32 {
    (x[0] - x[1]).abs()
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
        }
    };
}

binary_functions!(functions);
