//! Rprop.

use super::update::RpropUpdate;

use crate::setting::{check, positive};

/// Rprop (Riedmiller, Braun: A direct adaptive method for faster backpropagation learning, ICNN 1993), as
/// `torch.optim.Rprop`: only the signs of gradients count, and every parameter has a step size of its own, which grows
/// while the sign stays and shrinks where it turns. For gradients of all rows, not of batches:
///
/// ```text
/// s = sign(grad prev)
/// size = clamp(size (etas.1 where s > 0, etas.0 where s < 0), step_sizes)     (at first: lr)
/// g = grad, but 0 where s < 0
/// param = param - size sign(g),    prev = g
/// ```
///
/// One launch, three with clipping by the global norm; 28 bytes moved per parameter, 8 of state. In software 0.9 to 1 of
/// a copy's bandwidth: [why](crate::Optimizer#bandwidth-in-software). The learning rate is the first step size; schedules
/// do nothing to it. optax does the same.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rprop {
    /// The learning rate. Default 1e-2.
    pub lr: f64,
    /// What a step size is multiplied by where the sign turns, and where it stays. Default (0.5, 1.2).
    pub etas: (f64, f64),
    /// The smallest and the largest step size. Default (1e-6, 50.0).
    pub step_sizes: (f64, f64),
    /// Whether to climb rather than to descend. Default false.
    pub maximize: bool,
}

impl Default for Rprop {
    fn default() -> Self {
        Self { lr: 1e-2, etas: (0.5, 1.2), step_sizes: (1e-6, 50.0), maximize: false }
    }
}

fused_method! {
    Rprop "rprop", |settings|
    state: &["prev", "step_size"],
    has_weight_decay: false,
    check: {
        let (down, up) = settings.etas;
        check("etas.0", down, down > 0.0 && down < 1.0, "greater than 0 and less than 1")?;
        check("etas.1", up, up > 1.0 && up.is_finite(), "finite and greater than 1")?;
        let (least, most) = settings.step_sizes;
        positive("step_sizes.0", least)?;
        check("step_sizes.1", most, most >= least && most.is_finite(), "finite and at least step_sizes.0")
    },
    update: RpropUpdate {
        first_step: settings.lr,
        etas: settings.etas,
        step_sizes: settings.step_sizes,
        maximize: settings.maximize,
    },
}
