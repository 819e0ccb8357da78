//! Kernels and operations: every kernel compared with its twin, every rule with differences, every shader with its
//! declaration.

#![allow(clippy::unwrap_used, reason = "what cannot go on in a test fails it")]

#[path = "../common/mod.rs"]
mod common;

mod gradcheck;
mod large;
mod losses;
mod parity;
mod profile;
mod properties;
mod shaders;
