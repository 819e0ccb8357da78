//! Lion.

use super::update::LionUpdate;

use crate::setting::{fraction, not_negative};

/// Lion (Chen et al.: Symbolic discovery of optimization algorithms, NeurIPS 2023), as `optax.lion`: every parameter
/// moves by the learning rate, in the direction that the sign says:
///
/// ```text
/// u = sign(beta1 m + (1 - beta1) grad)
/// m = beta2 m + (1 - beta2) grad
/// param = param - lr (u + weight_decay param)
/// ```
///
/// One launch, three with clipping by the global norm; 20 bytes moved per parameter, 4 of state. In software 0.9 to 1 of
/// a copy's bandwidth: [why](crate::Optimizer#bandwidth-in-software). Learning rates are three to ten times smaller than
/// Adam's, and weight decay larger in turn. PyTorch has not this method.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lion {
    /// The learning rate. Default 1e-4.
    pub lr: f64,
    /// What the moment has of the direction, and its decay rate. Default (0.9, 0.99).
    pub betas: (f64, f64),
    /// Weight decay, decoupled. Default 1e-3.
    pub weight_decay: f64,
    /// Whether to climb rather than to descend. Default false.
    pub maximize: bool,
}

impl Default for Lion {
    fn default() -> Self {
        Self { lr: 1e-4, betas: (0.9, 0.99), weight_decay: 1e-3, maximize: false }
    }
}

fused_method! {
    Lion "lion", |settings|
    state: &["exp_avg"],
    momentum: Some(settings.betas.0),
    check: {
        fraction("betas.0", settings.betas.0)?;
        fraction("betas.1", settings.betas.1)?;
        not_negative("weight_decay", settings.weight_decay)
    },
    update: LionUpdate {
        betas: settings.betas,
        weight_decay: settings.weight_decay,
        maximize: settings.maximize,
    },
}
