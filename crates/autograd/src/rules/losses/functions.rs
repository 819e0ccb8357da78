//! The element-wise functions of the losses.

use thalweg_tensor::functions;
use thalweg_tensor::functions::{
    ADD, AFFINE, CLAMP, CLAMP_GRAD, Check, DIV, EXACT, EXP, Elementwise, FEW_ULP, GT, LOG, LOG1P, MAXIMUM, MUL, NEG,
    RECIPROCAL, RELU_GRAD, SIGMOID, SIGMOID_GRAD, SIGN, SOFTPLUS, SQUARE, SUB, SUM, Tolerance,
};

/// All of them.
pub(super) static ALL: &[&Elementwise] = &[
    &SQUARED_ERROR,
    &ABSOLUTE_ERROR,
    &HUBER,
    &SMOOTH_L1,
    &QUANTILE,
    &POISSON,
    &POISSON_RATE,
    &STIRLING,
    &GAUSSIAN,
    &KL_DIVERGENCE,
    &KL_DIVERGENCE_OF_LOGS,
    &BINARY,
    &LOGISTIC,
    &LOGISTIC_GRAD,
    &WEIGHTED_LOGISTIC,
    &SOFT_MARGIN,
    &HINGE,
    &HINGE_EMBEDDING,
    &HINGE_EMBEDDING_GRAD,
    &MARGIN_RANKING,
    &COSINE_EMBEDDING,
    &COSINE_EMBEDDING_GRAD,
];

/// A quotient and a sum of numbers up to 10.
const QUOTIENT: Tolerance = EXACT.on_hardware(4e-6, 1e-6);

/// A sum of inexact parts with magnitudes up to 10, which may cancel.
const PARTS: Tolerance = Tolerance::new(5e-6, 1e-6);

/// A sum whose parts are ten times as large.
const CANCELLED: Tolerance = Tolerance::new(5e-6, 5e-6);

fn softplus(x: f32) -> f32 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

fn sigmoid(x: f32) -> f32 {
    let e = (-x.abs()).exp();
    (if x < 0.0 { e } else { 1.0 }) / (1.0 + e)
}

/// Returns the larger one; NaN wins.
fn maximum(x: f32, y: f32) -> f32 {
    if x.is_nan() || y.is_nan() { f32::NAN } else { x.max(y) }
}

/// The distance of the first two arguments.
fn apart(x: &[f32], _: &[f32]) -> f32 {
    (x[0] - x[1]).abs()
}

functions! {
    /// (x - y)², element by element.
    pub(super) SQUARED_ERROR = squared_error(x, y) {
        wgsl: "let d = x - y;
    return d * d;",
        twin: (x - y) * (x - y),
        derivatives: [AFFINE[2.0, 0.0](MUL(g, SUB(x, y))), AFFINE[-2.0, 0.0](MUL(g, SUB(x, y)))],
        checks: [Check::over(-3.0, 3.0)],
    }

    /// |x - y|, element by element.
    pub(super) ABSOLUTE_ERROR = absolute_error(x, y) {
        wgsl: "return abs(x - y);",
        twin: (x - y).abs(),
        derivatives: [MUL(g, SIGN(SUB(x, y))), NEG(MUL(g, SIGN(SUB(x, y))))],
        checks: [Check::over(-3.0, 3.0).kink(apart)],
    }

    /// (x - y)² / 2, or `delta` (|x - y| - `delta` / 2) if |x - y| is larger than `delta`, element by element.
    pub(super) HUBER = huber(x, y; delta) {
        wgsl: "let d = abs(x - y);
    return select(delta * (d - 0.5 * delta), 0.5 * d * d, d <= delta);",
        twin: {
            let d = (x - y).abs();
            if d <= delta { 0.5 * d * d } else { delta * (d - 0.5 * delta) }
        },
        derivatives: [MUL(g, CLAMP[-delta, delta](SUB(x, y))), NEG(MUL(g, CLAMP[-delta, delta](SUB(x, y))))],
        checks: [
            Check::over(-3.0, 3.0).numbers(&[1.0]).within(SUM).kink(|x, n| ((x[0] - x[1]).abs() - n[0]).abs()),
            Check::over(-3.0, 3.0).numbers(&[0.25]).within(SUM).kink(|x, n| ((x[0] - x[1]).abs() - n[0]).abs())
        ],
    }

    /// (x - y)² / (2 `beta`), or |x - y| - `beta` / 2 if |x - y| is not smaller than `beta`, element by element.
    pub(super) SMOOTH_L1 = smooth_l1(x, y; beta) {
        wgsl: "let d = abs(x - y);
    return select(d - 0.5 * beta, 0.5 * d * d / beta, d < beta);",
        twin: {
            let d = (x - y).abs();
            if d < beta { 0.5 * d * d / beta } else { d - 0.5 * beta }
        },
        derivatives: [
            MUL(g, CLAMP[-1.0, 1.0](AFFINE[1.0 / beta, 0.0](SUB(x, y)))),
            NEG(MUL(g, CLAMP[-1.0, 1.0](AFFINE[1.0 / beta, 0.0](SUB(x, y)))))
        ],
        checks: [
            Check::over(-3.0, 3.0).numbers(&[0.7]).within(QUOTIENT).kink(|x, n| ((x[0] - x[1]).abs() - n[0]).abs())
        ],
    }

    /// `tau` (y - x) where y is larger than x, else (1 - `tau`) (x - y), element by element.
    pub(super) QUANTILE = quantile_loss(x, y; tau) {
        wgsl: "let d = y - x;
    return maximum(tau * d, (tau - 1.0) * d);",
        twin: {
            let d = y - x;
            maximum(tau * d, (tau - 1.0) * d)
        },
        derivatives: [
            MUL(g, AFFINE[0.5, 0.5 - tau](SIGN(SUB(x, y)))),
            NEG(MUL(g, AFFINE[0.5, 0.5 - tau](SIGN(SUB(x, y)))))
        ],
        conventions: ["the slope where both are equal is the mean of those on the two sides" => "no such loss"],
        checks: [Check::over(-3.0, 3.0).numbers(&[0.9]).kink(apart)],
    }

    /// e^x - y x, element by element.
    pub(super) POISSON = poisson_nll(x, y) {
        wgsl: "return safe_exp(x) - y * x;",
        twin: x.exp() - y * x,
        derivatives: [MUL(g, SUB(EXP(x), y)), NEG(MUL(g, x))],
        checks: [Check::over(-2.0, 2.0).within(PARTS)],
    }

    /// x - y ln(x + `eps`), element by element.
    pub(super) POISSON_RATE = poisson_nll_of_rates(x, y; eps) {
        wgsl: "return x - y * safe_log(x + eps);",
        twin: x - y * (x + eps).ln(),
        derivatives: [
            MUL(g, AFFINE[-1.0, 1.0](DIV(y, AFFINE[1.0, eps](x)))),
            NEG(MUL(g, LOG(AFFINE[1.0, eps](x))))
        ],
        checks: [Check::over(0.1, 3.0).numbers(&[0.01]).within(CANCELLED).smooth(0.5, 2.0)],
    }

    /// Stirling's approximation of ln y!, or 0 if y is at most 1, element by element.
    pub(super) STIRLING = stirling(y) {
        wgsl: "if (y <= 1.0) { return 0.0; }
    return y * safe_log(y) - y + 0.5 * safe_log(6.2831855 * y);",
        twin:
            if y <= 1.0 { 0.0 } else { y * y.ln() - y + 0.5 * (std::f32::consts::TAU * y).ln() }
        ,
        derivatives: [
            MUL(g, MUL(GT(y, 1.0), ADD(LOG(MAXIMUM(y, 1.0)), DIV(0.5, MAXIMUM(y, 1.0)))))
        ],
        checks: [Check::over(0.0, 10.0).within(PARTS).smooth(0.0, 5.0).kink(|y, _| (y[0] - 1.0).abs())],
    }

    /// half of ln v + (x - y)² / v, plus `summand`, with v the variance or `eps` if that is larger, element by element.
    pub(super) GAUSSIAN = gaussian_nll(x, y, variance; eps, summand) {
        wgsl: "let v = maximum(variance, eps);
    let d = x - y;
    return 0.5 * (safe_log(v) + d * d / v) + summand;",
        twin: {
            let (v, d) = (maximum(variance, eps), x - y);
            0.5 * (v.ln() + d * d / v) + summand
        },
        derivatives: [
            DIV(MUL(g, SUB(x, y)), CLAMP[eps, f32::INFINITY](variance)),
            NEG(DIV(MUL(g, SUB(x, y)), CLAMP[eps, f32::INFINITY](variance))),
            AFFINE[0.5, 0.0](MUL(g, SUB(
                RECIPROCAL(CLAMP[eps, f32::INFINITY](variance)),
                SQUARE(DIV(SUB(x, y), CLAMP[eps, f32::INFINITY](variance)))
            )))
        ],
        conventions: ["the bound of the variance passes the gradient" => "the same"],
        checks: [Check::over(0.3, 3.0).numbers(&[0.01, 0.25]).within(PARTS).smooth(0.7, 2.0)],
    }

    /// y (ln y - x), or 0 where y is 0, element by element.
    pub(super) KL_DIVERGENCE = kl_divergence(x, y) {
        wgsl: "return y * (select(safe_log(y), 0.0, y == 0.0) - x);",
        twin: y * ((if y == 0.0 { 0.0 } else { y.ln() }) - x),
        derivatives: [NEG(MUL(g, y)), MUL(g, AFFINE[1.0, 1.0](SUB(LOG(y), x)))],
        checks: [Check::over(0.0, 3.0).within(PARTS).smooth(0.3, 2.0)],
    }

    /// e^y (y - x), element by element.
    pub(super) KL_DIVERGENCE_OF_LOGS = kl_divergence_of_logs(x, y) {
        wgsl: "return safe_exp(y) * (y - x);",
        twin: y.exp() * (y - x),
        derivatives: [NEG(MUL(g, EXP(y))), MUL(g, ADD(result, EXP(y)))],
        checks: [Check::over(-2.0, 2.0).within(FEW_ULP)],
    }

    /// -y ln x - (1 - y) ln(1 - x), with logarithms of at least -100, element by element.
    pub(super) BINARY = binary_cross_entropy(x, y) {
        wgsl: "return (y - 1.0) * maximum(log1p(-x), -100.0) - y * maximum(safe_log(x), -100.0);",
        twin: (y - 1.0) * maximum((-x).ln_1p(), -100.0) - y * maximum(x.ln(), -100.0),
        derivatives: [
            DIV(MUL(g, SUB(x, y)), CLAMP[1e-12, f32::INFINITY](MUL(x, AFFINE[-1.0, 1.0](x)))),
            MUL(g, SUB(CLAMP[-100.0, f32::INFINITY](LOG1P(NEG(x))), CLAMP[-100.0, f32::INFINITY](LOG(x))))
        ],
        conventions: ["x (1 - x) in the derivative is at least 1e-12" => "the same"],
        checks: [Check::over(0.01, 0.99).within(PARTS).smooth(0.25, 0.75)],
    }

    /// -y ln σ(x) - (1 - y) ln(1 - σ(x)), element by element, without overflow.
    pub(super) LOGISTIC = binary_cross_entropy_with_logits(x, y) {
        wgsl: "return y * softplus(-x) + (1.0 - y) * softplus(x);",
        twin: y * softplus(-x) + (1.0 - y) * softplus(x),
        derivatives: [LOGISTIC_GRAD(x, y, g), NEG(MUL(g, x))],
        checks: [Check::over(-3.0, 3.0).within(PARTS).smooth(-2.0, 2.0)],
    }

    /// h (σ(x) - y), element by element, accurate where the difference is small.
    pub(super) LOGISTIC_GRAD = binary_cross_entropy_with_logits_grad(x, y, h) {
        wgsl: "return h * ((1.0 - y) * sigmoid(x) - y * sigmoid(-x));",
        twin: h * ((1.0 - y) * sigmoid(x) - y * sigmoid(-x)),
        derivatives: [SIGMOID_GRAD(x, MUL(g, h)), NEG(MUL(g, h)), LOGISTIC_GRAD(x, y, g)],
        checks: [Check::over(-3.0, 3.0).within(PARTS).smooth(-2.0, 2.0)],
    }

    /// -p y ln σ(x) - (1 - y) ln(1 - σ(x)), element by element, without overflow.
    pub(super) WEIGHTED_LOGISTIC = weighted_binary_cross_entropy_with_logits(x, y, p) {
        wgsl: "return y * (p * softplus(-x)) + (1.0 - y) * softplus(x);",
        twin: y * (p * softplus(-x)) + (1.0 - y) * softplus(x),
        derivatives: [
            MUL(g, SUB(MUL(AFFINE[-1.0, 1.0](y), SIGMOID(x)), MUL(MUL(y, p), SIGMOID(NEG(x))))),
            MUL(g, SUB(MUL(p, SOFTPLUS(NEG(x))), SOFTPLUS(x))),
            MUL(g, MUL(y, SOFTPLUS(NEG(x))))
        ],
        // The parts cancel if a target is not between 0 and 1. From 103 on exponentials are the smallest numbers, of which
        // a shader's logarithm is 0.
        checks: [Check::over(-3.0, 3.0).within(Tolerance::new(2e-5, 2e-5)).smooth(-2.0, 2.0).up_to(100.0)],
    }

    /// ln(1 + e^(-x y)), element by element, without overflow.
    pub(super) SOFT_MARGIN = soft_margin(x, y) {
        wgsl: "return softplus(-(x * y));",
        twin: softplus(-(x * y)),
        derivatives: [
            NEG(MUL(g, MUL(y, SIGMOID(NEG(MUL(x, y)))))),
            NEG(MUL(g, MUL(x, SIGMOID(NEG(MUL(x, y))))))
        ],
        checks: [Check::over(-3.0, 3.0).within(PARTS).smooth(-1.5, 1.5)],
    }

    /// 1 - x y, or 0 if that is negative, element by element.
    pub(super) HINGE = hinge(x, y) {
        wgsl: "return maximum(1.0 - x * y, 0.0);",
        twin: maximum(1.0 - x * y, 0.0),
        derivatives: [NEG(MUL(y, RELU_GRAD(result, g))), NEG(MUL(x, RELU_GRAD(result, g)))],
        conventions: ["the derivative where x y is 1 is 0" => "the same, of relu(1 - x y)"],
        checks: [Check::over(-3.0, 3.0).within(SUM).kink(|x, _| 0.25 * (x[0] * x[1] - 1.0).abs())],
    }

    /// x unless y is -1, plus the positive part of `margin` - x unless y is 1, element by element.
    pub(super) HINGE_EMBEDDING = hinge_embedding(x, y; margin) {
        wgsl: "return select(x, 0.0, y == -1.0) + select(maximum(margin - x, 0.0), 0.0, y == 1.0);",
        twin:
            (if y == -1.0 { 0.0 } else { x }) + (if y == 1.0 { 0.0 } else { maximum(margin - x, 0.0) })
        ,
        derivatives: [HINGE_EMBEDDING_GRAD[margin](x, y, g), flat],
        conventions: ["the derivative where x is `margin` is that of smaller x" => "the same"],
        checks: [Check::over(-3.0, 3.0).numbers(&[1.2]).kink(|x, n| (x[0] - n[0]).abs())],
    }

    /// h times the derivative of the loss of hinge embeddings at x.
    pub(super) HINGE_EMBEDDING_GRAD = hinge_embedding_grad(x, y, h; margin) {
        wgsl: "return select(h, 0.0, y == -1.0) - select(h, 0.0, y == 1.0 || x > margin);",
        twin:
            (if y == -1.0 { 0.0 } else { h }) - (if y == 1.0 || x > margin { 0.0 } else { h })
        ,
        derivatives: [flat, flat, HINGE_EMBEDDING_GRAD[margin](x, y, g)],
        checks: [Check::over(-3.0, 3.0).numbers(&[1.2]).kink(|x, n| (x[0] - n[0]).abs())],
    }

    /// `margin` - t (x - y), or 0 if that is negative, element by element.
    pub(super) MARGIN_RANKING = margin_ranking(x, y, t; margin) {
        wgsl: "return maximum(margin - t * (x - y), 0.0);",
        twin: maximum(margin - t * (x - y), 0.0),
        derivatives: [
            NEG(MUL(t, CLAMP_GRAD[0.0, f32::INFINITY](AFFINE[-1.0, margin](MUL(t, SUB(x, y))), g))),
            MUL(t, CLAMP_GRAD[0.0, f32::INFINITY](AFFINE[-1.0, margin](MUL(t, SUB(x, y))), g)),
            NEG(MUL(SUB(x, y), CLAMP_GRAD[0.0, f32::INFINITY](AFFINE[-1.0, margin](MUL(t, SUB(x, y))), g)))
        ],
        conventions: ["the bound of 0 passes the gradient" => "the same"],
        checks: [
            Check::over(-3.0, 3.0)
                .numbers(&[0.2])
                .within(EXACT.on_hardware(5e-6, 2e-7))
                .kink(|x, n| 0.1 * (n[0] - x[2] * (x[0] - x[1])).abs())
        ],
    }

    /// 1 - c where y is 1, the positive part of c - `margin` where it is -1, else 0, element by element.
    pub(super) COSINE_EMBEDDING = cosine_embedding(c, y; margin) {
        wgsl: "return select(0.0, 1.0 - c, y == 1.0) + select(0.0, maximum(c - margin, 0.0), y == -1.0);",
        twin:
            (if y == 1.0 { 1.0 - c } else { 0.0 }) + (if y == -1.0 { maximum(c - margin, 0.0) } else { 0.0 })
        ,
        derivatives: [COSINE_EMBEDDING_GRAD[margin](c, y, g), flat],
        conventions: ["the derivative where c is `margin` is that of larger c" => "the same"],
        checks: [Check::over(-1.0, 1.0).numbers(&[0.1]).without_gradients()],
    }

    /// h times the derivative of the loss of cosine embeddings at c.
    pub(super) COSINE_EMBEDDING_GRAD = cosine_embedding_grad(c, y, h; margin) {
        wgsl: "return select(0.0, h, y == -1.0 && c >= margin) - select(0.0, h, y == 1.0);",
        twin:
            (if y == -1.0 && c >= margin { h } else { 0.0 }) - (if y == 1.0 { h } else { 0.0 })
        ,
        derivatives: [flat, flat, COSINE_EMBEDDING_GRAD[margin](c, y, g)],
        checks: [Check::over(-1.0, 1.0).numbers(&[0.1]).without_gradients()],
    }
}
