//! Modules, losses, optimizers, schedules, data and the trainer of thalweg.
//!
//! A model is a [`Module`]. It declares its parameters to a [`ParamsBuilder`], which allocates them together. An
//! [`Optimizer`] updates them all in one launch. [`Trainer`] is the loop around both, and [`TabularModel`] is a
//! complete model of a table, in one file.
//!
//! # Features
//!
//! Both are on by default.
//!
//! | feature | items |
//! | --- | --- |
//! | `csv` | `Table::read` and `Table::from_reader`, by the crates `csv` and `flate2`; without it use [`Table::from_rows`](data::Table::from_rows) |
//! | `plot` | `plot_schedule` and `RangeReport::plot`, by the crate `plotters` |

#![forbid(unsafe_code)]

mod checkpoint;
pub mod data;
mod error;
mod file;
mod init;
mod losses;
pub mod metrics;
mod modules;
mod optim;
mod params;
#[cfg(feature = "plot")]
mod plot;
mod portions;
mod range_test;
pub mod schedule;
mod setting;
mod state_dict;
mod summary;
mod tabular;
#[cfg(test)]
mod testing;
mod trainer;

use thalweg_tensor::Kernel;

pub use checkpoint::{Checkpoint, CheckpointTensor, Values};
pub use error::{DataProblem, Error, Result};
pub use file::{check_writable, write_whole};
pub use init::{Fan, Gain, Init};
pub use losses::*;
pub use modules::*;
pub use optim::*;
pub use params::{Buffer, Params, ParamsBuilder, Path};
#[cfg(feature = "plot")]
pub use plot::plot_schedule;
pub use range_test::{Ramp, RangePoint, RangeReport, RangeTest};
pub use schedule::registry::*;
pub use schedule::{Chain, CyclicMode, Interpolated, Join, PiecewiseConstant, Rate, ReduceOnPlateau, Scaled, Schedule};
/// The crate that defines the `Value` of the metadata of a [`Checkpoint`].
pub use serde_json;
pub use state_dict::{LoadReport, StateDict};
pub use summary::{Summary, SummaryRow};
pub use tabular::{Predictions, Schema, TabularData, TabularModel};
pub use thalweg_tensor::{Averaging, Clip, ClockState, LossScale, NonFinite, PendingClock};
pub use trainer::{Context, EpochReport, Evaluation, Event, FitOptions, Flow, History, Trainer};

/// Returns all hand-written kernels, those of the methods last, for tests and benches of all kernels.
pub fn kernels() -> impl Iterator<Item = &'static Kernel> {
    thalweg_tensor::kernels().chain(METHODS.iter().flat_map(|entry| entry.kernels).copied())
}
