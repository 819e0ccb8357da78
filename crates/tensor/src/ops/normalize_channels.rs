//! Normalizations of channels: over a batch, over groups of channels, over each example.

use crate::tensor::expect_dtype;
use crate::{DType, Error, Result, Tensor};

impl Tensor {
    /// Returns (x - mean) / √(variance + eps) of each channel, times `weight` and plus `bias` where they are given.
    ///
    /// In training, mean and variance are those of the batch, the variance with a correction of 0. If running statistics
    /// are given, they move towards those of the batch, on the device:
    ///
    /// ```text
    /// running ← (1 - momentum) running + momentum new
    /// ```
    ///
    /// The new variance then has a correction of 1, as in PyTorch. Otherwise the result has the running statistics in the
    /// place of the batch's.
    ///
    /// # Shapes
    /// `[n, channels, …]` → the same. Statistics, `weight` and `bias` are `[channels]`.
    ///
    /// # Errors
    /// If there are fewer than two axes, an operand is not `[channels]`, running statistics are missing at prediction, a
    /// channel has fewer than two elements in training, the elements are not f32, or the devices differ.
    ///
    /// ```
    /// use thalweg_tensor::{DType, Device, Tensor};
    /// # fn main() -> thalweg_tensor::Result<()> {
    /// let device = Device::cpu();
    /// let x = Tensor::from_slice(&device, &[1.0, 3.0], &[2, 1])?;
    /// let (mean, var) = (Tensor::zeros(&device, DType::F32, &[1])?, Tensor::full(&device, 1f32, &[1])?);
    /// let y = x.batch_norm(Some(&mean), Some(&var), None, None, true, 0.5, 0.0)?;
    /// assert_eq!(y.to_vec::<f32>()?, [-1.0, 1.0]);
    /// assert_eq!([mean.item::<f32>()?, var.item()?], [1.0, 1.5]);
    /// # Ok(())
    /// # }
    /// ```
    #[allow(clippy::too_many_arguments, reason = "they are PyTorch's")]
    pub fn batch_norm(
        &self,
        running_mean: Option<&Self>,
        running_var: Option<&Self>,
        weight: Option<&Self>,
        bias: Option<&Self>,
        training: bool,
        momentum: f32,
        eps: f32,
    ) -> Result<Self> {
        let op = "batch_norm";
        let axes = self.channel_axes(op, &[running_mean, running_var, weight, bias])?;
        let y = if training {
            self.expect_spread(op, &axes)?;
            let mean = self.mean_along(&axes, true)?;
            let centred = self.sub(&mean)?;
            let rest = centred.mean_along(&axes, true)?;
            let centred = centred.sub(&rest)?;
            let variance = centred.square()?.mean_along(&axes, true)?;
            self.move_statistics(running_mean, running_var, &mean.add(&rest)?, &variance, momentum)?;
            centred.div(&variance.affine(1.0, eps)?.sqrt()?)?
        } else {
            let [mean, var] = self.statistics_of(op, running_mean, running_var)?;
            self.sub(&mean)?.div(&var.affine(1.0, eps)?.sqrt()?)?
        };
        self.scale_channels(y, weight, bias)
    }

    /// Returns (x - mean) / √(variance + eps) of each group of channels of each example, times `weight` and plus `bias`
    /// where they are given.
    ///
    /// # Shapes
    /// `[n, channels, …]` → the same. `weight` and `bias` are `[channels]`.
    ///
    /// # Errors
    /// If there are fewer than two axes, the channels do not divide into the groups, an operand is not `[channels]`, the
    /// elements are not f32, or the devices differ.
    pub fn group_norm(&self, num_groups: usize, weight: Option<&Self>, bias: Option<&Self>, eps: f32) -> Result<Self> {
        let grouped = self.grouped("group_norm", num_groups, &[weight, bias])?;
        let centred = self.reshape(&grouped)?.centred(&[2])?;
        let scale = centred.square()?.mean_along(2, true)?.affine(1.0, eps)?.sqrt()?;
        self.scale_channels(centred.div(&scale)?.reshape(self.shape())?, weight, bias)
    }

    /// Returns (x - mean) / √(variance + eps) of each channel of each example, times `weight` and plus `bias` where they
    /// are given.
    ///
    /// # Shapes
    /// `[n, channels, …]` → the same. `weight` and `bias` are `[channels]`.
    ///
    /// # Errors
    /// As of [`group_norm`](Self::group_norm).
    pub fn instance_norm(&self, weight: Option<&Self>, bias: Option<&Self>, eps: f32) -> Result<Self> {
        self.channel_axes("instance_norm", &[weight, bias])?;
        self.group_norm(self.shape()[1], weight, bias, eps)
    }

    /// Checks that operands are those of the channels, and returns the other axes.
    #[doc(hidden)]
    pub fn channel_axes(&self, op: &'static str, operands: &[Option<&Self>]) -> Result<Vec<usize>> {
        expect_dtype(op, self, DType::F32)?;
        if self.rank() < 2 {
            return Err(Error::Rank { op, expected: "at least two dimensions", shape: self.shape().to_vec() });
        }
        for operand in operands.iter().flatten() {
            expect_dtype(op, operand, DType::F32)?;
            self.same_device(op, operand)?;
            if operand.shape() != &self.shape()[1..2] {
                return Err(Error::Shape {
                    op,
                    rule: "statistics, weight and bias must have an element for each channel",
                    left: self.shape().to_vec(),
                    right: operand.shape().to_vec(),
                });
            }
        }
        Ok((0..self.rank()).filter(|axis| *axis != 1).collect())
    }

    /// Checks that each channel has at least two elements: the variance of one has no meaning.
    #[doc(hidden)]
    pub fn expect_spread(&self, op: &'static str, axes: &[usize]) -> Result<()> {
        let extent: usize = axes.iter().map(|&axis| self.shape()[axis]).product();
        if extent >= 2 {
            return Ok(());
        }
        Err(Error::Rank {
            op,
            expected: "at least two elements of each channel in training",
            shape: self.shape().to_vec(),
        })
    }

    /// Moves the running statistics towards those of a batch, whose variance has a correction of 0.
    #[doc(hidden)]
    pub fn move_statistics(
        &self,
        running_mean: Option<&Self>,
        running_var: Option<&Self>,
        mean: &Self,
        variance: &Self,
        momentum: f32,
    ) -> Result<()> {
        let extent = (self.len() / self.shape()[1].max(1)) as f32;
        let unbiased = momentum * extent / (extent - 1.0);
        for (running, new, factor) in [(running_mean, mean, momentum), (running_var, variance, unbiased)] {
            if let Some(running) = running {
                let new = new.reshape(running.shape())?.affine(factor, 0.0)?;
                running.affine(1.0 - momentum, 0.0)?.add(&new)?.copy_into(running)?;
            }
        }
        Ok(())
    }

    /// Returns the running statistics in a shape that broadcasts over the tensor.
    #[doc(hidden)]
    pub fn statistics_of(&self, op: &'static str, mean: Option<&Self>, var: Option<&Self>) -> Result<[Self; 2]> {
        let (Some(mean), Some(var)) = (mean, var) else {
            let rule = "given, unless in training";
            return Err(Error::Argument { op, name: "running_mean, running_var", value: "None".to_string(), rule });
        };
        let shape = self.channel_shape();
        Ok([mean.reshape(&shape)?, var.reshape(&shape)?])
    }

    /// Returns the shape in which the elements of the channels broadcast over the tensor: `[channels, 1, …]`.
    #[doc(hidden)]
    #[must_use]
    pub fn channel_shape(&self) -> Vec<usize> {
        self.shape().iter().enumerate().skip(1).map(|(axis, &extent)| if axis == 1 { extent } else { 1 }).collect()
    }

    /// Checks the arguments of a normalization in groups, and returns the shape `[n, groups, the rest]`.
    #[doc(hidden)]
    pub fn grouped(&self, op: &'static str, groups: usize, operands: &[Option<&Self>]) -> Result<[usize; 3]> {
        self.channel_axes(op, operands)?;
        let channels = self.shape()[1];
        if !(channels == 0 && groups == 0) && (groups == 0 || !channels.is_multiple_of(groups)) {
            let rule = "a divisor of the number of channels";
            return Err(Error::Argument { op, name: "num_groups", value: groups.to_string(), rule });
        }
        let rest = self.shape()[2..].iter().product::<usize>() * channels.checked_div(groups).unwrap_or(0);
        Ok([self.shape()[0], groups, rest])
    }

    fn scale_channels(&self, y: Self, weight: Option<&Self>, bias: Option<&Self>) -> Result<Self> {
        let shape = self.channel_shape();
        let y = weight.map_or(Ok(y.clone()), |weight| y.mul(&weight.reshape(&shape)?))?;
        bias.map_or(Ok(y.clone()), |bias| y.add(&bias.reshape(&shape)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Device;

    fn tensor(elements: &[f32], shape: &[usize]) -> Tensor {
        Tensor::from_slice(&Device::cpu(), elements, shape).unwrap()
    }

    #[test]
    fn channels_are_normalized() {
        let x = tensor(&[1.0, 5.0, 3.0, 9.0], &[2, 2, 1]);
        let floats = |y: Result<Tensor>| y.unwrap().to_vec::<f32>().unwrap();
        assert_eq!(floats(x.batch_norm(None, None, None, None, true, 0.1, 0.0)), [-1.0, -1.0, 1.0, 1.0]);
        let (mean, var) = (tensor(&[1.0, 1.0], &[2]), tensor(&[4.0, 4.0], &[2]));
        let eval = |weight| x.batch_norm(Some(&mean), Some(&var), weight, None, false, 0.1, 0.0);
        assert_eq!(floats(eval(None)), [0.0, 2.0, 1.0, 4.0]);
        assert_eq!(floats(eval(Some(&mean.affine(3.0, 0.0).unwrap()))), [0.0, 6.0, 3.0, 12.0]);
        assert_eq!(floats(x.group_norm(1, None, Some(&mean), 0.0)), [0.0, 2.0, 0.0, 2.0]);
        assert_eq!(floats(x.instance_norm(None, None, 1.0)), [0.0; 4]);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let x = tensor(&[1.0; 6], &[2, 3]);
        assert!(x.batch_norm(None, None, None, None, false, 0.1, 0.0).is_err());
        assert!(x.batch_norm(None, None, Some(&tensor(&[1.0], &[1])), None, true, 0.1, 0.0).is_err());
        assert!(x.slice(0, 0, 1).unwrap().batch_norm(None, None, None, None, true, 0.1, 0.0).is_err());
        assert!(x.group_norm(2, None, None, 0.0).is_err() && x.group_norm(0, None, None, 0.0).is_err());
        assert!(tensor(&[1.0], &[1]).instance_norm(None, None, 0.0).is_err());
        assert_eq!(tensor(&[], &[2, 0, 3]).group_norm(0, None, None, 0.0).unwrap().shape(), [2, 0, 3]);
    }
}
