//! How gradients are clipped before an update, and how non-finite gradients are handled.

use super::norm::Norm;
use crate::{Error, Result};

/// How gradients are clipped before an update. [`AdaptiveClip`](super::AdaptiveClip) may be used in addition.
///
/// | | launches before the update |
/// |---|---|
/// | [`Off`](Self::Off), [`Value`](Self::Value) | none |
/// | [`Norm`](Self::Norm), [`PNorm`](Self::PNorm) | two: the norm, and the clock with the clip factor |
/// | [`TensorNorm`](Self::TensorNorm), [`TensorRms`](Self::TensorRms) | three: sums over chunks, the factor of each tensor, the clock |
///
/// Their number does not depend on the number of tensors; an arena of several pages needs the first launch once per
/// page. A norm that is not finite skips the update and is counted, unless [`NonFinite`] sets another rule.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub enum Clip {
    /// No clipping.
    #[default]
    Off,
    /// Scales gradients down if their global 2-norm exceeds this, by min(1, norm / (‖g‖ + 1e-6)), like
    /// `torch.nn.utils.clip_grad_norm_` (Pascanu et al., ICML 2013).
    Norm(f64),
    /// Clamps each element to -value … value, like `torch.nn.utils.clip_grad_value_`, in the update itself.
    Value(f64),
    /// Like [`Norm`](Self::Norm), for the global p-norm (Σ|g|ᵖ)^(1/p); if p is infinite, the largest |g|. Powers are
    /// summed in f32, so ‖g‖ᵖ from 3.4e38 on counts as not finite.
    PNorm {
        /// The limit of the norm.
        max_norm: f64,
        /// p, greater than 0, may be infinite.
        p: f64,
    },
    /// Scales each tensor by its own 2-norm: by min(1, norm / (‖g‖ + 1e-6)), like `torch.nn.utils.clip_grad_norm_`
    /// called for each parameter. For updates that are not element-wise, one more launch scales the gradients in
    /// place.
    TensorNorm(f64),
    /// Like [`TensorNorm`](Self::TensorNorm), by its root mean square: by 1 / max(1, √(Σg² / n) / rms), like
    /// `optax.clip_by_block_rms`.
    TensorRms(f64),
}

impl Clip {
    /// Checks that the limit is finite and greater than 0, also in f32: a limit that rounds to 0 would disable
    /// clipping.
    ///
    /// # Errors
    /// [`Error::Argument`] with the limit's name.
    pub fn check(&self) -> Result<()> {
        let wrong = |name, value: f64, rule| Err(Error::Argument { op: "clip", name, value: value.to_string(), rule });
        let (name, value) = match *self {
            Self::Off => return Ok(()),
            Self::Norm(norm) => ("clip_norm", norm),
            Self::Value(value) => ("clip_value", value),
            Self::PNorm { p, .. } if !(p as f32 > 0.0 && 1.0 / (p as f32) < f32::INFINITY) => {
                return wrong("p", p, "greater than 0");
            }
            Self::PNorm { max_norm, .. } => ("max_norm", max_norm),
            Self::TensorNorm(norm) => ("clip_tensor_norm", norm),
            Self::TensorRms(rms) => ("clip_tensor_rms", rms),
        };
        if value as f32 > 0.0 && (value as f32).is_finite() {
            return Ok(());
        }
        wrong(name, value, "finite and greater than 0")
    }

    /// Returns the limit of each element.
    pub(super) fn value(&self) -> Option<f32> {
        if let Self::Value(value) = *self { Some(value as f32) } else { None }
    }

    /// Returns the limit of the global norm, and the norm.
    pub(super) fn norm(&self) -> Option<(f32, Norm)> {
        match *self {
            Self::Norm(norm) => Some((norm as f32, Norm::of_power(2.0))),
            Self::PNorm { max_norm, p } => Some((max_norm as f32, Norm::of_power(p))),
            _ => None,
        }
    }

    /// Returns the limit of each tensor, and whether it applies to root mean squares.
    pub(super) fn by_tensor(&self) -> Option<(f32, bool)> {
        match *self {
            Self::TensorNorm(norm) => Some((norm as f32, false)),
            Self::TensorRms(rms) => Some((rms as f32, true)),
            _ => None,
        }
    }
}

/// The rule for a norm of the gradients that is not finite, because of a NaN or an infinity among them or an
/// overflow.
///
/// The default is [`Skip`](Self::Skip) if clipping uses a norm, else [`Ignore`](Self::Ignore). While the loss is
/// scaled ([`LossScale`](super::LossScale)) the rule is always `Skip`, since such steps determine the scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NonFinite {
    /// The update is skipped on the device, changes nothing, and is counted. If gradients are not clipped by a norm
    /// this takes two more launches.
    Skip,
    /// Like [`Skip`](Self::Skip); in addition the next read of the clock returns [`Error::NotFinite`] with the number
    /// of the step.
    Error,
    /// It spreads, as in PyTorch.
    Ignore,
}
