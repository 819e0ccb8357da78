//! Running averages of the weights.

use serde::{Deserialize, Serialize};
use serde_json::json;
use thalweg_tensor::{Arena, Averaging, RunningAverage, hold_as};

use super::as_setting;
use super::state_dict::{Plan, check_same, from_json, read, to_json};
use crate::params::swap::{Calls, Swap};
use crate::{Checkpoint, Params, Result};

/// The key in the metadata, and the name of the state.
const KEY: &str = "weight_average";
const AVERAGE: &str = "average";

const SWAP: Calls = Calls { put_in: "WeightAverage::swap_in", take_out: "WeightAverage::swap_out" };

/// A running average of the weights, to evaluate and save instead of them: exponential (EMA), or with equal weights.
/// Equal weights are stochastic weight averaging (Izmailov et al.: Averaging weights leads to wider optima and better
/// generalization, UAI 2018), or Polyak's average (Polyak, Juditsky 1992).
///
/// ```text
/// average = average + share (param - average)
/// ```
///
/// with weight 1 / t ([`Averaging::Equal`]), 1 - decay ([`Averaging::Exponential`]), or (1 - decay) / (1 - decayᵗ)
/// ([`Averaging::Debiased`]); t counts the updates. The first update copies the parameters, as
/// `torch.optim.swa_utils.AveragedModel` does. The debiased one is `optax.ema`, which begins at zero and divides by
/// 1 - decayᵗ. The caller chooses when to update: after each step, or for stochastic weight averaging at the end of
/// each of the last epochs, with a high learning rate.
///
/// # Launches
/// One per update, which counts on the device, so that it can be part of a recorded step; it moves 12 bytes per
/// parameter. Swapping in is one launch and swapping out one copy, both without the host. The memory is 4 bytes per
/// parameter, and 4 more after the first swap.
///
/// ```
/// use thalweg_nn::{AdamW, Averaging, Linear, Optimizer, ParamsBuilder, WeightAverage};
/// use thalweg_tensor::Device;
/// # fn main() -> thalweg_nn::Result<()> {
/// # let mut builder = ParamsBuilder::new(0);
/// # Linear::new(&mut builder, "line", 2, 1)?;
/// # let params = builder.build(&Device::cpu())?;
/// let mut optimizer = Optimizer::new(&params, AdamW::new(), 1e-3)?;
/// let mut average = WeightAverage::new(&params, Averaging::Exponential { decay: 0.999 })?;
/// # params.grads()?;
/// // After each backward pass:
/// optimizer.step()?;
/// average.update()?;
/// // To evaluate or to save:
/// average.swap_in()?;
/// average.swap_out()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct WeightAverage {
    params: Params,
    average: RunningAverage,
    swap: Swap,
}

#[derive(Serialize, Deserialize)]
struct Manifest {
    settings: String,
    /// The number of updates, and the bits of 1 - decay^updates.
    counter: [u32; 2],
}

impl WeightAverage {
    /// Makes an average without updates.
    ///
    /// # Errors
    /// [`Error::Setting`](crate::Error::Setting) if the decay is not in [0, 1); if the device has no room.
    pub fn new(params: &Params, averaging: Averaging) -> Result<Self> {
        let average = hold_as("optimizer state", || RunningAverage::new(params.values(), averaging));
        Ok(Self { params: params.clone(), average: average.map_err(as_setting)?, swap: Swap::new(params) })
    }

    /// Adds the current parameters to the average.
    ///
    /// # Errors
    /// [`Error::Order`](crate::Error::Order) while other values replace the parameters, as between
    /// [`swap_in`](Self::swap_in) and [`swap_out`](Self::swap_out), or after
    /// [`Optimizer::eval`](crate::Optimizer::eval). If work on the device has failed.
    pub fn update(&mut self) -> Result<()> {
        self.params.check_in_place("WeightAverage::update")?;
        Ok(self.average.update(self.params.values())?)
    }

    /// Replaces the parameters by the average, and keeps them; before the first update nothing changes. Steps of
    /// optimizers are refused until [`swap_out`](Self::swap_out).
    ///
    /// # Errors
    /// [`Error::Order`](crate::Error::Order) if other values already replace the parameters, as after
    /// [`Optimizer::eval`](crate::Optimizer::eval). If the device has no room, or work on it has failed.
    pub fn swap_in(&mut self) -> Result<()> {
        self.swap.put_in(SWAP, |values, kept| self.average.swap_in(values, kept))
    }

    /// Restores the parameters, to the bit. Does nothing if they are in place.
    ///
    /// # Errors
    /// [`Error::Order`](crate::Error::Order) if values of another owner replace the parameters. If work on the device
    /// has failed.
    pub fn swap_out(&mut self) -> Result<()> {
        self.swap.take_out(SWAP.take_out)
    }

    /// Returns the kind of average.
    #[must_use]
    pub fn averaging(&self) -> Averaging {
        self.average.averaging()
    }

    /// Returns whether the average replaces the parameters.
    pub(crate) fn is_in(&self) -> bool {
        self.swap.is_in()
    }

    /// Returns the averages.
    #[must_use]
    pub fn averages(&self) -> &Arena {
        self.average.averages()
    }

    /// Returns the number of updates. Waits for the device.
    ///
    /// # Errors
    /// If work on the device has failed.
    pub fn updates(&self) -> Result<u32> {
        Ok(self.average.save()?[0])
    }

    /// Returns the averages as `state.PARAMETER.average`, with the number of their updates. Save them alone or together
    /// with the state of an optimizer: see [`Checkpoint::merge`].
    ///
    /// # Errors
    /// Same as [`update`](Self::update).
    pub fn state_dict(&self) -> Result<Checkpoint> {
        self.params.check_in_place("WeightAverage::state_dict")?;
        let settings = format!("{:?}", self.average.averaging());
        let manifest = to_json(&Manifest { settings, counter: self.average.save()? })?;
        let tensors = read(&self.params, AVERAGE, self.averages())?;
        Ok(Checkpoint { metadata: json!({ KEY: manifest }), tensors })
    }

    /// Replaces this average by a saved one.
    ///
    /// # Errors
    /// [`Error::State`](crate::Error::State) if the saved average is of another kind or of other parameters; it names
    /// the tensor and both shapes, or the settings. Nothing is changed then. Otherwise the same as
    /// [`update`](Self::update).
    pub fn load_state_dict(&mut self, saved: &Checkpoint) -> Result<()> {
        let (counter, plan) = self.plan(saved)?;
        plan.write()?;
        Ok(self.average.restore(counter)?)
    }

    /// Checks that [`load_state_dict`](Self::load_state_dict) would succeed.
    pub(crate) fn check_state_dict(&self, saved: &Checkpoint) -> Result<()> {
        self.plan(saved).map(drop)
    }

    /// Returns the planned writes, if everything fits.
    fn plan<'a>(&self, saved: &'a Checkpoint) -> Result<([u32; 2], Plan<'a>)> {
        self.params.check_in_place("WeightAverage::load_state_dict")?;
        let manifest: Manifest = from_json(saved, KEY)?;
        check_same(KEY, &manifest.settings, &self.average.averaging())?;
        let mut plan = Plan::default();
        plan.add(saved, &self.params, AVERAGE, self.averages())?;
        Ok((manifest.counter, plan))
    }
}
