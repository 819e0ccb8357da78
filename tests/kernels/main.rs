//! Kernels and operations: every kernel against its twin, every rule against differences, every shader against its
//! declaration.

#![allow(clippy::unwrap_used, reason = "what cannot go on in a test fails it")]

#[path = "../common/mod.rs"]
mod common;

mod gradcheck;
mod parity;
mod profile;
mod shaders;
