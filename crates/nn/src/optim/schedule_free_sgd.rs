//! Schedule-free stochastic gradient descent.

use super::update::ScheduleFreeSgdUpdate;

use crate::EvaluationPoint;
use crate::setting::{check, not_negative};

/// Schedule-free stochastic gradient descent (Defazio et al.: The road less scheduled, NeurIPS 2024), as
/// `optax.contrib.schedule_free_sgd`:
///
/// ```text
/// g = grad + weight_decay y
/// c = lr² / Σ lr²                                 (lr: the largest so far)
/// y = (1 - c) y + c z - lr (1 - beta1 (1 - c)) g
/// z = z - lr g
/// ```
///
/// The parameters are y, where gradients are taken; what is wanted in the end is x = (y - (1 - beta1) z) / beta1, with
/// the state z, which begins with the parameters: [`Optimizer::eval`](crate::Optimizer::eval) puts it in their place. The
/// learning rate stays as it is, after a warm-up; weights lr² are those of the step that follows, as in optax. One
/// launch, three with clipping by the global norm; 20 bytes moved per parameter, 4 of state. In software 0.9 to 1 of a
/// copy's bandwidth: [why](crate::Optimizer#bandwidth-in-software). PyTorch has not this method.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScheduleFreeSgd {
    /// The learning rate. Default 1.0.
    pub lr: f64,
    /// How much of the average x is in y. Default 0.9.
    pub beta1: f64,
    /// Weight decay, at y, through the gradient (L2). Default 0.
    pub weight_decay: f64,
    /// Whether to climb rather than to descend. Default false.
    pub maximize: bool,
}

impl Default for ScheduleFreeSgd {
    fn default() -> Self {
        Self { lr: 1.0, beta1: 0.9, weight_decay: 0.0, maximize: false }
    }
}

fused_method! {
    ScheduleFreeSgd "schedule-free-sgd", |settings|
    state: &["z"],
    evaluation: EvaluationPoint::Blend { state: 0, weight: 1.0 - 1.0 / settings.beta1 },
    check: {
        check("beta1", settings.beta1, settings.beta1 > 0.0 && settings.beta1 < 1.0, "greater than 0 and less than 1")?;
        not_negative("weight_decay", settings.weight_decay)
    },
    update: ScheduleFreeSgdUpdate {
        beta1: settings.beta1,
        weight_decay: settings.weight_decay,
        maximize: settings.maximize,
    },
}
