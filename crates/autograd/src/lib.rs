//! Reverse-mode automatic differentiation over [`thalweg_tensor`].
//!
//! A [`Tape`] records the operations on [`Var`]s. [`Tape::backward`] computes the gradients and stores those of
//! [`Parameter`]s in their memory. [`Tape::grad`] returns gradients as variables that can be differentiated again.
//! [`check_gradient`] compares gradients with finite differences.
//!
//! A rule consists of the value of an operation and its pullback, which is written on variables: see the files of
//! `rules`.

#![forbid(unsafe_code)]
#![allow(clippy::should_implement_trait, reason = "operations return `Result`: they cannot be operators")]

mod anomaly;
mod check;
mod check_function;
mod checkpoint;
mod error;
mod forward;
mod functional;
mod graph;
mod parameter;
mod rules;
mod tape;
mod var;
mod walk;

pub use check::{GradientCheck, GradientReport, Verdict, WorstElement, check_gradient};
pub use check_function::{FunctionReport, check_function};
pub use error::{Error, Result};
pub use forward::Push;
pub use functional::{hessian, hvp, jacobian, jvp, per_example_gradients, vjp};
pub use graph::Operation;
pub use parameter::Parameter;
#[doc(hidden)]
pub use rules::losses::loss_functions;
pub use rules::losses::{CrossEntropyOptions, Reduction};
pub use tape::Tape;
pub use var::Var;
pub use walk::{Gradients, Pull};
