//! Scaling of the loss.

use thalweg_autograd::Var;
use thalweg_tensor::{LossScale, Tensor};

use super::{Optimizer, as_setting};
use crate::{Error, Result};

/// Scales losses for an optimizer: [`Optimizer::loss_scaler`] gives it.
#[derive(Debug, Clone)]
pub struct LossScaler {
    scale: Option<Tensor>,
}

impl LossScaler {
    /// As [`Optimizer::scale_loss`].
    ///
    /// # Errors
    /// As there.
    pub fn scale<'tape>(&self, loss: Var<'tape>) -> Result<Var<'tape>> {
        match &self.scale {
            Some(scale) => Ok(loss.mul(loss.tape().constant(scale))?),
            None => Ok(loss),
        }
    }
}

impl Optimizer {
    /// Has gradients be those of a loss that was multiplied by a scale, which [`scale_loss`](Self::scale_loss) does: the
    /// update divides by it again, and the scale follows the gradients, all on the device. It keeps small gradients from
    /// vanishing where matrix products round to f16 ([`MatmulPrecision`](thalweg_tensor::MatmulPrecision)). Steps that are
    /// skipped, as the scale is too large, count as [`ClockState::skipped`](crate::ClockState::skipped), whatever
    /// [`with_non_finite`](Self::with_non_finite) says; they are how the scale is found. The norm of the gradients is taken in
    /// every step. The [`Trainer`](crate::Trainer) scales its losses by itself.
    ///
    /// # Launches
    /// None more of the update where gradients are clipped by their norm, else two; the product of loss and scale, and what
    /// its gradient takes, are four with cross-entropy.
    ///
    /// Scales that are powers of two, as the default's are, change no bit of what is learned in f32 while no step is skipped,
    /// unless gradients are clipped by another norm than those of p = 1, 2 and infinity.
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
    /// [`Error::Setting`] if a value is out of its range, or gradients are clipped otherwise than by their global norm.
    pub fn with_loss_scale(mut self, loss_scale: LossScale) -> Result<Self> {
        self.clock.set_loss_scale(Some(loss_scale)).map_err(as_setting)?;
        self.check_loss_scale()?;
        Ok(self)
    }

    /// Returns a loss times the scale of this step, to take the gradients of; the loss as it is where none is set.
    ///
    /// # Errors
    /// If work on the device has failed.
    pub fn scale_loss<'tape>(&self, loss: Var<'tape>) -> Result<Var<'tape>> {
        self.loss_scaler()?.scale(loss)
    }

    /// What scales losses for this optimizer, to go into the closures of wrappers such as
    /// [`GradientAccumulation`](crate::GradientAccumulation) and [`Sam`](crate::Sam). It follows the scale on the device.
    ///
    /// # Errors
    /// If work on the device has failed.
    pub fn loss_scaler(&self) -> Result<LossScaler> {
        Ok(LossScaler { scale: self.clock.loss_scale_now()? })
    }

    /// Checks that gradients are clipped in a way that goes with a scale.
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
