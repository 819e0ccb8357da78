//! Activations that are made of pieces, most of them straight, and shrinkage.

use super::*;
use crate::functions;
use crate::math;

/// Calls a macro with the entries of this file.
#[doc(hidden)]
#[macro_export]
macro_rules! hard_functions {
    ($callback:ident $($extra:tt)*) => {
        $callback! {
            $($extra)*

            /// x clamped to the range from `min_val` to `max_val`, element by element. PyTorch's bounds are -1 and 1 by default.
            pub HARDTANH = hardtanh(x; min_val, max_val) {
                wgsl: "return minimum(maximum(x, min_val), max_val);",
                twin: math::minimum(math::maximum(x, min_val), max_val),
                derivatives: [HARDTANH_GRAD[min_val, max_val](x, g)],
                conventions: ["the derivative at the bounds is 0" => "the same"],
                checks: [Check::over(-2.0, 2.0).numbers(&[-0.5, 0.7]).kink(|x, n| (x[0] - n[0]).abs().min((x[0] - n[1]).abs()))],
            }

            /// (x + 3) / 6 clamped to [0, 1], element by element (Courbariaux et al., 2015).
            pub HARDSIGMOID = hardsigmoid(x) {
                wgsl: "return minimum(maximum(x + 3.0, 0.0), 6.0) / 6.0;",
                twin: math::minimum(math::maximum(x + 3.0, 0.0), 6.0) / 6.0,
                derivatives: [HARDTANH_GRAD[-3.0, 3.0](x, AFFINE[0.166_666_67, 0.0](g))],
                conventions: ["the derivatives at -3 and 3 are 0" => "the same"],
                checks: [Check::over(-5.0, 5.0).within(ROUNDED).smooth(-4.5, 4.5).kink(|x, _| (x[0].abs() - 3.0).abs())],
            }

            /// x times its hard sigmoid, element by element (Howard et al., 2019).
            pub HARDSWISH = hardswish(x) {
                wgsl: "return x * minimum(maximum(x + 3.0, 0.0), 6.0) / 6.0;",
                twin: x * math::minimum(math::maximum(x + 3.0, 0.0), 6.0) / 6.0,
                derivatives: [HARDSWISH_GRAD(x, g)],
                conventions: ["the derivatives at -3 and 3 are 0 and 1" => "the same"],
                checks: [Check::over(-5.0, 5.0).within(ROUNDED).smooth(-4.5, 4.5).kink(|x, _| (x[0].abs() - 3.0).abs())],
            }

            /// x, or 0 if |x| is at most `lambda`, element by element. PyTorch's `lambd` is 0.5 by default.
            pub HARDSHRINK = hardshrink(x; lambda) {
                wgsl: "return select(x, 0.0, abs(x) <= lambda);",
                twin: if x.abs() <= lambda { 0.0 } else { x },
                derivatives: [HARDSHRINK_GRAD[lambda](x, g)],
                conventions: ["the derivatives at the bounds are 0" => "the same"],
                checks: [Check::over(-2.0, 2.0).numbers(&[0.5]).kink(|x, n| (x[0].abs() - n[0]).abs())],
            }

            /// x moved towards 0 by `lambda`, or 0 if |x| is at most `lambda`, element by element. PyTorch's `lambd` is 0.5 by default.
            pub SOFTSHRINK = softshrink(x; lambda) {
                wgsl: "return select(select(select(0.0, x, is_nan(x)), x + lambda, x < -lambda), x - lambda, x > lambda);",
                twin: if x > lambda { x - lambda } else if x < -lambda { x + lambda } else { 0.0 * x },
                derivatives: [HARDSHRINK_GRAD[lambda](x, g)],
                conventions: ["the derivatives at the bounds are 0" => "the same"],
                checks: [Check::over(-2.0, 2.0).numbers(&[0.5]).kink(|x, n| (x[0].abs() - n[0]).abs())],
            }

            /// x - tanh(x), element by element, accurate near 0.
            pub TANHSHRINK = tanhshrink(x) {
                wgsl: "return tanhshrink(x);",
                twin: math::tanhshrink(x),
                derivatives: [MUL(g, SQUARE(TANH(x)))],
                checks: [Check::over(-10.0, 10.0).within(SERIES).smooth(-2.0, 2.0)],
            }

            /// x, or `value` if x is at most `threshold`, element by element.
            pub THRESHOLD = threshold(x; threshold, value) {
                wgsl: "return select(x, value, x <= threshold);",
                twin: if x <= threshold { value } else { x },
                derivatives: [THRESHOLD_GRAD[threshold](x, g)],
                conventions: ["NaN stays" => "the same", "the derivative at the threshold is 0" => "the same"],
                checks: [Check::over(-2.0, 2.0).numbers(&[0.3, -1.0]).kink(|x, n| (x[0] - n[0]).abs())],
            }
        }
    };
}

hard_functions!(functions);
