//! LARS.

use super::update::LarsUpdate;

use crate::setting::{fraction, not_negative, positive};

/// LARS (You, Gitman, Ginsburg: Large batch training of convolutional networks, 2017), as `optax.lars`: momentum, with
/// gradients that are for each tensor as long as its parameters are:
///
/// ```text
/// g   = grad + weight_decay param
/// u   = lr trust_coefficient ‖param‖ / (‖g‖ + eps) g      (norms of the tensor; lr g where one is 0)
/// buf = momentum buf + u
/// param = param - buf                                     (nesterov: param - (u + momentum buf))
/// ```
///
/// The learning rate goes into the buffer, as in the paper. Three launches whatever the number of tensors, and those of
/// clipping: partial norms, trust ratios, the step. 28 bytes moved per parameter, 4 of state. In software 0.4 to 0.8 of a
/// copy's bandwidth: the norms read 8 of these bytes, and take seven tenths as long as the step with its 20, for their
/// products and sums. PyTorch has no LARS; other libraries take the norm of the gradient before decay, or leave tensors
/// of one dimension as they are, which is not here.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lars {
    /// The learning rate. Default 1.
    pub lr: f64,
    /// What the buffer keeps from step to step. Default 0.9.
    pub momentum: f64,
    /// Weight decay through the gradient (L2). Default 0.
    pub weight_decay: f64,
    /// The share of a tensor's norm that a step at a learning rate of 1 changes. Default 1e-3.
    pub trust_coefficient: f64,
    /// Added to the norm of the gradient. Default 0.
    pub eps: f64,
    /// Whether to look ahead (Nesterov). Default false.
    pub nesterov: bool,
    /// Whether to climb rather than to descend. Default false.
    pub maximize: bool,
}

impl Default for Lars {
    fn default() -> Self {
        Self {
            lr: 1.0,
            momentum: 0.9,
            weight_decay: 0.0,
            trust_coefficient: 1e-3,
            eps: 0.0,
            nesterov: false,
            maximize: false,
        }
    }
}

fused_method! {
    Lars "lars", |settings|
    state: &["momentum_buffer"],
    momentum: Some(settings.momentum),
    check: fraction("momentum", settings.momentum)
        .and_then(|()| not_negative("weight_decay", settings.weight_decay))
        .and_then(|()| positive("trust_coefficient", settings.trust_coefficient))
        .and_then(|()| not_negative("eps", settings.eps)),
    update: LarsUpdate {
        momentum: settings.momentum,
        weight_decay: settings.weight_decay,
        trust_coefficient: settings.trust_coefficient,
        eps: settings.eps,
        nesterov: settings.nesterov,
        maximize: settings.maximize,
    },
}
