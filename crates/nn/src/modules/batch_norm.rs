//! [`BatchNorm1d`] and [`BatchNorm2d`].

use std::fmt;

use thalweg_autograd::{Parameter, Var};
use thalweg_tensor::Error as TensorError;

use crate::setting::{check, fraction};
use crate::{Buffer, Init, Mode, Module, ParamsBuilder, Parts, Result, Visitor};

/// What both have.
#[derive(Debug, Clone)]
struct Channels {
    weight: Parameter,
    bias: Parameter,
    running_mean: Buffer,
    running_var: Buffer,
    num_batches_tracked: Buffer,
    momentum: f32,
    eps: f32,
    mode: Mode,
}

impl Channels {
    fn new(builder: &mut ParamsBuilder, name: impl fmt::Display, features: usize) -> Result<Self> {
        check("features", features, features > 0, "at least 1")?;
        let mut builder = builder.path(name);
        Ok(Self {
            weight: builder.add("weight", &[features], Init::Constant(1.0))?,
            bias: builder.add("bias", &[features], Init::Zeros)?,
            running_mean: builder.buffer("running_mean", &[features], Init::Zeros)?,
            running_var: builder.buffer("running_var", &[features], Init::Constant(1.0))?,
            num_batches_tracked: builder.buffer("num_batches_tracked", &[], Init::Zeros)?,
            momentum: 0.1,
            eps: 1e-5,
            mode: Mode::default(),
        })
    }

    fn visit(&self, visitor: &mut Visitor<'_>) {
        visitor.part("weight", &self.weight);
        visitor.part("bias", &self.bias);
        visitor.part("running_mean", &self.running_mean);
        visitor.part("running_var", &self.running_var);
        visitor.part("num_batches_tracked", &self.num_batches_tracked);
        visitor.part("mode", &self.mode);
        visitor.setting("momentum", &self.momentum);
        visitor.setting("eps", &self.eps);
    }

    fn forward<'t>(&self, input: Var<'t>) -> thalweg_autograd::Result<Var<'t>> {
        let tape = input.tape();
        let name = self.weight.name();
        let _scope = tape.scope(name.strip_suffix(".weight").unwrap_or(name));
        let (mean, var) = (Some(self.running_mean.value()?), Some(self.running_var.value()?));
        let (weight, bias) = (Some(tape.parameter(&self.weight)?), Some(tape.parameter(&self.bias)?));
        let is_training = self.mode.is_training(tape);
        let y = input.batch_norm(mean, var, weight, bias, is_training, self.momentum, self.eps)?;
        if is_training {
            let count = self.num_batches_tracked.value()?;
            self.num_batches_tracked.set(&count.affine(1.0, 1.0)?)?;
        }
        Ok(y)
    }
}

/// Declares a layer for inputs of certain ranks.
macro_rules! batch_norm {
    ($name:ident, $pytorch:literal, $shapes:literal, $ranks:pat, $expected:literal, $example:literal) => {
        /// Batch normalisation: normalises each channel over the batch to mean 0 and variance 1, then scales and shifts it by
        /// learned numbers.
        ///
        /// ```text
        /// y = (x - mean(x)) / √(var(x) + eps) · weight + bias
        /// ```
        ///
        /// In training, mean and variance are those of the batch, and running averages of them move by a tenth towards them,
        /// on the device. At prediction the running averages take their place.
        ///
        /// # Shapes
        #[doc = $shapes]
        ///
        /// The weight starts at 1, the bias at 0, `running_mean` at 0 and `running_var` at 1. `num_batches_tracked` is f32, so
        /// it counts up to 2²⁴. `running_var` has a correction of 1, the variance of the batch one of 0.
        ///
        #[doc = concat!("PyTorch's `", $pytorch, "` (Ioffe, Szegedy, 2015), with its names and defaults.")]
        ///
        /// # Errors
        /// [`forward`](Module::forward) fails if the input has other axes or channels, or if a channel has one element in
        /// training. It also fails if the parameters have no memory yet.
        ///
        /// ```
        /// use thalweg_autograd::Tape;
        #[doc = concat!("use thalweg_nn::{", $pytorch, ", Module, ParamsBuilder, Parts};")]
        /// use thalweg_tensor::{Device, Tensor};
        /// # fn main() -> thalweg_nn::Result<()> {
        /// let mut builder = ParamsBuilder::new(0);
        #[doc = concat!("let norm = ", $pytorch, "::new(&mut builder, \"norm\", 1)?;")]
        /// let params = builder.build(&Device::cpu())?;
        /// let tape = Tape::new();
        #[doc = concat!("let x = tape.constant(&Tensor::from_slice(params.device(), &[1.0, 3.0], ", $example, ")?);")]
        /// let y = norm.forward(x)?.value().to_vec::<f32>()?;
        /// assert!((y[0] + 1.0).abs() < 1e-4 && (y[1] - 1.0).abs() < 1e-4);
        /// assert_eq!(norm.running_mean().value()?.to_vec::<f32>()?, [0.2]);
        /// norm.eval();
        /// # Ok(())
        /// # }
        /// ```
        #[derive(Debug, Clone)]
        pub struct $name(Channels);

        impl $name {
            /// Makes a layer whose tensors are `name.weight`, `name.bias`, `name.running_mean`, `name.running_var` and
            /// `name.num_batches_tracked`.
            ///
            /// # Errors
            /// [`Error::Setting`](crate::Error::Setting) if the number of channels is 0, or the name is taken.
            pub fn new(builder: &mut ParamsBuilder, name: impl fmt::Display, num_features: usize) -> Result<Self> {
                Ok(Self(Channels::new(builder, name, num_features)?))
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

            /// Sets the part of a running average that a batch replaces. Default 0.1.
            ///
            /// # Errors
            /// [`Error::Setting`](crate::Error::Setting) if it is not in [0, 1].
            pub fn with_momentum(mut self, momentum: f32) -> Result<Self> {
                if momentum != 1.0 {
                    fraction("momentum", momentum)?;
                }
                self.0.momentum = momentum;
                Ok(self)
            }

            /// Returns the weight, `[channels]`.
            #[must_use]
            pub fn weight(&self) -> &Parameter {
                &self.0.weight
            }

            /// Returns the bias, `[channels]`.
            #[must_use]
            pub fn bias(&self) -> &Parameter {
                &self.0.bias
            }

            /// Returns the running average of the means, `[channels]`.
            #[must_use]
            pub fn running_mean(&self) -> &Buffer {
                &self.0.running_mean
            }

            /// Returns the running average of the variances, `[channels]`.
            #[must_use]
            pub fn running_var(&self) -> &Buffer {
                &self.0.running_var
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
                if !matches!(shape.len(), $ranks) {
                    return Err(TensorError::Rank { op: "batch_norm", expected: $expected, shape }.into());
                }
                self.0.forward(input)
            }
        }
    };
}

batch_norm!(
    BatchNorm1d,
    "BatchNorm1d",
    " x `[n, channels]` or `[n, channels, length]` → the same.",
    2 | 3,
    "an input [n, channels] or [n, channels, length]",
    "&[2, 1]"
);
batch_norm!(
    BatchNorm2d,
    "BatchNorm2d",
    " x `[n, channels, height, width]` → the same.",
    4,
    "an input [n, channels, height, width]",
    "&[2, 1, 1, 1]"
);

#[cfg(test)]
mod tests {
    use thalweg_autograd::Tape;
    use thalweg_tensor::{Device, Tensor};

    use super::*;
    use crate::testing::devices;
    use crate::{Optimizer, Sgd};

    #[test]
    fn a_replayed_step_moves_the_running_statistics_to_the_bit() {
        for device in devices() {
            let run = |recorded: bool| {
                let mut builder = ParamsBuilder::new(0);
                let norm = BatchNorm1d::new(&mut builder, "norm", 3).unwrap().with_momentum(0.3).unwrap();
                let params = builder.build(&device).unwrap();
                let mut optimizer = Optimizer::new(&params, Sgd::new(), 0.05).unwrap();
                let x = Tensor::uniform(&device, 1, 0, -2.0, 5.0, &[4, 3, 2]).unwrap();
                let mut step = || -> Result<()> {
                    let tape = Tape::new();
                    let loss = norm.forward(tape.constant(&x))?.square()?.mean()?;
                    params.zero_grad();
                    tape.backward(loss)?;
                    optimizer.step()
                };
                step().unwrap();
                if recorded {
                    device.record(&mut step).unwrap().0.replay(3).unwrap();
                } else {
                    (0..4).for_each(|_| step().unwrap());
                }
                let tape = Tape::inference();
                let y = norm.forward(tape.constant(&x)).unwrap().value().to_vec::<f32>().unwrap();
                let state = norm.state_dict().unwrap();
                let names: Vec<String> = state.tensors().iter().map(|tensor| tensor.name.clone()).collect();
                assert_eq!(names, ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]);
                assert_eq!(norm.0.num_batches_tracked.value().unwrap().item::<f32>().unwrap(), 5.0);
                (y, norm.running_var().value().unwrap().to_vec::<f32>().unwrap())
            };
            let (eager, replayed) = (run(false), run(true));
            assert_eq!(eager, replayed, "{device}");
            // (1 - 0.3)⁵ of the start is left.
            assert!(eager.1.iter().all(|var| *var > 1.5), "{device}: {:?}", eager.1);
        }
    }

    #[test]
    fn evaluation_uses_the_running_statistics_and_does_not_move_them() {
        let device = Device::cpu();
        let mut builder = ParamsBuilder::new(0);
        let norm = BatchNorm2d::new(&mut builder, "norm", 1).unwrap().with_eps(0.0).unwrap();
        let _params = builder.build(&device).unwrap();
        norm.running_var().set(&Tensor::full(&device, 4f32, &[1]).unwrap()).unwrap();
        norm.eval();
        let tape = Tape::new();
        let x = tape.constant(&Tensor::from_slice(&device, &[2.0, -4.0], &[1, 1, 1, 2]).unwrap());
        assert_eq!(norm.forward(x).unwrap().value().to_vec::<f32>().unwrap(), [1.0, -2.0]);
        assert_eq!(norm.0.num_batches_tracked.value().unwrap().item::<f32>().unwrap(), 0.0);
        norm.train();
        assert!(
            norm.forward(x.select(3, 0).unwrap()).unwrap_err().to_string().contains("[n, channels, height, width]")
        );
        assert!(norm.forward(x.slice(3, 0, 1).unwrap()).unwrap_err().to_string().contains("at least two elements"));
        assert!(norm.clone().with_momentum(1.5).is_err() && norm.with_eps(-1.0).is_err());
        assert!(BatchNorm1d::new(&mut ParamsBuilder::new(0), "none", 0).is_err());
    }
}
