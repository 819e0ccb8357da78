//! AMSGrad.

use super::update::AmsgradUpdate;

use crate::setting::check_adam;

/// AMSGrad (Reddi, Kale, Kumar: On the convergence of Adam and beyond, ICLR 2018), as `torch.optim.Adam` and `AdamW` with
/// `amsgrad`: [`Adam`](super::Adam) or [`AdamW`](super::AdamW) with the largest second moment so far:
///
/// ```text
/// g  = grad + weight_decay param                  (decoupled: param = (1 - lr weight_decay) param)
/// m  = beta1 m + (1 - beta1) g,    v = beta2 v + (1 - beta2) g²,    largest = max(largest, v)
/// param = param - lr / (1 - beta1ᵗ) m / (√largest / √(1 - beta2ᵗ) + eps)
/// ```
///
/// One launch, three with clipping by the global norm; 36 bytes moved per parameter, 12 of state. In software 0.9 to 1 of
/// a copy's bandwidth: [why](crate::Optimizer#bandwidth-in-software). optax takes the largest of the corrected second
/// moment, which is another method.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Amsgrad {
    /// The learning rate. Default 1e-3.
    pub lr: f64,
    /// Decay rates of the first and the second moment. Default (0.9, 0.999).
    pub betas: (f64, f64),
    /// Added to the root of the largest second moment, after bias correction. Default 1e-8.
    pub eps: f64,
    /// Weight decay. Default 0.
    pub weight_decay: f64,
    /// Whether weights decay by themselves rather than through the gradient. Default false.
    pub decoupled: bool,
    /// Whether to climb rather than to descend. Default false.
    pub maximize: bool,
}

impl Default for Amsgrad {
    fn default() -> Self {
        Self { lr: 1e-3, betas: (0.9, 0.999), eps: 1e-8, weight_decay: 0.0, decoupled: false, maximize: false }
    }
}

fused_method! {
    Amsgrad "amsgrad", |settings|
    state: &["exp_avg", "exp_avg_sq", "max_exp_avg_sq"],
    momentum: Some(settings.betas.0),
    check: check_adam(settings.betas, settings.eps, settings.weight_decay),
    update: AmsgradUpdate {
        betas: settings.betas,
        eps: settings.eps,
        weight_decay: settings.weight_decay,
        decoupled: settings.decoupled,
        maximize: settings.maximize,
    },
}
