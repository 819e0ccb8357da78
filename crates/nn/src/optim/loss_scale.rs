//! Scaling of the loss.

use thalweg_autograd::Var;
use thalweg_tensor::{LossScale, Tensor};

use super::{Optimizer, as_setting};
use crate::{Error, Result};

/// Scales losses for an optimizer; [`Optimizer::loss_scaler`] returns it.
#[derive(Debug, Clone)]
pub struct LossScaler {
    scale: Option<Tensor>,
}

impl LossScaler {
    /// Scales a loss: see [`Optimizer::scale_loss`].
    ///
    /// # Errors
    /// Same as [`Optimizer::scale_loss`].
    pub fn scale<'tape>(&self, loss: Var<'tape>) -> Result<Var<'tape>> {
        match &self.scale {
            Some(scale) => Ok(loss.mul(loss.tape().constant(scale))?),
            None => Ok(loss),
        }
    }
}

impl Optimizer {
    /// Makes the update divide gradients by a loss scale, with which [`scale_loss`](Self::scale_loss) multiplies the
    /// loss. The scale adapts to the gradients, all on the device. It keeps small gradients from vanishing if matrix
    /// products round to f16 ([`MatmulPrecision`](thalweg_tensor::MatmulPrecision)). Steps with too large a scale are
    /// skipped and count as [`ClockState::skipped`](crate::ClockState::skipped), for any rule of
    /// [`with_non_finite`](Self::with_non_finite): they are how the scale is found. Every step computes the norm of the
    /// gradients. The [`Trainer`](crate::Trainer) scales its losses itself.
    ///
    /// # Launches
    /// The update takes two more, or none if gradients are clipped by their norm. The product of loss and scale, and
    /// its gradient, take four with cross-entropy.
    ///
    /// If scales are powers of two, as by default, and no step is skipped, the training results in f32 are
    /// bit-identical to those without a scale. The exception is clipping by a norm other than p = 1, 2 and infinity.
    ///
    /// ```
    /// use thalweg_autograd::Tape;
    /// use thalweg_nn::{AdamW, Linear, Loss, LossScale, Module, Mse, Optimizer, ParamsBuilder};
    /// use thalweg_tensor::{Device, Tensor};
    /// # fn main() -> thalweg_nn::Result<()> {
    /// let device = Device::cpu();
    /// let mut builder = ParamsBuilder::new(0);
    /// let model = Linear::new(&mut builder, "line", 1, 1)?;
    /// let params = builder.build(&device)?;
    /// let mut optimizer = Optimizer::new(&params, AdamW::new(), 1e-3)?.with_loss_scale(LossScale::default())?;
    /// let x = Tensor::from_slice(&device, &[0.0, 1.0, 2.0, 3.0], &[4, 1])?;
    /// let tape = Tape::new();
    /// let loss = Mse.of(model.forward(tape.constant(&x))?, &x.affine(2.0, 1.0)?)?;
    /// tape.backward(optimizer.scale_loss(loss)?)?;
    /// optimizer.step()?;
    /// assert_eq!(optimizer.read_clock()?.loss_scale, Some(65_536.0));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Setting`] if a value is out of its range, or gradients are clipped by anything but their global norm.
    pub fn with_loss_scale(mut self, loss_scale: LossScale) -> Result<Self> {
        self.clock.set_loss_scale(Some(loss_scale)).map_err(as_setting)?;
        self.check_loss_scale()?;
        Ok(self)
    }

    /// Returns a loss times the scale of this step, for its gradients; the loss itself if no scale is set.
    ///
    /// # Errors
    /// If work on the device has failed.
    pub fn scale_loss<'tape>(&self, loss: Var<'tape>) -> Result<Var<'tape>> {
        self.loss_scaler()?.scale(loss)
    }

    /// Returns the scaler of losses for this optimizer, for the closures of wrappers such as
    /// [`GradientAccumulation`](crate::GradientAccumulation) and [`Sam`](crate::Sam). It uses the scale on the device.
    ///
    /// # Errors
    /// If work on the device has failed.
    pub fn loss_scaler(&self) -> Result<LossScaler> {
        Ok(LossScaler { scale: self.clock.loss_scale_now()? })
    }

    /// Checks that the clipping works with a scale.
    pub(super) fn check_loss_scale(&self) -> Result<()> {
        if self.clock.loss_scale().is_none() {
            return Ok(());
        }
        if self.around.adaptive.is_some() {
            let rule = "left out where the loss is scaled";
            return Err(Error::Setting { field: "adaptive_clip", value: "on".to_string(), rule });
        }
        LossScale::check_clip(self.clip).map_err(as_setting)
    }
}
