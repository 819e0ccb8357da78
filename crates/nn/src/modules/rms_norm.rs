//! [`RmsNorm`].

use std::fmt;

use thalweg_autograd::{Parameter, Var};

use crate::setting::check;
use crate::{Init, Module, ParamsBuilder, Parts, Result, Visitor};

/// Root mean square normalisation: divides each row along the last dimension by the root of the mean of its squares, then
/// scales each feature by a learned number.
///
/// ```text
/// y = x / √(mean(x²) + eps) · weight
/// ```
///
/// # Shapes
/// x `[…, features]`, weight `[features]` → `[…, features]`.
///
/// The weight starts at 1, and eps is the distance of 1 from the next f32, 2⁻²³.
///
/// PyTorch's `RMSNorm` (Zhang, Sennrich, 2019), with its name and defaults.
///
/// # Errors
/// [`forward`](Module::forward) fails if the last dimension of the input is not `features` long, or if the parameters have
/// no memory yet.
///
/// ```
/// use thalweg_autograd::Tape;
/// use thalweg_nn::{Module, ParamsBuilder, RmsNorm};
/// use thalweg_tensor::{Device, Tensor};
/// # fn main() -> thalweg_nn::Result<()> {
/// let mut builder = ParamsBuilder::new(0);
/// let norm = RmsNorm::new(&mut builder, "norm", 2)?;
/// let params = builder.build(&Device::cpu())?;
/// let tape = Tape::inference();
/// let x = tape.constant(&Tensor::from_slice(params.device(), &[3.0, -3.0], &[1, 2])?);
/// let y = norm.forward(x)?.value().to_vec::<f32>()?;
/// assert!((y[0] - 1.0).abs() < 1e-6 && (y[1] + 1.0).abs() < 1e-6);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct RmsNorm {
    weight: Parameter,
    eps: f32,
}

impl Parts for RmsNorm {
    fn visit(&self, visitor: &mut Visitor<'_>) {
        visitor.part("weight", &self.weight);
        visitor.setting("eps", &self.eps);
    }
}

impl RmsNorm {
    /// Makes a layer whose parameter is `name.weight`.
    ///
    /// # Errors
    /// [`Error::Setting`](crate::Error::Setting) if the number of features is 0, or the name is taken.
    pub fn new(builder: &mut ParamsBuilder, name: impl fmt::Display, features: usize) -> Result<Self> {
        check("features", features, features > 0, "at least 1")?;
        let weight = builder.path(name).add("weight", &[features], Init::Constant(1.0))?;
        Ok(Self { weight, eps: f32::EPSILON })
    }

    /// Sets the number that is added to the mean of the squares. Default 2⁻²³.
    ///
    /// # Errors
    /// [`Error::Setting`](crate::Error::Setting) if it is negative or not finite.
    pub fn with_eps(self, eps: f32) -> Result<Self> {
        check("eps", eps, eps >= 0.0 && eps.is_finite(), "a finite number of at least 0")?;
        Ok(Self { eps, ..self })
    }

    /// Returns the weight, `[features]`.
    #[must_use]
    pub fn weight(&self) -> &Parameter {
        &self.weight
    }
}

impl Module for RmsNorm {
    fn forward<'t>(&self, input: Var<'t>) -> thalweg_autograd::Result<Var<'t>> {
        let tape = input.tape();
        let name = self.weight.name();
        let _scope = tape.scope(name.strip_suffix(".weight").unwrap_or(name));
        input.rms_norm(self.weight.shape(), Some(tape.parameter(&self.weight)?), self.eps)
    }
}
