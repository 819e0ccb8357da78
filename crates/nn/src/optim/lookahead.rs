//! Lookahead.

use serde::{Deserialize, Serialize};
use thalweg_tensor::{Arena, hold_as};

use super::Optimizer;
use super::state_dict::{Plan, check_same, from_json, read, to_json};
use crate::params::swap::Calls;
use crate::setting::check;
use crate::{Checkpoint, Result};

/// The key in the metadata, and the name of the state.
const KEY: &str = "lookahead";
const SLOW: &str = "slow";

const EVAL: Calls = Calls { put_in: "Lookahead::eval", take_out: "Lookahead::train" };

/// How often the slow weights of [`Lookahead`] move, and how far.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LookaheadSettings {
    /// Steps of the method inside from one move to the next. Default 5.
    pub sync_period: u32,
    /// How far the slow weights move towards the fast ones: greater than 0, at most 1. Default 0.5.
    pub slow_step_size: f64,
}

impl Default for LookaheadSettings {
    fn default() -> Self {
        Self { sync_period: 5, slow_step_size: 0.5 }
    }
}

impl LookaheadSettings {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::Setting`](crate::Error::Setting), which names the field and what it must be.
    pub fn validate(&self) -> Result<()> {
        check("sync_period", self.sync_period, self.sync_period > 0, "at least 1")?;
        let size = self.slow_step_size;
        check("slow_step_size", size, size > 0.0 && size <= 1.0, "greater than 0 and at most 1")
    }
}

/// Lookahead around any method (Zhang, Lucas, Hinton, Ba: Lookahead optimizer: k steps forward, 1 step back, NeurIPS 2019),
/// as `optax.lookahead`. The method steps with fast weights, which are the parameters; after every `sync_period` steps
///
/// ```text
/// slow  = slow + slow_step_size (param - slow)
/// param = slow
/// ```
///
/// What the method keeps stays as it is. Slow weights begin as the parameters are when it is made. A step that was skipped
/// does not count. PyTorch has not this method.
///
/// # Launches
/// One more than the method has, and at every `sync_period`-th step 16 bytes moved per parameter. 4 bytes of memory per
/// parameter.
///
/// ```
/// use thalweg_nn::{AdamW, Linear, Lookahead, LookaheadSettings, Optimizer, ParamsBuilder};
/// use thalweg_tensor::Device;
/// # fn main() -> thalweg_nn::Result<()> {
/// # let mut builder = ParamsBuilder::new(0);
/// # Linear::new(&mut builder, "line", 2, 1)?;
/// # let params = builder.build(&Device::cpu())?;
/// let optimizer = Optimizer::new(&params, AdamW::new(), 1e-3)?;
/// let mut lookahead = Lookahead::new(optimizer, LookaheadSettings { sync_period: 6, ..Default::default() })?;
/// # params.grads()?;
/// // After each backward pass:
/// lookahead.step()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Lookahead {
    optimizer: Optimizer,
    settings: LookaheadSettings,
    slow: Arena,
}

#[derive(Serialize, Deserialize)]
struct Manifest {
    settings: String,
}

impl Lookahead {
    /// Around an optimizer.
    ///
    /// # Errors
    /// As [`LookaheadSettings::validate`], or if the device has no room.
    pub fn new(optimizer: Optimizer, settings: LookaheadSettings) -> Result<Self> {
        settings.validate()?;
        optimizer.params.check_in_place("Lookahead::new")?;
        let values = optimizer.params.values();
        let slow = hold_as("optimizer state", || values.zeros_like())?;
        slow.copy_from(values)?;
        Ok(Self { optimizer, settings, slow })
    }

    /// A step of the method, and at every `sync_period`-th of the slow weights.
    ///
    /// # Errors
    /// As [`Optimizer::step`].
    pub fn step(&mut self) -> Result<()> {
        self.optimizer.step()?;
        let LookaheadSettings { sync_period, slow_step_size } = self.settings;
        Ok(self.optimizer.clock.look_ahead(self.optimizer.params.values(), &self.slow, sync_period, slow_step_size)?)
    }

    /// Puts the slow weights, with which the authors evaluate, in the place of the parameters. See [`Optimizer::eval`].
    ///
    /// # Errors
    /// As [`Optimizer::eval`].
    pub fn eval(&mut self) -> Result<()> {
        self.optimizer.swap_in(EVAL, &self.slow, 1.0)
    }

    /// Puts the fast weights back, to the bit. See [`Optimizer::train`].
    ///
    /// # Errors
    /// As [`Optimizer::train`].
    pub fn train(&mut self) -> Result<()> {
        self.optimizer.swap.take_out(EVAL.take_out)
    }

    /// Returns the slow weights.
    #[must_use]
    pub fn slow(&self) -> &Arena {
        &self.slow
    }

    /// Returns the settings.
    #[must_use]
    pub fn settings(&self) -> LookaheadSettings {
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

    /// As [`Optimizer::state_dict`], with the slow weights as `state.PARAMETER.slow`.
    ///
    /// # Errors
    /// As [`Optimizer::state_dict`].
    pub fn state_dict(&self) -> Result<Checkpoint> {
        let mut saved = self.optimizer.state_dict()?;
        saved.metadata[KEY] = to_json(&Manifest { settings: format!("{:?}", self.settings) })?;
        saved.tensors.extend(read(&self.optimizer.params, SLOW, &self.slow)?);
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
        plan.add(saved, &self.optimizer.params, SLOW, &self.slow)?;
        self.optimizer.load_state_dict(saved)?;
        plan.write()
    }
}
