//! AdaBelief.

use super::update::AdaBeliefUpdate;

use crate::setting::{check_adam, not_negative};

/// AdaBelief (Zhuang et al.: AdaBelief optimizer, adapting stepsizes by the belief in observed gradients, NeurIPS 2020), as
/// `optax.adabelief`:
///
/// ```text
/// m = beta1 m + (1 - beta1) grad,    s = beta2 s + (1 - beta2) (grad - m)² + eps_root
/// param = (1 - lr weight_decay) param - lr / (1 - beta1ᵗ) m / (√(s / (1 - beta2ᵗ)) + eps)
/// ```
///
/// One launch, three with clipping by the global norm; 28 bytes moved per parameter, 8 of state. In software 0.9 to 1 of
/// a copy's bandwidth: [why](crate::Optimizer#bandwidth-in-software). `eps_root` stays in the average, as in optax and in
/// the paper's own code. PyTorch has not this method.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdaBelief {
    /// The learning rate. Default 1e-3.
    pub lr: f64,
    /// Decay rates of the first and the second moment. Default (0.9, 0.999).
    pub betas: (f64, f64),
    /// Added to the root, after bias correction. Default 1e-16.
    pub eps: f64,
    /// Added to the average at every step. Default 1e-16.
    pub eps_root: f64,
    /// Weight decay, decoupled. Default 0.
    pub weight_decay: f64,
    /// Whether to climb rather than to descend. Default false.
    pub maximize: bool,
}

impl Default for AdaBelief {
    fn default() -> Self {
        Self { lr: 1e-3, betas: (0.9, 0.999), eps: 1e-16, eps_root: 1e-16, weight_decay: 0.0, maximize: false }
    }
}

fused_method! {
    AdaBelief "adabelief", |settings|
    state: &["exp_avg", "exp_avg_var"],
    momentum: Some(settings.betas.0),
    check: {
        check_adam(settings.betas, settings.eps, settings.weight_decay)?;
        not_negative("eps_root", settings.eps_root)
    },
    update: AdaBeliefUpdate {
        betas: settings.betas,
        eps: settings.eps,
        eps_root: settings.eps_root,
        weight_decay: settings.weight_decay,
        maximize: settings.maximize,
    },
}
