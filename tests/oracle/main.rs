//! Results of PyTorch, optax and the literature compared with ours, on the CPU and on a GPU.

#![allow(clippy::unwrap_used, reason = "what cannot go on in a test fails it")]

#[path = "../common/mod.rs"]
mod common;

mod copy;
mod gradients;
mod losses;
mod networks;
mod nn;
mod norms;
mod ops;
mod optimizers;
mod recurrent;
mod schedules;
mod transformer;
