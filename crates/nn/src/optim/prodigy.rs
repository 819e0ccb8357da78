//! Prodigy.

use super::update::ProdigyUpdate;

use crate::setting::{check, check_adam, fraction, positive};

/// Prodigy (Mishchenko, Defazio: Prodigy: an expeditiously adaptive parameter-free learner, ICML 2024), as
/// `optax.contrib.prodigy`: AdamW that estimates its step size, d, by how far the parameters have come from their start:
///
/// ```text
/// dlr = d lr √(1 - beta2ᵗ) / (1 - beta1ᵗ)
/// s = beta3 s + d / d0 dlr grad                      (d for dlr where safeguard_warmup)
/// numerator = beta3 numerator + d / d0 Σ dlr grad (p0 - param)
/// m = beta1 m + (1 - beta1) d grad,    v = beta2 v + (1 - beta2) (d grad)²
/// d = max(d, d_coef numerator / Σ |s|)               (and at most growth_rate d, once it has left d0)
/// param = param - dlr (weight_decay param + m / (√v + d eps))
/// ```
///
/// The sums run over all parameters, on the device and in a fixed order. A step is four launches: the clock, the sums, d,
/// the update; five with clipping by the global norm. They move 48 bytes a parameter, and the state takes 16. The clock's
/// learning rate is lr, a schedule's multiple of d. In software it reaches 0.4 to 0.7 of a copy's bandwidth: the sums, 20
/// of the 48 bytes, take more than half of the time, for their arithmetic.
///
/// The authors' program leaves the bias correction out unless told otherwise (`bias_correction: false`, their
/// `use_bias_correction`). optax has no limit of growth and does not climb. Where groups scale the learning rate, it
/// is the scaled one throughout; frozen parameters have no part in the sums. PyTorch has not this method; the names of the
/// state are those of the authors' program, and its `d` holds d, d_max, the numerator and the d before.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prodigy {
    /// The learning rate, times d. Default 1.
    pub lr: f64,
    /// Decay rates of the first and the second moment. Default (0.9, 0.999).
    pub betas: (f64, f64),
    /// The decay rate of the sums. Default none: the root of that of the second moment.
    pub beta3: Option<f64>,
    /// Times d, added to the root of the second moment. Default 1e-8.
    pub eps: f64,
    /// The first d: a distance that is surely too small. Default 1e-6.
    pub d0: f64,
    /// What estimates of d are multiplied by. Default 1.
    pub d_coef: f64,
    /// The most that d grows by in a step, at least 1. Default infinite.
    pub growth_rate: f64,
    /// Whether moments are corrected for having begun at zero. Default true.
    pub bias_correction: bool,
    /// Whether s leaves the learning rate out: for schedules that warm up. Default false.
    pub safeguard_warmup: bool,
    /// Weight decay, times dlr. Default 0.
    pub weight_decay: f64,
    /// Whether to climb rather than to descend. Default false.
    pub maximize: bool,
}

impl Default for Prodigy {
    fn default() -> Self {
        Self {
            lr: 1.0,
            betas: (0.9, 0.999),
            beta3: None,
            eps: 1e-8,
            d0: 1e-6,
            d_coef: 1.0,
            growth_rate: f64::INFINITY,
            bias_correction: true,
            safeguard_warmup: false,
            weight_decay: 0.0,
            maximize: false,
        }
    }
}

fused_method! {
    Prodigy "prodigy", |settings|
    state: &["exp_avg", "exp_avg_sq", "s", "p0", "d"],
    momentum: Some(settings.betas.0),
    check: {
        check_adam(settings.betas, settings.eps, settings.weight_decay)?;
        fraction("beta3", settings.beta3.unwrap_or(0.0))?;
        positive("d0", settings.d0)?;
        positive("d_coef", settings.d_coef)?;
        check("growth_rate", settings.growth_rate, settings.growth_rate >= 1.0, "at least 1, or infinite")
    },
    update: ProdigyUpdate {
        betas: settings.betas,
        beta3: settings.beta3.unwrap_or(settings.betas.1.sqrt()),
        eps: settings.eps,
        d0: settings.d0,
        d_coef: settings.d_coef,
        growth_rate: settings.growth_rate,
        bias_correction: settings.bias_correction,
        safeguard_warmup: settings.safeguard_warmup,
        weight_decay: settings.weight_decay,
        maximize: settings.maximize,
    },
}
