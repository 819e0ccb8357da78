//! Devices of thalweg and their work: memory, kernels, launches, recordings and profiles.
//!
//! A [kernel](kernel::Kernel) is a WGSL shader with a twin that computes the same on the CPU. A
//! [launch](kernel::Launch) is a kernel with parameters and views of memory. A [`Device`] runs launches, and a
//! [`Recording`] replays them. Tensors and operations are in `thalweg-tensor`.

pub mod elementwise;
pub mod kernel;
pub mod math;
pub mod memory;
pub mod philox;
pub mod profile;
pub mod threads;
pub mod time;

mod cpu;
mod device;
mod dtype;
mod error;
#[cfg(feature = "wgpu")]
mod gpu;
#[cfg(not(feature = "wgpu"))]
#[path = "no_gpu.rs"]
mod gpu;
mod info;
mod origin;
mod recording;

pub use device::{Device, PendingRead, note_fault};
pub use dtype::{DType, Element, Float};
pub use error::{Error, Result};
pub use half::{bf16, f16};
pub use info::{Counters, DeviceFeatures, DeviceInfo, DeviceKind, InFlight};
pub use origin::{Origin, Pass, Scope, scope};
pub use recording::{RecordOptions, Recording, check_state, guard, is_recording, on_replay};
pub use thalweg_shaders::{FAULTS, GRID, Shader};
/// The version of wgpu whose devices [`Device::from_wgpu`] accepts.
#[cfg(feature = "wgpu")]
pub use wgpu;
