//! Reverse-mode automatic differentiation over [`thalweg_tensor`].
//!
//! A [`Tape`] records what is computed on [`Var`]s; [`Tape::backward`] walks it back and leaves the gradients of
//! [`Parameter`]s in their memory, [`Tape::grad`] gives gradients as variables that can be differentiated again, and
//! [`check_gradient`] holds gradients against differences.
//!
//! A rule is the value of an operation and its pullback, side by side, written on variables: see the files of `rules`.

#![forbid(unsafe_code)]
#![allow(clippy::should_implement_trait, reason = "operations return `Result`: they cannot be operators")]

mod anomaly;
mod check;
mod check_function;
mod error;
mod graph;
mod parameter;
mod rules;
mod tape;
mod var;
mod walk;

pub use check::{GradientCheck, GradientReport, Verdict, WorstElement, check_gradient};
pub use check_function::{FunctionReport, check_function};
pub use error::{Error, Result};
pub use parameter::Parameter;
pub use tape::Tape;
pub use var::Var;
pub use walk::{Gradients, Pull};
