//! How gradients are clipped on their way into an update.

use crate::{Error, Result};

/// How gradients are clipped on their way into an update.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub enum Clip {
    /// Not at all.
    #[default]
    Off,
    /// Scaled down where their global 2-norm is longer than this, by min(1, norm / (‖g‖ + 1e-6)), as
    /// `torch.nn.utils.clip_grad_norm_` (Pascanu et al., ICML 2013): two launches. A norm that is not finite skips the
    /// update and is counted.
    Norm(f64),
    /// Each element limited to -value … value, as `torch.nn.utils.clip_grad_value_`, in the update itself.
    Value(f64),
}

impl Clip {
    /// Checks that the limit is finite and greater than 0, also as the device sees it: what vanishes in f32 would turn
    /// clipping off.
    ///
    /// # Errors
    /// [`Error::Argument`] with the limit's name.
    pub fn check(&self) -> Result<()> {
        let (name, value) = match *self {
            Self::Off => return Ok(()),
            Self::Norm(norm) => ("clip_norm", norm),
            Self::Value(value) => ("clip_value", value),
        };
        if value as f32 > 0.0 && (value as f32).is_finite() {
            return Ok(());
        }
        Err(Error::Argument { op: "clip", name, value: value.to_string(), rule: "finite and greater than 0" })
    }

    /// The limit of each element.
    pub(super) fn value(&self) -> Option<f32> {
        if let Self::Value(value) = *self { Some(value as f32) } else { None }
    }
}
