//! Modules: the layers of models, each in its own file.
//!
//! [`Parts`] lists the parts of a module, and [`Module`] is its forward pass. Other crates can implement both.

mod activations;
mod attention;
mod batch_norm;
mod bilinear;
mod dropout;
mod group_norm;
mod layer_norm;
mod linear;
mod mlp;
mod parts;
mod pointwise;
mod positions;
mod recurrent;
mod residual;
mod rms_norm;
mod sequential;
mod transformer;

use thalweg_autograd::Var;

use crate::{Result, Summary};

pub use activations::Activation;
pub use attention::MultiHeadAttention;
pub use batch_norm::{BatchNorm1d, BatchNorm2d};
pub use bilinear::Bilinear;
pub use dropout::Dropout;
pub use group_norm::{GroupNorm, InstanceNorm1d, InstanceNorm2d};
pub use layer_norm::LayerNorm;
pub use linear::Linear;
pub use mlp::{Mlp, MlpConfig};
pub use parts::{Mode, Parts, Visitor};
pub use pointwise::{Pointwise, Prelu};
pub use positions::PositionalEncoding;
pub use recurrent::{Gru, Lstm, RecurrentConfig, Rnn};
pub use residual::Residual;
pub use rms_norm::RmsNorm;
pub use sequential::Sequential;
pub use transformer::{TransformerConfig, TransformerDecoderLayer, TransformerEncoderLayer};

/// A part of a model that computes an output from its input and its parameters.
///
/// ```
/// use thalweg_autograd::{Parameter, Result, Tape, Var};
/// use thalweg_nn::{Init, Module, ParamsBuilder, parts};
/// use thalweg_tensor::{Device, Tensor};
///
/// /// Multiplies each feature by a learned factor: `[n, features]` → `[n, features]`.
/// struct Scale {
///     factor: Parameter,
/// }
///
/// parts!(Scale { factor });
///
/// impl Scale {
///     fn new(builder: &mut ParamsBuilder, features: usize) -> Result<Self> {
///         Ok(Self { factor: builder.add("factor", &[features], Init::Constant(3.0))? })
///     }
/// }
///
/// impl Module for Scale {
///     fn forward<'t>(&self, input: Var<'t>) -> Result<Var<'t>> {
///         input.mul(input.tape().parameter(&self.factor)?)
///     }
/// }
///
/// # fn main() -> Result<()> {
/// let mut builder = ParamsBuilder::new(0);
/// let scale = Scale::new(&mut builder, 2)?;
/// let params = builder.build(&Device::cpu())?;
/// let tape = Tape::inference();
/// let x = tape.constant(&Tensor::from_slice(params.device(), &[1.0, 2.0], &[1, 2])?);
/// assert_eq!(scale.forward(x)?.value().to_vec::<f32>()?, [3.0, 6.0]);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// Modules use one `Result`, that of `thalweg_autograd`: the errors of this crate convert to it and back.
///
/// # Several inputs
/// A module with several inputs or outputs is no `Module`: it has its own `forward`, with its own signature. It
/// implements [`Parts`], so that other modules can contain it, and
/// [`Trainer::with_forward`](crate::Trainer::with_forward) trains it.
pub trait Module: Parts {
    /// Computes the output on the input's tape. A module that differs between training and prediction reads its
    /// [`Mode`](crate::Mode).
    ///
    /// # Errors
    /// If the input's shape does not fit, or the parameters have no memory yet.
    fn forward<'t>(&self, input: Var<'t>) -> thalweg_autograd::Result<Var<'t>>;

    /// Computes the output of an input of zeros of this shape, and returns a table of the layers with the shapes of their
    /// outputs, their parameters and their multiply-adds.
    ///
    /// # Errors
    /// If the input's shape does not fit, the module has no parameters, or these have no memory yet.
    fn summary_of_input(&self, input: &[usize]) -> Result<Summary> {
        Summary::of_input(self, input)
    }
}

impl<M: Module + ?Sized> Module for Box<M> {
    fn forward<'t>(&self, input: Var<'t>) -> thalweg_autograd::Result<Var<'t>> {
        (**self).forward(input)
    }
}

impl<M: Module + ?Sized> Module for &M {
    fn forward<'t>(&self, input: Var<'t>) -> thalweg_autograd::Result<Var<'t>> {
        (**self).forward(input)
    }
}
