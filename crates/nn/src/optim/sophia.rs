//! Sophia.

use super::update::SophiaUpdate;

use super::HessianAverage;
use crate::setting::{check, fraction, not_negative, positive};

/// Sophia (Liu, Li, Hall, Liang, Ma: Sophia: a scalable stochastic second-order optimizer for language model pre-training,
/// ICLR 2024), as `optax.contrib.sophia`: the moment over the Hessian's diagonal, clipped:
///
/// ```text
/// m = beta1 m + (1 - beta1) grad
/// u = clamp(m / (1 - beta1ᵗ) / max(gamma h, eps), ±clip_threshold)
/// param = param - lr (u + weight_decay param)
/// h = beta2 h + (1 - beta2) (an estimate of the Hessian's diagonal)          every update_interval steps
/// ```
///
/// A step is one launch, three with clipping by the global norm, and moves 24 bytes a parameter; the state takes 8. In
/// software 0.9 to 1 of a copy's bandwidth ([why](crate::Optimizer#bandwidth-in-software)). The average h is one more
/// launch, of 12 bytes a parameter, at every estimate:
///
/// - [`Trainer`](crate::Trainer) estimates it behind the steps 1, 1 + update_interval, … by Gauss, Newton and Bartlett
///   ([`Optimizer::estimate_hessian`](crate::Optimizer::estimate_hessian)): a second pass over the batch, forward and back,
///   with targets that are drawn from the model.
/// - A loop of one's own calls that too, or hands a diagonal of its own to
///   [`Optimizer::update_hessian`](crate::Optimizer::update_hessian).
///
/// As in optax an estimate counts from the next step on, so the first one has h = 0 and moves every parameter by lr
/// clip_threshold. The authors' program has no bias correction of m, and multiplies gamma with the batch's size, since it
/// does so nowhere else. PyTorch has not this method.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sophia {
    /// The learning rate. Default 1e-3.
    pub lr: f64,
    /// Decay rates of the moment and of the Hessian's diagonal. Default (0.965, 0.99).
    pub betas: (f64, f64),
    /// The least that the moment is divided by. Default 1e-8.
    pub eps: f64,
    /// What the Hessian's diagonal is multiplied by: the larger, the fewer parameters are clipped. Default 0.01.
    pub gamma: f64,
    /// The most of the learning rate that a parameter moves by; the paper's rho. Default 1.
    pub clip_threshold: f64,
    /// Weight decay, times the learning rate. Default 1e-4.
    pub weight_decay: f64,
    /// Steps from one estimate of the Hessian's diagonal to the next, at least 1. Default 10.
    pub update_interval: u64,
    /// What the targets of the estimates are drawn by. Default 0.
    pub seed: u64,
    /// Whether to climb rather than to descend. Default false.
    pub maximize: bool,
}

impl Default for Sophia {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            betas: (0.965, 0.99),
            eps: 1e-8,
            gamma: 0.01,
            clip_threshold: 1.0,
            weight_decay: 1e-4,
            update_interval: 10,
            seed: 0,
            maximize: false,
        }
    }
}

fused_method! {
    Sophia "sophia", |settings|
    state: &["exp_avg", "hessian"],
    momentum: Some(settings.betas.0),
    hessian: HessianAverage {
        state: 1,
        beta2: settings.betas.1,
        interval: settings.update_interval,
        seed: settings.seed,
    },
    check: {
        fraction("betas.0", settings.betas.0)?;
        fraction("betas.1", settings.betas.1)?;
        positive("eps", settings.eps)?;
        positive("gamma", settings.gamma)?;
        positive("clip_threshold", settings.clip_threshold)?;
        not_negative("weight_decay", settings.weight_decay)?;
        check("update_interval", settings.update_interval, settings.update_interval > 0, "at least 1")
    },
    update: SophiaUpdate {
        beta1: settings.betas.0,
        eps: settings.eps,
        gamma: settings.gamma,
        clip_threshold: settings.clip_threshold,
        weight_decay: settings.weight_decay,
        maximize: settings.maximize,
    },
}
