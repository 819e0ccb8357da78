//! [`Module`], and the layers.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use thalweg_autograd::{Parameter, Var};

use crate::params::RandomStream;
use crate::setting::fraction;
use crate::{Error, Init, ParamsBuilder, Result};

/// A part of a model: it computes something from its input and its parameters.
///
/// ```
/// use thalweg_autograd::{Parameter, Tape, Var};
/// use thalweg_nn::{Init, Module, ParamsBuilder, Result};
/// use thalweg_tensor::{Device, Tensor};
///
/// /// Every feature times a factor that is learned: `[n, features]` → `[n, features]`.
/// struct Scale(Parameter);
///
/// impl Module for Scale {
///     fn forward<'t>(&self, input: Var<'t>) -> Result<Var<'t>> {
///         Ok(input.mul(input.tape().parameter(&self.0)?)?)
///     }
///
///     fn parameters(&self) -> Vec<Parameter> {
///         vec![self.0.clone()]
///     }
/// }
///
/// # fn main() -> Result<()> {
/// let mut builder = ParamsBuilder::new(0);
/// let scale = Scale(builder.add("scale", &[2], Init::Constant(3.0))?);
/// let params = builder.build(&Device::cpu())?;
/// let tape = Tape::inference();
/// let x = tape.constant(&Tensor::from_slice(params.device(), &[1.0, 2.0], &[1, 2])?);
/// assert_eq!(scale.forward(x)?.value().to_vec::<f32>()?, [3.0, 6.0]);
/// # Ok(())
/// # }
/// ```
pub trait Module {
    /// Computes the output on the input's tape. Layers that differ in training and at prediction ask the tape which it
    /// is ([`Tape::is_training`](thalweg_autograd::Tape::is_training)).
    ///
    /// # Errors
    /// Where the input's shape does not fit, or the parameters have no memory yet.
    fn forward<'t>(&self, input: Var<'t>) -> Result<Var<'t>>;

    /// Its parameters, in the order of their declaration.
    fn parameters(&self) -> Vec<Parameter>;

    /// What the parameters do not tell of it, such as activations and dropout: a run that goes on from a checkpoint is
    /// refused where it differs. Default: nothing.
    fn settings(&self) -> String {
        String::new()
    }
}

/// A fully connected layer: y = x Wᵀ + b.
///
/// # Shapes
/// x `[n, inputs]`, weight `[outputs, inputs]`, bias `[outputs]` → `[n, outputs]`.
///
/// Weights start by [`Init::FanInUniform`] unless told otherwise, biases at zero.
///
/// # Errors
/// [`forward`](Module::forward) fails where the input is no matrix of f32 with `inputs` columns, lies on another device,
/// or the parameters have no memory yet.
#[derive(Debug, Clone)]
pub struct Linear {
    weight: Parameter,
    bias: Parameter,
}

impl Linear {
    /// A layer whose parameters are called `name.weight` and `name.bias`.
    ///
    /// # Errors
    /// [`Error::Setting`] where a number of features is 0, or the name is taken.
    pub fn new(builder: &mut ParamsBuilder, name: &str, inputs: usize, outputs: usize) -> Result<Self> {
        Self::with_init(builder, name, inputs, outputs, Init::FanInUniform)
    }

    /// As [`new`](Self::new), with the weights' initialisation.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_init(
        builder: &mut ParamsBuilder,
        name: &str,
        inputs: usize,
        outputs: usize,
        init: Init,
    ) -> Result<Self> {
        Ok(Self {
            weight: builder.add(format!("{name}.weight"), &[outputs, inputs], init)?,
            bias: builder.add(format!("{name}.bias"), &[outputs], Init::Zeros)?,
        })
    }

    /// The weight, `[outputs, inputs]`.
    #[must_use]
    pub fn weight(&self) -> &Parameter {
        &self.weight
    }

    /// The bias, `[outputs]`.
    #[must_use]
    pub fn bias(&self) -> &Parameter {
        &self.bias
    }

    /// The layer with an activation behind it; a ReLU comes in the same launch.
    ///
    /// # Errors
    /// As [`Module::forward`].
    pub fn forward_with<'t>(&self, input: Var<'t>, activation: Activation) -> Result<Var<'t>> {
        let tape = input.tape();
        let fused = activation == Activation::Relu;
        let output = input.linear(tape.parameter(&self.weight)?, tape.parameter(&self.bias)?, fused)?;
        if fused { Ok(output) } else { activation.forward(output) }
    }
}

impl Module for Linear {
    fn forward<'t>(&self, input: Var<'t>) -> Result<Var<'t>> {
        self.forward_with(input, Activation::Identity)
    }

    fn parameters(&self) -> Vec<Parameter> {
        vec![self.weight.clone(), self.bias.clone()]
    }
}

/// An activation function, element by element: a module without parameters. Its name in text and in files is in lower
/// case, as `relu`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Activation {
    /// max(x, 0).
    #[default]
    Relu,
    /// The hyperbolic tangent.
    Tanh,
    /// The Gaussian error linear unit, x Φ(x), in its exact form by erf (Hendrycks, Gimpel, 2016).
    Gelu,
    /// 1 / (1 + e^-x).
    Sigmoid,
    /// x.
    Identity,
}

impl Module for Activation {
    fn forward<'t>(&self, input: Var<'t>) -> Result<Var<'t>> {
        Ok(match self {
            Self::Relu => input.relu()?,
            Self::Tanh => input.tanh()?,
            Self::Gelu => input.gelu()?,
            Self::Sigmoid => input.sigmoid()?,
            Self::Identity => input,
        })
    }

    fn parameters(&self) -> Vec<Parameter> {
        Vec::new()
    }
}

const ACTIVATIONS: [(&str, Activation); 5] = [
    ("relu", Activation::Relu),
    ("tanh", Activation::Tanh),
    ("gelu", Activation::Gelu),
    ("sigmoid", Activation::Sigmoid),
    ("identity", Activation::Identity),
];

impl FromStr for Activation {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        ACTIVATIONS.iter().find(|(known, _)| *known == name).map(|&(_, activation)| activation).ok_or_else(|| {
            Error::Setting {
                field: "activation",
                value: name.to_string(),
                rule: "relu, tanh, gelu, sigmoid or identity",
            }
        })
    }
}

impl fmt::Display for Activation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = ACTIVATIONS.iter().find(|(_, activation)| activation == self);
        f.write_str(known.map_or("?", |(name, _)| name))
    }
}

/// A module without parameters for each activation, where a type of its own reads better than an [`Activation`].
macro_rules! activation_modules {
    ($($(#[$doc:meta])* $name:ident)*) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
            pub struct $name;

            impl Module for $name {
                fn forward<'t>(&self, input: Var<'t>) -> Result<Var<'t>> {
                    Activation::$name.forward(input)
                }

                fn parameters(&self) -> Vec<Parameter> {
                    Vec::new()
                }
            }
        )*
    };
}

activation_modules! {
    /// max(x, 0).
    Relu
    /// The hyperbolic tangent.
    Tanh
    /// The Gaussian error linear unit, x Φ(x), in its exact form by erf (Hendrycks, Gimpel, 2016).
    Gelu
    /// 1 / (1 + e^-x).
    Sigmoid
}

/// Dropout: in training, each element is zero with probability p and else x / (1 - p), so that the mean stays; at
/// prediction nothing happens (Srivastava et al., JMLR 2014, in the inverted form). Any shape.
///
/// Random numbers come from a counter on the device, so that every call draws anew and a run can be repeated to the bit.
#[derive(Debug)]
pub struct Dropout {
    probability: f32,
    stream: Arc<RandomStream>,
}

impl Dropout {
    pub(crate) fn probability(&self) -> f32 {
        self.probability
    }

    /// A layer that drops with this probability. Each layer of a builder has random numbers of its own.
    ///
    /// # Errors
    /// [`Error::Setting`] where the probability is not in [0, 1).
    pub fn new(builder: &mut ParamsBuilder, probability: f32) -> Result<Self> {
        fraction("dropout", probability)?;
        Ok(Self { probability, stream: builder.dropout_stream() })
    }
}

impl Module for Dropout {
    fn forward<'t>(&self, input: Var<'t>) -> Result<Var<'t>> {
        if self.probability == 0.0 || !input.tape().is_training() {
            return Ok(input);
        }
        let state = self.stream.state(input.value().device())?;
        Ok(input.dropout(self.probability, state)?)
    }

    fn parameters(&self) -> Vec<Parameter> {
        Vec::new()
    }
}
