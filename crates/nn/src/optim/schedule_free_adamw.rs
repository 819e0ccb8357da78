//! Schedule-free AdamW.

use super::update::ScheduleFreeAdamWUpdate;

use crate::EvaluationPoint;
use crate::setting::{check, check_adam};

/// Schedule-free AdamW (Defazio et al.: The road less scheduled, NeurIPS 2024), as `optax.contrib.schedule_free_adamw`:
///
/// ```text
/// v = beta2 v + (1 - beta2) grad²
/// g = grad / (√(v / (1 - beta2ᵗ)) + eps) + weight_decay y
/// c = lr² / Σ lr²                                 (lr: the largest so far)
/// y = (1 - c) y + c z - lr (1 - beta1 (1 - c)) g
/// z = z - lr g
/// ```
///
/// The parameters are y, where gradients are taken; what is wanted in the end is x = (y - (1 - beta1) z) / beta1, with
/// the state z, which begins with the parameters: [`Optimizer::eval`](crate::Optimizer::eval) puts it in their place. The
/// learning rate stays as it is, after a warm-up; weights lr² are those of the step that follows, as in optax. One
/// launch, three with clipping by the global norm; 28 bytes moved per parameter, 8 of state. In software 0.9 to 1 of a
/// copy's bandwidth: [why](crate::Optimizer#bandwidth-in-software). PyTorch has not this method.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScheduleFreeAdamW {
    /// The learning rate. Default 2.5e-3.
    pub lr: f64,
    /// How much of the average x is in y, and the decay rate of the second moment. Default (0.9, 0.999).
    pub betas: (f64, f64),
    /// Added to the root of the second moment, after bias correction. Default 1e-8.
    pub eps: f64,
    /// Weight decay, at y. Default 0.
    pub weight_decay: f64,
    /// Whether to climb rather than to descend. Default false.
    pub maximize: bool,
}

impl Default for ScheduleFreeAdamW {
    fn default() -> Self {
        Self { lr: 2.5e-3, betas: (0.9, 0.999), eps: 1e-8, weight_decay: 0.0, maximize: false }
    }
}

fused_method! {
    ScheduleFreeAdamW "schedule-free-adamw", |settings|
    state: &["z", "exp_avg_sq"],
    evaluation: EvaluationPoint::Blend { state: 0, weight: 1.0 - 1.0 / settings.betas.0 },
    check: {
        check_adam(settings.betas, settings.eps, settings.weight_decay)?;
        check("betas.0", settings.betas.0, settings.betas.0 > 0.0, "greater than 0 and less than 1")
    },
    update: ScheduleFreeAdamWUpdate {
        betas: settings.betas,
        eps: settings.eps,
        weight_decay: settings.weight_decay,
        maximize: settings.maximize,
    },
}
