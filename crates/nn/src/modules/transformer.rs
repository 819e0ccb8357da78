//! The layers of transformers: [`TransformerEncoderLayer`] and [`TransformerDecoderLayer`].

use std::fmt;

use thalweg_autograd::Var;
use thalweg_tensor::Tensor;

use crate::setting::check;
use crate::{
    Activation, Dropout, LayerNorm, Linear, Module, MultiHeadAttention, ParamsBuilder, Parts, Result, Visitor,
};

/// The configuration of a layer of a transformer. The width is 0 by default, which is refused.
#[derive(Debug, Clone, PartialEq)]
pub struct TransformerConfig {
    /// The width of the vectors: PyTorch's `d_model`.
    pub width: usize,
    /// The number of heads, a divisor of the width. Default 8.
    pub heads: usize,
    /// The units of the hidden layer after attention: PyTorch's `dim_feedforward`. Default 2048.
    pub feedforward: usize,
    /// The probability, in [0, 1), of dropping an element in training. Default 0.1.
    pub dropout: f32,
    /// The activation of the hidden layer. Default [`Activation::Relu`].
    pub activation: Activation,
    /// Whether inputs of attention and of the hidden layer are normalised (pre-norm), rather than the sums after them.
    /// Default false.
    pub norm_first: bool,
    /// The number that normalisations add to the variance. Default 1e-5.
    pub eps: f32,
}

impl Default for TransformerConfig {
    fn default() -> Self {
        let (width, heads, feedforward, dropout) = (0, 8, 2048, 0.1);
        Self { width, heads, feedforward, dropout, activation: Activation::Relu, norm_first: false, eps: 1e-5 }
    }
}

/// Two linear layers with an activation and dropout between them.
#[derive(Debug)]
struct Feedforward {
    linear1: Linear,
    dropout: Dropout,
    linear2: Linear,
    activation: Activation,
}

impl Feedforward {
    fn new(builder: &mut ParamsBuilder, config: &TransformerConfig) -> Result<Self> {
        check("feedforward", config.feedforward, config.feedforward > 0, "at least 1")?;
        Ok(Self {
            linear1: Linear::with_uniform_bias(builder, "linear1", config.width, config.feedforward)?,
            dropout: Dropout::new(builder, config.dropout)?,
            linear2: Linear::with_uniform_bias(builder, "linear2", config.feedforward, config.width)?,
            activation: config.activation,
        })
    }

    fn forward<'t>(&self, input: Var<'t>) -> thalweg_autograd::Result<Var<'t>> {
        self.linear2.forward(self.dropout.forward(self.linear1.forward_with(input, self.activation)?)?)
    }

    fn visit(&self, visitor: &mut Visitor<'_>) {
        visitor.part("linear1", &self.linear1);
        visitor.part("dropout", &self.dropout);
        visitor.part("linear2", &self.linear2);
        visitor.setting("activation", &self.activation);
    }
}

/// A sum with a branch, which is normalised before the branch or after the sum.
#[derive(Debug)]
struct Residual {
    norm: LayerNorm,
    dropout: Dropout,
    norm_first: bool,
}

impl Residual {
    fn new(builder: &mut ParamsBuilder, config: &TransformerConfig, number: usize) -> Result<Self> {
        Ok(Self {
            norm: LayerNorm::new(builder, format_args!("norm{number}"), config.width)?.with_eps(config.eps)?,
            dropout: Dropout::new(builder, config.dropout)?,
            norm_first: config.norm_first,
        })
    }

    fn forward<'t>(
        &self,
        input: Var<'t>,
        branch: impl FnOnce(Var<'t>) -> thalweg_autograd::Result<Var<'t>>,
    ) -> thalweg_autograd::Result<Var<'t>> {
        if self.norm_first {
            return input.add(self.dropout.forward(branch(self.norm.forward(input)?)?)?);
        }
        self.norm.forward(input.add(self.dropout.forward(branch(input)?)?)?)
    }
}

fn visit_residuals(residuals: &[Residual], visitor: &mut Visitor<'_>) {
    for (i, residual) in residuals.iter().enumerate() {
        visitor.part(format_args!("norm{}", i + 1), &residual.norm);
    }
    for (i, residual) in residuals.iter().enumerate() {
        visitor.part(format_args!("dropout{}", i + 1), &residual.dropout);
        if i == 0 {
            visitor.setting("norm_first", &residual.norm_first);
        }
    }
}

/// A layer of an encoder: attention of a sequence to itself, then two linear layers, each with a residual sum and a
/// normalisation. PyTorch's `TransformerEncoderLayer` with `batch_first=True`, with its names, defaults and initial values.
///
/// # Shapes
/// `[b, l, width]` → `[b, l, width]`.
///
/// ```
/// use thalweg_autograd::Tape;
/// use thalweg_nn::{ParamsBuilder, Parts, TransformerConfig, TransformerEncoderLayer};
/// use thalweg_tensor::{Device, Tensor};
/// # fn main() -> thalweg_nn::Result<()> {
/// let mut builder = ParamsBuilder::new(0);
/// let config = TransformerConfig { width: 8, heads: 2, feedforward: 16, ..TransformerConfig::default() };
/// let layer = TransformerEncoderLayer::new(&mut builder, "layers.0", &config)?;
/// let params = builder.build(&Device::cpu())?;
/// let tape = Tape::inference();
/// let x = tape.constant(&Tensor::uniform(params.device(), 0, 0, -1.0, 1.0, &[3, 5, 8])?);
/// assert_eq!(layer.forward(x, None, true)?.shape(), [3, 5, 8]);
/// assert_eq!(layer.named_parameters()[0].0, "self_attn.in_proj_weight");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct TransformerEncoderLayer {
    self_attn: MultiHeadAttention,
    feedforward: Feedforward,
    residuals: [Residual; 2],
}

impl Parts for TransformerEncoderLayer {
    fn visit(&self, visitor: &mut Visitor<'_>) {
        visitor.part("self_attn", &self.self_attn);
        self.feedforward.visit(visitor);
        visit_residuals(&self.residuals, visitor);
    }
}

impl TransformerEncoderLayer {
    /// Makes a layer whose parameters are `name.self_attn.in_proj_weight` and so on.
    ///
    /// # Errors
    /// [`Error::Setting`](crate::Error::Setting) if the configuration is not valid, or a name is taken.
    pub fn new(builder: &mut ParamsBuilder, name: impl fmt::Display, config: &TransformerConfig) -> Result<Self> {
        let mut builder = builder.path(name);
        Ok(Self {
            self_attn: MultiHeadAttention::new(&mut builder, "self_attn", config.width, config.heads, config.dropout)?,
            feedforward: Feedforward::new(&mut builder, config)?,
            residuals: [Residual::new(&mut builder, config, 1)?, Residual::new(&mut builder, config, 2)?],
        })
    }

    /// Computes the layer. The mask is added to the scores of attention and broadcasts to `[b, heads, l, l]`; with `causal`
    /// each position sees those up to its own.
    ///
    /// # Errors
    /// See [`MultiHeadAttention::forward`].
    pub fn forward<'t>(
        &self,
        input: Var<'t>,
        mask: Option<&Tensor>,
        causal: bool,
    ) -> thalweg_autograd::Result<Var<'t>> {
        let [attention, feedforward] = &self.residuals;
        let x = attention.forward(input, |x| self.self_attn.to_itself(x, mask, causal))?;
        feedforward.forward(x, |x| self.feedforward.forward(x))
    }
}

/// A layer of a decoder: attention of a sequence to itself, attention to the encoder's output, then two linear layers, each
/// with a residual sum and a normalisation. PyTorch's `TransformerDecoderLayer` with `batch_first=True`, with its names,
/// defaults and initial values.
///
/// # Shapes
/// `[b, l, width]` and the encoder's `[b, s, width]` → `[b, l, width]`.
#[derive(Debug)]
pub struct TransformerDecoderLayer {
    self_attn: MultiHeadAttention,
    multihead_attn: MultiHeadAttention,
    feedforward: Feedforward,
    residuals: [Residual; 3],
}

impl Parts for TransformerDecoderLayer {
    fn visit(&self, visitor: &mut Visitor<'_>) {
        visitor.part("self_attn", &self.self_attn);
        visitor.part("multihead_attn", &self.multihead_attn);
        self.feedforward.visit(visitor);
        visit_residuals(&self.residuals, visitor);
    }
}

impl TransformerDecoderLayer {
    /// Makes a layer whose parameters are `name.self_attn.in_proj_weight` and so on; attention to the encoder is
    /// `name.multihead_attn`.
    ///
    /// # Errors
    /// [`Error::Setting`](crate::Error::Setting) if the configuration is not valid, or a name is taken.
    pub fn new(builder: &mut ParamsBuilder, name: impl fmt::Display, config: &TransformerConfig) -> Result<Self> {
        let mut builder = builder.path(name);
        let TransformerConfig { width, heads, dropout, .. } = *config;
        Ok(Self {
            self_attn: MultiHeadAttention::new(&mut builder, "self_attn", width, heads, dropout)?,
            multihead_attn: MultiHeadAttention::new(&mut builder, "multihead_attn", width, heads, dropout)?,
            feedforward: Feedforward::new(&mut builder, config)?,
            residuals: [
                Residual::new(&mut builder, config, 1)?,
                Residual::new(&mut builder, config, 2)?,
                Residual::new(&mut builder, config, 3)?,
            ],
        })
    }

    /// Computes the layer. The masks are added to the scores of attention to the sequence itself and to the encoder's
    /// output; with `causal` each position sees those of its own sequence up to its own.
    ///
    /// # Errors
    /// See [`MultiHeadAttention::forward`].
    pub fn forward<'t>(
        &self,
        input: Var<'t>,
        memory: Var<'t>,
        mask: Option<&Tensor>,
        memory_mask: Option<&Tensor>,
        causal: bool,
    ) -> thalweg_autograd::Result<Var<'t>> {
        let [attention, to_memory, feedforward] = &self.residuals;
        let x = attention.forward(input, |x| self.self_attn.to_itself(x, mask, causal))?;
        let x = to_memory.forward(x, |x| self.multihead_attn.forward(x, memory, memory, memory_mask, false))?;
        feedforward.forward(x, |x| self.feedforward.forward(x))
    }
}
