//! [`Pointwise`], a module of any element-wise function, and [`Prelu`].

use std::fmt;

use thalweg_autograd::{Parameter, Var};
use thalweg_tensor::functions::{self, Elementwise};
use thalweg_tensor::{Error as TensorError, MOST_NUMBERS};

use crate::setting::check;
use crate::{Error, Init, Module, ParamsBuilder, Parts, Result, Visitor, parts};

/// An element-wise function of one argument as a module without parameters: an entry of the
/// [table](mod@thalweg_tensor::functions), or one of the user's own.
///
/// There is a function for each activation, with PyTorch's defaults in its description. [`Activation`](crate::Activation)
/// has the most common ones, which can be part of a file.
///
/// ```
/// use thalweg_autograd::Tape;
/// use thalweg_nn::{Module, Pointwise};
/// use thalweg_tensor::{Device, Tensor, functions};
/// # fn main() -> thalweg_nn::Result<()> {
/// let tape = Tape::inference();
/// let x = tape.constant(&Tensor::from_slice(&Device::cpu(), &[-2.0, 3.0], &[2])?);
/// assert_eq!(Pointwise::leaky_relu(0.25).forward(x)?.value().to_vec::<f32>()?, [-0.5, 3.0]);
/// let clamp = Pointwise::new(&functions::CLAMP, &[-1.0, 1.0])?;
/// assert_eq!(clamp.forward(x)?.value().to_vec::<f32>()?, [-1.0, 1.0]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pointwise {
    function: &'static Elementwise,
    numbers: [f32; MOST_NUMBERS],
}

impl Pointwise {
    /// Makes a module of a function with its numbers.
    ///
    /// # Errors
    /// [`Error::Setting`] if the function has several arguments, or another number of numbers.
    pub fn new(function: &'static Elementwise, numbers: &[f32]) -> Result<Self> {
        let arguments = function.function.arguments.len();
        check("function", function.name(), arguments == 1, "a function of one argument")?;
        if numbers.len() != function.function.numbers.len() {
            return Err(Error::Setting {
                field: "numbers",
                value: format!("{numbers:?} of {}", function.name()),
                rule: "one for each number of the function",
            });
        }
        Ok(Self::with(function, numbers))
    }

    fn with(function: &'static Elementwise, own: &[f32]) -> Self {
        let mut numbers = [0.0; MOST_NUMBERS];
        numbers[..own.len()].copy_from_slice(own);
        Self { function, numbers }
    }

    fn numbers(&self) -> &[f32] {
        &self.numbers[..self.function.function.numbers.len()]
    }
}

impl Parts for Pointwise {
    fn visit(&self, visitor: &mut Visitor<'_>) {
        visitor.setting("function", &format_args!("{}{:?}", self.function.name(), self.numbers()));
    }
}

impl Module for Pointwise {
    fn forward<'t>(&self, input: Var<'t>) -> thalweg_autograd::Result<Var<'t>> {
        input.apply(self.function, self.numbers())
    }
}

/// Declares a function for each activation: its name, its entry, its numbers, and PyTorch's module with its defaults.
macro_rules! activations {
    ($($name:ident $entry:ident($($number:ident),*) $pytorch:literal;)*) => {
        impl Pointwise {
            $(
                #[doc = concat!(
                    "Makes a module of [`", stringify!($entry), "`](functions::", stringify!($entry),
                    "), PyTorch's `", $pytorch, "`."
                )]
                #[must_use]
                pub fn $name($($number: f32),*) -> Self {
                    Self::with(&functions::$entry, &[$($number),*])
                }
            )*
        }

        #[cfg(test)]
        const NAMES: &[&str] = &[$(stringify!($name)),*];
    };
}

activations! {
    relu RELU() "ReLU";
    leaky_relu LEAKY_RELU(slope) "LeakyReLU(0.01)";
    tanh TANH() "Tanh";
    sigmoid SIGMOID() "Sigmoid";
    gelu GELU() "GELU";
    gelu_tanh GELU_TANH() "GELU(approximate='tanh')";
    silu SILU() "SiLU";
    softplus SOFTPLUS() "Softplus";
    selu SELU() "SELU";
    relu6 RELU6() "ReLU6";
    elu ELU(alpha) "ELU(1.0)";
    celu CELU(alpha) "CELU(1.0)";
    mish MISH() "Mish";
    logsigmoid LOGSIGMOID() "LogSigmoid";
    softsign SOFTSIGN() "Softsign";
    hardtanh HARDTANH(min_val, max_val) "Hardtanh(-1.0, 1.0)";
    hardsigmoid HARDSIGMOID() "Hardsigmoid";
    hardswish HARDSWISH() "Hardswish";
    hardshrink HARDSHRINK(lambda) "Hardshrink(0.5)";
    softshrink SOFTSHRINK(lambda) "Softshrink(0.5)";
    tanhshrink TANHSHRINK() "Tanhshrink";
    threshold THRESHOLD(threshold, value) "Threshold";
}

/// A ReLU with a learned slope below 0: x where x > 0, else weight · x (He et al., ICCV 2015). PyTorch's `PReLU`.
///
/// # Shapes
/// `[n, channels, …]` → `[n, channels, …]` with a slope for each channel, or any shape with one slope.
#[derive(Debug, Clone)]
pub struct Prelu {
    weight: Parameter,
}

parts!(Prelu { weight });

impl Prelu {
    /// Makes a layer whose parameter is `name.weight`, which starts at 0.25. One channel is one slope for all elements.
    ///
    /// # Errors
    /// [`Error::Setting`] if the number of channels is 0, or the name is taken.
    pub fn new(builder: &mut ParamsBuilder, name: impl fmt::Display, channels: usize) -> Result<Self> {
        check("channels", channels, channels > 0, "at least 1")?;
        Ok(Self { weight: builder.path(name).add("weight", &[channels], Init::Constant(0.25))? })
    }

    /// Returns the slopes, `[channels]`.
    #[must_use]
    pub fn weight(&self) -> &Parameter {
        &self.weight
    }
}

impl Module for Prelu {
    fn forward<'t>(&self, input: Var<'t>) -> thalweg_autograd::Result<Var<'t>> {
        let (tape, name) = (input.tape(), self.weight.name());
        let _scope = tape.scope(name.strip_suffix(".weight").unwrap_or(name));
        let (weight, shape, channels) = (tape.parameter(&self.weight)?, input.shape(), self.weight.shape()[0]);
        if channels == 1 {
            return input.prelu(weight.reshape(&vec![1; shape.len()])?);
        }
        if shape.get(1) != Some(&channels) {
            let rule = "the second axis must have a slope for each channel";
            return Err(TensorError::Shape { op: "prelu", rule, left: shape, right: vec![channels] }.into());
        }
        let mut of_channels = vec![1; shape.len()];
        of_channels[1] = channels;
        input.prelu(weight.reshape(&of_channels)?)
    }
}

#[cfg(test)]
mod tests {
    use thalweg_autograd::Tape;
    use thalweg_tensor::{Device, Tensor};

    use super::*;

    #[test]
    fn functions_need_one_argument_and_their_numbers() {
        assert!(Pointwise::new(&functions::ADD, &[]).is_err());
        assert!(Pointwise::new(&functions::ELU, &[]).unwrap_err().to_string().contains("[] of elu"));
        assert_eq!(Pointwise::elu(0.5), Pointwise::new(&functions::ELU, &[0.5]).unwrap());
        assert_eq!(Pointwise::elu(0.5).settings(), "function elu[0.5]");
    }

    #[test]
    fn every_activation_of_the_table_has_a_module() {
        let source = [
            include_str!("../../../tensor/src/functions/activations.rs"),
            include_str!("../../../tensor/src/functions/hard.rs"),
        ];
        for function in functions::all() {
            let is_activation = source.iter().any(|text| text.contains(&format!(" = {}(", function.name())));
            let is_prelu = function.name() == "prelu";
            assert!(!is_activation || is_prelu || NAMES.contains(&function.name()), "{function:?}");
        }
    }

    #[test]
    fn slopes_are_those_of_the_channels() {
        let mut builder = ParamsBuilder::new(0);
        let (one, two) = (Prelu::new(&mut builder, 0, 1).unwrap(), Prelu::new(&mut builder, 1, 2).unwrap());
        let _params = builder.build(&Device::cpu()).unwrap();
        two.weight().value().unwrap().write(&[0.5f32, 2.0]).unwrap();
        let tape = Tape::new();
        let of = |shape: &[usize]| tape.input(&Tensor::full(&Device::cpu(), -1f32, shape).unwrap());
        assert_eq!(one.forward(of(&[])).unwrap().item().unwrap(), -0.25);
        assert_eq!(two.forward(of(&[1, 2, 1])).unwrap().value().to_vec::<f32>().unwrap(), [-0.5, -2.0]);
        assert!(two.forward(of(&[2])).is_err());
    }
}
