//! [`Stepper`]: what takes the steps of a trainer, an optimizer or a wrapper around one.

use std::fmt;

use super::{GradientAccumulation, Lookahead, Optimizer, Sam};
use crate::{Checkpoint, Result};

/// An [`Optimizer`], or a wrapper around one, that takes whole steps: what a [`Trainer`](crate::Trainer) works with.
///
/// [`Sam`], [`Lookahead`] and [`GradientAccumulation`] are such, and a wrapper from outside can be.
pub trait Stepper: fmt::Debug {
    /// Returns the optimizer inside.
    fn optimizer(&self) -> &Optimizer;

    /// Returns the optimizer inside, to set its schedule and the like.
    fn optimizer_mut(&mut self) -> &mut Optimizer;

    /// Takes one step. `gradients` runs a backward pass, as often as the step needs gradients; it must be told of
    /// [which](GradientPass). Gradients are made zero before the first pass, and before each that does not add to others.
    ///
    /// # Errors
    /// Those of `gradients`; if work on the device has failed.
    fn step_with(&mut self, gradients: &mut dyn FnMut(GradientPass) -> Result<()>) -> Result<()>;

    /// Puts the parameters in place that a model is to be evaluated with: see [`Optimizer::eval`].
    ///
    /// # Errors
    /// As [`Optimizer::eval`].
    fn eval(&mut self) -> Result<()> {
        self.optimizer_mut().eval()
    }

    /// Puts the parameters back that are trained: see [`Optimizer::train`].
    ///
    /// # Errors
    /// As [`Optimizer::train`].
    fn train(&mut self) -> Result<()> {
        self.optimizer_mut().train()
    }

    /// Returns the state: see [`Optimizer::state_dict`].
    ///
    /// # Errors
    /// As [`Optimizer::state_dict`].
    fn state_dict(&self) -> Result<Checkpoint>;

    /// Puts a saved state in the place of this one: see [`Optimizer::load_state_dict`].
    ///
    /// # Errors
    /// As [`Optimizer::load_state_dict`].
    fn load_state_dict(&mut self, saved: &Checkpoint) -> Result<()>;

    /// Returns the wrapper's name and settings as text, empty for an optimizer: a run that goes on from a checkpoint is
    /// refused if they differ.
    fn wrapper(&self) -> String {
        String::new()
    }
}

/// A backward pass of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GradientPass {
    /// The part of the step's batch, counted from 0.
    pub part: u32,
    /// The number of parts, whose gradients add up to a sum that is then divided by it.
    pub parts: u32,
    /// Whether the step asks for gradients of this part for a second time, at other parameters.
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

/// What the wrappers have in common: the optimizer inside and their own state.
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

/// A step of the trainer is one of the optimizer: its batch is shared out over the micro-batches.
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
