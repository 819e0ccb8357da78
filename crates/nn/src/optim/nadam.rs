//! NAdam.

use super::update::NAdamUpdate;

use crate::setting::{check_adam, not_negative};

/// NAdam (Dozat: Incorporating Nesterov momentum into Adam, ICLR workshop 2016), as `torch.optim.NAdam`:
///
/// ```text
/// g = grad + weight_decay param                   (decoupled: param = (1 - lr weight_decay) param)
/// m = beta1 m + (1 - beta1) g,    v = beta2 v + (1 - beta2) g²
/// muₜ = beta1 (1 - ½ 0.96^(t momentum_decay)),    Πₜ = mu₁ mu₂ … muₜ
/// d = √(v / (1 - beta2ᵗ)) + eps
/// param = param - lr ((1 - muₜ) / (1 - Πₜ) g + muₜ₊₁ / (1 - Πₜ muₜ₊₁) m) / d
/// ```
///
/// One launch, three with clipping by the global norm; 28 bytes moved per parameter, 8 of state. In software 0.9 to 1 of
/// a copy's bandwidth: [why](crate::Optimizer#bandwidth-in-software). optax has no schedule of mu, which is another
/// method.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NAdam {
    /// The learning rate. Default 2e-3.
    pub lr: f64,
    /// Decay rates of the first and the second moment. Default (0.9, 0.999).
    pub betas: (f64, f64),
    /// Added to the root of the second moment, after bias correction. Default 1e-8.
    pub eps: f64,
    /// How fast mu rises to beta1. Default 4e-3.
    pub momentum_decay: f64,
    /// Weight decay. Default 0.
    pub weight_decay: f64,
    /// Whether weights decay by themselves rather than through the gradient. Default false.
    pub decoupled: bool,
    /// Whether to climb rather than to descend. Default false.
    pub maximize: bool,
}

impl Default for NAdam {
    fn default() -> Self {
        Self {
            lr: 2e-3,
            betas: (0.9, 0.999),
            eps: 1e-8,
            momentum_decay: 4e-3,
            weight_decay: 0.0,
            decoupled: false,
            maximize: false,
        }
    }
}

fused_method! {
    NAdam "nadam", |settings|
    state: &["exp_avg", "exp_avg_sq"],
    momentum: Some(settings.betas.0),
    check: {
        check_adam(settings.betas, settings.eps, settings.weight_decay)?;
        not_negative("momentum_decay", settings.momentum_decay)
    },
    update: NAdamUpdate {
        betas: settings.betas,
        eps: settings.eps,
        momentum_decay: settings.momentum_decay,
        weight_decay: settings.weight_decay,
        decoupled: settings.decoupled,
        maximize: settings.maximize,
    },
}
