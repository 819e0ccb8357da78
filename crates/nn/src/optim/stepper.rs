//! [`Stepper`]: an optimizer, or a wrapper around one, that takes the steps of a trainer.

use std::fmt;

use super::{GradientAccumulation, Lookahead, Optimizer, Sam};
use crate::{Checkpoint, Result};

/// An [`Optimizer`], or a wrapper around one, that takes whole steps. A [`Trainer`](crate::Trainer) uses it.
///
/// [`Sam`], [`Lookahead`] and [`GradientAccumulation`] are wrappers; other crates can add their own.
pub trait Stepper: fmt::Debug {
    /// Returns the inner optimizer.
    fn optimizer(&self) -> &Optimizer;

    /// Returns the inner optimizer, to set its schedule and the like.
    fn optimizer_mut(&mut self) -> &mut Optimizer;

    /// Takes one step. `gradients` runs a backward pass and is called as often as the step needs gradients, with the
    /// [pass](GradientPass). Gradients are zeroed before the first pass, and before each pass that does not add to
    /// others.
    ///
    /// # Errors
    /// Same as `gradients`. If work on the device has failed.
    fn step_with(&mut self, gradients: &mut dyn FnMut(GradientPass) -> Result<()>) -> Result<()>;

    /// Replaces the parameters by those to evaluate with: see [`Optimizer::eval`].
    ///
    /// # Errors
    /// Same as [`Optimizer::eval`].
    fn eval(&mut self) -> Result<()> {
        self.optimizer_mut().eval()
    }

    /// Restores the trained parameters: see [`Optimizer::train`].
    ///
    /// # Errors
    /// Same as [`Optimizer::train`].
    fn train(&mut self) -> Result<()> {
        self.optimizer_mut().train()
    }

    /// Returns the state: see [`Optimizer::state_dict`].
    ///
    /// # Errors
    /// Same as [`Optimizer::state_dict`].
    fn state_dict(&self) -> Result<Checkpoint>;

    /// Replaces this state by a saved one: see [`Optimizer::load_state_dict`].
    ///
    /// # Errors
    /// Same as [`Optimizer::load_state_dict`].
    fn load_state_dict(&mut self, saved: &Checkpoint) -> Result<()>;

    /// Returns the wrapper's name and settings as text, empty for an optimizer. A run cannot resume from a checkpoint
    /// with another text.
    fn wrapper(&self) -> String {
        String::new()
    }
}

/// A backward pass of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GradientPass {
    /// The part of the step's batch, counted from 0.
    pub part: u32,
    /// The number of parts. The gradients of all parts are added and divided by it.
    pub parts: u32,
    /// Whether the step computes gradients of this part for a second time, at other parameters.
    pub is_repeated: bool,
}

impl GradientPass {
    /// The only pass of a step.
    pub const WHOLE: Self = Self { part: 0, parts: 1, is_repeated: false };
}

impl Stepper for Optimizer {
    fn optimizer(&self) -> &Optimizer {
        self
    }

    fn optimizer_mut(&mut self) -> &mut Optimizer {
        self
    }

    fn step_with(&mut self, gradients: &mut dyn FnMut(GradientPass) -> Result<()>) -> Result<()> {
        self.params().zero_grad();
        gradients(GradientPass::WHOLE)?;
        self.step()
    }

    fn state_dict(&self) -> Result<Checkpoint> {
        self.state_dict()
    }

    fn load_state_dict(&mut self, saved: &Checkpoint) -> Result<()> {
        self.load_state_dict(saved)
    }
}

/// Defines the common items of the wrappers: the inner optimizer and their own state.
macro_rules! wrapper {
    ($type:ident) => {
        fn optimizer(&self) -> &Optimizer {
            $type::optimizer(self)
        }

        fn optimizer_mut(&mut self) -> &mut Optimizer {
            $type::optimizer_mut(self)
        }

        fn state_dict(&self) -> Result<Checkpoint> {
            $type::state_dict(self)
        }

        fn load_state_dict(&mut self, saved: &Checkpoint) -> Result<()> {
            $type::load_state_dict(self, saved)
        }
    };
}

impl Stepper for Sam {
    wrapper!(Sam);

    fn step_with(&mut self, gradients: &mut dyn FnMut(GradientPass) -> Result<()>) -> Result<()> {
        let mut is_repeated = false;
        self.step(|| {
            gradients(GradientPass { is_repeated, ..GradientPass::WHOLE })?;
            is_repeated = true;
            Ok(())
        })
    }

    fn wrapper(&self) -> String {
        format!("{:?}", self.settings())
    }
}

impl Stepper for Lookahead {
    wrapper!(Lookahead);

    fn step_with(&mut self, gradients: &mut dyn FnMut(GradientPass) -> Result<()>) -> Result<()> {
        self.optimizer().params().zero_grad();
        gradients(GradientPass::WHOLE)?;
        self.step()
    }

    fn eval(&mut self) -> Result<()> {
        self.eval()
    }

    fn train(&mut self) -> Result<()> {
        self.train()
    }

    fn wrapper(&self) -> String {
        format!("{:?}", self.settings())
    }
}

/// A step of the trainer is a step of the optimizer: its batch is split into the micro-batches.
impl Stepper for GradientAccumulation {
    wrapper!(GradientAccumulation);

    fn step_with(&mut self, gradients: &mut dyn FnMut(GradientPass) -> Result<()>) -> Result<()> {
        let parts = self.micro_batches();
        (0..parts).try_for_each(|part| {
            self.micro_step(|| gradients(GradientPass { part, parts, ..GradientPass::WHOLE })).map(drop)
        })
    }

    fn wrapper(&self) -> String {
        format!("GradientAccumulation over {}", self.micro_batches())
    }
}

/// Forwards every method, so that a wrapper can be chosen at run time.
impl<S: Stepper + ?Sized> Stepper for Box<S> {
    fn optimizer(&self) -> &Optimizer {
        (**self).optimizer()
    }

    fn optimizer_mut(&mut self) -> &mut Optimizer {
        (**self).optimizer_mut()
    }

    fn step_with(&mut self, gradients: &mut dyn FnMut(GradientPass) -> Result<()>) -> Result<()> {
        (**self).step_with(gradients)
    }

    fn eval(&mut self) -> Result<()> {
        (**self).eval()
    }

    fn train(&mut self) -> Result<()> {
        (**self).train()
    }

    fn state_dict(&self) -> Result<Checkpoint> {
        (**self).state_dict()
    }

    fn load_state_dict(&mut self, saved: &Checkpoint) -> Result<()> {
        (**self).load_state_dict(saved)
    }

    fn wrapper(&self) -> String {
        (**self).wrapper()
    }
}
