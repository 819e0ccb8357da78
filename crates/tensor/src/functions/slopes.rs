//! Derivatives that have a function of their own, times a cotangent, so that they are one launch.

use super::functions;
use crate::math;

functions! {
    /// The cotangent g where x, the input or the output of a ReLU, is positive.
    RELU_GRAD = relu_grad(x, g) {
        wgsl: "return select(g, 0.0, x <= 0.0);",
        twin: math::relu_grad(x, g),
    }
    /// The cotangent g times 1 - x², x the output of a tanh.
    TANH_GRAD = tanh_grad(x, g) {
        wgsl: "return g * (1.0 - x * x);",
        twin: g * (1.0 - x * x),
    }
    /// The cotangent g times x (1 - x), x the output of a sigmoid.
    SIGMOID_GRAD = sigmoid_grad(x, g) {
        wgsl: "return g * (x * (1.0 - x));",
        twin: g * (x * (1.0 - x)),
    }
    /// The cotangent g times the derivative of x Φ(x).
    GELU_GRAD = gelu_grad(x, g) {
        wgsl: "return g * (normal_cdf(x) + x * normal_density(x));",
        twin: g * (math::normal_cdf(x) + x * math::normal_density(x)),
    }
    /// The cotangent g times the derivative of x / (1 + e^-x).
    SILU_GRAD = silu_grad(x, g) {
        wgsl: "let s = sigmoid(x);
    return g * (s * (1.0 + x * (1.0 - s)));",
        twin: {
            let s = math::sigmoid(x);
            g * (s * (1.0 + x * (1.0 - s)))
        },
    }
}
