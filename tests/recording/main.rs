//! Devices, memory, the order of work, capture and replay.

#![allow(clippy::unwrap_used, reason = "what cannot go on in a test fails it")]

#[path = "../common/mod.rs"]
mod common;

mod asynchronous;
mod counting;
mod device;
mod memory;
mod options;
mod plan;
mod replay;
mod stream;
