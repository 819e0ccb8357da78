//! Functions of three arguments.

use super::*;
use crate::functions;

/// Products and sums of numbers up to 6, which hardware may round once rather than twice.
const LERP_TOLERANCE: Tolerance = EXACT.on_hardware(2e-6, 2e-7);

/// A quotient up to 10⁴ and a sum.
const QUOTIENT_SUM: Tolerance = EXACT.on_hardware(2e-6, 1e-6);

/// Calls a macro with the entries of this file.
#[doc(hidden)]
#[macro_export]
macro_rules! ternary_functions {
    ($callback:ident $($extra:tt)*) => {
        $callback! {
            $($extra)*

            /// `x` where the condition is not 0, else `y`, element by element. It is PyTorch's `where`, a keyword of Rust.
            pub WHERE_COND = where_cond(condition, x, y) {
                wgsl: "return select(x, y, condition == 0.0);",
                twin: if condition == 0.0 { y } else { x },
                derivatives: [flat, WHERE_COND(condition, g, 0.0), WHERE_COND(condition, 0.0, g)],
                conventions: ["NaN counts as true" => "the same"],
                checks: [Check::over(-3.0, 3.0).kink(|x, _| x[0].abs())],
            }

            /// start + weight (end - start), element by element: `start` at weight 0, `end` at weight 1, exactly.
            pub LERP = lerp(start, end, weight) {
                wgsl: "return select(end - (end - start) * (1.0 - weight), start + weight * (end - start), abs(weight) < 0.5);",
                twin: if weight.abs() < 0.5 { start + weight * (end - start) } else { end - (end - start) * (1.0 - weight) },
                derivatives: [MUL(g, AFFINE[-1.0, 1.0](weight)), MUL(g, weight), MUL(g, SUB(end, start))],
                checks: [Check::over(-3.0, 3.0).within(LERP_TOLERANCE).kink(|x, _| (x[2].abs() - 0.5).abs())],
            }

            /// x + `value` y z, element by element.
            pub ADDCMUL = addcmul(x, y, z; value) {
                wgsl: "return x + value * y * z;",
                twin: x + value * y * z,
                derivatives: [g, AFFINE[value, 0.0](MUL(g, z)), AFFINE[value, 0.0](MUL(g, y))],
                checks: [Check::over(-3.0, 3.0).numbers(&[0.5]).within(SUM)],
            }

            /// x + `value` y / z, element by element.
            pub ADDCDIV = addcdiv(x, y, z; value) {
                wgsl: "return x + value * (y / z);",
                twin: x + value * (y / z),
                derivatives: [
                    g,
                    AFFINE[value, 0.0](DIV(g, z)),
                    NEG(AFFINE[value, 0.0](DIV(MUL(g, DIV(y, z)), z)))
                ],
                checks: [Check::over(-3.0, 3.0).numbers(&[0.5]).within(QUOTIENT_SUM).smooth(0.5, 2.0)],
            }
        }
    };
}

ternary_functions!(functions);
