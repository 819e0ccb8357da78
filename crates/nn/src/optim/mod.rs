//! Optimizers: the settings of a method, and [`Optimizer`], which holds its state and steps.

use std::fmt;

use thalweg_tensor::{
    Arena, Clip, Clock, ClockState, Origin, Pass, ScheduleTable, SegmentSettings, StepArguments, hold_as,
};

use crate::params::swap::Swap;
use crate::{Error, Params, Result, Schedule};

/// [`Method`] for settings with a field `lr` whose step is one fused update.
macro_rules! fused_method {
    (
        $config:ident $name:literal, |$settings:ident|
        state: $state:expr,
        $(momentum: $momentum:expr,)?
        $(has_weight_decay: $has_weight_decay:expr,)?
        $(hessian: $hessian:expr,)?
        $(evaluation: $evaluation:expr,)?
        check: $check:expr,
        update: $update:expr $(,)?
    ) => {
        impl $crate::Method for $config {
            fn name(&self) -> &'static str {
                $name
            }

            fn lr(&self) -> f64 {
                self.lr
            }

            fn validate(&self) -> $crate::Result<()> {
                let $settings = self;
                $crate::setting::not_negative("lr", $settings.lr)?;
                $check
            }

            $(fn momentum(&self) -> Option<f64> {
                let $settings = self;
                $momentum
            })?

            $(fn has_weight_decay(&self) -> bool {
                $has_weight_decay
            })?

            $(fn hessian(&self) -> Option<$crate::HessianAverage> {
                let $settings = self;
                Some($hessian)
            })?

            $(#[allow(unused_variables, reason = "of few methods it depends on settings")]
            fn evaluation_point(&self) -> $crate::EvaluationPoint {
                let $settings = self;
                $evaluation
            })?

            #[allow(unused_variables, reason = "few methods have state that depends on settings")]
            fn state_names(&self) -> &'static [&'static str] {
                let $settings = self;
                $state
            }

            fn new_state(&self, values: &thalweg_tensor::Arena) -> $crate::Result<Vec<thalweg_tensor::Arena>> {
                let $settings = self;
                Ok(thalweg_tensor::optim::Update::new_state(&$update, values)?)
            }

            #[allow(unused_variables, reason = "it depends on the method, not on its settings")]
            fn sums_tensors(&self) -> bool {
                let $settings = self;
                thalweg_tensor::optim::Update::sums_tensors(&$update)
            }

            fn update(&self, step: thalweg_tensor::StepArguments<'_>) -> $crate::Result<()> {
                let $settings = self;
                Ok(thalweg_tensor::optim::Update::step(&$update, step)?)
            }
        }
    };
}

mod accumulation;
mod adabelief;
mod adadelta;
mod adafactor;
mod adagrad;
mod adam;
mod adamax;
mod adamw8bit;
mod adan;
mod amsgrad;
mod asgd;
mod average;
mod clipping;
mod evaluation;
mod freezing;
mod groups;
mod hessian;
mod lamb;
mod lars;
mod lion;
mod lookahead;
mod loss_scale;
mod muon;
mod nadam;
mod novograd;
mod prodigy;
mod radam;
mod rmsprop;
mod rprop;
mod schedule_free_adamw;
mod schedule_free_sgd;
mod sgd;
mod sharpness;
mod sm3;
mod soap;
mod sophia;
mod state_dict;
mod stepper;
pub mod update;
mod yogi;

pub use accumulation::GradientAccumulation;
pub use adabelief::AdaBelief;
pub use adadelta::Adadelta;
pub use adafactor::Adafactor;
pub use adagrad::Adagrad;
pub use adam::{Adam, AdamW};
pub use adamax::Adamax;
pub use adamw8bit::AdamW8bit;
pub use adan::Adan;
pub use amsgrad::Amsgrad;
pub use asgd::Asgd;
pub use average::WeightAverage;
pub use evaluation::EvaluationPoint;
pub use groups::ParameterGroup;
pub use hessian::HessianAverage;
pub use lamb::Lamb;
pub use lars::Lars;
pub use lion::Lion;
pub use lookahead::{Lookahead, LookaheadSettings};
pub use loss_scale::LossScaler;
pub use muon::Muon;
pub use nadam::NAdam;
pub use novograd::NovoGrad;
pub use prodigy::Prodigy;
pub use radam::RAdam;
pub use rmsprop::RmsProp;
pub use rprop::Rprop;
pub use schedule_free_adamw::ScheduleFreeAdamW;
pub use schedule_free_sgd::ScheduleFreeSgd;
pub use sgd::Sgd;
pub use sharpness::{Sam, SharpnessAware};
pub use sm3::Sm3;
pub use soap::Soap;
pub use sophia::Sophia;
pub use stepper::{GradientPass, Stepper};
pub use yogi::Yogi;

/// A method of optimization: plain settings, and the update that they describe.
pub trait Method: fmt::Debug + Send + Sync {
    /// The name, as on the command line.
    fn name(&self) -> &'static str;

    /// The learning rate, where no schedule says otherwise.
    fn lr(&self) -> f64;

    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::Setting`], which names the field and what it must be.
    fn validate(&self) -> Result<()>;

    /// The momentum, or the decay rate of the first moment, where the method has one that a schedule may replace.
    fn momentum(&self) -> Option<f64> {
        None
    }

    /// Whether it has a weight decay, which a schedule or a group of parameters may replace.
    fn has_weight_decay(&self) -> bool {
        true
    }

    /// What it says of the average that it keeps of the Hessian's diagonal, where it keeps one.
    fn hessian(&self) -> Option<HessianAverage> {
        None
    }

    /// The names of the arenas that the method keeps from step to step.
    fn state_names(&self) -> &'static [&'static str];

    /// These arenas as they are before the first step. By default zeros, in the layout of the parameters.
    ///
    /// # Errors
    /// Where the device has no room.
    fn new_state(&self, values: &Arena) -> Result<Vec<Arena>> {
        self.state_names().iter().map(|_| Ok(values.zeros_like()?)).collect()
    }

    /// Where the parameters lie that a model is to be evaluated with.
    fn evaluation_point(&self) -> EvaluationPoint {
        EvaluationPoint::Parameters
    }

    /// Whether it needs sums over each tensor, for which the clock makes tables.
    fn sums_tensors(&self) -> bool {
        false
    }

    /// Takes all parameters one step further; the state has one arena for each name.
    ///
    /// # Errors
    /// Where work on the device has failed.
    fn update(&self, step: StepArguments<'_>) -> Result<()>;
}

/// A method at work on the parameters of a model: one launch a step, three with clipping, whatever the number of
/// tensors, unless the method's page says otherwise; and nothing waits for the device.
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
/// let mut optimizer = Optimizer::new(&params, AdamW { lr: 0.1, ..AdamW::default() })?.with_clip_norm(1.0)?;
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
/// The pages of the methods give the bytes that they move, gradients included, as a share of what the best plain copy
/// moves in the same time: of a million parameters, on Mesa's software driver, without clipping; rounded, since they
/// differ from run to run. There a lane is a turn of a loop, whose cost for each vector that is loaded or stored is that of
/// the copy's, and which the copy spends nothing else on; arithmetic comes on top, so that methods of one launch stay a
/// little below it. The fewer bytes a method moves, the more its fixed work weighs: the clock's factors, and what is
/// asked of every vector. None was measured on hardware.
#[derive(Debug)]
pub struct Optimizer {
    method: Box<dyn Method>,
    params: Params,
    state: Vec<Arena>,
    clock: Clock,
    /// What groups say of each parameter.
    segments: Vec<SegmentSettings>,
    masked: freezing::Masked,
    clip: Clip,
    around: clipping::Around,
    swap: Swap,
}

impl Optimizer {
    /// The method at work on these parameters, at its first step.
    ///
    /// # Errors
    /// Where the settings are not valid, or the device has no room for the state.
    pub fn new(params: &Params, method: impl Method + 'static) -> Result<Self> {
        Self::from_boxed(params, Box::new(method))
    }

    /// As [`new`](Self::new), of a method that was chosen at run time.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn from_boxed(params: &Params, method: Box<dyn Method>) -> Result<Self> {
        method.validate()?;
        let (state, clock) = hold_as("optimizer state", || -> Result<_> {
            let state = method.new_state(params.values())?;
            let mut clock = Clock::new(params.device(), method.lr())?;
            if method.sums_tensors() {
                clock.lay_out(params.values())?;
            }
            Ok((state, clock))
        })?;
        let (around, swap) = (clipping::Around::default(), Swap::new(params));
        let (segments, masked) = (vec![SegmentSettings::default(); params.len()], freezing::Masked::default());
        Ok(Self { method, params: params.clone(), state, clock, segments, masked, clip: Clip::Off, around, swap })
    }

    /// Sets parameters apart by their names: learning rate, weight decay, or that this optimizer leaves them as they are.
    /// Where several groups match a parameter, a later one replaces what it says itself. It costs no launch.
    ///
    /// ```
    /// use thalweg_nn::{AdamW, Linear, Optimizer, ParameterGroup, ParamsBuilder};
    /// use thalweg_tensor::Device;
    /// # fn main() -> thalweg_nn::Result<()> {
    /// let mut builder = ParamsBuilder::new(0);
    /// Linear::new(&mut builder, "body", 4, 8)?;
    /// Linear::new(&mut builder, "head", 8, 2)?;
    /// let params = builder.build(&Device::cpu())?;
    /// let optimizer = Optimizer::new(&params, AdamW::default())?.with_groups(&[
    ///     ParameterGroup { lr_scale: Some(0.1), ..ParameterGroup::of("body.*") },
    ///     ParameterGroup { weight_decay: Some(0.0), ..ParameterGroup::of("*.bias") },
    /// ])?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Setting`] where a pattern matches no parameter, or a value is out of its range, or the method has no weight
    /// decay to replace.
    pub fn with_groups(mut self, groups: &[ParameterGroup]) -> Result<Self> {
        let mut settings = self.segments.clone();
        groups::apply(groups, &*self.method, self.params.parameters(), &mut settings)?;
        self.set_segments(settings)?;
        Ok(self)
    }

    /// Keeps weight decay away from biases, and from the scales and shifts of normalisations: from all parameters of fewer
    /// than two dimensions.
    ///
    /// # Errors
    /// Where the device has no room for the table.
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

    /// Uploads a schedule of the learning rate for a run of so many steps, from the first step on; behind its end the last
    /// value stays.
    ///
    /// # Errors
    /// Where the schedule is not valid, or gives a negative rate or one that is not finite.
    pub fn set_schedule(&mut self, schedule: &dyn Schedule, steps: u64) -> Result<()> {
        let learning_rates = crate::schedule::table(schedule, steps.max(1))?;
        self.set_table(ScheduleTable { learning_rates, ..self.clock.schedule().clone() })
    }

    /// As [`set_schedule`](Self::set_schedule), for the weight decay. Groups that have one of their own keep it.
    ///
    /// # Errors
    /// As [`set_schedule`](Self::set_schedule); where the method has no weight decay.
    pub fn set_weight_decay_schedule(&mut self, schedule: &dyn Schedule, steps: u64) -> Result<()> {
        groups::check_weight_decay(&*self.method)?;
        let weight_decays = crate::schedule::table(schedule, steps.max(1))?;
        self.set_table(ScheduleTable { weight_decays, ..self.clock.schedule().clone() })
    }

    /// As [`set_schedule`](Self::set_schedule), for the momentum, or the decay rate of the first moment (beta1); at least 0
    /// and less than 1. The bias correction of a moment is then 1 less the product of the rates of all steps.
    ///
    /// # Errors
    /// As [`set_schedule`](Self::set_schedule); where the method has no momentum.
    pub fn set_momentum_schedule(&mut self, schedule: &dyn Schedule, steps: u64) -> Result<()> {
        if self.method.momentum().is_none() {
            return Err(Error::Setting {
                field: "momentum",
                value: "a schedule".to_string(),
                rule: "left out for a method without momentum",
            });
        }
        let momentums = crate::schedule::table(schedule, steps.max(1))?;
        self.set_table(ScheduleTable { momentums, ..self.clock.schedule().clone() })
    }

    fn set_table(&mut self, table: ScheduleTable) -> Result<()> {
        self.clock.set_schedule(table).map_err(as_setting)
    }

    /// Sets the learning rate of all steps that come.
    ///
    /// # Errors
    /// Where it is negative or not finite.
    pub fn set_lr(&mut self, lr: f64) -> Result<()> {
        self.set_table(ScheduleTable { learning_rates: vec![lr], ..self.clock.schedule().clone() })
    }

    /// Takes all parameters one step further by the gradients that they hold.
    ///
    /// # Errors
    /// [`Error::Order`] if no parameter has a gradient, as before the first backward pass and after
    /// [`Params::zero_grad`], or while other values are in the place of the parameters, as between [`eval`](Self::eval) and
    /// [`train`](Self::train); if work on the device has failed.
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
        self.method.update(StepArguments { values, grads, state, clock, clip: self.clip })?;
        self.around.after(values, &self.clock)
    }

    /// Steps done, skipped and clipped, the last learning rate and gradient norm, and where they are asked for statistics.
    /// Waits for the device; [`read_clock_later`](Self::read_clock_later) does not.
    ///
    /// # Errors
    /// Where work on the device has failed, or a step was skipped and that is to be an error.
    pub fn read_clock(&self) -> Result<ClockState> {
        Ok(self.clock.read()?)
    }

    /// Begins the sum of gradient norms, which [`read_clock`](Self::read_clock) tells, anew from 0.
    ///
    /// # Errors
    /// Where work on the device has failed.
    pub fn restart_gradient_norm_sum(&mut self) -> Result<()> {
        Ok(self.clock.restart_gradient_norm_sum()?)
    }

    /// The method and its settings.
    #[must_use]
    pub fn method(&self) -> &dyn Method {
        &*self.method
    }

    /// The parameters that it works on.
    #[must_use]
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// What the method keeps from step to step: names and arenas.
    pub fn state(&self) -> impl Iterator<Item = (&'static str, &Arena)> {
        self.method.state_names().iter().copied().zip(&self.state)
    }
}

/// An argument that the device's side refuses, as the setting that it came from.
fn as_setting(error: thalweg_tensor::Error) -> Error {
    match error {
        thalweg_tensor::Error::Argument { name, value, rule, .. } => Error::Setting { field: name, value, rule },
        error => error.into(),
    }
}
