//! NovoGrad.

use super::update::NovoGradUpdate;

use crate::setting::check_adam;

/// NovoGrad (Ginsburg et al.: Stochastic gradient methods with layer-wise adaptive moments for training of deep networks,
/// 2019), as `optax.novograd`: the second moment is one number for each tensor:
///
/// ```text
/// v = ‖grad‖² at the first step, then beta2 v + (1 - beta2) ‖grad‖²
/// m = beta1 m + (grad / (√v + eps) + weight_decay param)
/// param = param - lr m
/// ```
///
/// There are no bias corrections, and the first moment is a sum, not an average. Three launches whatever the number of
/// tensors, and those of clipping: partial norms, second moments, the step. 28 bytes moved per parameter, 4 of state. In
/// software 0.6 to 0.8 of a copy's bandwidth: the norms read 8 of these bytes, and take seven tenths as long as the step
/// with its 20, for their products and sums. PyTorch has no NovoGrad.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NovoGrad {
    /// The learning rate. Default 1e-3.
    pub lr: f64,
    /// Decay rates of the first and the second moment. Default (0.9, 0.25).
    pub betas: (f64, f64),
    /// Added to the root of the second moment. Default 1e-6.
    pub eps: f64,
    /// Weight decay, within the first moment. Default 0.
    pub weight_decay: f64,
    /// Whether to climb rather than to descend. Default false.
    pub maximize: bool,
}

impl Default for NovoGrad {
    fn default() -> Self {
        Self { lr: 1e-3, betas: (0.9, 0.25), eps: 1e-6, weight_decay: 0.0, maximize: false }
    }
}

fused_method! {
    NovoGrad "novograd", |settings|
    state: &["exp_avg", "exp_avg_sq"],
    momentum: Some(settings.betas.0),
    check: check_adam(settings.betas, settings.eps, settings.weight_decay),
    update: NovoGradUpdate {
        betas: settings.betas,
        eps: settings.eps,
        weight_decay: settings.weight_decay,
        maximize: settings.maximize,
    },
}
