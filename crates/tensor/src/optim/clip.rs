//! How gradients are clipped on their way into an update, and what is done where they are not finite.

use super::norm::Norm;
use crate::{Error, Result};

/// How gradients are clipped on their way into an update. [`AdaptiveClip`](super::AdaptiveClip) comes beside these.
///
/// | | launches before the update |
/// |---|---|
/// | [`Off`](Self::Off), [`Value`](Self::Value) | none |
/// | [`Norm`](Self::Norm), [`PNorm`](Self::PNorm) | two: the norm, and the clock with the clip factor |
/// | [`TensorNorm`](Self::TensorNorm), [`TensorRms`](Self::TensorRms) | three: sums over chunks, the factor of each tensor, the clock |
///
/// Their number does not depend on the number of tensors; an arena of several pages takes the first launch once a page.
/// Where there is a norm, one that is not finite skips the update and is counted, unless
/// [`NonFinite`] says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub enum Clip {
    /// Not at all.
    #[default]
    Off,
    /// Scaled down where their global 2-norm is longer than this, by min(1, norm / (‖g‖ + 1e-6)), as
    /// `torch.nn.utils.clip_grad_norm_` (Pascanu et al., ICML 2013).
    Norm(f64),
    /// Each element limited to -value … value, as `torch.nn.utils.clip_grad_value_`, in the update itself.
    Value(f64),
    /// As [`Norm`](Self::Norm), of the global p-norm (Σ|g|ᵖ)^(1/p); for p infinite the largest |g|. Powers are summed in
    /// f32, so that ‖g‖ᵖ from 3.4e38 on counts as not finite.
    PNorm {
        /// The limit of the norm.
        max_norm: f64,
        /// p, greater than 0; infinity is one.
        p: f64,
    },
    /// Each tensor by its own 2-norm: by min(1, norm / (‖g‖ + 1e-6)), as `torch.nn.utils.clip_grad_norm_` called for each
    /// parameter. Updates that are not element-wise find their gradients scaled in place, by one launch more.
    TensorNorm(f64),
    /// As [`TensorNorm`](Self::TensorNorm), by its root mean square: by 1 / max(1, √(Σg² / n) / rms), as
    /// `optax.clip_by_block_rms`.
    TensorRms(f64),
}

impl Clip {
    /// Checks that the limit is finite and greater than 0, also as the device sees it: what vanishes in f32 would turn
    /// clipping off.
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

    /// The limit of each element.
    pub(super) fn value(&self) -> Option<f32> {
        if let Self::Value(value) = *self { Some(value as f32) } else { None }
    }

    /// The limit of the global norm, and which norm it is of.
    pub(super) fn norm(&self) -> Option<(f32, Norm)> {
        match *self {
            Self::Norm(norm) => Some((norm as f32, Norm::of_power(2.0))),
            Self::PNorm { max_norm, p } => Some((max_norm as f32, Norm::of_power(p))),
            _ => None,
        }
    }

    /// The limit of each tensor, and whether it is one of root mean squares.
    pub(super) fn by_tensor(&self) -> Option<(f32, bool)> {
        match *self {
            Self::TensorNorm(norm) => Some((norm as f32, false)),
            Self::TensorRms(rms) => Some((rms as f32, true)),
            _ => None,
        }
    }
}

/// What is done where the norm of the gradients is not finite, be it for a NaN or an infinity among them or because it
/// overflows.
///
/// Without such a word it is [`Skip`](Self::Skip) where a norm is there, since gradients are clipped by it, and
/// [`Ignore`](Self::Ignore) where none is. While the loss is scaled ([`LossScale`](super::LossScale)) it is `Skip` whatever is
/// said, since such steps are how the scale is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NonFinite {
    /// The update is skipped on the device, with nothing changed, and counted. Where gradients are not clipped by a norm it
    /// takes two launches more.
    Skip,
    /// As [`Skip`](Self::Skip); and the next read of the clock is an [`Error::NotFinite`] with the number of the step.
    Error,
    /// It spreads, as in PyTorch.
    Ignore,
}
