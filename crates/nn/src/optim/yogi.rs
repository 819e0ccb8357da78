//! Yogi.

use super::update::YogiUpdate;

use crate::setting::{check_adam, not_negative};

/// Yogi (Zaheer et al.: Adaptive methods for nonconvex optimization, NeurIPS 2018), as `optax.yogi`: [`Adam`](super::Adam)
/// whose second moment changes by no more than the square of the gradient:
///
/// ```text
/// g = grad + weight_decay param
/// m = beta1 m + (1 - beta1) g,    v = v - (1 - beta2) sign(v - g²) g²
/// param = param - lr / (1 - beta1ᵗ) m / (√(v / (1 - beta2ᵗ)) + eps)
/// ```
///
/// One launch, three with clipping by the global norm; 28 bytes moved per parameter, 8 of state. In software 0.9 to 1 of
/// a copy's bandwidth: [why](crate::Optimizer#bandwidth-in-software). Both moments begin with
/// `initial_accumulator_value`, as in optax. PyTorch has not this method.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Yogi {
    /// The learning rate. Default 1e-2.
    pub lr: f64,
    /// Decay rates of the first and the second moment. Default (0.9, 0.999).
    pub betas: (f64, f64),
    /// Added to the root of the second moment, after bias correction. Default 1e-3.
    pub eps: f64,
    /// Where both moments begin. Default 1e-6.
    pub initial_accumulator_value: f64,
    /// Weight decay through the gradient (L2). Default 0.
    pub weight_decay: f64,
    /// Whether to climb rather than to descend. Default false.
    pub maximize: bool,
}

impl Default for Yogi {
    fn default() -> Self {
        Self {
            lr: 1e-2,
            betas: (0.9, 0.999),
            eps: 1e-3,
            initial_accumulator_value: 1e-6,
            weight_decay: 0.0,
            maximize: false,
        }
    }
}

fused_method! {
    Yogi "yogi", |settings|
    state: &["exp_avg", "exp_avg_sq"],
    momentum: Some(settings.betas.0),
    check: {
        check_adam(settings.betas, settings.eps, settings.weight_decay)?;
        not_negative("initial_accumulator_value", settings.initial_accumulator_value)
    },
    update: YogiUpdate {
        betas: settings.betas,
        eps: settings.eps,
        initial_accumulator_value: settings.initial_accumulator_value,
        weight_decay: settings.weight_decay,
        maximize: settings.maximize,
    },
}
