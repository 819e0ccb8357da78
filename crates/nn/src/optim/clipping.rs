//! Clipping, the treatment of gradients that are not finite, and statistics.

use thalweg_tensor::{AdaptiveClip, Arena, Clip, Clock, NonFinite, PendingClock, UpdateNorms, hold_as};

use super::{Optimizer, as_setting};
use crate::Result;

/// The work before and after an update.
#[derive(Debug, Default)]
pub(super) struct Around {
    pub(super) adaptive: Option<AdaptiveClip>,
    update_norms: Option<UpdateNorms>,
}

impl Around {
    pub(super) fn before(&self, values: &Arena, grads: &Arena) -> Result<()> {
        if let Some(norms) = &self.update_norms {
            norms.begin(values)?;
        }
        if let Some(clip) = &self.adaptive {
            clip.clip(values, grads)?;
        }
        Ok(())
    }

    pub(super) fn after(&self, values: &Arena, clock: &Clock) -> Result<()> {
        Ok(self.update_norms.as_ref().map_or(Ok(()), |norms| norms.end(values, clock))?)
    }
}

impl Optimizer {
    /// Scales gradients with a larger global 2-norm down to `norm`, by min(1, norm / (‖g‖ + 1e-6)), as
    /// `torch.nn.utils.clip_grad_norm_` does (Pascanu et al., ICML 2013). If the norm is not finite, the update is
    /// skipped and counted, unless [`with_non_finite`](Self::with_non_finite) sets another rule. PyTorch lets it
    /// spread.
    ///
    /// # Numerics
    /// Squares are summed in f32, so a norm from 1.8e19 on counts as not finite.
    ///
    /// # Errors
    /// If the norm is not greater than 0.
    pub fn with_clip_norm(self, norm: f64) -> Result<Self> {
        self.with_clip(Clip::Norm(norm))
    }

    /// Clips gradients in another way, or not at all: by value, by a p-norm, tensor by tensor. See [`Clip`] for their
    /// costs.
    ///
    /// # Errors
    /// [`Error::Setting`](crate::Error::Setting) if the limit is not finite and greater than 0. If the device has no
    /// room for the tables of clipping by tensors.
    pub fn with_clip(mut self, clip: Clip) -> Result<Self> {
        clip.check().map_err(as_setting)?;
        if matches!(clip, Clip::TensorNorm(_) | Clip::TensorRms(_)) {
            let (clock, values) = (&mut self.clock, self.params.values());
            hold_as("optimizer state", || clock.lay_out(values))?;
        }
        self.clip = clip;
        self.check_loss_scale()?;
        Ok(self)
    }

    /// Clips gradients by the norms of the parameters, unit by unit, before everything else: [`AdaptiveClip`] has the
    /// formula. Common values are 0.01 for `clipping` and 1e-3 for `eps`. It takes one launch per step and changes
    /// gradients in place.
    ///
    /// # Errors
    /// [`Error::Setting`](crate::Error::Setting) if one of them is not finite and greater than 0; if the device has no
    /// room.
    pub fn with_adaptive_clip(mut self, clipping: f64, eps: f64) -> Result<Self> {
        let values = self.params.values();
        let clip = hold_as("optimizer state", || AdaptiveClip::new(values, clipping, eps));
        self.around.adaptive = Some(clip.map_err(as_setting)?);
        self.check_loss_scale()?;
        Ok(self)
    }

    /// Sets the rule for gradients whose norm is not finite. By default the update is skipped if gradients are clipped
    /// by a norm, and nothing is checked otherwise. Skipping without clipping takes two more launches.
    ///
    /// ```
    /// use thalweg_nn::{Init, NonFinite, Optimizer, ParamsBuilder, Sgd};
    /// use thalweg_tensor::Device;
    /// # fn main() -> thalweg_nn::Result<()> {
    /// let mut builder = ParamsBuilder::new(0);
    /// builder.add("w", &[2], Init::Zeros)?;
    /// let params = builder.build(&Device::cpu())?;
    /// let mut optimizer = Optimizer::new(&params, Sgd::new(), 1e-2)?.with_non_finite(NonFinite::Error);
    /// params.grads()?.get(0).write(&[1.0, f32::NAN])?;
    /// optimizer.step()?;
    /// assert!(optimizer.read_clock().unwrap_err().to_string().starts_with("step 1: the norm of the gradients"));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn with_non_finite(mut self, non_finite: NonFinite) -> Self {
        self.clock.set_non_finite(Some(non_finite));
        self
    }

    /// Measures the length of the gradient and of the update in every step. The clock then has `gradient_norm` and
    /// `update_to_weight_ratio()`. The norm takes two launches if gradients are not clipped by it. The update takes a
    /// copy of the parameters (4 bytes of memory each) and two launches after it.
    ///
    /// # Errors
    /// If the device has no room.
    pub fn with_statistics(mut self) -> Result<Self> {
        let values = self.params.values();
        self.around.update_norms = Some(hold_as("optimizer state", || UpdateNorms::new(values))?);
        self.clock.measure_gradient_norm(true);
        Ok(self)
    }

    /// Reads the clock as [`read_clock`](Self::read_clock) does, but without waiting: the result arrives later.
    ///
    /// # Errors
    /// If work on the device has failed.
    pub fn read_clock_later(&self) -> Result<PendingClock> {
        Ok(self.clock.read_later()?)
    }

    /// Returns whether a skipped step is an error, which a caller must check.
    pub(crate) fn refuses_non_finite(&self) -> bool {
        self.clock.non_finite() == Some(NonFinite::Error)
    }
}
