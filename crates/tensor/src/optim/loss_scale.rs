//! Scaling of losses, so that small gradients do not vanish in products of less precision.

use std::mem::offset_of;

use super::clip::Clip;
use super::clock::Clock;
use super::time::ClockWords;
use crate::{Error, Result, Tensor};

/// Where [`ClockWords::loss_scale`] and, behind it, `growth_tracker` stand.
const LOSS_SCALE: usize = offset_of!(ClockWords, loss_scale) / 4;

const _: () = assert!(offset_of!(ClockWords, growth_tracker) / 4 == LOSS_SCALE + 1, "they are written together");

/// How a loss is scaled before its gradients are taken, dynamically, as by `torch.amp.GradScaler` (Micikevicius et al.:
/// Mixed precision training, ICLR 2018): the update divides by the scale again, on the device, in the clip factor. Where
/// gradients are not finite the step is skipped and the scale made smaller; after so many steps in a row that were done it
/// is made larger.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LossScale {
    /// The scale at first, at least 1: 65,536 by default. Powers of two change no digit.
    pub initial_scale: f64,
    /// What it is multiplied by to grow, at least 1: 2 by default. It stays where it would not be finite.
    pub growth_factor: f64,
    /// What it is multiplied by behind a step that was skipped, greater than 0 and at most 1: 0.5 by default. The scale gets
    /// no smaller than 1, below which it would make small gradients vanish rather than keep them.
    pub backoff_factor: f64,
    /// Steps in a row without a skipped one before it grows, at least 1: 2,000 by default.
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

    /// Checks that gradients are clipped in a way that goes with a scale: by their global norm, or not at all. Other ways
    /// look at gradients that are still scaled.
    ///
    /// # Errors
    /// [`Error::Argument`] if they are clipped in another way.
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
    /// Has updates divide gradients by a scale that the loss was multiplied by ([`loss_scale_now`](Self::loss_scale_now)),
    /// and the scale follow them; `None` ends it. Every step then takes the norm of the gradients, and is skipped where it is
    /// not finite, whatever [`NonFinite`](super::NonFinite) says; that is no error. Recordings made before must be made anew.
    ///
    /// # Errors
    /// If a setting is out of its range, work on the device has failed, or this thread records.
    pub fn set_loss_scale(&mut self, loss_scale: Option<LossScale>) -> Result<()> {
        loss_scale.iter().try_for_each(LossScale::check)?;
        let scale = loss_scale.map_or(0.0, |settings| settings.initial_scale as f32);
        self.state().slice(0, LOSS_SCALE, LOSS_SCALE + 2)?.write(&[scale.to_bits(), 0])?;
        self.keep_loss_scale(loss_scale);
        Ok(())
    }

    /// Returns the scale that the loss of the coming step is to be multiplied by, as it is on the device when it is
    /// read by a launch: a number, `[]`. `None` where none is set.
    ///
    /// # Errors
    /// None that a clock of this crate gives rise to.
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
