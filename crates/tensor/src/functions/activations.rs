//! Activations of neural networks.

use super::functions;
use crate::math;

functions! {
    /// max(x, 0).
    RELU = relu(x) {
        wgsl: "return select(x, 0.0, x < 0.0);",
        twin: math::relu(x),
    }
    /// x, or slope x if x is negative.
    LEAKY_RELU = leaky_relu(x; slope) {
        wgsl: "return select(x, slope * x, x < 0.0);",
        twin: if x < 0.0 { slope * x } else { x },
    }
    /// The hyperbolic tangent.
    TANH = tanh(x) {
        wgsl: "return safe_tanh(x);",
        twin: x.tanh(),
    }
    /// 1 / (1 + e^-x).
    SIGMOID = sigmoid(x) {
        wgsl: "return sigmoid(x);",
        twin: math::sigmoid(x),
    }
    /// x Φ(x).
    GELU = gelu(x) {
        wgsl: "return gelu(x);",
        // Below -14 the product vanishes in f32; at -∞ it is its limit.
        twin: if x < -14.0 { 0.0 } else { x * math::normal_cdf(x) },
    }
    /// x / (1 + e^-x).
    SILU = silu(x) {
        wgsl: "return x * sigmoid(x);",
        twin: x * math::sigmoid(x),
    }
    /// ln(1 + e^x).
    SOFTPLUS = softplus(x) {
        wgsl: "return softplus(x);",
        twin: math::softplus(x),
    }
}
