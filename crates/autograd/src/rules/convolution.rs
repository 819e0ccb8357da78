//! Convolutions. They and their two gradients are bilinear, and the gradients of each are the other two.

use thalweg_tensor::{Convolution, ConvolutionTranspose, DType, Strides, Tensor};

use super::product::bilinear;
use crate::forward::{Push, sum};
use crate::walk::Pull;
use crate::{Result, Var};

macro_rules! convolutions {
    ($($name:ident $transpose:ident $axes:literal)*) => {
        impl<'t> Var<'t> {
            $(
                #[doc = concat!(" Returns the convolution over ", $axes, " axes; see [`Tensor::", stringify!($name), "`].")]
                ///
                /// # Errors
                /// If the shapes do not fit, a setting is 0, the elements are not f32, or the devices or the tapes differ.
                pub fn $name(self, weight: Self, bias: Option<Self>, settings: &Convolution<$axes>) -> Result<Self> {
                    self.convolve(stringify!($name), weight, bias, settings.into())
                }

                #[doc = concat!(" Returns the transposed convolution over ", $axes, " axes; see [`Tensor::", stringify!($transpose), "`].")]
                ///
                /// # Errors
                /// If the shapes do not fit, a setting is out of range, the elements are not f32, or the devices or the tapes
                /// differ.
                pub fn $transpose(
                    self,
                    weight: Self,
                    bias: Option<Self>,
                    settings: &ConvolutionTranspose<$axes>,
                ) -> Result<Self> {
                    let extents = settings.output_extents(stringify!($transpose), &self.shape(), &weight.shape())?;
                    self.convolve_transpose(stringify!($transpose), weight, bias, extents, settings.into())
                }
            )*
        }
    };
}

convolutions!(conv1d conv_transpose1d 1 conv2d conv_transpose2d 2 conv3d conv_transpose3d 3);

impl<'t> Var<'t> {
    fn convolve(self, op: &'static str, weight: Self, bias: Option<Self>, strides: Strides) -> Result<Self> {
        let ([this, weight], bias) = self.cast_operands(weight, bias)?;
        this.convolve_as_is(op, weight, bias, strides)
    }

    /// The input, the weight and the bias in the type of the tape's autocast.
    fn cast_operands(self, weight: Self, bias: Option<Self>) -> Result<([Self; 2], Option<Self>)> {
        let bias = bias.map(|bias| self.tape().cast([bias])).transpose()?;
        Ok((self.tape().cast([self, weight])?, bias.map(|[bias]| bias)))
    }

    fn convolve_as_is(self, op: &'static str, weight: Self, bias: Option<Self>, strides: Strides) -> Result<Self> {
        let value = bias.map(|bias| bias.value());
        let y = self.value().convolve(op, &weight.value(), value.as_ref(), &strides)?;
        let inputs: Vec<Self> = [self, weight].into_iter().chain(bias).collect();
        let again = strides.clone();
        let y = self.tape().record(op, y, &inputs, move |pull| {
            let (x, weight, g) = (pull.input(0), pull.input(1), pull.cotangent()?);
            if pull.needs(0) {
                let extents = x.shape().split_off(2);
                pull.give(0, g.convolve_transpose("conv_input_grad", weight, None, extents, strides.clone())?)?;
            }
            give_weight(pull, [g, x], &strides)?;
            give_bias(pull, g)
        })?;
        Ok(y.with_pushforward(move |push| {
            with_bias(push, bilinear(push, |x, weight| x.convolve("conv", weight, None, again.clone()))?)
        }))
    }

    fn convolve_transpose(
        self,
        op: &'static str,
        weight: Self,
        bias: Option<Self>,
        extents: Vec<usize>,
        strides: Strides,
    ) -> Result<Self> {
        let ([this, weight], bias) = self.cast_operands(weight, bias)?;
        this.convolve_transpose_as_is(op, weight, bias, extents, strides)
    }

    fn convolve_transpose_as_is(
        self,
        op: &'static str,
        weight: Self,
        bias: Option<Self>,
        extents: Vec<usize>,
        strides: Strides,
    ) -> Result<Self> {
        let value = bias.map(|bias| bias.value());
        let y = self.value().convolve_transpose(op, &weight.value(), value.as_ref(), &extents, &strides)?;
        let inputs: Vec<Self> = [self, weight].into_iter().chain(bias).collect();
        let again = (extents, strides.clone());
        let y = self.tape().record(op, y, &inputs, move |pull| {
            let (x, weight, g) = (pull.input(0), pull.input(1), pull.cotangent()?);
            if pull.needs(0) {
                pull.give(0, g.convolve("conv", weight, None, strides.clone())?)?;
            }
            give_weight(pull, [x, g], &strides)?;
            give_bias(pull, g)
        })?;
        Ok(y.with_pushforward(move |push| {
            let (extents, strides) = &again;
            let tangent = bilinear(push, |x, weight| {
                x.convolve_transpose("conv_input_grad", weight, None, extents.clone(), strides.clone())
            })?;
            with_bias(push, tangent)
        }))
    }

    /// The gradient of a weight of this shape, from that of the output, `self`.
    fn convolve_weight(self, input: Self, shape: Vec<usize>, strides: Strides) -> Result<Self> {
        let target = Tensor::uninitialized(self.value().device(), DType::F32, &shape)?;
        self.value().convolve_weight_into(&input.value(), &target, false, &strides)?;
        self.tape().record("conv_weight_grad", target, &[self, input], move |pull| {
            let (output_grad, input, g) = (pull.input(0), pull.input(1), pull.cotangent()?);
            if pull.needs(0) {
                pull.give(0, input.convolve("conv", g, None, strides.clone())?)?;
            }
            if pull.needs(1) {
                let extents = input.shape().split_off(2);
                pull.give(1, output_grad.convolve_transpose("conv_input_grad", g, None, extents, strides.clone())?)?;
            }
            Ok(())
        })
    }
}

/// Gives the weight, input number 1, its gradient from the gradient of the output and the input, straight into its place if
/// it is a parameter.
fn give_weight<'t>(pull: &Pull<'t, '_>, [output_grad, input]: [Var<'t>; 2], strides: &Strides) -> Result<()> {
    if !pull.needs(1) {
        return Ok(());
    }
    if let Some(([target], accumulate)) = pull.claim([1])? {
        return Ok(output_grad.value().convolve_weight_into(&input.value(), &target, accumulate, strides)?);
    }
    pull.give(1, output_grad.convolve_weight(input, pull.input(1).shape(), strides.clone())?)
}

/// Adds the tangent of the bias, input number 2 if there is one, to that of the output.
fn with_bias<'t>(push: &Push<'t, '_>, tangent: Option<Var<'t>>) -> Result<Option<Var<'t>>> {
    let Some(bias) = (push.inputs() > 2).then(|| push.tangent(2)).flatten() else { return Ok(tangent) };
    let shape = push.output().shape();
    let mut channels = vec![1; shape.len() - 1];
    channels[0] = shape[1];
    sum(tangent, Some(bias.reshape(&channels)?.broadcast_to(&shape)?))
}

/// Gives the bias, input number 2 if there is one, the sums of the output's gradient over samples and pixels.
fn give_bias<'t>(pull: &Pull<'t, '_>, g: Var<'t>) -> Result<()> {
    let shape = g.shape();
    if pull.inputs() < 3 || !pull.needs(2) {
        return Ok(());
    }
    let pixels = shape[2..].iter().product();
    pull.give(2, g.reshape(&[shape[0], shape[1], pixels])?.sum_along(2, false)?.sum_along(0, false)?)
}
