//! Normalizations of channels, of operations that have their own rules.

use thalweg_tensor::{DType, Tensor};

use crate::{Result, Var};

impl Var<'_> {
    /// Returns (x - mean) / √(variance + eps) of each channel, times `weight` and plus `bias`; see
    /// [`Tensor::batch_norm`]. In training the gradient flows through the statistics of the batch, and the running
    /// statistics move on the device. At prediction they are constants.
    ///
    /// # Errors
    /// As of [`Tensor::batch_norm`], or if the operands are on different tapes.
    #[allow(clippy::too_many_arguments, reason = "they are PyTorch's")]
    pub fn batch_norm(
        self,
        running_mean: Option<&Tensor>,
        running_var: Option<&Tensor>,
        weight: Option<Self>,
        bias: Option<Self>,
        training: bool,
        momentum: f32,
        eps: f32,
    ) -> Result<Self> {
        if self.dtype().is_half() {
            return self.to_dtype(DType::F32)?.batch_norm(
                running_mean,
                running_var,
                weight,
                bias,
                training,
                momentum,
                eps,
            );
        }
        let op = "batch_norm";
        let x = self.value();
        let [weight_value, bias_value] = values([weight, bias]);
        let axes = x.channel_axes(op, &[running_mean, running_var, weight_value.as_ref(), bias_value.as_ref()])?;
        let y = if training {
            x.expect_spread(op, &axes)?;
            let mean = self.mean_along(&axes, true)?;
            let centred = self.sub(mean)?;
            let rest = centred.mean_along(&axes, true)?;
            let centred = centred.sub(rest)?;
            let variance = centred.square()?.mean_along(&axes, true)?;
            if running_mean.is_some() || running_var.is_some() {
                let mean = mean.value().add(&rest.value())?;
                x.move_statistics(running_mean, running_var, &mean, &variance.value(), momentum)?;
            }
            centred.div(variance.affine(1.0, eps)?.sqrt()?)?
        } else {
            let [mean, var] = x.statistics_of(op, running_mean, running_var)?;
            let constant = |value: Tensor| self.tape().constant(&value);
            self.sub(constant(mean))?.div(constant(var.affine(1.0, eps)?.sqrt()?))?
        };
        self.scale_channels(y, weight, bias)
    }

    /// Returns (x - mean) / √(variance + eps) of each group of channels of each example, times `weight` and plus `bias`;
    /// see [`Tensor::group_norm`].
    ///
    /// # Errors
    /// As of [`Tensor::group_norm`], or if the operands are on different tapes.
    pub fn group_norm(self, num_groups: usize, weight: Option<Self>, bias: Option<Self>, eps: f32) -> Result<Self> {
        if self.dtype().is_half() {
            return self.to_dtype(DType::F32)?.group_norm(num_groups, weight, bias, eps);
        }
        let [weight_value, bias_value] = values([weight, bias]);
        let operands = [weight_value.as_ref(), bias_value.as_ref()];
        let grouped = self.value().grouped("group_norm", num_groups, &operands)?;
        let centred = self.reshape(&grouped)?.centred(&[2])?;
        let scale = centred.square()?.mean_along(2, true)?.affine(1.0, eps)?.sqrt()?;
        self.scale_channels(centred.div(scale)?.reshape(&self.shape())?, weight, bias)
    }

    /// Returns (x - mean) / √(variance + eps) of each channel of each example, times `weight` and plus `bias`; see
    /// [`Tensor::instance_norm`].
    ///
    /// # Errors
    /// As of [`Tensor::instance_norm`], or if the operands are on different tapes.
    pub fn instance_norm(self, weight: Option<Self>, bias: Option<Self>, eps: f32) -> Result<Self> {
        if self.dtype().is_half() {
            return self.to_dtype(DType::F32)?.instance_norm(weight, bias, eps);
        }
        let [weight_value, bias_value] = values([weight, bias]);
        self.value().channel_axes("instance_norm", &[weight_value.as_ref(), bias_value.as_ref()])?;
        self.group_norm(self.shape()[1], weight, bias, eps)
    }

    fn scale_channels(self, y: Self, weight: Option<Self>, bias: Option<Self>) -> Result<Self> {
        let shape = self.value().channel_shape();
        let y = weight.map_or(Ok(y), |weight| y.mul(weight.reshape(&shape)?))?;
        bias.map_or(Ok(y), |bias| y.add(bias.reshape(&shape)?))
    }
}

fn values(operands: [Option<Var<'_>>; 2]) -> [Option<Tensor>; 2] {
    operands.map(|operand| operand.map(|operand| operand.value()))
}
