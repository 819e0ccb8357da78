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

/// A running average of the weights beside training, to be evaluated and saved in their place: exponential (EMA), or of all
/// alike: stochastic weight averaging (Izmailov et al.: Averaging weights leads to wider optima and better generalization,
/// UAI 2018), or Polyak's average (Polyak, Juditsky 1992).
///
/// ```text
/// average = average + share (param - average)
/// ```
///
/// with share 1 / t ([`Averaging::Equal`]), 1 - decay ([`Averaging::Exponential`]), or (1 - decay) / (1 - decayᵗ)
/// ([`Averaging::Debiased`]); t counts the updates. The first update takes the parameters as they are, as
/// `torch.optim.swa_utils.AveragedModel`; the debiased one is `optax.ema`, which begins at zero and divides by
/// 1 - decayᵗ. When to update is the caller's: after each step, or for stochastic weight averaging at the end of each of the
/// last epochs, with a learning rate that stays high.
///
/// # Launches
/// One an update, which counts on the device, so that it may be a part of a recorded step; 12 bytes moved per parameter. One
/// to swap in, a copy to swap out, neither through the host. 4 bytes of memory per parameter, and 4 more from the first swap
/// on.
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
    /// Updates, and the bits of 1 - decay^updates.
    counter: [u32; 2],
}

impl WeightAverage {
    /// The average of nothing yet.
    ///
    /// # Errors
    /// [`Error::Setting`](crate::Error::Setting) if the decay is not in [0, 1); if the device has no room.
    pub fn new(params: &Params, averaging: Averaging) -> Result<Self> {
        let average = hold_as("optimizer state", || RunningAverage::new(params.values(), averaging));
        Ok(Self { params: params.clone(), average: average.map_err(as_setting)?, swap: Swap::new(params) })
    }

    /// Takes the parameters as they are into the average.
    ///
    /// # Errors
    /// [`Error::Order`](crate::Error::Order) while other values are in the place of the parameters, as between
    /// [`swap_in`](Self::swap_in) and [`swap_out`](Self::swap_out), or after [`Optimizer::eval`](crate::Optimizer::eval); if
    /// work on the device has failed.
    pub fn update(&mut self) -> Result<()> {
        self.params.check_in_place("WeightAverage::update")?;
        Ok(self.average.update(self.params.values())?)
    }

    /// Puts the average in the place of the parameters, which are kept; before the first update they stay. Steps of
    /// optimizers are refused until [`swap_out`](Self::swap_out).
    ///
    /// # Errors
    /// [`Error::Order`](crate::Error::Order) if something else has put other values in the place of the parameters, as
    /// [`Optimizer::eval`](crate::Optimizer::eval) does; if the device has no room, or work on it has failed.
    pub fn swap_in(&mut self) -> Result<()> {
        self.swap.put_in(SWAP, |values, kept| self.average.swap_in(values, kept))
    }

    /// Puts the parameters back, to the bit. Does nothing if they are in place.
    ///
    /// # Errors
    /// [`Error::Order`](crate::Error::Order) if something else has put other values in the place of the parameters; if work
    /// on the device has failed.
    pub fn swap_out(&mut self) -> Result<()> {
        self.swap.take_out(SWAP.take_out)
    }

    /// Returns how it averages.
    #[must_use]
    pub fn averaging(&self) -> Averaging {
        self.average.averaging()
    }

    /// Returns whether the average is in the place of the parameters.
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

    /// The averages as `state.PARAMETER.average`, and how many updates they are of: to be saved by itself, or together with
    /// the state of an optimizer. See [`Checkpoint::merge`].
    ///
    /// # Errors
    /// As [`update`](Self::update).
    pub fn state_dict(&self) -> Result<Checkpoint> {
        self.params.check_in_place("WeightAverage::state_dict")?;
        let settings = format!("{:?}", self.average.averaging());
        let manifest = to_json(&Manifest { settings, counter: self.average.save()? })?;
        let tensors = read(&self.params, AVERAGE, self.averages())?;
        Ok(Checkpoint { metadata: json!({ KEY: manifest }), tensors })
    }

    /// Puts a saved average in the place of this one.
    ///
    /// # Errors
    /// [`Error::State`](crate::Error::State), which names the tensor and both shapes, or the settings, where it is of another kind or of other
    /// parameters; nothing is changed then. As [`update`](Self::update).
    pub fn load_state_dict(&mut self, saved: &Checkpoint) -> Result<()> {
        let (counter, plan) = self.plan(saved)?;
        plan.write()?;
        Ok(self.average.restore(counter)?)
    }

    /// Checks that [`load_state_dict`](Self::load_state_dict) would succeed.
    pub(crate) fn check_state_dict(&self, saved: &Checkpoint) -> Result<()> {
        self.plan(saved).map(drop)
    }

    /// What is to be written, if it fits.
    fn plan<'a>(&self, saved: &'a Checkpoint) -> Result<([u32; 2], Plan<'a>)> {
        self.params.check_in_place("WeightAverage::load_state_dict")?;
        let manifest: Manifest = from_json(saved, KEY)?;
        check_same(KEY, &manifest.settings, &self.average.averaging())?;
        let mut plan = Plan::default();
        plan.add(saved, &self.params, AVERAGE, self.averages())?;
        Ok((manifest.counter, plan))
    }
}
