//! Activations of neural networks.

use super::*;
use crate::functions;
use crate::math;

/// Calls a macro with the entries of this file.
#[doc(hidden)]
#[macro_export]
macro_rules! activation_functions {
    ($callback:ident $($extra:tt)*) => {
        $callback! {
            $($extra)*

            /// max(x, 0), element by element.
            pub RELU = relu(x) {
                wgsl: "return select(x, 0.0, x < 0.0);",
                twin: math::relu(x),
                derivatives: [RELU_GRAD(result, g)],
                conventions: [
                    "NaN stays, with a derivative of 1" => "the same",
                    "the derivative at 0 is 0" => "the same"
                ],
                checks: [Check::over(-1.0, 1.0).kink(|x, _| x[0].abs())],
            }

            /// x, or `slope` x if x is negative, element by element.
            pub LEAKY_RELU = leaky_relu(x; slope) {
                wgsl: "return select(x, slope * x, x < 0.0);",
                twin: if x < 0.0 { slope * x } else { x },
                derivatives: [LEAKY_RELU_GRAD[slope](x, g)],
                conventions: [
                    "NaN stays, with a derivative of `slope`" => "the same",
                    "the derivative at 0 is `slope`" => "the same"
                ],
                checks: [Check::over(-10.0, 10.0).numbers(&[0.01]).smooth(-2.0, 2.0).kink(|x, _| x[0].abs())],
            }

            /// the hyperbolic tangent of x, element by element.
            pub TANH = tanh(x) {
                wgsl: "return safe_tanh(x);",
                twin: x.tanh(),
                derivatives: [TANH_GRAD(x, g)],
                conventions: ["the derivative is sech² x, accurate far from 0" => "1 - result², which is 0 there"],
                checks: [Check::over(-10.0, 10.0).within(FEW_ULP).smooth(-2.0, 2.0)],
            }

            /// 1 / (1 + e^-x), element by element: the logistic function σ.
            pub SIGMOID = sigmoid(x) {
                wgsl: "return sigmoid(x);",
                twin: math::sigmoid(x),
                derivatives: [SIGMOID_GRAD(x, g)],
                conventions: [
                    "the derivative is σ(x) σ(-x), accurate far from 0" => "result (1 - result), which is 0 far above 0"
                ],
                checks: [Check::over(-90.0, 90.0).within(MORE_ULP).smooth(-3.0, 3.0)],
            }

            /// x Φ(x), element by element, with the normal distribution's Φ: the Gaussian error linear unit in its exact
            /// form by the error function (Hendrycks, Gimpel, 2016).
            pub GELU = gelu(x) {
                wgsl: "return gelu(x);",
                // Below -14 the product vanishes in f32; at -∞ this is the limit.
                twin: if x < -14.0 { 0.0 } else { x * math::normal_cdf(x) },
                derivatives: [GELU_GRAD(x, g)],
                conventions: [
                    "0 at -∞, its limit" => "NaN",
                    "the derivative at infinities is NaN" => "the same"
                ],
                checks: [Check::over(-15.0, 15.0).within(ERFC_TOLERANCE).smooth(-2.0, 2.0)],
            }

            /// x / (1 + e^-x), element by element: the sigmoid linear unit, also called swish (Elfwing, Uchibe, Doya, 2018).
            pub SILU = silu(x) {
                wgsl: "return x * sigmoid(x);",
                twin: x * math::sigmoid(x),
                derivatives: [SILU_GRAD(x, g)],
                conventions: ["NaN at -∞, and so is the derivative" => "the same"],
                checks: [Check::over(-90.0, 90.0).within(MORE_ULP).smooth(-3.0, 3.0)],
            }

            /// ln(1 + e^x), element by element, without overflow.
            pub SOFTPLUS = softplus(x) {
                wgsl: "return softplus(x);",
                twin: math::softplus(x),
                derivatives: [MUL(g, SIGMOID(x))],
                conventions: ["by the formula for all x" => "x above 20, by default"],
                checks: [Check::over(-90.0, 90.0).within(MORE_ULP).smooth(-3.0, 3.0)],
            }

            /// λ x, or λ α (e^x - 1) if x is negative, element by element, with λ = 1.0507 and α = 1.6733: the scaled exponential
            /// linear unit (Klambauer et al., 2017).
            pub SELU = selu(x) {
                wgsl: "return select(1.7580993 * expm1(x), 1.050701 * x, x > 0.0);",
                twin: if x > 0.0 { 1.050701 * x } else { 1.7580993 * x.exp_m1() },
                // λ where x is positive, else λ α e^x.
                derivatives: [
                    AFFINE[1.050701, 0.0](LEAKY_RELU_GRAD[1.6732632](x, MUL(g, EXP(MINIMUM(x, 0.0)))))
                ],
                conventions: ["the derivative at 0 is λ α" => "the same"],
                checks: [Check::over(-10.0, 10.0).within(MORE_ULP).smooth(-2.0, 2.0).kink(|x, _| x[0].abs())],
            }

            /// min(max(x, 0), 6), element by element.
            pub RELU6 = relu6(x) {
                wgsl: "return minimum(maximum(x, 0.0), 6.0);",
                twin: math::minimum(math::maximum(x, 0.0), 6.0),
                derivatives: [HARDTANH_GRAD[0.0, 6.0](x, g)],
                conventions: ["the derivatives at 0 and 6 are 0" => "the same"],
                checks: [Check::over(-3.0, 9.0).kink(|x, _| x[0].abs().min((x[0] - 6.0).abs()))],
            }

            /// x, or `weight` x if x is negative, element by element, with learned weights (He et al., 2015).
            pub PRELU = prelu(x, weight) {
                wgsl: "return select(x, weight * x, x < 0.0);",
                twin: if x < 0.0 { weight * x } else { x },
                derivatives: [
                    MUL(g, WHERE_COND(GT(x, 0.0), 1.0, weight)),
                    MUL(g, MINIMUM(x, 0.0))
                ],
                conventions: ["the derivative at 0 is `weight`" => "the same"],
                checks: [Check::over(-2.0, 2.0).kink(|x, _| x[0].abs())],
            }

            /// x, or `alpha` (e^x - 1) if x is negative, element by element: the exponential linear unit (Clevert et al., 2015).
            pub ELU = elu(x; alpha) {
                wgsl: "return select(alpha * expm1(x), x, x > 0.0);",
                twin: if x > 0.0 { x } else { alpha * x.exp_m1() },
                derivatives: [LEAKY_RELU_GRAD[alpha](x, MUL(g, EXP(MINIMUM(x, 0.0))))],
                conventions: ["the derivative at 0 is `alpha`" => "the same"],
                checks: [
                    Check::over(-10.0, 10.0).numbers(&[1.0]).within(MORE_ULP).smooth(-2.0, 2.0).kink(|x, _| x[0].abs()),
                    Check::over(-10.0, 10.0).numbers(&[0.5]).within(MORE_ULP).smooth(-2.0, 2.0).kink(|x, _| x[0].abs())
                ],
            }

            /// x, or `alpha` (e^(x / alpha) - 1) if x is negative, element by element: the continuously differentiable exponential
            /// linear unit (Barron, 2017).
            pub CELU = celu(x; alpha) {
                wgsl: "return select(alpha * expm1(x / alpha), x, x > 0.0);",
                twin: if x > 0.0 { x } else { alpha * (x / alpha).exp_m1() },
                derivatives: [MUL(g, EXP(AFFINE[1.0 / alpha, 0.0](MINIMUM(x, 0.0))))],
                checks: [Check::over(-10.0, 10.0).numbers(&[0.7]).within(MORE_ULP).smooth(-2.0, 2.0).kink(|x, _| x[0].abs())],
            }

            /// x tanh(softplus(x)), element by element (Misra, 2019).
            pub MISH = mish(x) {
                wgsl: "return mish(x);",
                twin: math::mish(x),
                derivatives: [
                    MUL(g, ADD(TANH(SOFTPLUS(x)), MUL(MUL(x, SIGMOID(x)), TANH_GRAD(SOFTPLUS(x), 1.0))))
                ],
                conventions: ["NaN at -∞, and so is the derivative" => "the same"],
                checks: [Check::over(-20.0, 20.0).within(MORE_ULP).smooth(-2.0, 2.0)],
            }

            /// x Φ(x) with Φ by the hyperbolic tangent, element by element: x σ(2 √(2/π) (x + 0.044715 x³)). It is PyTorch's `gelu`
            /// with `approximate='tanh'` (Hendrycks, Gimpel, 2016).
            pub GELU_TANH = gelu_tanh(x) {
                wgsl: "if (x < -14.0) { return 0.0; }
    return x * sigmoid(1.5957691 * (x + 0.044715 * x * x * x));",
                twin:
                    if x < -14.0 { 0.0 } else { x * math::sigmoid(1.595_769_2 * (x + 0.044_715 * x * x * x)) }
                ,
                derivatives: [GELU_TANH_GRAD(x, g)],
                conventions: ["0 at -∞, its limit" => "NaN", "the derivative at infinities is NaN" => "the same"],
                checks: [Check::over(-10.0, 10.0).within(POWER).smooth(-2.0, 2.0)],
            }

            /// ln σ(x), element by element, without overflow.
            pub LOGSIGMOID = logsigmoid(x) {
                wgsl: "return -softplus(-x);",
                twin: -math::softplus(-x),
                derivatives: [MUL(g, SIGMOID(NEG(x)))],
                checks: [Check::over(-90.0, 90.0).within(MORE_ULP).smooth(-3.0, 3.0)],
            }

            /// x / (1 + |x|), element by element.
            pub SOFTSIGN = softsign(x) {
                wgsl: "return x / (1.0 + abs(x));",
                twin: x / (1.0 + x.abs()),
                derivatives: [DIV(g, SQUARE(AFFINE[1.0, 1.0](ABS(x))))],
                conventions: ["NaN at infinities" => "the same"],
                checks: [Check::over(-10.0, 10.0).within(ROUNDED).smooth(-2.0, 2.0).kink(|x, _| x[0].abs())],
            }
        }
    };
}

activation_functions!(functions);

#[cfg(test)]
mod tests {
    use crate::{Device, Tensor};

    #[test]
    fn selu_is_the_formula_of_its_paper() {
        let (lambda, alpha) = (1.050_700_987_355_480_5_f64, 1.673_263_242_354_377_2_f64);
        let x = [-20.0, -1.0, -0.1, -1e-6, 0.0, 1e-6, 0.5, 30.0f32];
        let y = Tensor::from_slice(&Device::cpu(), &x, &[x.len()]).unwrap().selu().unwrap().to_vec::<f32>().unwrap();
        for (x, y) in x.into_iter().map(f64::from).zip(y.into_iter().map(f64::from)) {
            let expected = if x > 0.0 { lambda * x } else { lambda * alpha * x.exp_m1() };
            // The errors of the constant, of the exponential and of the product.
            assert!((y - expected).abs() <= 3e-7 * expected.abs(), "{x}: {y} and not {expected}");
        }
    }
}
