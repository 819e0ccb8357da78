//! [`MultiHeadAttention`].

use std::fmt;

use thalweg_autograd::{Parameter, Var};
use thalweg_tensor::{Attention, Error as TensorError, Tensor};

use crate::setting::check;
use crate::{Dropout, Init, Linear, Module, ParamsBuilder, Parts, Result, Visitor};

/// Attention with several heads: queries, keys and values are projected, each head attends for itself, and the joined heads
/// are projected once more. PyTorch's `MultiheadAttention` with `batch_first=True`, with its names and initial values.
///
/// # Shapes
/// query `[b, l, width]`, key and value `[b, s, width]` → `[b, l, width]`. Parameters: `in_proj_weight` `[3 width, width]`
/// (queries, keys, values; in each the heads one after the other), `in_proj_bias` `[3 width]`, `out_proj.weight`,
/// `out_proj.bias`. The width of a head, width / heads, is at most 128.
///
/// Without dropout, memory is linear in the lengths: see [`Tensor::scaled_dot_product_attention`]. Dropout of the shares of
/// the keys, in training, needs a matrix of all scores.
///
/// ```
/// use thalweg_autograd::Tape;
/// use thalweg_nn::{MultiHeadAttention, ParamsBuilder};
/// use thalweg_tensor::{Device, Tensor};
/// # fn main() -> thalweg_nn::Result<()> {
/// let mut builder = ParamsBuilder::new(0);
/// let attention = MultiHeadAttention::new(&mut builder, "self_attn", 8, 2, 0.0)?;
/// let params = builder.build(&Device::cpu())?;
/// let tape = Tape::inference();
/// let x = tape.constant(&Tensor::uniform(params.device(), 0, 0, -1.0, 1.0, &[3, 5, 8])?);
/// assert_eq!(attention.to_itself(x, None, true)?.shape(), [3, 5, 8]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct MultiHeadAttention {
    in_proj_weight: Parameter,
    in_proj_bias: Parameter,
    out_proj: Linear,
    dropout: Dropout,
    heads: usize,
}

impl Parts for MultiHeadAttention {
    fn visit(&self, visitor: &mut Visitor<'_>) {
        visitor.part("in_proj_weight", &self.in_proj_weight);
        visitor.part("in_proj_bias", &self.in_proj_bias);
        visitor.part("out_proj", &self.out_proj);
        visitor.part("dropout", &self.dropout);
        visitor.setting("heads", &self.heads);
    }
}

impl MultiHeadAttention {
    /// Makes a module whose parameters are `name.in_proj_weight` and so on.
    ///
    /// # Errors
    /// [`Error::Setting`](crate::Error::Setting) if the width is 0 or no multiple of the number of heads, a head is wider
    /// than 128, the probability is not in [0, 1), or the name is taken.
    pub fn new(
        builder: &mut ParamsBuilder,
        name: impl fmt::Display,
        width: usize,
        heads: usize,
        dropout: f32,
    ) -> Result<Self> {
        check("width", width, width > 0, "at least 1")?;
        let fits = heads > 0 && width.is_multiple_of(heads) && width / heads <= 128;
        check("heads", heads, fits, "a divisor of the width, with heads of at most 128")?;
        let mut builder = builder.path(name);
        Ok(Self {
            in_proj_weight: builder.add("in_proj_weight", &[3 * width, width], Init::XavierUniform)?,
            in_proj_bias: builder.add("in_proj_bias", &[3 * width], Init::Zeros)?,
            out_proj: Linear::new(&mut builder, "out_proj", width, width)?,
            dropout: Dropout::new(&mut builder, dropout)?,
            heads,
        })
    }

    /// Computes the attention of a sequence to another one. The mask is added to the scores and broadcasts to
    /// `[b, heads, l, s]`; -∞ hides a key. With `causal` query i sees the keys up to i.
    ///
    /// # Errors
    /// If the shapes do not fit, the inputs are not f32 or on different devices or tapes, or the parameters have no memory
    /// yet.
    pub fn forward<'t>(
        &self,
        query: Var<'t>,
        key: Var<'t>,
        value: Var<'t>,
        mask: Option<&Tensor>,
        causal: bool,
    ) -> thalweg_autograd::Result<Var<'t>> {
        let tape = query.tape();
        let _scope = tape.scope(self.name());
        let (weight, bias) = (tape.parameter(&self.in_proj_weight)?, tape.parameter(&self.in_proj_bias)?);
        let width = self.width();
        let project = |i: usize, x: Var<'t>| {
            self.expect(x)?;
            let rows = i * width..(i + 1) * width;
            let y = x.linear(weight.slice(0, rows.start, rows.end)?, bias.slice(0, rows.start, rows.end)?, false)?;
            self.split(y)
        };
        self.attend(project(0, query)?, project(1, key)?, project(2, value)?, mask, causal)
    }

    /// Computes the attention of a sequence to itself: as [`forward`](Self::forward) with three times the same input, and
    /// with one projection for all three.
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    pub fn to_itself<'t>(
        &self,
        input: Var<'t>,
        mask: Option<&Tensor>,
        causal: bool,
    ) -> thalweg_autograd::Result<Var<'t>> {
        let tape = input.tape();
        let _scope = tape.scope(self.name());
        self.expect(input)?;
        let all = input.linear(tape.parameter(&self.in_proj_weight)?, tape.parameter(&self.in_proj_bias)?, false)?;
        let width = self.width();
        let part = |i: usize| self.split(all.slice(2, i * width, (i + 1) * width)?);
        self.attend(part(0)?, part(1)?, part(2)?, mask, causal)
    }

    fn attend<'t>(
        &self,
        query: Var<'t>,
        key: Var<'t>,
        value: Var<'t>,
        mask: Option<&Tensor>,
        causal: bool,
    ) -> thalweg_autograd::Result<Var<'t>> {
        let tape = query.tape();
        let settings = Attention { causal, ..Attention::default() };
        let mask = mask.map(|mask| tape.constant(mask));
        let y = match self.dropout.active(tape, query.value().device())? {
            Some(dropout) => query.attention_with_dropout(key, value, mask, &settings, Some(dropout))?,
            None => query.scaled_dot_product_attention(key, value, mask, &settings)?,
        };
        let shape = y.shape();
        let joined = y.transpose(1, 2)?.reshape(&[shape[0], shape[2], self.width()])?;
        self.out_proj.forward(joined)
    }

    /// `[b, l, width]` → `[b, heads, l, width / heads]`.
    fn split<'t>(&self, x: Var<'t>) -> thalweg_autograd::Result<Var<'t>> {
        let shape = x.shape();
        x.unflatten(2, &[self.heads as isize, (shape[2] / self.heads) as isize])?.transpose(1, 2)
    }

    fn expect(&self, x: Var<'_>) -> thalweg_autograd::Result<()> {
        let shape = x.shape();
        if shape.len() == 3 && shape[2] == self.width() {
            return Ok(());
        }
        let rule = "inputs must be [batch, length, width]";
        let right = self.in_proj_weight.shape().to_vec();
        Err(TensorError::Shape { op: "multi_head_attention", rule, left: shape, right }.into())
    }

    fn width(&self) -> usize {
        self.in_proj_weight.shape()[1]
    }

    fn name(&self) -> &str {
        let name = self.in_proj_weight.name();
        name.strip_suffix(".in_proj_weight").unwrap_or(name)
    }
}
