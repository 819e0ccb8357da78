//! Adan.

use super::update::AdanUpdate;

use crate::setting::{check_adam, fraction};

/// Adan (Xie et al.: Adan, adaptive Nesterov momentum algorithm for faster optimizing deep models, TPAMI 2024), as the
/// authors' own code:
///
/// ```text
/// d = grad - previous grad                        (0 at the first step)
/// m = beta1 m + (1 - beta1) grad,    v = beta2 v + (1 - beta2) d
/// n = beta3 n + (1 - beta3) (grad + beta2 d)²
/// param = (1 - lr weight_decay) param
///       - lr (m / (1 - beta1ᵗ) + beta2 v / (1 - beta2ᵗ)) / (√(n / (1 - beta3ᵗ)) + eps)
/// ```
///
/// One launch, three with clipping by the global norm; 44 bytes moved per parameter, 16 of state. In software 0.9 to 1 of
/// a copy's bandwidth: [why](crate::Optimizer#bandwidth-in-software). The betas are decay rates, 1 less the paper's.
/// optax multiplies differences by 1 - beta2, which is another method; PyTorch has none.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Adan {
    /// The learning rate. Default 1e-3.
    pub lr: f64,
    /// Decay rates of the moments of gradients, of their differences and of squares. Default (0.98, 0.92, 0.99).
    pub betas: (f64, f64, f64),
    /// Added to the root, after bias correction. Default 1e-8.
    pub eps: f64,
    /// Weight decay, decoupled. Default 0.
    pub weight_decay: f64,
    /// Whether to climb rather than to descend. Default false.
    pub maximize: bool,
}

impl Default for Adan {
    fn default() -> Self {
        Self { lr: 1e-3, betas: (0.98, 0.92, 0.99), eps: 1e-8, weight_decay: 0.0, maximize: false }
    }
}

fused_method! {
    Adan "adan", |settings|
    state: &["exp_avg", "exp_avg_diff", "exp_avg_sq", "previous_grad"],
    momentum: Some(settings.betas.0),
    check: {
        check_adam((settings.betas.0, settings.betas.1), settings.eps, settings.weight_decay)?;
        fraction("betas.2", settings.betas.2)
    },
    update: AdanUpdate {
        betas: settings.betas,
        eps: settings.eps,
        weight_decay: settings.weight_decay,
        maximize: settings.maximize,
    },
}
