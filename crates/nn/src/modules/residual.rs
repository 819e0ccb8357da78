//! [`Residual`].

use thalweg_autograd::Var;

use crate::{Module, Parts, Visitor};

/// A module and a connection around it: y = x + body(x) (He et al., CVPR 2016).
///
/// The body's part is called `body`. Its output must have the shape of its input, or one that broadcasts with it.
///
/// ```
/// use thalweg_autograd::Tape;
/// use thalweg_nn::{Linear, Module, ParamsBuilder, Parts, Residual};
/// use thalweg_tensor::{Device, Tensor};
/// # fn main() -> thalweg_nn::Result<()> {
/// let mut builder = ParamsBuilder::new(0);
/// let block = Residual::new(Linear::with_init(&mut builder, "body", 2, 2, thalweg_nn::Init::Zeros)?);
/// let params = builder.build(&Device::cpu())?;
/// assert_eq!(block.named_parameters()[0].0, "body.weight");
/// let tape = Tape::inference();
/// let x = tape.constant(&Tensor::from_slice(params.device(), &[1.0, -2.0], &[1, 2])?);
/// assert_eq!(block.forward(x)?.value().to_vec::<f32>()?, [1.0, -2.0]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Residual<M> {
    body: M,
}

impl<M> Residual<M> {
    /// Makes a connection around a module.
    #[must_use]
    pub fn new(body: M) -> Self {
        Self { body }
    }

    /// Returns the module.
    #[must_use]
    pub fn body(&self) -> &M {
        &self.body
    }
}

impl<M: Parts> Parts for Residual<M> {
    fn visit(&self, visitor: &mut Visitor<'_>) {
        visitor.part("body", &self.body);
    }
}

impl<M: Module> Module for Residual<M> {
    fn forward<'t>(&self, input: Var<'t>) -> thalweg_autograd::Result<Var<'t>> {
        input.add(self.body.forward(input)?)
    }
}
