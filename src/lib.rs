//! Training of small neural networks on any GPU, on wgpu and WGSL, with a CPU twin for every kernel.
//!
//! This package re-exports its crates:
//!
//! - [`tensor`]: devices, tensors, kernels and the fused updates of parameters;
//! - [`autograd`]: the tape, the rules of differentiation, gradient checking;
//! - [`nn`]: modules, losses, optimizers, schedules, data, the trainer, model files.
//!
//! [`prelude`] has the names that most programs need. A program opens a [`Device`](tensor::Device) and declares its
//! parameters to a [`ParamsBuilder`](nn::ParamsBuilder), which allocates them there. It records each forward pass on a
//! fresh [`Tape`](autograd::Tape) and computes gradients. An [`Optimizer`](nn::Optimizer) then updates all parameters
//! in one launch. [`Trainer`](nn::Trainer) is a ready-made loop. [`TabularData`](nn::TabularData) and
//! [`TabularModel`](nn::TabularModel) lead from a CSV file to a model in a file and back.
//!
//! # A custom loop
//!
//! Exclusive or, which no linear model learns:
//!
//! ```
//! use thalweg::prelude::*;
//!
//! # fn main() -> thalweg::Result<()> {
//! let device = Device::cpu(); // or Device::best(), Device::gpu()?, Device::open("radeon")?
//! let x = Tensor::from_slice(&device, &[0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0], &[4, 2])?;
//! let classes = Tensor::from_slice(&device, &[0u32, 1, 1, 0], &[4])?;
//!
//! let mut builder = ParamsBuilder::new(0);
//! let config = MlpConfig { inputs: 2, hidden: vec![16], outputs: 2, ..MlpConfig::default() };
//! let model = Mlp::new(&mut builder, &config)?;
//! let params = builder.build(&device)?;
//! let mut optimizer = Optimizer::new(&params, AdamW::new(), 0.05)?;
//!
//! for _ in 0..100 {
//!     let tape = Tape::new();
//!     let loss = CrossEntropy.of(model.forward(tape.constant(&x))?, &classes)?;
//!     params.zero_grad();
//!     tape.backward(loss)?;
//!     optimizer.step()?;
//! }
//!
//! let tape = Tape::inference();
//! let logits = model.forward(tape.constant(&x))?.value();
//! assert_eq!(logits.argmax(-1, false)?.to_vec::<u32>()?, [0, 1, 1, 0]);
//! # Ok(())
//! # }
//! ```
//!
//! # A recorded step
//!
//! For a small network most of a step is work of the host: shapes, memory, commands.
//! [`Device::record`](tensor::Device::record) runs a step once and captures it;
//! [`Recording::replay`](tensor::Recording::replay) runs it again, many times in one submission and with the same bits.
//! [`Trainer`](nn::Trainer) records by default. All state that changes from step to step advances on the device: the
//! clock of the optimizer with its schedule, the position in the shuffled rows, random numbers, the log of the losses.
//!
//! ```
//! use thalweg::prelude::*;
//!
//! # fn main() -> thalweg::Result<()> {
//! let device = Device::cpu();
//! let x: Vec<f32> = (0..64).map(|i| i as f32 / 64.0).collect();
//! let y: Vec<f32> = x.iter().map(|x| x * x).collect();
//! let mut batches = Batches::new(Dataset::regression(&device, &x, 1, &y)?, 0)?;
//!
//! let mut builder = ParamsBuilder::new(0);
//! let (input, output) = (Linear::new(&mut builder, "input", 1, 32)?, Linear::new(&mut builder, "output", 32, 1)?);
//! let dropout = Dropout::new(&mut builder, 0.1)?;
//! let params = builder.build(&device)?;
//! let cosine = Cosine { lr: 0.01, min_lr: 0.0, steps: 400 };
//! let mut optimizer = Optimizer::new(&params, AdamW::new(), cosine)?.with_clip_norm(1.0)?;
//! let losses = ValueLog::new(&device, 400)?;
//!
//! batches.start_epoch(0)?;
//! let mut step = || {
//!     let (x, y) = batches.next(16)?;
//!     let tape = Tape::new();
//!     let hidden = dropout.forward(input.forward_with(tape.constant(&x), Activation::Tanh)?)?;
//!     let loss = Mse.of_logged(output.forward(hidden)?, &y, Some(&losses))?;
//!     params.zero_grad();
//!     tape.backward(loss)?;
//!     optimizer.step()
//! };
//! step()?; // makes what is kept from step to step, such as the state of dropout
//! let (recording, ()) = device.record(&mut step)?; // the second step
//! recording.replay(2)?; // the rest of the four steps of this epoch
//! for epoch in 1..100 {
//!     batches.start_epoch(epoch)?;
//!     recording.replay(4)?;
//! }
//! let losses = losses.take()?; // waits; `read_later` does not
//! assert_eq!(losses.len(), 400);
//! assert!(losses[399] < 0.5 * losses[0]);
//! # Ok(())
//! # }
//! ```
//!
//! Chains of element-wise operations in a recording become one kernel each;
//! [`Recording::generated`](tensor::Recording::generated) returns their texts. A custom kernel is a
//! [`Kernel`](tensor::Kernel), launched by a [`Launch`](tensor::Launch), which can also be recorded.
//! [`Device::profile`](tensor::Device::profile) returns the time of each launch,
//! [`Device::memory`](tensor::Device::memory) the memory by holder, and
//! [`tune_products`](tensor::DeviceProducts::tune_products) measures the kernels of matrix products.
//!
//! # Rules of the whole library
//!
//! - Numbers are f32, indices and classes u32. Sizes are checked where a tensor is made and where operations meet.
//! - Nothing panics on input: fallible functions return [`Result`], and an [`Error`] is one line that says what to do.
//! - Work on a GPU is collected and submitted in batches. The host waits only where a value is read, as by
//!   [`Tensor::to_vec`](tensor::Tensor::to_vec).
//! - One seed gives the same bits every time on one device, with the same driver and the same
//!   [choices of product kernels](tensor::DeviceProducts::set_product_choices), which the library never changes by
//!   itself. Two devices differ by rounding.
//!
//! # Features
//!
//! `csv` reads tables from CSV files, also compressed by gzip; `plot` draws schedules and learning-rate range tests. Both are
//! on by default; [`nn`] lists the functions that need them.

#![forbid(unsafe_code)]

pub use thalweg_autograd as autograd;
pub use thalweg_nn as nn;
pub use thalweg_tensor as tensor;

pub use nn::{Error, Result};

/// The names that most programs need: `use thalweg::prelude::*`.
///
/// They are those of the README and of the first steps in the examples; other names are in [`tensor`], [`autograd`] and
/// [`nn`]. [`Result`] and [`Error`] are not among them, so that those of the standard library stay in scope.
pub mod prelude {
    pub use crate::autograd::{Tape, Var};
    pub use crate::nn::data::{Batches, Dataset, Table};
    pub use crate::nn::{
        Activation, Adam, AdamW, Cosine, CrossEntropy, Dropout, Evaluation, Event, FitOptions, Init, Linear, Loss, Mlp,
        MlpConfig, Module, Mse, Optimizer, ParamsBuilder, TabularData, TabularModel, Trainer, parts,
    };
    pub use crate::tensor::{Device, Tensor, ValueLog};
}
