//! [`Sequential`].

use std::fmt;

use thalweg_autograd::Var;

use crate::{Module, Parts, Visitor};

/// Modules in sequence: the output of each is the input of the next. Without modules the output is the input.
///
/// The names of the parts are the numbers of the modules, as in PyTorch. Declare the parameters under the same names:
///
/// ```
/// use thalweg_autograd::Tape;
/// use thalweg_nn::{Activation, Dropout, Linear, Module, ParamsBuilder, Parts, Sequential};
/// use thalweg_tensor::{DType, Device, Tensor};
/// # fn main() -> thalweg_nn::Result<()> {
/// let mut builder = ParamsBuilder::new(0);
/// let model = Sequential::new()
///     .then(Linear::new(&mut builder, 0, 4, 16)?)
///     .then(Activation::Tanh)
///     .then(Dropout::new(&mut builder, 0.1)?)
///     .then(Linear::new(&mut builder, 3, 16, 2)?);
/// let params = builder.build(&Device::cpu())?;
/// assert_eq!(model.named_parameters()[2].0, "3.weight");
/// let tape = Tape::inference();
/// let x = tape.constant(&Tensor::zeros(params.device(), DType::F32, &[5, 4])?);
/// assert_eq!(model.forward(x)?.shape(), [5, 2]);
/// # Ok(())
/// # }
/// ```
#[derive(Default)]
pub struct Sequential(Vec<Box<dyn Module + Send + Sync>>);

impl Sequential {
    /// Makes a sequence without modules.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a module.
    #[must_use]
    pub fn then(mut self, module: impl Module + Send + Sync + 'static) -> Self {
        self.0.push(Box::new(module));
        self
    }

    /// Returns the number of modules.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether there is no module.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Parts for Sequential {
    fn visit(&self, visitor: &mut Visitor<'_>) {
        for (i, module) in self.0.iter().enumerate() {
            visitor.part(i, &**module);
        }
    }
}

impl Module for Sequential {
    fn forward<'t>(&self, input: Var<'t>) -> thalweg_autograd::Result<Var<'t>> {
        self.0.iter().try_fold(input, |x, module| module.forward(x))
    }
}

impl fmt::Debug for Sequential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sequential({} modules)", self.len())
    }
}
