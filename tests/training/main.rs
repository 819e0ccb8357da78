//! Optimizers, their wrappers, the trainer and whole runs.

#![allow(clippy::unwrap_used, reason = "what cannot go on in a test fails it")]

#[path = "../common/mod.rs"]
mod common;

mod adamw8bit;
mod batches;
mod by_hand;
mod clipping;
mod friedman;
mod groups;
mod half;
mod images;
mod loss_scale;
mod methods;
mod network;
mod prodigy;
mod range_test;
mod resume;
mod sophia;
mod trainer;
mod transformer;
mod wrappers;
