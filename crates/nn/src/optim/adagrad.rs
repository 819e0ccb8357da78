//! AdaGrad.

use super::update::AdagradUpdate;

use crate::setting::{not_negative, positive};

/// AdaGrad (Duchi, Hazan, Singer: Adaptive subgradient methods for online learning and stochastic optimization, JMLR
/// 2011), as `torch.optim.Adagrad`:
///
/// ```text
/// g     = grad + weight_decay param
/// sum   = sum + g²                                (at first: initial_accumulator_value)
/// param = param - lr / (1 + (t - 1) lr_decay) g / (√sum + eps)
/// ```
///
/// One launch, three with clipping by the global norm; 20 bytes moved per parameter, 4 of state. In software 0.9 to 1 of
/// a copy's bandwidth: [why](crate::Optimizer#bandwidth-in-software). optax has its epsilon inside of the root, and
/// begins with a sum of 0.1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Adagrad {
    /// The learning rate. Default 1e-2.
    pub lr: f64,
    /// How fast the learning rate falls with the steps. Default 0.
    pub lr_decay: f64,
    /// Where the sum begins. Default 0.
    pub initial_accumulator_value: f64,
    /// Added to the root of the sum. Default 1e-10.
    pub eps: f64,
    /// Weight decay through the gradient (L2). Default 0.
    pub weight_decay: f64,
    /// Whether to climb rather than to descend. Default false.
    pub maximize: bool,
}

impl Default for Adagrad {
    fn default() -> Self {
        Self { lr: 1e-2, lr_decay: 0.0, initial_accumulator_value: 0.0, eps: 1e-10, weight_decay: 0.0, maximize: false }
    }
}

fused_method! {
    Adagrad "adagrad", |settings|
    state: &["sum"],
    check: {
        not_negative("lr_decay", settings.lr_decay)?;
        not_negative("initial_accumulator_value", settings.initial_accumulator_value)?;
        positive("eps", settings.eps)?;
        not_negative("weight_decay", settings.weight_decay)
    },
    update: AdagradUpdate {
        lr_decay: settings.lr_decay,
        initial_accumulator_value: settings.initial_accumulator_value,
        eps: settings.eps,
        weight_decay: settings.weight_decay,
        maximize: settings.maximize,
    },
}
