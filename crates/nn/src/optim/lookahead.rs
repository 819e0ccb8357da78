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

/// The period and the length of the moves of the slow weights of [`Lookahead`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LookaheadSettings {
    /// The number of steps of the inner method between moves. Default 5.
    pub sync_period: u32,
    /// The length of a move of the slow weights towards the fast ones: greater than 0, at most 1. Default 0.5.
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
    /// [`Error::Setting`](crate::Error::Setting) if one is out of range, with the field and the range.
    pub fn validate(&self) -> Result<()> {
        check("sync_period", self.sync_period, self.sync_period > 0, "at least 1")?;
        let size = self.slow_step_size;
        check("slow_step_size", size, size > 0.0 && size <= 1.0, "greater than 0 and at most 1")
    }
}

/// Lookahead around any method (Zhang, Lucas, Hinton, Ba: Lookahead optimizer: k steps forward, 1 step back, NeurIPS
/// 2019), as `optax.lookahead`. The method steps with fast weights, which are the parameters; after every `sync_period`
/// steps
///
/// ```text
/// slow  = slow + slow_step_size (param - slow)
/// param = slow
/// ```
///
/// The method's state stays as it is. Slow weights begin as a copy of the parameters. A skipped step does not count.
/// PyTorch does not have this method.
///
/// # Launches
/// One in addition to the method's. Every `sync_period`-th step moves 16 bytes per parameter. The memory is 4 bytes per
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
    /// Wraps an optimizer.
    ///
    /// # Errors
    /// Same as [`LookaheadSettings::validate`], or if the device has no room.
    pub fn new(optimizer: Optimizer, settings: LookaheadSettings) -> Result<Self> {
        settings.validate()?;
        optimizer.params.check_in_place("Lookahead::new")?;
        let values = optimizer.params.values();
        let slow = hold_as("optimizer state", || values.zeros_like())?;
        slow.copy_from(values)?;
        Ok(Self { optimizer, settings, slow })
    }

    /// Takes a step of the method, and at every `sync_period`-th step moves the slow weights.
    ///
    /// # Errors
    /// Same as [`Optimizer::step`].
    pub fn step(&mut self) -> Result<()> {
        self.optimizer.step()?;
        let LookaheadSettings { sync_period, slow_step_size } = self.settings;
        Ok(self.optimizer.clock.look_ahead(self.optimizer.params.values(), &self.slow, sync_period, slow_step_size)?)
    }

    /// Replaces the parameters by the slow weights, with which the authors evaluate. See [`Optimizer::eval`].
    ///
    /// # Errors
    /// Same as [`Optimizer::eval`].
    pub fn eval(&mut self) -> Result<()> {
        self.optimizer.swap_in(EVAL, &self.slow, 1.0)
    }

    /// Restores the fast weights, to the bit. See [`Optimizer::train`].
    ///
    /// # Errors
    /// Same as [`Optimizer::train`].
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

    /// Returns [`Optimizer::state_dict`], with the slow weights as `state.PARAMETER.slow`.
    ///
    /// # Errors
    /// Same as [`Optimizer::state_dict`].
    pub fn state_dict(&self) -> Result<Checkpoint> {
        let mut saved = self.optimizer.state_dict()?;
        saved.metadata[KEY] = to_json(&Manifest { settings: format!("{:?}", self.settings) })?;
        saved.tensors.extend(read(&self.optimizer.params, SLOW, &self.slow)?);
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
        plan.add(saved, &self.optimizer.params, SLOW, &self.slow)?;
        self.optimizer.load_state_dict(saved)?;
        plan.write()
    }
}
