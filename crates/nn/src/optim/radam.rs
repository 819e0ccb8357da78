//! RAdam.

use super::update::RAdamUpdate;

use crate::setting::check_adam;

/// RAdam (Liu et al.: On the variance of the adaptive learning rate and beyond, ICLR 2020), as `torch.optim.RAdam`:
/// momentum alone in the first steps, and then [`Adam`](super::Adam) with a rectified learning rate:
///
/// ```text
/// g = grad + weight_decay param                   (decoupled: param = (1 - lr weight_decay) param)
/// m = beta1 m + (1 - beta1) g,    v = beta2 v + (1 - beta2) g²
/// rho = rho∞ - 2 t beta2ᵗ / (1 - beta2ᵗ),    rho∞ = 2 / (1 - beta2) - 1
/// r = √((rho - 4) (rho - 2) rho∞ / ((rho∞ - 4) (rho∞ - 2) rho))
/// param = param - lr / (1 - beta1ᵗ) m (r √(1 - beta2ᵗ) / (√v + eps) where rho > 5, else 1)
/// ```
///
/// One launch, three with clipping by the global norm; 28 bytes moved per parameter, 8 of state. In software 0.9 to 1 of
/// a copy's bandwidth: [why](crate::Optimizer#bandwidth-in-software). Epsilon is added before the bias is corrected;
/// optax adds it behind.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RAdam {
    /// The learning rate. Default 1e-3.
    pub lr: f64,
    /// Decay rates of the first and the second moment. Default (0.9, 0.999).
    pub betas: (f64, f64),
    /// Added to the root of the second moment, before bias correction. Default 1e-8.
    pub eps: f64,
    /// Weight decay. Default 0.
    pub weight_decay: f64,
    /// Whether weights decay by themselves rather than through the gradient. Default false.
    pub decoupled: bool,
    /// Whether to climb rather than to descend. Default false.
    pub maximize: bool,
}

impl Default for RAdam {
    fn default() -> Self {
        Self { lr: 1e-3, betas: (0.9, 0.999), eps: 1e-8, weight_decay: 0.0, decoupled: false, maximize: false }
    }
}

fused_method! {
    RAdam "radam", |settings|
    state: &["exp_avg", "exp_avg_sq"],
    momentum: Some(settings.betas.0),
    check: check_adam(settings.betas, settings.eps, settings.weight_decay),
    update: RAdamUpdate {
        betas: settings.betas,
        eps: settings.eps,
        weight_decay: settings.weight_decay,
        decoupled: settings.decoupled,
        maximize: settings.maximize,
    },
}
