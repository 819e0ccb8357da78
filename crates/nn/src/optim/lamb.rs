//! LAMB.

use super::update::LambUpdate;

use crate::setting::check_adam;

/// LAMB (You et al.: Large batch optimization for deep learning: training BERT in 76 minutes, ICLR 2020), as `optax.lamb`:
/// [`AdamW`](super::AdamW)'s direction, as long for each tensor as its parameters are:
///
/// ```text
/// m  = beta1 m + (1 - beta1) grad,    v = beta2 v + (1 - beta2) grad²
/// u  = m / (1 - beta1ᵗ) / (√v / √(1 - beta2ᵗ) + eps) + weight_decay param
/// param = param - lr ‖param‖ / ‖u‖ u            (norms of the tensor; 1 for the ratio where one is 0)
/// ```
///
/// Three launches whatever the number of tensors, and those of clipping: moments and partial norms, trust ratios, the
/// step. 40 bytes moved per parameter, 8 of state. In software 0.5 to 0.8 of a copy's bandwidth: the moments alone take
/// as long as AdamW, and the step reads parameters and moments once more, with the root and the divisions again. PyTorch
/// has no LAMB; other libraries leave out bias correction, limit ‖param‖ to 10, or decay the weights by themselves, none
/// of which is here.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lamb {
    /// The learning rate: about the share of a tensor that a step changes. Default 1e-3.
    pub lr: f64,
    /// Decay rates of the first and the second moment. Default (0.9, 0.999).
    pub betas: (f64, f64),
    /// Added to the root of the second moment, after bias correction. Default 1e-6.
    pub eps: f64,
    /// Weight decay, within the direction. Default 0.
    pub weight_decay: f64,
    /// Whether to climb rather than to descend. Default false.
    pub maximize: bool,
}

impl Default for Lamb {
    fn default() -> Self {
        Self { lr: 1e-3, betas: (0.9, 0.999), eps: 1e-6, weight_decay: 0.0, maximize: false }
    }
}

fused_method! {
    Lamb "lamb", |settings|
    state: &["exp_avg", "exp_avg_sq"],
    momentum: Some(settings.betas.0),
    check: check_adam(settings.betas, settings.eps, settings.weight_decay),
    update: LambUpdate {
        betas: settings.betas,
        eps: settings.eps,
        weight_decay: settings.weight_decay,
        maximize: settings.maximize,
    },
}
