//! Adamax.

use super::update::AdamaxUpdate;

use crate::setting::check_adam;

/// Adamax (Kingma, Ba: Adam: a method for stochastic optimization, ICLR 2015, section 7.1), as `torch.optim.Adamax`:
///
/// ```text
/// g = grad + weight_decay param
/// m = beta1 m + (1 - beta1) g,    u = max(beta2 u, |g| + eps)
/// param = param - lr / (1 - beta1ᵗ) m / u
/// ```
///
/// One launch, three with clipping by the global norm; 28 bytes moved per parameter, 8 of state. In software 0.9 to 1 of
/// a copy's bandwidth: [why](crate::Optimizer#bandwidth-in-software). optax adds epsilon in the same place.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Adamax {
    /// The learning rate. Default 2e-3.
    pub lr: f64,
    /// Decay rates of the first moment and of the largest gradient. Default (0.9, 0.999).
    pub betas: (f64, f64),
    /// Added to the magnitude of the gradient. Default 1e-8.
    pub eps: f64,
    /// Weight decay through the gradient (L2). Default 0.
    pub weight_decay: f64,
    /// Whether to climb rather than to descend. Default false.
    pub maximize: bool,
}

impl Default for Adamax {
    fn default() -> Self {
        Self { lr: 2e-3, betas: (0.9, 0.999), eps: 1e-8, weight_decay: 0.0, maximize: false }
    }
}

fused_method! {
    Adamax "adamax", |settings|
    state: &["exp_avg", "exp_inf"],
    momentum: Some(settings.betas.0),
    check: check_adam(settings.betas, settings.eps, settings.weight_decay),
    update: AdamaxUpdate {
        betas: settings.betas,
        eps: settings.eps,
        weight_decay: settings.weight_decay,
        maximize: settings.maximize,
    },
}
