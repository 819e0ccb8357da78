//! Derivatives as separate functions, times a gradient h, so that a backward pass computes them in one launch.

use super::*;
use crate::functions;
use crate::math;

/// A sum of a derivative's parts, with values up to 3: near its zero it has the error of the parts.
const PARTS: Tolerance = Tolerance::new(2e-6, 2e-6);

/// Calls a macro with the entries of this file.
#[doc(hidden)]
#[macro_export]
macro_rules! slope_functions {
    ($callback:ident $($extra:tt)*) => {
        $callback! {
            $($extra)*

            /// h where x, the input or the output of a ReLU, is not 0 or less, else 0.
            pub RELU_GRAD = relu_grad(x, h) {
                wgsl: "return select(h, 0.0, x <= 0.0);",
                twin: math::relu_grad(x, h),
                derivatives: [flat, RELU_GRAD(x, g)],
                checks: [Check::over(-3.0, 3.0).kink(|x, _| x[0].abs())],
            }

            /// h times the derivative of [`LEAKY_RELU`] at x.
            pub LEAKY_RELU_GRAD = leaky_relu_grad(x, h; slope) {
                wgsl: "return h * select(slope, 1.0, x > 0.0);",
                twin: h * if x > 0.0 { 1.0 } else { slope },
                derivatives: [flat, LEAKY_RELU_GRAD[slope](x, g)],
                checks: [Check::over(-3.0, 3.0).numbers(&[0.01]).kink(|x, _| x[0].abs())],
            }

            /// h times the derivative of [`CLAMP`] at x.
            pub CLAMP_GRAD = clamp_grad(x, h; low, high) {
                wgsl: "return h * select(0.0, 1.0, x >= low && x <= high);",
                twin: h * if x >= low && x <= high { 1.0 } else { 0.0 },
                derivatives: [flat, CLAMP_GRAD[low, high](x, g)],
                checks: [Check::over(-3.0, 3.0).numbers(&[-0.5, 0.7]).kink(|x, n| (x[0] - n[0]).abs().min((x[0] - n[1]).abs()))],
            }

            /// h times the derivative of [`POWF`] at x.
            pub POWF_GRAD = powf_grad(x, h; exponent) {
                wgsl: "if (exponent == 0.0) { return 0.0; }
    return h * (exponent * power(x, exponent - 1.0));",
                twin: if exponent == 0.0 { 0.0 } else { h * (exponent * x.powf(exponent - 1.0)) },
                derivatives: [
                    AFFINE[exponent, 0.0](POWF_GRAD[exponent - 1.0](x, MUL(g, h))),
                    POWF_GRAD[exponent](x, g)
                ],
                checks: [
                    Check::over(-3.0, 3.0).numbers(&[1.7]).within(POWER).smooth(0.5, 2.0),
                    Check::over(-3.0, 3.0).numbers(&[1.0]).within(POWER),
                    Check::over(-3.0, 3.0).numbers(&[0.0])
                ],
            }

            /// h times sech² x, the derivative of [`TANH`] at x.
            pub TANH_GRAD = tanh_grad(x, h) {
                wgsl: "return h * (4.0 * sigmoid_slope(2.0 * x));",
                twin: h * (4.0 * math::sigmoid_slope(2.0 * x)),
                derivatives: [AFFINE[-2.0, 0.0](MUL(TANH(x), TANH_GRAD(x, MUL(g, h)))), TANH_GRAD(x, g)],
                checks: [
                    Check::over(-3.0, 3.0).within(FEW_ULP).smooth(-0.9, 0.9).may_vanish(|x, _| x[0].abs() > 42.0),
                    Check::over(-40.0, 40.0).within(FEW_ULP).without_gradients().may_vanish(|x, _| x[0].abs() > 42.0)
                ],
            }

            /// h times σ(x) σ(-x), the derivative of [`SIGMOID`] at x.
            pub SIGMOID_GRAD = sigmoid_grad(x, h) {
                wgsl: "return h * sigmoid_slope(x);",
                twin: h * math::sigmoid_slope(x),
                derivatives: [NEG(MUL(TANH(AFFINE[0.5, 0.0](x)), SIGMOID_GRAD(x, MUL(g, h)))), SIGMOID_GRAD(x, g)],
                checks: [
                    Check::over(-3.0, 3.0).within(FEW_ULP).smooth(-2.0, 2.0).may_vanish(|x, _| x[0].abs() > 85.0),
                    Check::over(-80.0, 80.0).within(FEW_ULP).without_gradients().may_vanish(|x, _| x[0].abs() > 85.0)
                ],
            }

            /// h times the derivative of [`GELU`] at x.
            pub GELU_GRAD = gelu_grad(x, h) {
                wgsl: "return h * (normal_cdf(x) + x * normal_density(x));",
                twin: h * (math::normal_cdf(x) + x * math::normal_density(x)),
                derivatives: [
                    // d/dx of Φ(x) + x φ(x) is φ(x) (2 - x²), φ(x) = e^(-x²/2) / √2π.
                    MUL(g, MUL(h, MUL(
                        AFFINE[0.398_942_3, 0.0](EXP(AFFINE[-0.5, 0.0](SQUARE(x)))),
                        AFFINE[-1.0, 2.0](SQUARE(x))
                    ))),
                    GELU_GRAD(x, g)
                ],
                checks: [Check::over(-3.0, 3.0).within(PARTS).smooth(-2.0, 2.0)],
            }

            /// h times the derivative of [`SILU`] at x.
            pub SILU_GRAD = silu_grad(x, h) {
                wgsl: "let s = sigmoid(x);
    return h * (s * (1.0 + x * (1.0 - s)));",
                twin: {
                    let s = math::sigmoid(x);
                    h * (s * (1.0 + x * (1.0 - s)))
                },
                derivatives: [
                    // d/dx of s (1 + x (1 - s)) is s (1 - s) (2 + x (1 - 2 s)), s = σ(x).
                    MUL(g, MUL(SIGMOID_GRAD(x, h), AFFINE[1.0, 2.0](MUL(x, AFFINE[-2.0, 1.0](SIGMOID(x)))))),
                    SILU_GRAD(x, g)
                ],
                checks: [Check::over(-3.0, 3.0).within(PARTS).smooth(-2.0, 2.0).may_vanish(|x, _| x[0] < -87.0)],
            }

            /// h where x is between `low` and `high`, else 0: h times the derivative of [`HARDTANH`] at x.
            pub HARDTANH_GRAD = hardtanh_grad(x, h; low, high) {
                wgsl: "return select(h, 0.0, x <= low || x >= high);",
                twin: if x <= low || x >= high { 0.0 } else { h },
                derivatives: [flat, HARDTANH_GRAD[low, high](x, g)],
                checks: [Check::over(-3.0, 3.0).numbers(&[-0.5, 0.7]).kink(|x, n| (x[0] - n[0]).abs().min((x[0] - n[1]).abs()))],
            }

            /// h where |x| is more than `lambda`, else 0: h times the derivative of [`HARDSHRINK`] at x.
            pub HARDSHRINK_GRAD = hardshrink_grad(x, h; lambda) {
                wgsl: "return select(h, 0.0, abs(x) <= lambda);",
                twin: if x.abs() <= lambda { 0.0 } else { h },
                derivatives: [flat, HARDSHRINK_GRAD[lambda](x, g)],
                checks: [Check::over(-3.0, 3.0).numbers(&[0.5]).kink(|x, n| (x[0].abs() - n[0]).abs())],
            }

            /// h where x is more than `threshold`, else 0: h times the derivative of [`THRESHOLD`] at x.
            pub THRESHOLD_GRAD = threshold_grad(x, h; threshold) {
                wgsl: "return select(h, 0.0, x <= threshold);",
                twin: if x <= threshold { 0.0 } else { h },
                derivatives: [flat, THRESHOLD_GRAD[threshold](x, g)],
                checks: [Check::over(-3.0, 3.0).numbers(&[0.3]).kink(|x, n| (x[0] - n[0]).abs())],
            }

            /// h times the derivative of [`HARDSWISH`] at x.
            pub HARDSWISH_GRAD = hardswish_grad(x, h) {
                wgsl: "if (x <= -3.0) { return 0.0; }
    if (x >= 3.0) { return h; }
    return h * (x / 3.0 + 0.5);",
                twin:
                    if x <= -3.0 {
                        0.0
                    } else if x >= 3.0 {
                        h
                    } else {
                        h * (x / 3.0 + 0.5)
                    }
                ,
                derivatives: [
                    HARDTANH_GRAD[-3.0, 3.0](x, AFFINE[0.333_333_34, 0.0](MUL(g, h))),
                    HARDSWISH_GRAD(x, g)
                ],
                checks: [Check::over(-5.0, 5.0).within(PARTS).kink(|x, _| (x[0].abs() - 3.0).abs())],
            }

            /// h times the derivative of [`GELU_TANH`] at x: s + x s (1 - s) u' with s = σ(u), u = 2 √(2/π) (x + 0.044715 x³).
            pub GELU_TANH_GRAD = gelu_tanh_grad(x, h) {
                wgsl: "let u = 1.5957691 * (x + 0.044715 * x * x * x);
    return h * (sigmoid(u) + x * (sigmoid_slope(u) * (1.5957691 + 0.21406445 * x * x)));",
                twin: {
                    let u = 1.595_769_2 * (x + 0.044_715 * x * x * x);
                    h * (math::sigmoid(u) + x * (math::sigmoid_slope(u) * (1.595_769_2 + 0.214_064_45 * x * x)))
                },
                derivatives: [
                    // s' u' (2 + x u' (1 - 2 s)) + x s' u'', with s' = s (1 - s), 1 - 2 s = -tanh(u / 2), u'' = 0.428 x.
                    MUL(g, SIGMOID_GRAD(
                        AFFINE[1.595_769_2, 0.0](MUL(x, AFFINE[0.044_715, 1.0](SQUARE(x)))),
                        MUL(h, ADD(
                            MUL(
                                AFFINE[0.214_064_45, 1.595_769_2](SQUARE(x)),
                                AFFINE[-1.0, 2.0](MUL(MUL(x, AFFINE[0.214_064_45, 1.595_769_2](SQUARE(x))), TANH(
                                    AFFINE[0.797_884_6, 0.0](MUL(x, AFFINE[0.044_715, 1.0](SQUARE(x))))
                                )))
                            ),
                            AFFINE[0.428_128_9, 0.0](SQUARE(x))
                        ))
                    )),
                    GELU_TANH_GRAD(x, g)
                ],
                checks: [Check::over(-3.0, 3.0).within(PARTS).smooth(-2.0, 2.0).may_vanish(|x, _| x[0].abs() > 6.0)],
            }
        }
    };
}

slope_functions!(functions);
