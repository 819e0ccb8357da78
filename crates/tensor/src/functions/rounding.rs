//! Functions of one argument that round it, or tell its kind.

use super::*;
use crate::functions;

/// Returns the distance of an argument from the nearest whole number.
fn from_whole(x: &[f32], _: &[f32]) -> f32 {
    (x[0] - x[0].round()).abs()
}

/// Calls a macro with the entries of this file.
#[doc(hidden)]
#[macro_export]
macro_rules! rounding_functions {
    ($callback:ident $($extra:tt)*) => {
        $callback! {
            $($extra)*

            /// the largest whole number that is at most x, element by element.
            pub FLOOR = floor(x) {
                wgsl: "return floor(x);",
                twin: x.floor(),
                derivatives: [flat],
                conventions: ["the derivative is 0 everywhere" => "the same"],
                checks: [Check::over(-10.0, 10.0).kink(from_whole)],
            }

            /// the smallest whole number that is at least x, element by element.
            pub CEIL = ceil(x) {
                wgsl: "return ceil(x);",
                twin: x.ceil(),
                derivatives: [flat],
                conventions: ["the derivative is 0 everywhere" => "the same"],
                checks: [Check::over(-10.0, 10.0).kink(from_whole)],
            }

            /// the nearest whole number, element by element; of two nearest ones the even one.
            pub ROUND = round(x) {
                wgsl: "return round(x);",
                twin: x.round_ties_even(),
                derivatives: [flat],
                conventions: ["the derivative is 0 everywhere" => "the same"],
                checks: [Check::over(-10.0, 10.0).kink(|x, _| from_whole(&[x[0] + 0.5], &[]))],
            }

            /// x without its fraction, element by element.
            pub TRUNC = trunc(x) {
                wgsl: "return trunc(x);",
                twin: x.trunc(),
                derivatives: [flat],
                conventions: ["the derivative is 0 everywhere" => "the same"],
                checks: [Check::over(-10.0, 10.0).kink(from_whole)],
            }

            /// the fraction of x with the sign of x, x - trunc(x), element by element.
            pub FRAC = frac(x) {
                wgsl: "return x - trunc(x);",
                twin: x - x.trunc(),
                derivatives: [g],
                conventions: ["NaN at infinities" => "the same", "the derivative is 1 everywhere" => "the same"],
                checks: [Check::over(-10.0, 10.0).kink(from_whole)],
            }

            /// 1 where x is NaN, else 0, element by element.
            pub ISNAN = isnan(x) {
                wgsl: "return select(0.0, 1.0, is_nan(x));",
                twin: truth(x.is_nan()),
                derivatives: [flat],
                checks: [Check::over(-3.0, 3.0)],
            }

            /// 1 where x is an infinity, else 0, element by element.
            pub ISINF = isinf(x) {
                wgsl: "return select(0.0, 1.0, is_infinite(x));",
                twin: truth(x.is_infinite()),
                derivatives: [flat],
                checks: [Check::over(-3.0, 3.0)],
            }

            /// 1 where x is neither NaN nor an infinity, else 0, element by element.
            pub ISFINITE = isfinite(x) {
                wgsl: "return select(0.0, 1.0, is_finite(x));",
                twin: truth(x.is_finite()),
                derivatives: [flat],
                checks: [Check::over(-3.0, 3.0)],
            }

            /// 1 where x is 0, else 0, element by element.
            pub LOGICAL_NOT = logical_not(x) {
                wgsl: "return select(0.0, 1.0, x == 0.0);",
                twin: truth(x == 0.0),
                derivatives: [flat],
                conventions: ["NaN counts as true" => "the same"],
                checks: [Check::over(-3.0, 3.0).kink(|x, _| x[0].abs())],
            }
        }
    };
}

rounding_functions!(functions);
