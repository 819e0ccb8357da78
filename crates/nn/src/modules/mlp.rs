//! [`Mlp`]: fully connected layers with an activation between them.

use thalweg_autograd::Var;

use crate::setting::fraction;
use crate::{Activation, Dropout, Error, Linear, Module, ParamsBuilder, Parts, Result, Visitor};

/// The configuration of a multilayer perceptron.
///
/// By default the numbers of inputs and outputs are 0, which [`validate`](Self::validate) refuses. Set them, or use
/// [`TabularModel::new`](crate::TabularModel::new), which takes them from the columns.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct MlpConfig {
    /// The number of input features.
    pub inputs: usize,
    /// The units of each hidden layer, from the input on. Without any, the default, the model is linear.
    pub hidden: Vec<usize>,
    /// The number of outputs: classes or targets.
    pub outputs: usize,
    /// The activation after each hidden layer. Default [`Activation::Relu`].
    pub activation: Activation,
    /// The probability, in [0, 1), of dropping a unit of a hidden layer in training. Default 0.
    pub dropout: f32,
}

impl MlpConfig {
    /// Checks the numbers of units and the probability.
    ///
    /// # Errors
    /// [`Error::Setting`] if one is out of range; it names the field.
    pub fn validate(&self) -> Result<()> {
        for (field, units) in [("inputs", &[self.inputs][..]), ("hidden", &self.hidden), ("outputs", &[self.outputs])] {
            if let Some(0) = units.iter().find(|&&units| units == 0) {
                return Err(Error::Setting { field, value: "0".to_string(), rule: "at least 1 unit in each layer" });
            }
        }
        fraction("dropout", self.dropout)
    }
}

/// A multilayer perceptron. Its parameters are called `layers.0.weight`, `layers.0.bias`, `layers.1.weight`, …
///
/// # Shapes
/// `[n, inputs]` → `[n, outputs]`: logits, or predictions.
///
/// ```
/// use thalweg_autograd::Tape;
/// use thalweg_nn::{Activation, Mlp, MlpConfig, Module, ParamsBuilder};
/// use thalweg_tensor::{DType, Device, Tensor};
/// # fn main() -> thalweg_nn::Result<()> {
/// let device = Device::cpu();
/// let mut builder = ParamsBuilder::new(0);
/// let config = MlpConfig { inputs: 4, hidden: vec![16], outputs: 3, activation: Activation::Relu, dropout: 0.0 };
/// let model = Mlp::new(&mut builder, &config)?;
/// let params = builder.build(&device)?;
/// let tape = Tape::inference();
/// let logits = model.forward(tape.input(&Tensor::zeros(&device, DType::F32, &[2, 4])?))?;
/// assert_eq!((logits.shape(), params.element_count()), (vec![2, 3], 4 * 16 + 16 + 16 * 3 + 3));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Mlp {
    layers: Vec<Linear>,
    dropouts: Vec<Dropout>,
    activation: Activation,
    dropout: f32,
}

impl Mlp {
    /// Declares the parameters of a perceptron, with the initial values of [`Linear::new`].
    ///
    /// # Errors
    /// If the configuration is not valid, or a name is taken.
    pub fn new(builder: &mut ParamsBuilder, config: &MlpConfig) -> Result<Self> {
        config.validate()?;
        let mut builder = builder.path("layers");
        let mut layers = Vec::with_capacity(config.hidden.len() + 1);
        let mut dropouts = Vec::with_capacity(config.hidden.len());
        let mut inputs = config.inputs;
        for (i, &units) in config.hidden.iter().enumerate() {
            layers.push(Linear::new(&mut builder, i, inputs, units)?);
            dropouts.push(Dropout::new(&mut builder, config.dropout)?);
            inputs = units;
        }
        layers.push(Linear::new(&mut builder, config.hidden.len(), inputs, config.outputs)?);
        Ok(Self { layers, dropouts, activation: config.activation, dropout: config.dropout })
    }

    /// Returns the layers, from the input on.
    #[must_use]
    pub fn layers(&self) -> &[Linear] {
        &self.layers
    }
}

impl Parts for Mlp {
    fn visit(&self, visitor: &mut Visitor<'_>) {
        visitor.part("layers", &self.layers);
        for (i, dropout) in self.dropouts.iter().enumerate() {
            visitor.part(format_args!("dropouts.{i}"), dropout.mode());
        }
        visitor.setting("activation", &format_args!("{:?}", self.activation));
        visitor.setting("dropout", if self.dropouts.is_empty() { &0.0 } else { &self.dropout });
    }
}

impl Module for Mlp {
    fn forward<'t>(&self, input: Var<'t>) -> thalweg_autograd::Result<Var<'t>> {
        let mut x = input;
        // The last layer has no dropout, so zip leaves it out.
        for (i, (layer, dropout)) in self.layers.iter().zip(&self.dropouts).enumerate() {
            x = layer.forward_with(x, self.activation)?;
            let _scope = x.tape().scope(&format!("dropouts.{i}"));
            x = dropout.forward(x)?;
        }
        match self.layers.last() {
            Some(last) => last.forward(x),
            None => Ok(x),
        }
    }
}
