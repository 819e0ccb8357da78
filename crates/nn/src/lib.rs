//! Modules, losses, optimizers, schedules, data and the trainer of thalweg.

mod error;
mod init;
mod loss;
mod mlp;
mod module;
mod optim;
mod params;
mod schedule;

pub use error::{DataProblem, Error, Result};
pub use init::Init;
pub use loss::Loss;
pub use mlp::{Mlp, MlpConfig};
pub use module::{Activation, Dropout, Gelu, Linear, Module, Relu, Sigmoid, Tanh};
pub use optim::{Adam, AdamW, Method, Optimizer, Sgd};
pub use params::{Params, ParamsBuilder};
pub use schedule::{Constant, Cosine, Schedule, Step, WarmupCosine, table};
