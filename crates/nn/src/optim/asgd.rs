//! Averaged stochastic gradient descent.

use super::update::AsgdUpdate;

use crate::EvaluationPoint;
use crate::setting::not_negative;

/// Averaged stochastic gradient descent (Polyak, Juditsky: Acceleration of stochastic approximation by averaging, SIAM J.
/// Control Optim. 1992), as `torch.optim.ASGD`. The averages, which are what is wanted in the end, are the state `ax`, and
/// [`Optimizer::eval`](crate::Optimizer::eval) puts them in the place of the parameters:
///
/// ```text
/// g   = grad + weight_decay param
/// eta = lr / (1 + lambd lr (t - 1))^alpha,    mu = 1 / max(1, t - 1 - t0)
/// param = param - eta (g + lambd param)
/// ax  = ax + mu (param - ax)
/// ```
///
/// One launch, three with clipping by the global norm; 20 bytes moved per parameter, 4 of state. In software 0.8 of a
/// copy's bandwidth ([why](crate::Optimizer#bandwidth-in-software)): its factors need a power. `t0` says when averaging
/// begins; before, the averages are the parameters. optax has not this method.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Asgd {
    /// The learning rate. Default 1e-2.
    pub lr: f64,
    /// Decay of the parameters, and of the learning rate. Default 1e-4.
    pub lambd: f64,
    /// The power by which the learning rate falls. Default 0.75.
    pub alpha: f64,
    /// The step from which on parameters are averaged. Default 1e6.
    pub t0: f64,
    /// Weight decay through the gradient (L2). Default 0.
    pub weight_decay: f64,
    /// Whether to climb rather than to descend. Default false.
    pub maximize: bool,
}

impl Default for Asgd {
    fn default() -> Self {
        Self { lr: 1e-2, lambd: 1e-4, alpha: 0.75, t0: 1e6, weight_decay: 0.0, maximize: false }
    }
}

fused_method! {
    Asgd "asgd", |settings|
    state: &["ax"],
    evaluation: EvaluationPoint::Blend { state: 0, weight: 1.0 },
    check: {
        not_negative("lambd", settings.lambd)?;
        not_negative("alpha", settings.alpha)?;
        not_negative("t0", settings.t0)?;
        not_negative("weight_decay", settings.weight_decay)
    },
    update: AsgdUpdate {
        lambd: settings.lambd,
        alpha: settings.alpha,
        t0: settings.t0,
        weight_decay: settings.weight_decay,
        maximize: settings.maximize,
    },
}
