//! RMSProp.

use super::update::RmsPropUpdate;

use crate::setting::{fraction, not_negative, positive};

/// RMSProp (Tieleman, Hinton: Lecture 6.5 of Neural networks for machine learning, 2012), plain, centred (Graves:
/// Generating sequences with recurrent neural networks, 2013), with momentum or both, as `torch.optim.RMSprop`:
///
/// ```text
/// g   = grad + weight_decay param
/// v   = alpha v + (1 - alpha) g²
/// a   = alpha a + (1 - alpha) g                   (centred)
/// d   = g / (√v + eps)                            (centred: g / (√(v - a²) + eps))
/// buf = momentum buf + d                          (with momentum)
/// param = param - lr d                            (with momentum: param - lr buf)
/// ```
///
/// One launch, three with clipping by the global norm; 20 bytes moved per parameter, 4 of state, and 8 and 4 more for
/// each of centring and momentum. In software 0.9 to 1 of a copy's bandwidth:
/// [why](crate::Optimizer#bandwidth-in-software). optax has its epsilon inside of the root, and multiplies with the
/// learning rate on the way into the moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RmsProp {
    /// The learning rate. Default 1e-2.
    pub lr: f64,
    /// Decay rate of the averages. Default 0.99.
    pub alpha: f64,
    /// Added to the root. Default 1e-8.
    pub eps: f64,
    /// What is kept of the moment from step to step; 0 keeps none and needs no memory for it. Default 0.
    pub momentum: f64,
    /// Whether to divide by the deviation rather than by the root of the mean square. Default false.
    pub centered: bool,
    /// Weight decay through the gradient (L2). Default 0.
    pub weight_decay: f64,
    /// Whether to climb rather than to descend. Default false.
    pub maximize: bool,
}

impl Default for RmsProp {
    fn default() -> Self {
        Self { lr: 1e-2, alpha: 0.99, eps: 1e-8, momentum: 0.0, centered: false, weight_decay: 0.0, maximize: false }
    }
}

fused_method! {
    RmsProp "rmsprop", |settings|
    state: match (settings.centered, settings.momentum != 0.0) {
        (false, false) => &["square_avg"],
        (true, false) => &["square_avg", "grad_avg"],
        (false, true) => &["square_avg", "momentum_buffer"],
        (true, true) => &["square_avg", "grad_avg", "momentum_buffer"],
    },
    momentum: (settings.momentum != 0.0).then_some(settings.momentum),
    check: {
        fraction("alpha", settings.alpha)?;
        positive("eps", settings.eps)?;
        fraction("momentum", settings.momentum)?;
        not_negative("weight_decay", settings.weight_decay)
    },
    update: RmsPropUpdate {
        alpha: settings.alpha,
        eps: settings.eps,
        momentum: settings.momentum,
        centered: settings.centered,
        weight_decay: settings.weight_decay,
        maximize: settings.maximize,
    },
}
