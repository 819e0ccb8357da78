//! Sharpness-aware minimization: SAM and ASAM.

use serde::{Deserialize, Serialize};
use thalweg_tensor::{SharpnessAscent, hold_as};

use super::state_dict::{Plan, check_same, from_json, read, to_json};
use super::{Optimizer, as_setting};
use crate::setting::{not_negative, positive};
use crate::{Checkpoint, Error, Result};

/// The key in the metadata, and the name of what is kept in the midst of a step.
const KEY: &str = "sam";
const KEPT: &str = "old_p";

/// How far sharpness-aware minimization goes uphill, and along what. See [`Sam`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SharpnessAware {
    /// The length of the step uphill. Default 0.05; of ASAM 0.5.
    pub rho: f64,
    /// Whether the step is measured relative to the size of each parameter (ASAM). Default false.
    pub adaptive: bool,
    /// Added to the size of each parameter, of ASAM. Default 0.01.
    pub eta: f64,
}

impl Default for SharpnessAware {
    fn default() -> Self {
        Self::sam()
    }
}

impl SharpnessAware {
    /// SAM with the paper's setting.
    #[must_use]
    pub fn sam() -> Self {
        Self { rho: 0.05, adaptive: false, eta: 0.01 }
    }

    /// ASAM with the paper's settings.
    #[must_use]
    pub fn asam() -> Self {
        Self { rho: 0.5, adaptive: true, eta: 0.01 }
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::Setting`] if `rho` is not finite and greater than 0, or `eta` not finite and at least 0.
    pub fn validate(&self) -> Result<()> {
        positive("rho", self.rho)?;
        not_negative("eta", self.eta)
    }
}

/// Sharpness-aware minimization around any method: SAM (Foret et al.: Sharpness-aware minimization for efficiently
/// improving generalization, ICLR 2021) and ASAM (Kwon et al.: ASAM, ICML 2021). A step takes two gradients: one where the
/// parameters are, and one uphill of there, with which the method steps from where they were.
///
/// ```text
/// g  = gradient at param
/// up = param + rho g / (‖g‖ + 1e-12)                                   SAM
/// up = param + rho t² g / (‖t g‖ + 1e-12),    t = |param| + eta        ASAM
/// param = step of the method from param, by the gradient at up
/// ```
///
/// The norm is that of all parameters, and it stays on the device. ASAM treats biases as all other parameters, where the
/// authors' code leaves them as in SAM. Where the norm is not finite the parameters stay where they are for the second
/// gradient. `optax.contrib.sam` has no 1e-12, so that a gradient of zeros gives NaN there.
///
/// # Launches
/// Three uphill and a copy back, beside the method's own. 28 bytes moved per parameter (32 of ASAM) beside those of the
/// method; 4 bytes of memory per parameter.
///
/// ```
/// use thalweg_autograd::Tape;
/// use thalweg_nn::{Linear, Loss, Module, Mse, Optimizer, ParamsBuilder, Sam, Sgd, SharpnessAware};
/// use thalweg_tensor::{Device, Tensor};
/// # fn main() -> thalweg_nn::Result<()> {
/// let device = Device::cpu();
/// let mut builder = ParamsBuilder::new(0);
/// let model = Linear::new(&mut builder, "line", 1, 1)?;
/// let params = builder.build(&device)?;
/// let optimizer = Optimizer::new(&params, Sgd::new(), 0.1)?;
/// let mut sam = Sam::new(optimizer, SharpnessAware::sam())?;
/// let x = Tensor::from_slice(&device, &[0.0, 1.0, 2.0, 3.0], &[4, 1])?;
/// let y = x.affine(2.0, 1.0)?;
/// for _ in 0..200 {
///     sam.step(|| {
///         let tape = Tape::new();
///         Ok(tape.backward(Mse.of(model.forward(tape.constant(&x))?, &y)?)?)
///     })?;
/// }
/// assert!((model.weight().value()?.item::<f32>()? - 2.0).abs() < 0.1);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Sam {
    optimizer: Optimizer,
    settings: SharpnessAware,
    ascent: SharpnessAscent,
    is_uphill: bool,
}

#[derive(Serialize, Deserialize)]
struct Manifest {
    settings: String,
    is_uphill: bool,
}

impl Sam {
    /// Around an optimizer.
    ///
    /// # Errors
    /// As [`SharpnessAware::validate`], or if the device has no room.
    pub fn new(optimizer: Optimizer, settings: SharpnessAware) -> Result<Self> {
        settings.validate()?;
        let ascent = hold_as("optimizer state", || {
            let adaptive = settings.adaptive.then_some(settings.eta);
            SharpnessAscent::new(optimizer.params.values(), settings.rho, adaptive)
        });
        Ok(Self { optimizer, settings, ascent: ascent.map_err(as_setting)?, is_uphill: false })
    }

    /// Takes a whole step. `gradients` is called twice, and must run a backward pass each time; gradients are made zero
    /// before.
    ///
    /// # Errors
    /// Those of `gradients`, of [`first_step`](Self::first_step) and of [`second_step`](Self::second_step). If `gradients`
    /// fails, the parameters are where they were before the step.
    pub fn step<T>(&mut self, mut gradients: impl FnMut() -> Result<T>) -> Result<()> {
        self.optimizer.params.zero_grad();
        gradients()?;
        self.first_step()?;
        self.optimizer.params.zero_grad();
        if let Err(error) = gradients() {
            self.go_back()?;
            return Err(error);
        }
        self.second_step()
    }

    /// Puts the parameters back to where they were before the first step, to the bit.
    fn go_back(&mut self) -> Result<()> {
        self.optimizer.params.values().copy_from(self.ascent.kept())?;
        self.is_uphill = false;
        Ok(())
    }

    /// Goes uphill along the gradients. Make them zero then, and compute them anew.
    ///
    /// # Errors
    /// [`Error::Setting`] if it has been called already; if work on the device has failed.
    pub fn first_step(&mut self) -> Result<()> {
        self.check(false)?;
        self.optimizer.params.check_in_place("Sam::first_step")?;
        self.optimizer.params.check_grads("Sam::first_step")?;
        let is_masked = self.optimizer.mask_gradients(true)?;
        let Optimizer { params, masked, .. } = &self.optimizer;
        self.ascent.step(params.values(), masked.or(is_masked, params.settled_grads()?))?;
        self.is_uphill = true;
        Ok(())
    }

    /// Goes back, and takes a step of the method with the gradients from uphill.
    ///
    /// # Errors
    /// [`Error::Setting`] if [`first_step`](Self::first_step) has not been called before; if work on the device has
    /// failed.
    pub fn second_step(&mut self) -> Result<()> {
        self.check(true)?;
        self.go_back()?;
        self.optimizer.step()
    }

    fn check(&self, uphill: bool) -> Result<()> {
        let (value, rule) =
            if uphill { ("second", "the first_step() before") } else { ("first", "the second_step() after the first") };
        if self.is_uphill == uphill {
            return Ok(());
        }
        Err(Error::Setting { field: "step", value: value.to_string(), rule })
    }

    /// Returns the settings.
    #[must_use]
    pub fn settings(&self) -> SharpnessAware {
        self.settings
    }

    /// Returns the optimizer inside.
    #[must_use]
    pub fn optimizer(&self) -> &Optimizer {
        &self.optimizer
    }

    /// Returns the optimizer inside, to set its schedule and the like.
    #[must_use]
    pub fn optimizer_mut(&mut self) -> &mut Optimizer {
        &mut self.optimizer
    }

    /// As [`Optimizer::state_dict`], also in the midst of a step: then with the parameters as they were before it, as
    /// `state.PARAMETER.old_p`.
    ///
    /// # Errors
    /// As [`Optimizer::state_dict`].
    pub fn state_dict(&self) -> Result<Checkpoint> {
        let mut saved = self.optimizer.state_dict()?;
        saved.metadata[KEY] =
            to_json(&Manifest { settings: format!("{:?}", self.settings), is_uphill: self.is_uphill })?;
        if self.is_uphill {
            saved.tensors.extend(read(&self.optimizer.params, KEPT, self.ascent.kept())?);
        }
        Ok(saved)
    }

    /// As [`Optimizer::load_state_dict`].
    ///
    /// # Errors
    /// As [`Optimizer::load_state_dict`].
    pub fn load_state_dict(&mut self, saved: &Checkpoint) -> Result<()> {
        let manifest: Manifest = from_json(saved, KEY)?;
        check_same(KEY, &manifest.settings, &self.settings)?;
        let mut plan = Plan::default();
        if manifest.is_uphill {
            plan.add(saved, &self.optimizer.params, KEPT, self.ascent.kept())?;
        }
        self.optimizer.load_state_dict(saved)?;
        plan.write()?;
        self.is_uphill = manifest.is_uphill;
        Ok(())
    }
}
