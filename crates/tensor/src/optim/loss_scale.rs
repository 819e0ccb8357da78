//! Loss scaling, so that small gradients do not vanish in products of lower precision.

use std::mem::offset_of;

use super::clip::Clip;
use super::clock::Clock;
use super::time::ClockWords;
use crate::{Error, Result, Tensor};

/// The index of [`ClockWords::loss_scale`], which `growth_tracker` follows.
const LOSS_SCALE: usize = offset_of!(ClockWords, loss_scale) / 4;

const _: () = assert!(offset_of!(ClockWords, growth_tracker) / 4 == LOSS_SCALE + 1, "they are written together");

/// The settings of dynamic loss scaling, like `torch.amp.GradScaler` (Micikevicius et al.: Mixed precision training,
/// ICLR 2018). The loss is scaled before its gradients are computed; the update divides by the scale again, on the
/// device, in the clip factor. If gradients are not finite, the step is skipped and the scale is reduced. After a
/// number of completed steps in a row it is increased.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LossScale {
    /// The initial scale, at least 1: 65,536 by default. Powers of two do not change the digits.
    pub initial_scale: f64,
    /// The factor by which the scale grows, at least 1: 2 by default. The scale does not grow beyond finite numbers.
    pub growth_factor: f64,
    /// The factor of the scale after a skipped step, greater than 0 and at most 1: 0.5 by default. The scale does not
    /// fall below 1, where small gradients would vanish.
    pub backoff_factor: f64,
    /// The number of completed steps in a row before the scale grows, at least 1: 2,000 by default.
    pub growth_interval: u32,
}

impl Default for LossScale {
    fn default() -> Self {
        Self { initial_scale: 65_536.0, growth_factor: 2.0, backoff_factor: 0.5, growth_interval: 2000 }
    }
}

impl LossScale {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::Argument`] with the setting's name.
    pub fn check(&self) -> Result<()> {
        let check = |name, value: f64, is_good: bool, rule| match is_good {
            true => Ok(()),
            false => Err(Error::Argument { op: "loss_scale", name, value: value.to_string(), rule }),
        };
        let Self { initial_scale, growth_factor, backoff_factor, growth_interval } = *self;
        let scale = initial_scale as f32;
        check("initial_scale", initial_scale, (1.0..f32::INFINITY).contains(&scale), "at least 1, and finite in f32")?;
        check("growth_factor", growth_factor, (1.0..=1e30).contains(&growth_factor), "1 to 1e30")?;
        let backs_off = backoff_factor as f32 > 0.0 && backoff_factor <= 1.0;
        check("backoff_factor", backoff_factor, backs_off, "greater than 0 and at most 1")?;
        check("growth_interval", growth_interval.into(), growth_interval > 0, "at least 1")
    }

    /// Checks that the clipping supports a scale: by the global norm, or none. Other methods use gradients that are
    /// still scaled.
    ///
    /// # Errors
    /// [`Error::Argument`] if they are clipped differently.
    pub fn check_clip(clip: Clip) -> Result<()> {
        match clip {
            Clip::Off | Clip::Norm(_) | Clip::PNorm { .. } => Ok(()),
            clip => Err(Error::Argument {
                op: "loss_scale",
                name: "clip",
                value: format!("{clip:?}"),
                rule: "off or by the global norm where the loss is scaled",
            }),
        }
    }
}

impl Clock {
    /// Makes updates divide gradients by the scale of the loss ([`loss_scale_now`](Self::loss_scale_now)) and adjust
    /// the scale; `None` turns scaling off. Every step then computes the norm of the gradients, and is skipped if it
    /// is not finite, regardless of [`NonFinite`](super::NonFinite); this is not an error. Earlier recordings must be
    /// made again.
    ///
    /// # Errors
    /// If a setting is out of range, work on the device has failed, or this thread records.
    pub fn set_loss_scale(&mut self, loss_scale: Option<LossScale>) -> Result<()> {
        loss_scale.iter().try_for_each(LossScale::check)?;
        let scale = loss_scale.map_or(0.0, |settings| settings.initial_scale as f32);
        self.state().slice(0, LOSS_SCALE, LOSS_SCALE + 2)?.write(&[scale.to_bits(), 0])?;
        self.keep_loss_scale(loss_scale);
        Ok(())
    }

    /// Returns the scale for the loss of the next step, a number of shape `[]` on the device, which launches read at
    /// run time. `None` if no loss scale is set.
    ///
    /// # Errors
    /// Does not fail for a clock of this crate.
    pub fn loss_scale_now(&self) -> Result<Option<Tensor>> {
        if self.loss_scale().is_none() {
            return Ok(None);
        }
        self.state()
            .slice(0, LOSS_SCALE, LOSS_SCALE + 1)?
            .reshape(&[])
            .map(|word| Some(word.bits_as(crate::DType::F32)))
    }
}
