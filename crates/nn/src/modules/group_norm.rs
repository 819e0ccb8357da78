//! [`GroupNorm`], [`InstanceNorm1d`] and [`InstanceNorm2d`].

use std::fmt;

use thalweg_autograd::{Parameter, Var};
use thalweg_tensor::Error as TensorError;

use crate::setting::check;
use crate::{Init, Module, ParamsBuilder, Parts, Result, Visitor};

/// Group normalisation: normalises groups of channels of each example to mean 0 and variance 1, then scales and shifts each
/// channel by learned numbers. It is the same in training and at prediction.
///
/// # Shapes
/// x `[n, channels, …]`, weight and bias `[channels]` → `[n, channels, …]`.
///
/// The weight starts at 1, the bias at 0, and eps is 1e-5.
///
/// PyTorch's `GroupNorm` (Wu, He, 2018), with its names.
///
/// # Errors
/// [`forward`](Module::forward) fails if the input has other channels, or if the parameters have no memory yet.
///
/// ```
/// use thalweg_autograd::Tape;
/// use thalweg_nn::{GroupNorm, Module, ParamsBuilder};
/// use thalweg_tensor::{Device, Tensor};
/// # fn main() -> thalweg_nn::Result<()> {
/// let mut builder = ParamsBuilder::new(0);
/// let norm = GroupNorm::new(&mut builder, "norm", 1, 2)?;
/// let params = builder.build(&Device::cpu())?;
/// let tape = Tape::inference();
/// let x = tape.constant(&Tensor::from_slice(params.device(), &[1.0, 5.0], &[1, 2])?);
/// let y = norm.forward(x)?.value().to_vec::<f32>()?;
/// assert!((y[0] + 1.0).abs() < 1e-5 && (y[1] - 1.0).abs() < 1e-5);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct GroupNorm {
    weight: Parameter,
    bias: Parameter,
    num_groups: usize,
    eps: f32,
}

impl Parts for GroupNorm {
    fn visit(&self, visitor: &mut Visitor<'_>) {
        visitor.part("weight", &self.weight);
        visitor.part("bias", &self.bias);
        visitor.setting("num_groups", &self.num_groups);
        visitor.setting("eps", &self.eps);
    }
}

impl GroupNorm {
    /// Makes a layer whose parameters are `name.weight` and `name.bias`.
    ///
    /// # Errors
    /// [`Error::Setting`](crate::Error::Setting) if the channels do not divide into the groups, or the name is taken.
    pub fn new(
        builder: &mut ParamsBuilder,
        name: impl fmt::Display,
        num_groups: usize,
        num_channels: usize,
    ) -> Result<Self> {
        check("num_channels", num_channels, num_channels > 0, "at least 1")?;
        let divides = num_groups > 0 && num_channels.is_multiple_of(num_groups);
        check("num_groups", num_groups, divides, "a divisor of the number of channels")?;
        let mut builder = builder.path(name);
        Ok(Self {
            weight: builder.add("weight", &[num_channels], Init::Constant(1.0))?,
            bias: builder.add("bias", &[num_channels], Init::Zeros)?,
            num_groups,
            eps: 1e-5,
        })
    }

    /// Sets the number that is added to the variance. Default 1e-5.
    ///
    /// # Errors
    /// [`Error::Setting`](crate::Error::Setting) if it is negative or not finite.
    pub fn with_eps(self, eps: f32) -> Result<Self> {
        check("eps", eps, eps >= 0.0 && eps.is_finite(), "a finite number of at least 0")?;
        Ok(Self { eps, ..self })
    }

    /// Returns the weight, `[channels]`.
    #[must_use]
    pub fn weight(&self) -> &Parameter {
        &self.weight
    }

    /// Returns the bias, `[channels]`.
    #[must_use]
    pub fn bias(&self) -> &Parameter {
        &self.bias
    }
}

impl Module for GroupNorm {
    fn forward<'t>(&self, input: Var<'t>) -> thalweg_autograd::Result<Var<'t>> {
        let tape = input.tape();
        let name = self.weight.name();
        let _scope = tape.scope(name.strip_suffix(".weight").unwrap_or(name));
        let (weight, bias) = (tape.parameter(&self.weight)?, tape.parameter(&self.bias)?);
        input.group_norm(self.num_groups, Some(weight), Some(bias), self.eps)
    }
}

/// What both have.
#[derive(Debug, Clone)]
struct Instances {
    features: usize,
    affine: Option<(Parameter, Parameter)>,
    eps: f32,
}

impl Instances {
    fn new(features: usize) -> Result<Self> {
        check("features", features, features > 0, "at least 1")?;
        Ok(Self { features, affine: None, eps: 1e-5 })
    }

    fn affine(builder: &mut ParamsBuilder, name: impl fmt::Display, features: usize) -> Result<Self> {
        let plain = Self::new(features)?;
        let mut builder = builder.path(name);
        let weight = builder.add("weight", &[features], Init::Constant(1.0))?;
        Ok(Self { affine: Some((weight, builder.add("bias", &[features], Init::Zeros)?)), ..plain })
    }

    fn visit(&self, visitor: &mut Visitor<'_>) {
        if let Some((weight, bias)) = &self.affine {
            visitor.part("weight", weight);
            visitor.part("bias", bias);
        }
        visitor.setting("eps", &self.eps);
    }

    fn forward<'t>(&self, input: Var<'t>) -> thalweg_autograd::Result<Var<'t>> {
        if input.shape()[1] != self.features {
            let rule = "the input must have the channels of the layer";
            let (left, right) = (input.shape(), vec![self.features]);
            return Err(TensorError::Shape { op: "instance_norm", rule, left, right }.into());
        }
        let Some((weight, bias)) = &self.affine else { return input.instance_norm(None, None, self.eps) };
        let tape = input.tape();
        let name = weight.name();
        let _scope = tape.scope(name.strip_suffix(".weight").unwrap_or(name));
        input.instance_norm(Some(tape.parameter(weight)?), Some(tape.parameter(bias)?), self.eps)
    }
}

/// Declares a layer for inputs of a rank.
macro_rules! instance_norm {
    ($name:ident, $pytorch:literal, $shapes:literal, $rank:literal, $expected:literal) => {
        /// Instance normalisation: normalises each channel of each example to mean 0 and variance 1. It is the same in training
        /// and at prediction.
        ///
        /// # Shapes
        #[doc = $shapes]
        ///
        #[doc = concat!("PyTorch's `", $pytorch, "` (Ulyanov, Vedaldi, Lempitsky, 2016) without running statistics, its default.")]
        /// As there, a layer has no parameters unless it is made by [`affine`](Self::affine), and eps is 1e-5.
        ///
        /// # Errors
        /// [`forward`](Module::forward) fails if the input has other axes or channels, or if the parameters have no memory yet.
        #[derive(Debug, Clone)]
        pub struct $name(Instances);

        impl $name {
            /// Makes a layer without parameters.
            ///
            /// # Errors
            /// [`Error::Setting`](crate::Error::Setting) if the number of channels is 0.
            pub fn new(num_features: usize) -> Result<Self> {
                Ok(Self(Instances::new(num_features)?))
            }

            /// Makes a layer that also scales and shifts each channel, by `name.weight` and `name.bias`.
            ///
            /// # Errors
            /// [`Error::Setting`](crate::Error::Setting) if the number of channels is 0, or the name is taken.
            pub fn affine(builder: &mut ParamsBuilder, name: impl fmt::Display, num_features: usize) -> Result<Self> {
                Ok(Self(Instances::affine(builder, name, num_features)?))
            }

            /// Sets the number that is added to the variance. Default 1e-5.
            ///
            /// # Errors
            /// [`Error::Setting`](crate::Error::Setting) if it is negative or not finite.
            pub fn with_eps(mut self, eps: f32) -> Result<Self> {
                check("eps", eps, eps >= 0.0 && eps.is_finite(), "a finite number of at least 0")?;
                self.0.eps = eps;
                Ok(self)
            }
        }

        impl Parts for $name {
            fn visit(&self, visitor: &mut Visitor<'_>) {
                self.0.visit(visitor);
            }
        }

        impl Module for $name {
            fn forward<'t>(&self, input: Var<'t>) -> thalweg_autograd::Result<Var<'t>> {
                let shape = input.shape();
                if shape.len() != $rank {
                    return Err(TensorError::Rank { op: "instance_norm", expected: $expected, shape }.into());
                }
                self.0.forward(input)
            }
        }
    };
}

instance_norm!(
    InstanceNorm1d,
    "InstanceNorm1d",
    " x `[n, channels, length]` → the same.",
    3,
    "an input [n, channels, length]"
);
instance_norm!(
    InstanceNorm2d,
    "InstanceNorm2d",
    " x `[n, channels, height, width]` → the same.",
    4,
    "an input [n, channels, height, width]"
);

#[cfg(test)]
mod tests {
    use thalweg_autograd::Tape;
    use thalweg_tensor::{Device, Tensor};

    use super::*;
    use crate::testing::devices;

    #[test]
    fn groups_of_one_channel_are_instances_on_every_device() {
        for device in devices() {
            let mut builder = ParamsBuilder::new(0);
            let groups = GroupNorm::new(&mut builder, "groups", 3, 3).unwrap();
            let instances = InstanceNorm2d::affine(&mut builder, "instances", 3).unwrap();
            let _params = builder.build(&device).unwrap();
            let tape = Tape::inference();
            let x = tape.constant(&Tensor::uniform(&device, 1, 0, -3.0, 9.0, &[2, 3, 4, 5]).unwrap());
            let values = |y: thalweg_autograd::Result<Var<'_>>| y.unwrap().value().to_vec::<f32>().unwrap();
            let expected = values(groups.forward(x));
            assert_eq!(values(instances.forward(x)), expected, "{device}");
            assert_eq!(values(InstanceNorm2d::new(3).unwrap().forward(x)), expected, "{device}");
            let rows = x.reshape(&[2, 3, 20]).unwrap();
            assert_eq!(values(InstanceNorm1d::new(3).unwrap().forward(rows)), expected, "{device}");
            let mean: f32 = expected[..20].iter().sum::<f32>() / 20.0;
            assert!(mean.abs() < 1e-6, "{device}: {mean}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let mut builder = ParamsBuilder::new(0);
        assert!(GroupNorm::new(&mut builder, "a", 2, 3).is_err() && GroupNorm::new(&mut builder, "a", 0, 3).is_err());
        assert!(InstanceNorm1d::new(0).is_err() && InstanceNorm2d::new(2).unwrap().with_eps(f32::NAN).is_err());
        let norm = InstanceNorm1d::affine(&mut builder, "norm", 2).unwrap();
        let names: Vec<String> = norm.named_parameters().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["weight", "bias"]);
        let tape = Tape::new();
        let of = |shape: &[usize]| tape.constant(&Tensor::full(&Device::cpu(), 1f32, shape).unwrap());
        let message = |x| norm.forward(x).unwrap_err().to_string();
        assert!(message(of(&[2, 2])).contains("[n, channels, length]"));
        assert!(message(of(&[2, 3, 2])).contains("the channels of the layer"));
    }
}
