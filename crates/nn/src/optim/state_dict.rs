//! The state of an optimizer as named tensors, and back.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use thalweg_tensor::{Arena, Clock, ScheduleTable, SegmentSettings, Tensor};

use super::{Optimizer, format1};
use crate::{Checkpoint, CheckpointTensor, Error, Params, Result, Values};

/// The key in the metadata.
const KEY: &str = "optimizer";

/// The content of the metadata, under [`KEY`].
#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    method: String,
    /// The settings as an object; in format 1 a text.
    settings: Value,
    clip: String,
    parameters: Vec<SavedParameter>,
    /// The words of the clock: counts, and the bits of floats.
    clock: Vec<u32>,
}

#[derive(Debug, Serialize, Deserialize)]
struct SavedParameter {
    name: String,
    shape: Vec<usize>,
    lr_scale: f64,
    weight_decay: Option<f64>,
    frozen: bool,
}

impl SavedParameter {
    fn segment(&self) -> SegmentSettings {
        SegmentSettings { lr_scale: self.lr_scale, weight_decay: self.weight_decay, frozen: self.frozen }
    }
}

impl Optimizer {
    /// Returns everything that a run needs to continue to the bit, except the parameters. This is the state of the
    /// method for each parameter, the clock, the schedule with its current step, and the settings. Loading compares the
    /// settings with those of the optimizer. Waits for the device.
    ///
    /// # Format
    /// A [`Checkpoint`], which is saved as a safetensors file. State has PyTorch's names if PyTorch has the method:
    ///
    /// | tensor | type | content |
    /// |---|---|---|
    /// | `state.PARAMETER.exp_avg`, … | as on the device, F32 | the state for a parameter, in its shape or the method's own |
    /// | `state.NAME.0`, `state.NAME.1`, … | the same | state in tensors that do not belong to one parameter each |
    /// | `state.step` | F32, `[]` | the steps done, for readers; loading uses the clock |
    /// | `state.schedule.learning_rate` | F64, `[steps]` | the schedule, whose last value stays; also `.weight_decay` and `.momentum` if it has them |
    ///
    /// The metadata have the object `optimizer`: `method`, `settings`, `clip`, `parameters` (name, shape, lr_scale,
    /// weight_decay, frozen) and `clock`, the words of the clock on the device, floats as their bits. In Python, with
    /// no package except safetensors:
    ///
    /// ```python
    /// with safetensors.safe_open("state.safetensors", framework="np") as file:
    ///     exp_avg = file.get_tensor("state.layers.0.weight.exp_avg")
    ///     optimizer = json.loads(file.metadata()["thalweg"])["metadata"]["optimizer"]
    /// ```
    ///
    /// ```
    /// use thalweg_nn::{AdamW, Checkpoint, Linear, Optimizer, ParamsBuilder};
    /// use thalweg_tensor::Device;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let mut builder = ParamsBuilder::new(0);
    /// Linear::new(&mut builder, "line", 2, 1)?;
    /// let params = builder.build(&Device::cpu())?;
    /// let mut optimizer = Optimizer::new(&params, AdamW::new(), 1e-3)?;
    /// # params.grads()?;
    /// // After each backward pass:
    /// optimizer.step()?;
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("state.safetensors");
    /// optimizer.state_dict()?.save(&path)?;
    ///
    /// let mut again = Optimizer::new(&params, AdamW::new(), 1e-3)?;
    /// let saved = Checkpoint::load(&path)?;
    /// assert!(saved.get("state.line.weight.exp_avg_sq").is_some());
    /// again.load_state_dict(&saved)?;
    /// assert_eq!(again.read_clock()?.step, 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Order`] while other values replace the parameters, as between [`eval`](Self::eval) and
    /// [`train`](Self::train). If work on the device has failed.
    pub fn state_dict(&self) -> Result<Checkpoint> {
        self.params.check_in_place("Optimizer::state_dict")?;
        let mut tensors = Vec::new();
        for (name, arena) in self.state() {
            tensors.extend(read(&self.params, name, arena)?);
        }
        let clock = self.clock.save()?;
        tensors.push(CheckpointTensor {
            name: "state.step".to_string(),
            shape: Vec::new(),
            values: vec![Clock::saved_step(&clock) as f32].into(),
        });
        let schedule = self.clock.schedule();
        for (name, values) in
            SCHEDULES.iter().zip([&schedule.learning_rates, &schedule.weight_decays, &schedule.momentums])
        {
            if !values.is_empty() {
                let values = values.clone();
                tensors.push(CheckpointTensor {
                    name: (*name).to_string(),
                    shape: vec![values.len()],
                    values: values.into(),
                });
            }
        }
        let parameters = self.params.parameters().iter().zip(self.effective_segments()).map(|(parameter, segment)| {
            let (name, shape) = (parameter.name().to_string(), parameter.shape().to_vec());
            let SegmentSettings { lr_scale, weight_decay, frozen } = segment;
            SavedParameter { name, shape, lr_scale, weight_decay, frozen }
        });
        let manifest = Manifest {
            method: self.method.name().to_string(),
            settings: self.method.settings(),
            clip: self.clipping(),
            parameters: parameters.collect(),
            clock,
        };
        Ok(Checkpoint { metadata: json!({ KEY: to_json(&manifest)? }), tensors })
    }

    /// Replaces this state by a saved one, so that steps continue from there to the bit, with the saved schedule.
    /// Parameters are not touched: see [`Params::load`]. Other tensors and metadata are ignored. Recordings must be
    /// made again if the saved schedule is longer than the table on the device.
    ///
    /// [`Error::State`] if the state belongs to another method, other settings, clipping or groups, or other
    /// parameters. It names the tensor and both shapes, or the setting and both values. Nothing is changed then.
    /// [`Error::Order`] while other values replace the parameters, as between [`eval`](Self::eval) and
    /// [`train`](Self::train).
    pub fn load_state_dict(&mut self, saved: &Checkpoint) -> Result<()> {
        self.params.check_in_place("Optimizer::load_state_dict")?;
        let manifest: Manifest = from_json(saved, KEY)?;
        self.check_settings(&manifest)?;
        let mut plan = Plan::default();
        for (name, arena) in self.state() {
            plan.add(saved, &self.params, name, arena)?;
        }
        let [learning_rates, weight_decays, momentums] = SCHEDULES.map(|name| schedule(saved, name));
        let schedule =
            ScheduleTable { learning_rates: learning_rates?, weight_decays: weight_decays?, momentums: momentums? };
        if manifest.clock.len() != Clock::SAVED_WORDS {
            let problem = format!(
                "the clock has {} words, but must have {}; use the version that wrote it",
                manifest.clock.len(),
                Clock::SAVED_WORDS
            );
            return Err(Error::state(KEY, problem));
        }
        self.clock.set_schedule(schedule).map_err(|error| Error::state("state.schedule", error.to_string()))?;
        plan.write()?;
        Ok(self.clock.restore(&manifest.clock)?)
    }

    /// Returns the schedule on the device: see [`set_rate`](Self::set_rate).
    #[must_use]
    pub fn schedule(&self) -> &ScheduleTable {
        self.clock.schedule()
    }

    /// Returns the settings of clipping as text.
    fn clipping(&self) -> String {
        let mut text = format!("{:?}", self.clip);
        if let Some(adaptive) = &self.around.adaptive {
            text += &format!(", adaptive {:?}", adaptive.settings());
        }
        if let Some(loss_scale) = self.clock.loss_scale() {
            text += &format!(", {loss_scale:?}");
        }
        if let Some(non_finite) = self.clock.non_finite() {
            text += &format!(", non-finite {non_finite:?}");
        }
        text
    }

    fn check_settings(&self, saved: &Manifest) -> Result<()> {
        let differs = |field: &str, theirs: &str, own: &str| {
            Err(Error::state(format!("{KEY} {field}"), format!("saved was {theirs}, but here it is {own}")))
        };
        if saved.method != self.method.name() {
            return differs("method", &saved.method, self.method.name());
        }
        check_method(&saved.settings, &self.method.settings())?;
        if saved.clip != self.clipping() {
            return differs("clip", &saved.clip, &self.clipping());
        }
        for (parameter, segment) in self.params.parameters().iter().zip(self.effective_segments()) {
            let name = parameter.name();
            let Some(found) = saved.parameters.iter().find(|saved| saved.name == name) else {
                return Err(Error::state(name, "the saved state has no such parameter"));
            };
            if found.shape != parameter.shape() {
                let problem =
                    format!("the saved state is of shape {:?}, but must be {:?}", found.shape, parameter.shape());
                return Err(Error::state(name, problem));
            }
            if found.segment() != segment {
                let problem = format!("saved was the group {:?}, but here it is {segment:?}", found.segment());
                return Err(Error::state(name, problem));
            }
        }
        if let Some(other) = saved.parameters.iter().find(|saved| self.params.get(&saved.name).is_none()) {
            return Err(Error::state(&other.name, "the saved state has this parameter, but the optimizer has not"));
        }
        Ok(())
    }
}

/// Checks that saved settings are those of a method, field by field.
fn check_method(saved: &Value, own: &Value) -> Result<()> {
    let wrong = |problem: String| Err(Error::state(format!("{KEY} settings"), problem));
    let parsed = saved.as_str().and_then(format1::settings);
    let (Some(saved), Some(own)) = (parsed.as_ref().unwrap_or(saved).as_object(), own.as_object()) else {
        return wrong(format!("they are of another version, or damaged ({saved})"));
    };
    for (field, own) in own {
        match saved.get(field) {
            None => return wrong(format!("{field} is missing, but here it is {own}")),
            Some(theirs) if !format1::is_same(field, theirs, own) => {
                return wrong(format!("saved was {field} = {theirs}, but here it is {own}"));
            }
            Some(_) => {}
        }
    }
    match saved.iter().find(|(field, _)| !own.contains_key(*field)) {
        Some((field, theirs)) => wrong(format!("saved was {field} = {theirs}, which the method does not have")),
        None => Ok(()),
    }
}

const SCHEDULES: [&str; 3] = ["state.schedule.learning_rate", "state.schedule.weight_decay", "state.schedule.momentum"];

/// Returns a list of a schedule; empty if there is none.
fn schedule(saved: &Checkpoint, name: &str) -> Result<Vec<f64>> {
    match saved.get(name).map(|tensor| &tensor.values) {
        None => Ok(Vec::new()),
        Some(Values::F64(values)) => Ok(values.clone()),
        Some(other) => {
            Err(Error::state(name, format!("it has elements of type {}, but must have F64", other.type_name())))
        }
    }
}

/// Returns the tensors of an arena of state, with their names in a file.
fn named<'a>(params: &'a Params, state: &'a str, arena: &'a Arena) -> impl Iterator<Item = (String, &'a Tensor)> {
    let is_one_each = arena.len() == params.len();
    arena.tensors().iter().enumerate().map(move |(i, tensor)| {
        let name = if is_one_each {
            format!("state.{}.{state}", params.parameters()[i].name())
        } else {
            format!("state.{state}.{i}")
        };
        (name, tensor)
    })
}

/// Reads back the tensors of an arena of state.
pub(super) fn read(params: &Params, state: &str, arena: &Arena) -> Result<Vec<CheckpointTensor>> {
    named(params, state, arena).map(|(name, tensor)| CheckpointTensor::read(name, tensor)).collect()
}

/// Returns an object for the metadata.
pub(super) fn to_json(settings: &impl Serialize) -> Result<Value> {
    serde_json::to_value(settings).map_err(|error| Error::state("metadata", error.to_string()))
}

/// Returns an object of the metadata.
pub(super) fn from_json<T: serde::de::DeserializeOwned>(saved: &Checkpoint, key: &str) -> Result<T> {
    let found = saved.metadata.get(key).ok_or_else(|| Error::state(key, "there is no such state in the file"))?;
    serde_json::from_value(found.clone())
        .map_err(|error| Error::state(key, format!("the saved state is of another version, or damaged ({error})")))
}

/// Checks that settings equal the saved ones.
pub(super) fn check_same(name: &str, saved: &str, own: &impl std::fmt::Debug) -> Result<()> {
    let own = format!("{own:?}");
    if saved == own { Ok(()) } else { Err(Error::state(name, format!("saved was {saved}, but here it is {own}"))) }
}

/// Checked tensors, and their destinations.
#[derive(Default)]
pub(super) struct Plan<'a>(Vec<(&'a CheckpointTensor, Tensor)>);

impl<'a> Plan<'a> {
    /// Finds all tensors of an arena of state.
    pub(super) fn add(&mut self, saved: &'a Checkpoint, params: &Params, state: &str, arena: &Arena) -> Result<()> {
        for (name, tensor) in named(params, state, arena) {
            let found = saved.get(&name).ok_or_else(|| Error::state(&name, "the tensor is missing"))?;
            found.check(tensor)?;
            self.0.push((found, tensor.clone()));
        }
        Ok(())
    }

    /// Writes them all.
    pub(super) fn write(self) -> Result<()> {
        self.0.into_iter().try_for_each(|(saved, tensor)| saved.write(&tensor))
    }
}
