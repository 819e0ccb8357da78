//! SM3.

use super::update::Sm3Update;

use crate::setting::{fraction, positive};

/// SM3 (Anil, Gupta, Koren, Singer: Memory-efficient adaptive optimization, NeurIPS 2019), as `optax.sm3`; PyTorch does not
/// have it:
///
/// ```text
/// v      = min(row[i], column[j]) + g²,  row[i] = max over j of v,  column[j] = max over i of v
/// u      = g / √(v + eps), 0 where v is 0
/// buffer = momentum buffer + (1 - momentum) u
/// param  = param - lr buffer
/// ```
///
/// AdaGrad, with an accumulator for each row and each column of a matrix, and for each element of a vector. A tensor of
/// more than two dimensions counts as a matrix of the first one by the others, where optax has accumulators for each
/// dimension.
///
/// 3 launches, 4 with clipping by the norm, whatever the number of tensors. 28 bytes moved per parameter of a matrix; 4
/// of state, and a number for each row and each column. In software a tenth of a copy's bandwidth: the step and the
/// maxima of rows and of columns each go over all gradients, element by element rather than by vectors of four, and look
/// up two accumulators for each.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sm3 {
    /// The learning rate. Default 0.1.
    pub lr: f64,
    /// What is kept of the buffer. Default 0.9.
    pub momentum: f64,
    /// Added to the accumulator, inside of the root. Default 1e-8.
    pub eps: f64,
    /// Whether to climb rather than to descend. Default false.
    pub maximize: bool,
}

impl Default for Sm3 {
    fn default() -> Self {
        Self { lr: 0.1, momentum: 0.9, eps: 1e-8, maximize: false }
    }
}

fused_method! {
    Sm3 "sm3", |settings|
    state: &["accumulator", "momentum_buffer"],
    momentum: Some(settings.momentum),
    has_weight_decay: false,
    check: {
        fraction("momentum", settings.momentum)?;
        positive("eps", settings.eps)
    },
    update: Sm3Update { momentum: settings.momentum, eps: settings.eps, maximize: settings.maximize },
}
