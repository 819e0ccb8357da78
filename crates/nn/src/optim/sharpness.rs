//! Sharpness-aware minimization: SAM and ASAM.

use serde::{Deserialize, Serialize};
use thalweg_tensor::{SharpnessAscent, hold_as};

use super::state_dict::{Plan, check_same, from_json, read, to_json};
use super::{Optimizer, as_setting};
use crate::setting::{not_negative, positive};
use crate::{Checkpoint, Error, Result};

/// The key in the metadata, and the name of the state of an unfinished step.
const KEY: &str = "sam";
const KEPT: &str = "old_p";

/// The length and the scaling of the ascent of sharpness-aware minimization. See [`Sam`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SharpnessAware {
    /// The length of the ascent. Default 0.05; for ASAM 0.5.
    pub rho: f64,
    /// Whether the ascent is relative to the size of each parameter (ASAM). Default false.
    pub adaptive: bool,
    /// The number added to the size of each parameter, in ASAM. Default 0.01.
    pub eta: f64,
}

impl Default for SharpnessAware {
    fn default() -> Self {
        Self::sam()
    }
}

impl SharpnessAware {
    /// Returns SAM with the paper's setting.
    #[must_use]
    pub fn sam() -> Self {
        Self { rho: 0.05, adaptive: false, eta: 0.01 }
    }

    /// Returns ASAM with the paper's settings.
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
/// improving generalization, ICLR 2021) and ASAM (Kwon et al.: ASAM, ICML 2021). A step takes two gradients: one at the
/// parameters and one uphill of them. The method steps from the parameters with the second one.
///
/// ```text
/// g  = gradient at param
/// up = param + rho g / (‖g‖ + 1e-12)                                   SAM
/// up = param + rho t² g / (‖t g‖ + 1e-12),    t = |param| + eta        ASAM
/// param = step of the method from param, by the gradient at up
/// ```
///
/// The norm is that of all parameters, and it stays on the device. ASAM treats biases like all other parameters; the
/// authors' code treats them as SAM does. If the norm is not finite, the second gradient is taken at the same
/// parameters. `optax.contrib.sam` does not have the 1e-12, so a gradient of zeros gives NaN there.
///
/// # Launches
/// Three for the ascent and one copy back, in addition to the method's. They move 28 bytes per parameter (32 for ASAM).
/// The memory is 4 bytes per parameter.
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
    /// Wraps an optimizer.
    ///
    /// # Errors
    /// Same as [`SharpnessAware::validate`], or if the device has no room.
    pub fn new(optimizer: Optimizer, settings: SharpnessAware) -> Result<Self> {
        settings.validate()?;
        let ascent = hold_as("optimizer state", || {
            let adaptive = settings.adaptive.then_some(settings.eta);
            SharpnessAscent::new(optimizer.params.values(), settings.rho, adaptive)
        });
        Ok(Self { optimizer, settings, ascent: ascent.map_err(as_setting)?, is_uphill: false })
    }

    /// Takes a whole step. `gradients` is called twice, and must run a backward pass each time; gradients are zeroed
    /// before each.
    ///
    /// # Errors
    /// Same as `gradients`, [`first_step`](Self::first_step) and [`second_step`](Self::second_step). If `gradients`
    /// fails, the parameters have their values from before the step.
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

    /// Restores the parameters from before the first step, to the bit.
    fn go_back(&mut self) -> Result<()> {
        self.optimizer.params.values().copy_from(self.ascent.kept())?;
        self.is_uphill = false;
        Ok(())
    }

    /// Moves uphill along the gradients. Zero the gradients after it, and compute them again.
    ///
    /// # Errors
    /// [`Error::Setting`] if it has already been called. If work on the device has failed.
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

    /// Moves back, and takes a step of the method with the gradients from uphill.
    ///
    /// # Errors
    /// [`Error::Setting`] if [`first_step`](Self::first_step) has not been called before. If work on the device has
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

    /// Returns the inner optimizer.
    #[must_use]
    pub fn optimizer(&self) -> &Optimizer {
        &self.optimizer
    }

    /// Returns the inner optimizer, to set its schedule and the like.
    #[must_use]
    pub fn optimizer_mut(&mut self) -> &mut Optimizer {
        &mut self.optimizer
    }

    /// Returns [`Optimizer::state_dict`]. During a step it has the parameters from before the step as
    /// `state.PARAMETER.old_p`.
    ///
    /// # Errors
    /// Same as [`Optimizer::state_dict`].
    pub fn state_dict(&self) -> Result<Checkpoint> {
        let mut saved = self.optimizer.state_dict()?;
        saved.metadata[KEY] =
            to_json(&Manifest { settings: format!("{:?}", self.settings), is_uphill: self.is_uphill })?;
        if self.is_uphill {
            saved.tensors.extend(read(&self.optimizer.params, KEPT, self.ascent.kept())?);
        }
        Ok(saved)
    }

    /// Loads a state: see [`Optimizer::load_state_dict`].
    ///
    /// # Errors
    /// Same as [`Optimizer::load_state_dict`].
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
