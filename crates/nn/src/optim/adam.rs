//! Adam and AdamW.

use super::update::AdamUpdate;

use crate::setting::check_adam;

/// Adam (Kingma, Ba: Adam: a method for stochastic optimization, ICLR 2015), as `torch.optim.Adam`:
///
/// ```text
/// g  = grad + weight_decay param
/// m  = beta1 m + (1 - beta1) g,    v = beta2 v + (1 - beta2) g²
/// param = param - lr / (1 - beta1ᵗ) m / (√v / √(1 - beta2ᵗ) + eps)
/// ```
///
/// One launch, three with clipping by the global norm; 28 bytes moved per parameter, 8 of state. In software 0.9 to 1 of
/// a copy's bandwidth: [why](crate::Optimizer#bandwidth-in-software). optax puts its epsilon at the same place.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Adam {
    /// The learning rate. Default 1e-3.
    pub lr: f64,
    /// Decay rates of the first and the second moment. Default (0.9, 0.999).
    pub betas: (f64, f64),
    /// Added to the root of the second moment, after bias correction. Default 1e-8.
    pub eps: f64,
    /// Weight decay through the gradient (L2). Default 0.
    pub weight_decay: f64,
    /// Whether to climb rather than to descend. Default false.
    pub maximize: bool,
}

impl Default for Adam {
    fn default() -> Self {
        Self { lr: 1e-3, betas: (0.9, 0.999), eps: 1e-8, weight_decay: 0.0, maximize: false }
    }
}

/// AdamW (Loshchilov, Hutter: Decoupled weight decay regularization, ICLR 2019), as `torch.optim.AdamW`: [`Adam`], but
/// weights decay by themselves rather than through the gradient:
///
/// ```text
/// param = (1 - lr weight_decay) param
/// m  = beta1 m + (1 - beta1) grad,    v = beta2 v + (1 - beta2) grad²
/// param = param - lr / (1 - beta1ᵗ) m / (√v / √(1 - beta2ᵗ) + eps)
/// ```
///
/// All parameters decay, biases too. One launch, three with clipping by the global norm; 28 bytes moved per parameter, 8
/// of state. In software 0.9 to 1 of a copy's bandwidth: [why](crate::Optimizer#bandwidth-in-software). optax adds
/// weight_decay param to the update before it is multiplied with lr, which is the same.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamW {
    /// The learning rate. Default 1e-3.
    pub lr: f64,
    /// Decay rates of the first and the second moment. Default (0.9, 0.999).
    pub betas: (f64, f64),
    /// Added to the root of the second moment, after bias correction. Default 1e-8.
    pub eps: f64,
    /// Weight decay, times the learning rate. Default 0.01.
    pub weight_decay: f64,
    /// Whether to climb rather than to descend. Default false.
    pub maximize: bool,
}

impl Default for AdamW {
    fn default() -> Self {
        Self { lr: 1e-3, betas: (0.9, 0.999), eps: 1e-8, weight_decay: 0.01, maximize: false }
    }
}

macro_rules! adam_method {
    ($config:ident $name:literal, decoupled: $decoupled:literal) => {
        fused_method! {
                $config $name, |settings|
                state: &["exp_avg", "exp_avg_sq"],
                momentum: Some(settings.betas.0),
        check: check_adam(settings.betas, settings.eps, settings.weight_decay),
                update: AdamUpdate {
                    betas: settings.betas,
                    eps: settings.eps,
                    weight_decay: settings.weight_decay,
                    decoupled: $decoupled,
                    maximize: settings.maximize,
                },
            }
    };
}

adam_method!(Adam "adam", decoupled: false);
adam_method!(AdamW "adamw", decoupled: true);
