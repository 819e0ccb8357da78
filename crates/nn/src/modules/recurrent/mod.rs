//! [`Rnn`], [`Gru`] and [`Lstm`].

mod stack;
#[cfg(test)]
mod tests;

use std::fmt;

use thalweg_autograd::{Result as TapeResult, Var};
use thalweg_tensor::{Cell, Tensor};

use crate::setting::{check, fraction};
use crate::{Activation, Error, Module, ParamsBuilder, Parts, Result, Visitor};

use stack::Stack;

/// The configuration of a recurrent network, with PyTorch's names.
///
/// By default the sizes are 0, which the network refuses.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RecurrentConfig {
    /// The number of input features.
    pub input_size: usize,
    /// The number of hidden units.
    pub hidden_size: usize,
    /// The number of layers, each of which reads the output of the one before. Default 1.
    pub num_layers: usize,
    /// Whether the layers have biases. Default true.
    pub bias: bool,
    /// Whether the first axis of input and output is the batch, and the second one the time. Default false: the time is
    /// the first one.
    pub batch_first: bool,
    /// The probability, in [0, 1), of dropping an output of a layer before the next one in training. Default 0.
    pub dropout: f32,
    /// Whether each layer also has a part that reads the sequence from its end. Default false.
    pub bidirectional: bool,
}

impl Default for RecurrentConfig {
    fn default() -> Self {
        Self {
            input_size: 0,
            hidden_size: 0,
            num_layers: 1,
            bias: true,
            batch_first: false,
            dropout: 0.0,
            bidirectional: false,
        }
    }
}

impl RecurrentConfig {
    /// Makes the configuration of one layer.
    #[must_use]
    pub fn new(input_size: usize, hidden_size: usize) -> Self {
        Self { input_size, hidden_size, ..Self::default() }
    }

    /// Checks the sizes and the probability.
    ///
    /// # Errors
    /// [`Error::Setting`](crate::Error::Setting) if one is out of range; it names the field.
    pub fn validate(&self) -> Result<()> {
        for (field, value) in
            [("input_size", self.input_size), ("hidden_size", self.hidden_size), ("num_layers", self.num_layers)]
        {
            check(field, value, value > 0, "at least 1")?;
        }
        fraction("dropout", self.dropout)
    }

    /// Returns the number of directions.
    #[must_use]
    pub fn directions(&self) -> usize {
        if self.bidirectional { 2 } else { 1 }
    }
}

/// Implements what the three networks share.
macro_rules! network {
    ($type:ident) => {
        impl Parts for $type {
            fn visit(&self, visitor: &mut Visitor<'_>) {
                self.0.visit(visitor);
            }
        }

        /// The output of the last layer, from states of zero; [`forward_from`](Self::forward_from) also returns the
        /// states.
        impl Module for $type {
            fn forward<'t>(&self, input: Var<'t>) -> TapeResult<Var<'t>> {
                Ok(self.0.forward(input, None, None)?.0)
            }
        }

        impl $type {
            /// Returns the configuration.
            #[must_use]
            pub fn config(&self) -> &RecurrentConfig {
                self.0.config()
            }
        }
    };
}

/// The network of Elman: h' = tanh(x W_ihᵀ + b_ih + h W_hhᵀ + b_hh), or with a ReLU.
///
/// PyTorch's `RNN`. Shapes, parameters and lengths are those of [`Lstm`], with one gate and one state.
#[derive(Debug)]
pub struct Rnn(Stack);

network!(Rnn);

impl Rnn {
    /// Makes a network whose activation is [`Activation::Tanh`] or [`Activation::Relu`].
    ///
    /// # Errors
    /// [`Error::Setting`](crate::Error::Setting) if the activation is another one, a size is 0, the probability is not
    /// in [0, 1), or a name is taken.
    pub fn new(
        builder: &mut ParamsBuilder,
        name: impl fmt::Display,
        config: &RecurrentConfig,
        activation: Activation,
    ) -> Result<Self> {
        let cell = match activation {
            Activation::Tanh => Cell::RnnTanh,
            Activation::Relu => Cell::RnnRelu,
            other => {
                let (field, value) = ("activation", other.to_string());
                return Err(Error::Setting { field, value, rule: "tanh or relu" });
            }
        };
        Ok(Self(Stack::new(builder, name, cell, config)?))
    }

    /// Returns the output and the final state; see [`Lstm::forward_from`].
    ///
    /// # Errors
    /// As [`Lstm::forward_from`].
    pub fn forward_from<'t>(
        &self,
        input: Var<'t>,
        hidden: Option<Var<'t>>,
        lengths: Option<&Tensor>,
    ) -> TapeResult<(Var<'t>, Var<'t>)> {
        self.0.forward_one(input, hidden, lengths)
    }
}

/// Gated recurrent units: see [`Tensor::recurrent`] for the formulas.
///
/// PyTorch's `GRU`, whose reset gate follows the product of the hidden state. Shapes, parameters and lengths are those of
/// [`Lstm`], with the three gates r, z, n and one state.
#[derive(Debug)]
pub struct Gru(Stack);

network!(Gru);

impl Gru {
    /// Makes a network.
    ///
    /// # Errors
    /// As [`Lstm::new`].
    pub fn new(builder: &mut ParamsBuilder, name: impl fmt::Display, config: &RecurrentConfig) -> Result<Self> {
        Ok(Self(Stack::new(builder, name, Cell::Gru, config)?))
    }

    /// Returns the output and the final state; see [`Lstm::forward_from`].
    ///
    /// # Errors
    /// As [`Lstm::forward_from`].
    pub fn forward_from<'t>(
        &self,
        input: Var<'t>,
        hidden: Option<Var<'t>>,
        lengths: Option<&Tensor>,
    ) -> TapeResult<(Var<'t>, Var<'t>)> {
        self.0.forward_one(input, hidden, lengths)
    }
}

/// A long short-term memory of one or several layers: see [`Tensor::recurrent`] for the formulas.
///
/// # Shapes
/// `[steps, n, input_size]`, or `[n, steps, input_size]` if `batch_first`, → `[steps, n, directions · hidden_size]`. Without
/// a batch `[steps, input_size]`. Both states are `[num_layers · directions, n, hidden_size]`.
///
/// The parameters of the first layer are `weight_ih_l0` `[4 hidden, inputs]`, `weight_hh_l0` `[4 hidden, hidden]`,
/// `bias_ih_l0` and `bias_hh_l0` `[4 hidden]`, with rows for the gates i, f, g, o. Those of the part that reads from the end
/// are `weight_ih_l0_reverse` and so on. All start uniform in ±1 / √hidden.
///
/// The products of the inputs of all steps are one product. Each step is then two launches, and two in the gradient.
///
/// PyTorch's `LSTM` (Hochreiter, Schmidhuber, 1997), without projections.
///
/// ```
/// use thalweg_autograd::Tape;
/// use thalweg_nn::{Lstm, ParamsBuilder, Parts, RecurrentConfig};
/// use thalweg_tensor::{DType, Device, Tensor};
/// # fn main() -> thalweg_nn::Result<()> {
/// let mut builder = ParamsBuilder::new(0);
/// let config = RecurrentConfig { bidirectional: true, ..RecurrentConfig::new(3, 8) };
/// let lstm = Lstm::new(&mut builder, "lstm", &config)?;
/// let params = builder.build(&Device::cpu())?;
/// assert_eq!(lstm.named_parameters()[4].0, "weight_ih_l0_reverse");
/// let tape = Tape::inference();
/// let x = tape.constant(&Tensor::zeros(params.device(), DType::F32, &[5, 2, 3])?);
/// // The first row has five steps, the second one three.
/// let lengths = Tensor::from_slice(params.device(), &[5u32, 3], &[2])?;
/// let (output, (hidden, cell)) = lstm.forward_from(x, None, Some(&lengths))?;
/// assert_eq!((output.shape(), hidden.shape(), cell.shape()), (vec![5, 2, 16], vec![2, 2, 8], vec![2, 2, 8]));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Lstm(Stack);

network!(Lstm);

impl Lstm {
    /// Makes a network whose parameters are called `name.weight_ih_l0` and so on.
    ///
    /// # Errors
    /// [`Error::Setting`](crate::Error::Setting) if a size is 0, the probability is not in [0, 1), or a name is taken.
    pub fn new(builder: &mut ParamsBuilder, name: impl fmt::Display, config: &RecurrentConfig) -> Result<Self> {
        Ok(Self(Stack::new(builder, name, Cell::Lstm, config)?))
    }

    /// Returns the output of the last layer, and the final states h and c of all layers.
    ///
    /// Without initial states they are zero. `lengths` are the numbers of steps of the rows, u32 `[n]`, as in PyTorch's
    /// packed sequences: the output is zero after the last step of a row, the final states are those of this step, and the
    /// part that reads from the end starts with it. The rows need no order. Pad with finite numbers.
    ///
    /// # Errors
    /// If a shape does not fit, the sequence has no step, the elements are not f32, those of `lengths` not u32, the
    /// devices or the tapes differ, or the parameters have no memory yet.
    pub fn forward_from<'t>(
        &self,
        input: Var<'t>,
        states: Option<(Var<'t>, Var<'t>)>,
        lengths: Option<&Tensor>,
    ) -> TapeResult<(Var<'t>, (Var<'t>, Var<'t>))> {
        let (output, finals) = self.0.forward(input, states.map(|(hidden, cell)| vec![hidden, cell]), lengths)?;
        Ok((output, (self.0.stacked(&finals, 0)?, self.0.stacked(&finals, 1)?)))
    }
}
