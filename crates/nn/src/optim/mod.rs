//! Optimizers: the settings of a method, and [`Optimizer`], which holds its state and steps.

use std::fmt;

use thalweg_tensor::{Arena, Clock, ClockState, hold_as};

use crate::{Error, Params, Result, Schedule};

/// [`Method`] for settings with a field `lr` whose step is one fused update.
macro_rules! fused_method {
    (
        $config:ident $name:literal, |$settings:ident|
        state: $state:expr,
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

            #[allow(unused_variables, reason = "few methods have state that depends on settings")]
            fn state_names(&self) -> &'static [&'static str] {
                let $settings = self;
                $state
            }

            fn initial_state(&self, number: usize) -> f32 {
                let $settings = self;
                thalweg_tensor::Update::initial_state(&$update, number)
            }

            fn update(
                &self,
                values: &thalweg_tensor::Arena,
                grads: &thalweg_tensor::Arena,
                state: &[thalweg_tensor::Arena],
                clock: &mut thalweg_tensor::Clock,
                clip_norm: Option<f64>,
            ) -> $crate::Result<()> {
                let $settings = self;
                Ok(thalweg_tensor::Update::step(&$update, values, grads, state, clock, clip_norm)?)
            }
        }
    };
}

mod adabelief;
mod adadelta;
mod adagrad;
mod adam;
mod adamax;
mod adan;
mod amsgrad;
mod asgd;
mod lion;
mod nadam;
mod radam;
mod rmsprop;
mod rprop;
mod schedule_free_adamw;
mod schedule_free_sgd;
mod sgd;
mod yogi;

pub use adabelief::AdaBelief;
pub use adadelta::Adadelta;
pub use adagrad::Adagrad;
pub use adam::{Adam, AdamW};
pub use adamax::Adamax;
pub use adan::Adan;
pub use amsgrad::Amsgrad;
pub use asgd::Asgd;
pub use lion::Lion;
pub use nadam::NAdam;
pub use radam::RAdam;
pub use rmsprop::RmsProp;
pub use rprop::Rprop;
pub use schedule_free_adamw::ScheduleFreeAdamW;
pub use schedule_free_sgd::ScheduleFreeSgd;
pub use sgd::Sgd;
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

    /// The names of the arenas that the method keeps from step to step.
    fn state_names(&self) -> &'static [&'static str];

    /// What fills each of these arenas before the first step.
    fn initial_state(&self, _number: usize) -> f32 {
        0.0
    }

    /// Takes all parameters one step further; `state` has one arena for each name.
    ///
    /// # Errors
    /// Where work on the device has failed.
    fn update(
        &self,
        values: &Arena,
        grads: &Arena,
        state: &[Arena],
        clock: &mut Clock,
        clip_norm: Option<f64>,
    ) -> Result<()>;
}

/// A method at work on the parameters of a model: one launch a step, three with clipping, whatever the number of
/// tensors, and nothing waits for the device.
///
/// ```
/// use thalweg_autograd::Tape;
/// use thalweg_nn::{AdamW, Linear, Loss, Module, Optimizer, ParamsBuilder};
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
///     let loss = Loss::Mse.of(model.forward(tape.constant(&x))?, &y)?;
///     params.zero_grad();
///     tape.backward(loss)?;
///     optimizer.step()?;
/// }
/// assert!((model.weight().value()?.item::<f32>()? - 2.0).abs() < 0.1);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Optimizer {
    method: Box<dyn Method>,
    params: Params,
    state: Vec<Arena>,
    clock: Clock,
    clip_norm: Option<f64>,
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
        let names = method.state_names();
        let (state, clock) = hold_as("optimizer state", || -> Result<_> {
            let state = names.iter().map(|_| Ok(params.values().zeros_like()?)).collect::<Result<Vec<_>>>()?;
            for (number, arena) in state.iter().enumerate() {
                let initial = method.initial_state(number);
                // Tensor by tensor: padding stays zero.
                if initial != 0.0 {
                    arena.tensors().iter().try_for_each(|tensor| tensor.fill(initial))?;
                }
            }
            Ok((state, Clock::new(params.device(), method.lr())?))
        })?;
        Ok(Self { method, params: params.clone(), state, clock, clip_norm: None })
    }

    /// Scales gradients down to this global 2-norm where they are longer, by min(1, norm / (‖g‖ + 1e-6)), as
    /// `torch.nn.utils.clip_grad_norm_` (Pascanu et al., ICML 2013). A norm that is not finite skips the update and is
    /// counted, where PyTorch lets it spread.
    ///
    /// # Numerics
    /// Squares are summed in f32, so a norm from 1.8e19 on counts as not finite.
    ///
    /// # Errors
    /// Where the norm is not greater than 0.
    pub fn with_clip_norm(mut self, norm: f64) -> Result<Self> {
        if !(norm as f32 > 0.0 && norm.is_finite()) {
            return Err(Error::Setting {
                field: "clip_norm",
                value: norm.to_string(),
                rule: "finite and greater than 0",
            });
        }
        self.clip_norm = Some(norm);
        Ok(self)
    }

    /// Uploads a schedule for a run of so many steps, from the first step on; behind its end the last value stays.
    ///
    /// # Errors
    /// Where the schedule is not valid, or gives a negative rate or one that is not finite.
    pub fn set_schedule(&mut self, schedule: &dyn Schedule, steps: u64) -> Result<()> {
        Ok(self.clock.set_learning_rates(&crate::schedule::table(schedule, steps.max(1))?)?)
    }

    /// Sets the learning rate of all steps that come.
    ///
    /// # Errors
    /// Where it is negative or not finite.
    pub fn set_lr(&mut self, lr: f64) -> Result<()> {
        Ok(self.clock.set_learning_rates(&[lr])?)
    }

    /// Takes all parameters one step further by the gradients that they hold.
    ///
    /// # Errors
    /// Where work on the device has failed.
    pub fn step(&mut self) -> Result<()> {
        let grads = self.params.grads()?;
        self.method.update(self.params.values(), grads, &self.state, &mut self.clock, self.clip_norm)
    }

    /// Steps done and skipped, the last learning rate and gradient norm. Waits for the device.
    ///
    /// # Errors
    /// Where work on the device has failed.
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
