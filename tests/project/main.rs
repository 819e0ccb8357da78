//! The repository itself: its layers, its dependencies, its documents.

#![allow(clippy::unwrap_used, reason = "what cannot go on in a test fails it")]

#[path = "../common/mod.rs"]
mod common;

mod dependencies;
mod layers;
mod msrv;
mod pytorch;
mod readme;
