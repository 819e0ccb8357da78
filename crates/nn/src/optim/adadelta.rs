//! AdaDelta.

use super::update::AdadeltaUpdate;

use crate::setting::{fraction, not_negative, positive};

/// AdaDelta (Zeiler: ADADELTA, an adaptive learning rate method, 2012), as `torch.optim.Adadelta`:
///
/// ```text
/// g = grad + weight_decay param
/// v = rho v + (1 - rho) g²
/// d = √(delta + eps) / √(v + eps) g
/// delta = rho delta + (1 - rho) d²
/// param = param - lr d
/// ```
///
/// One launch, three with clipping by the global norm; 28 bytes moved per parameter, 8 of state. In software 0.9 to 1 of
/// a copy's bandwidth: [why](crate::Optimizer#bandwidth-in-software). Epsilon is inside of both roots; optax computes the
/// same.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Adadelta {
    /// The learning rate. Default 1.0.
    pub lr: f64,
    /// Decay rate of both averages. Default 0.9.
    pub rho: f64,
    /// Added inside of both roots. Default 1e-6.
    pub eps: f64,
    /// Weight decay through the gradient (L2). Default 0.
    pub weight_decay: f64,
    /// Whether to climb rather than to descend. Default false.
    pub maximize: bool,
}

impl Default for Adadelta {
    fn default() -> Self {
        Self { lr: 1.0, rho: 0.9, eps: 1e-6, weight_decay: 0.0, maximize: false }
    }
}

fused_method! {
    Adadelta "adadelta", |settings|
    state: &["square_avg", "acc_delta"],
    check: {
        fraction("rho", settings.rho)?;
        positive("eps", settings.eps)?;
        not_negative("weight_decay", settings.weight_decay)
    },
    update: AdadeltaUpdate {
        rho: settings.rho,
        eps: settings.eps,
        weight_decay: settings.weight_decay,
        maximize: settings.maximize,
    },
}
