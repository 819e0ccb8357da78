//! AdamW with its state in eight bits.

use super::update::AdamW8bitUpdate;

use crate::setting::check_adam;

/// [`AdamW`](crate::AdamW) with both moments in eight bits (Dettmers, Lewis, Shleifer, Zettlemoyer: 8-bit optimizers via
/// block-wise quantization, ICLR 2022): a code of one byte for each moment of a parameter, and a scale, the largest
/// moment, for a block of 64 parameters:
///
/// ```text
/// param = (1 - lr weight_decay) param
/// m  = beta1 decode(state1) absmax1 + (1 - beta1) grad,    v = beta2 decode(state2) absmax2 + (1 - beta2) grad²
/// param = param - lr / (1 - beta1ᵗ) m / (√v / √(1 - beta2ᵗ) + eps)
/// absmax1 = max |m|,    absmax2 = max v
/// state1 = encode(m / absmax1),    state2 = encode(v / absmax2)
/// ```
///
/// The state takes 2.125 bytes a parameter, where AdamW's takes 8; a step is one launch, three with clipping by the global
/// norm, and moves 16.25 bytes a parameter. In software arithmetic limits it rather than memory: packing, unpacking and
/// hashing take as long as the bytes that they save, and it reaches half to six tenths of the copy kernel's bandwidth, in a little
/// less time than AdamW takes.
///
/// # Numerics
/// The authors' codes are a table of decades with linear fractions, rounded to the nearest. Here a code is a floating-point
/// number with three bits of mantissa, cut out of the bits of an f32, so that it is the same on every device without a
/// table: of m with sign and four bits of exponent, of v with five, so that a parameter's moments are as exact in the small
/// ones of a block as in the large. It is rounded up or down at random, by a hash of parameter and step, so that the
/// mean stays: v goes on by a thousandth of itself a step, of which rounding to the nearest code would leave nothing. A v
/// that is not 0 never becomes 0. Tensors start at blocks of their own, and all are in eight bits, small ones too, which the
/// authors' program keeps in 32. Single updates differ from AdamW's by a seventh, most of which averages out over the steps.
///
/// PyTorch and optax have not this method; the names of the state are those of the authors' bitsandbytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamW8bit {
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

impl Default for AdamW8bit {
    fn default() -> Self {
        Self { lr: 1e-3, betas: (0.9, 0.999), eps: 1e-8, weight_decay: 0.01, maximize: false }
    }
}

fused_method! {
    AdamW8bit "adamw8bit", |settings|
    state: &["state1", "state2", "absmax1", "absmax2"],
    momentum: Some(settings.betas.0),
    check: check_adam(settings.betas, settings.eps, settings.weight_decay),
    update: AdamW8bitUpdate {
        betas: settings.betas,
        eps: settings.eps,
        weight_decay: settings.weight_decay,
        maximize: settings.maximize,
    },
}
