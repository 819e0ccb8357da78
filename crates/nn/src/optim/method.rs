//! [`Method`]: the one interface of a method of optimization.

use std::fmt;

use serde_json::Value;
use thalweg_tensor::{Arena, Packing, StepArguments};

use super::{EvaluationPoint, HessianAverage};
use crate::{Error, Result};

/// A method of optimization: its settings and its update.
///
/// The learning rate is not a setting: [`Optimizer`](crate::Optimizer) holds it as a [`Rate`](crate::Rate). A method of
/// another crate works like a built-in one; `examples/own_method.rs` has one with its kernel and twin.
pub trait Method: fmt::Debug + Send + Sync {
    /// Returns the name in the program and in saved states.
    fn name(&self) -> &'static str;

    /// Returns the settings as a JSON object with the names of the fields. A saved state loads into equal settings
    /// only.
    fn settings(&self) -> Value;

    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::Setting`] if one is out of range; it names the field and its range.
    fn validate(&self) -> Result<()>;

    /// Returns the arenas that the method keeps between steps, for parameters of these shapes. Their names and number
    /// do not depend on the shapes. Default none.
    fn state(&self, parameters: &[Vec<usize>]) -> Vec<StateArena> {
        let _ = parameters;
        Vec::new()
    }

    /// Returns the properties that the optimizer and the program use. Default: a weight decay only.
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    /// Returns the number of launches of a step without clipping, for parameters of these shapes that fit into one
    /// page. Default 1.
    fn launches(&self, parameters: &[Vec<usize>]) -> usize {
        let _ = parameters;
        1
    }

    /// Returns the bytes that a step moves per parameter, without clipping. By default it reads parameter, gradient and
    /// state, and writes all but the gradient.
    fn bytes_per_parameter(&self) -> u64 {
        let state: f64 = self.state(&[]).iter().map(|arena| 8.0 / arena.packing.parameters() as f64).sum();
        12 + state as u64
    }

    /// Updates all parameters. `step.state` has one arena for each entry of [`state`](Self::state).
    ///
    /// # Errors
    /// If the arenas are not the method's, or work on the device fails.
    fn step(&self, step: StepArguments<'_>) -> Result<()>;
}

impl<M: Method + 'static> From<M> for Box<dyn Method> {
    fn from(method: M) -> Self {
        Box::new(method)
    }
}

/// The properties of a method besides its state: the settings that a schedule may replace, and the parameters to
/// evaluate with.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Capabilities {
    /// Whether it has a momentum, or a decay rate of a first moment, that a schedule may replace. Default false.
    pub momentum: bool,
    /// Whether it has a weight decay that a schedule or a group of parameters may replace. Default true.
    pub weight_decay: bool,
    /// Whether it needs sums over each tensor, for which the clock makes tables. Default false.
    pub tensor_sums: bool,
    /// Whether it finds the size of its steps itself, so that a range test of learning rates makes no sense. Default
    /// false.
    pub own_step_size: bool,
    /// The parameters to evaluate a model with. Default the trained ones.
    pub evaluation: EvaluationPoint,
    /// Its average of the Hessian's diagonal. Default none.
    pub hessian: Option<HessianAverage>,
}

impl Default for Capabilities {
    fn default() -> Self {
        Self {
            momentum: false,
            weight_decay: true,
            tensor_sums: false,
            own_step_size: false,
            evaluation: EvaluationPoint::Parameters,
            hessian: None,
        }
    }
}

impl Capabilities {
    /// Returns the default.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets whether there is a momentum that a schedule may replace.
    #[must_use]
    pub fn momentum(self, momentum: bool) -> Self {
        Self { momentum, ..self }
    }

    /// Sets whether there is a weight decay that a schedule or a group may replace.
    #[must_use]
    pub fn weight_decay(self, weight_decay: bool) -> Self {
        Self { weight_decay, ..self }
    }

    /// Sets whether a step needs sums over each tensor.
    #[must_use]
    pub fn tensor_sums(self, tensor_sums: bool) -> Self {
        Self { tensor_sums, ..self }
    }

    /// Sets whether the method finds the size of its steps itself.
    #[must_use]
    pub fn own_step_size(self, own_step_size: bool) -> Self {
        Self { own_step_size, ..self }
    }

    /// Sets the parameters to evaluate a model with.
    #[must_use]
    pub fn evaluation(self, evaluation: EvaluationPoint) -> Self {
        Self { evaluation, ..self }
    }

    /// Sets the average of the Hessian's diagonal.
    #[must_use]
    pub fn hessian(self, hessian: HessianAverage) -> Self {
        Self { hessian: Some(hessian), ..self }
    }
}

/// An arena that a method keeps between steps: its name, layout and initial values.
///
/// ```
/// use thalweg_nn::StateArena;
/// use thalweg_tensor::{Arena, Device};
/// # fn main() -> thalweg_nn::Result<()> {
/// let values = Arena::new(&Device::cpu(), &[vec![3, 2], vec![2]])?;
/// let sum = StateArena::like_parameters("sum").filled(0.1).make(&values, 1e-3)?;
/// assert_eq!(sum.get(1).to_vec::<f32>()?, [0.1; 2]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct StateArena {
    name: &'static str,
    /// `None` for the shapes of the parameters.
    shapes: Option<Vec<Vec<usize>>>,
    packing: Packing,
    first: First,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum First {
    Number(f64),
    Rate,
}

impl StateArena {
    /// Returns an arena of zeros in the layout of the parameters. If PyTorch has the same state, use its name.
    #[must_use]
    pub fn like_parameters(name: &'static str) -> Self {
        Self { name, shapes: None, packing: Packing::Plain, first: First::Number(0.0) }
    }

    /// Returns an arena of zeros for tensors of these shapes.
    #[must_use]
    pub fn of_shapes(name: &'static str, shapes: Vec<Vec<usize>>) -> Self {
        Self { shapes: Some(shapes), ..Self::like_parameters(name) }
    }

    /// Returns an arena of zeros in which several parameters share a word.
    #[must_use]
    pub fn packed(name: &'static str, packing: Packing) -> Self {
        Self { packing, ..Self::like_parameters(name) }
    }

    /// Sets the initial value of all elements; padding stays 0.
    #[must_use]
    pub fn filled(self, value: f64) -> Self {
        Self { first: First::Number(value), ..self }
    }

    /// Sets the initial value of all elements to the learning rate of the first step.
    #[must_use]
    pub fn filled_with_rate(self) -> Self {
        Self { first: First::Rate, ..self }
    }

    /// Returns the name, which is a part of the names of saved tensors.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Returns the shapes of its tensors, or `None` for those of the parameters.
    #[must_use]
    pub fn shapes(&self) -> Option<&[Vec<usize>]> {
        self.shapes.as_deref()
    }

    /// Returns how many parameters share a word.
    #[must_use]
    pub fn packing(&self) -> Packing {
        self.packing
    }

    /// Makes the arena for these parameters, with its initial values; `rate` is the learning rate of the first step.
    ///
    /// # Errors
    /// If the device has no room.
    pub fn make(&self, values: &Arena, rate: f64) -> Result<Arena> {
        let arena = match &self.shapes {
            Some(shapes) => Arena::new(values.device(), shapes)?,
            None => values.zeros_packed(self.packing)?,
        };
        let first = match self.first {
            First::Number(number) => number,
            First::Rate => rate,
        };
        // Tensor by tensor: padding stays zero.
        if first != 0.0 {
            arena.tensors().iter().try_for_each(|tensor| tensor.fill(first as f32))?;
        }
        Ok(arena)
    }

    /// Returns the error for a state that a method does not have.
    pub(super) fn unknown(method: &dyn Method, name: &str) -> Error {
        Error::Setting {
            field: "state",
            value: format!("{name:?} of {}", method.name()),
            rule: "the name of an arena that the method keeps",
        }
    }
}
