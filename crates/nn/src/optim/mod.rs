//! Optimizers: the settings of a method, and [`Optimizer`], which holds its state and steps.

use thalweg_tensor::optim::matrices::shapes_of;
use thalweg_tensor::{
    Arena, Clip, Clock, ClockState, Origin, Pass, ScheduleTable, SegmentSettings, StepArguments, hold_as,
};

use crate::params::swap::Swap;
use crate::{Error, Params, Rate, Result};

mod accumulation;
mod average;
mod clipping;
mod entry;
mod evaluation;
mod format1;
mod freezing;
mod groups;
mod hessian;
mod lookahead;
mod loss_scale;
mod method;
mod methods;
mod sharpness;
mod state_dict;
mod stepper;

pub use accumulation::GradientAccumulation;
pub use average::WeightAverage;
pub use entry::{MakeMethod, MethodEntry, MethodFamily};
pub use evaluation::EvaluationPoint;
pub use groups::ParameterGroup;
pub use hessian::HessianAverage;
pub use lookahead::{Lookahead, LookaheadSettings};
pub use loss_scale::LossScaler;
pub use method::{Capabilities, Method, StateArena};
pub use methods::*;
pub use sharpness::{Sam, SharpnessAware};
pub use stepper::{GradientPass, Stepper};

/// A method and its learning rate, applied to the parameters of a model.
///
/// A step is one launch, or three with clipping by the global norm, for any number of tensors. Exceptions are
/// documented at the methods. Nothing waits for the device.
///
/// ```
/// use thalweg_autograd::Tape;
/// use thalweg_nn::{AdamW, Linear, Loss, Module, Mse, Optimizer, ParamsBuilder};
/// use thalweg_tensor::{Device, Tensor};
/// # fn main() -> thalweg_nn::Result<()> {
/// let device = Device::cpu();
/// let mut builder = ParamsBuilder::new(0);
/// let model = Linear::new(&mut builder, "line", 1, 1)?;
/// let params = builder.build(&device)?;
/// let mut optimizer = Optimizer::new(&params, AdamW::new(), 0.1)?.with_clip_norm(1.0)?;
/// let x = Tensor::from_slice(&device, &[0.0, 1.0, 2.0, 3.0], &[4, 1])?;
/// let y = x.affine(2.0, 1.0)?;
/// for _ in 0..300 {
///     let tape = Tape::new();
///     let loss = Mse.of(model.forward(tape.constant(&x))?, &y)?;
///     params.zero_grad();
///     tape.backward(loss)?;
///     optimizer.step()?;
/// }
/// assert!((model.weight().value()?.item::<f32>()? - 2.0).abs() < 0.1);
/// # Ok(())
/// # }
/// ```
///
/// # Bandwidth in software
/// The documentation of each method compares its bytes per second, gradients included, with those of the fastest plain
/// copy. The measurements are for a million parameters on Mesa's software driver, without clipping. They are rounded,
/// because they differ from run to run. There a lane is an iteration of a loop: loading and storing a vector costs as
/// much as in the copy, and the arithmetic adds to it. The fewer bytes a method moves, the more its fixed work counts:
/// the factors of the clock, and the tests for each vector. Nothing was measured on hardware.
#[derive(Debug)]
pub struct Optimizer {
    method: Box<dyn Method>,
    params: Params,
    state_names: Vec<&'static str>,
    state: Vec<Arena>,
    clock: Clock,
    /// The settings of groups for each parameter.
    segments: Vec<SegmentSettings>,
    masked: freezing::Masked,
    clip: Clip,
    around: clipping::Around,
    swap: Swap,
}

impl Optimizer {
    /// Returns the optimizer at its first step. `rate` is a number or a schedule: see [`Rate`].
    ///
    /// # Errors
    /// If the settings or the schedule are not valid, or the device has no room for the state.
    pub fn new(params: &Params, method: impl Into<Box<dyn Method>>, rate: impl Into<Rate>) -> Result<Self> {
        let method = method.into();
        method.validate()?;
        let schedule = ScheduleTable::of_learning_rates(&rate.into().into_table()?);
        let first_rate = schedule.learning_rates.first().copied().unwrap_or(0.0);
        let (state, clock) = hold_as("optimizer state", || -> Result<_> {
            let mut clock = Clock::with_schedule(params.device(), schedule).map_err(as_setting)?;
            let values = params.values();
            let state: Vec<(&'static str, Arena)> = method
                .state(&shapes_of(values))
                .iter()
                .map(|arena| Ok((arena.name(), arena.make(values, first_rate)?)))
                .collect::<Result<_>>()?;
            if method.capabilities().tensor_sums {
                clock.lay_out(values)?;
            }
            Ok((state, clock))
        })?;
        let (state_names, state): (Vec<_>, Vec<_>) = state.into_iter().unzip();
        let (around, swap) = (clipping::Around::default(), Swap::new(params));
        let (segments, masked) = (vec![SegmentSettings::default(); params.len()], freezing::Masked::default());
        let (params, clip) = (params.clone(), Clip::Off);
        Ok(Self { method, params, state_names, state, clock, segments, masked, clip, around, swap })
    }

    /// Sets properties of parameters by their names: the learning rate, the weight decay, or that this optimizer does
    /// not change them. If several groups match a parameter, a later one replaces the settings that it has. It costs no
    /// launch.
    ///
    /// ```
    /// use thalweg_nn::{AdamW, Linear, Optimizer, ParameterGroup, ParamsBuilder};
    /// use thalweg_tensor::Device;
    /// # fn main() -> thalweg_nn::Result<()> {
    /// let mut builder = ParamsBuilder::new(0);
    /// Linear::new(&mut builder, "body", 4, 8)?;
    /// Linear::new(&mut builder, "head", 8, 2)?;
    /// let params = builder.build(&Device::cpu())?;
    /// let optimizer = Optimizer::new(&params, AdamW::new(), 1e-3)?.with_groups(&[
    ///     ParameterGroup { lr_scale: Some(0.1), ..ParameterGroup::of("body.*") },
    ///     ParameterGroup { weight_decay: Some(0.0), ..ParameterGroup::of("*.bias") },
    /// ])?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Setting`] if a pattern matches no parameter, if a value is out of its range, or if the method has no
    /// weight decay to replace.
    pub fn with_groups(mut self, groups: &[ParameterGroup]) -> Result<Self> {
        let mut settings = self.segments.clone();
        groups::apply(groups, &*self.method, self.params.parameters(), &mut settings)?;
        self.set_segments(settings)?;
        Ok(self)
    }

    /// Removes weight decay from biases, and from the scales and shifts of normalisations: from all parameters of fewer
    /// than two dimensions.
    ///
    /// # Errors
    /// If the device has no room for the table.
    pub fn without_decay_on_bias_and_norm(mut self) -> Result<Self> {
        let mut settings = self.segments.clone();
        for (parameter, settings) in self.params.parameters().iter().zip(&mut settings) {
            if parameter.shape().len() < 2 {
                settings.weight_decay = Some(0.0);
            }
        }
        self.set_segments(settings)?;
        Ok(self)
    }

    /// Sets the learning rate of all steps, from the first step of the run: a number or a schedule.
    ///
    /// # Errors
    /// If the schedule is not valid, or a rate is negative or not finite.
    pub fn set_rate(&mut self, rate: impl Into<Rate>) -> Result<()> {
        let learning_rates = rate.into().into_table()?;
        let ScheduleTable { weight_decays, momentums, .. } = self.clock.schedule();
        let (weight_decays, momentums) = (weight_decays.clone(), momentums.clone());
        self.set_table(ScheduleTable { learning_rates, weight_decays, momentums })
    }

    /// Sets the weight decay of all steps as [`set_rate`](Self::set_rate) sets the rate. Groups with their own weight
    /// decay keep it.
    ///
    /// # Errors
    /// Same as [`set_rate`](Self::set_rate), and if the method has no weight decay.
    pub fn set_weight_decay(&mut self, weight_decay: impl Into<Rate>) -> Result<()> {
        groups::check_weight_decay(&*self.method)?;
        let weight_decays = weight_decay.into().into_table()?;
        let ScheduleTable { learning_rates, momentums, .. } = self.clock.schedule();
        let (learning_rates, momentums) = (learning_rates.clone(), momentums.clone());
        self.set_table(ScheduleTable { learning_rates, weight_decays, momentums })
    }

    /// Sets the momentum, or the decay rate of the first moment, of all steps as [`set_rate`](Self::set_rate) sets the
    /// rate. Values are at least 0 and less than 1. The bias correction of a moment is then 1 minus the product of the
    /// rates of all steps.
    ///
    /// # Errors
    /// Same as [`set_rate`](Self::set_rate), and if the method has no momentum.
    pub fn set_momentum(&mut self, momentum: impl Into<Rate>) -> Result<()> {
        if !self.method.capabilities().momentum {
            return Err(Error::Setting {
                field: "momentum",
                value: "a schedule".to_string(),
                rule: "left out for a method without momentum",
            });
        }
        let momentums = momentum.into().into_table()?;
        let ScheduleTable { learning_rates, weight_decays, .. } = self.clock.schedule();
        let (learning_rates, weight_decays) = (learning_rates.clone(), weight_decays.clone());
        self.set_table(ScheduleTable { learning_rates, weight_decays, momentums })
    }

    pub(crate) fn set_table(&mut self, table: ScheduleTable) -> Result<()> {
        self.clock.set_schedule(table).map_err(as_setting)
    }

    /// Updates all parameters with their gradients.
    ///
    /// # Errors
    /// [`Error::Order`] if no parameter has a gradient, as before the first backward pass and after
    /// [`Params::zero_grad`], or while other values replace the parameters, as between [`eval`](Self::eval) and
    /// [`train`](Self::train). If work on the device has failed.
    pub fn step(&mut self) -> Result<()> {
        let _pass = Origin { pass: Pass::Update, ..Origin::current() }.enter();
        self.params.check_in_place("Optimizer::step")?;
        self.params.check_grads("Optimizer::step")?;
        self.params.exchange().guard(self.params.device());
        self.follow_freezing()?;
        let is_masked = self.mask_gradients(self.around.adaptive.is_some() || self.clock.reads_norms(self.clip))?;
        let (values, grads) = (self.params.values(), self.masked.or(is_masked, self.params.settled_grads()?));
        self.around.before(values, grads)?;
        let (state, clock) = (&self.state, &mut self.clock);
        self.method.step(StepArguments { values, grads, state, clock, clip: self.clip })?;
        self.around.after(values, &self.clock)
    }

    /// Returns the steps done, skipped and clipped, the last learning rate and gradient norm, and the statistics if
    /// they are on. Waits for the device; [`read_clock_later`](Self::read_clock_later) does not.
    ///
    /// # Errors
    /// If work on the device has failed, or if a step was skipped and the rule makes this an error.
    pub fn read_clock(&self) -> Result<ClockState> {
        Ok(self.clock.read()?)
    }

    /// Resets the sum of gradient norms, which [`read_clock`](Self::read_clock) returns, to 0.
    ///
    /// # Errors
    /// If work on the device has failed.
    pub fn restart_gradient_norm_sum(&mut self) -> Result<()> {
        Ok(self.clock.restart_gradient_norm_sum()?)
    }

    /// Returns the method and its settings.
    #[must_use]
    pub fn method(&self) -> &dyn Method {
        &*self.method
    }

    /// Returns the parameters that it updates.
    #[must_use]
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// Returns the state that the method keeps between steps: names and arenas.
    pub fn state(&self) -> impl Iterator<Item = (&'static str, &Arena)> {
        self.state_names.iter().copied().zip(&self.state)
    }

    /// Returns the arena of the method's state with this name.
    fn state_arena(&self, name: &str) -> Result<&Arena> {
        let found = self.state().find(|(own, _)| *own == name);
        found.map(|(_, arena)| arena).ok_or_else(|| StateArena::unknown(&*self.method, name))
    }
}

/// Converts an argument that the tensor crate refuses into the setting that it came from.
fn as_setting(error: thalweg_tensor::Error) -> Error {
    match error {
        thalweg_tensor::Error::Argument { name, value, rule, .. } => Error::Setting { field: name, value, rule },
        error => error.into(),
    }
}
