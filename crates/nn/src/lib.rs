//! Modules, losses, optimizers, schedules, data and the trainer of thalweg.

mod checkpoint;
pub mod data;
mod error;
mod file;
pub mod schedule;

pub use checkpoint::{Checkpoint, CheckpointTensor};
pub use error::{DataProblem, Error, Result};
pub use file::{check_writable, write_whole};
pub use schedule::{Constant, Cosine, Schedule, Step, WarmupCosine};
