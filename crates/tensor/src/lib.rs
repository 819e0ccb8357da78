//! Tensors and devices of thalweg.
//!
//! A [`Tensor`] is an array of numbers on a [`Device`], a CPU or a GPU. Every operation ends in one or a few launches of
//! kernels; a kernel is a WGSL shader with a CPU twin that computes the same, and a device is something that runs
//! launches. On a GPU they are collected and handed over in batches.
//!
//! ```
//! use thalweg_tensor::{Device, Tensor};
//! # fn main() -> thalweg_tensor::Result<()> {
//! let device = Device::best();
//! let x = Tensor::normal(&device, 0, 0, 0.0, 1.0, &[32, 8])?;
//! let weight = Tensor::full(&device, 0.1f32, &[4, 8])?;
//! let bias = Tensor::zeros(&device, thalweg_tensor::DType::F32, &[4])?;
//! let y = x.linear(&weight, &bias, true)?;
//! assert_eq!(y.shape(), [32, 4]);
//! # Ok(())
//! # }
//! ```
//!
//! [`Device::profile`] tells what each launch of some work takes. What the host does (`compile`, `record`, `replay`,
//! `encode`, `submit`, `wait`, `read_back`) is told by spans of the `tracing` crate at the debug level, to whichever
//! subscriber the program installs.

mod arena;
mod buffer;
mod cpu;
mod device;
mod dtype;
mod elementwise;
mod error;
mod functions;
mod gpu;
mod info;
mod kernel;
mod math;
mod matmul;
mod ops;
pub mod optim;
mod pages;
mod parallel;
mod philox;
mod profile;
mod recording;
mod shape;
mod tensor;

pub use arena::{Arena, Layout, Packing};
pub use buffer::{Held, MemoryReport, ToView, View, hold_as};
pub use device::{Device, PendingRead};
pub use dtype::{DType, Element};
pub use elementwise::{Function, MOST_ARGUMENTS, MOST_NUMBERS, Twin, for_each_element};
pub use error::{Error, Result};
pub use info::{Counters, DeviceFeatures, DeviceInfo, DeviceKind, InFlight};
pub use kernel::{Access, Call, Cost, Kernel, Launch, Slice};
pub use matmul::{MatmulPrecision, ProductShape, ProductTuning, TunedProduct, product_kernels};
pub use ops::{BinaryOp, DropoutState, UnaryOp, ValueLog, copy_by_kernel, next_batch};
pub use optim::{
    AdaptiveClip, Clip, Clock, ClockState, Curvature, LossScale, NonFinite, PendingClock, ScheduleTable,
    SegmentSettings, StepArguments, UpdateNorms,
};
pub use optim::{Averaging, RunningAverage, SharpnessAscent};
pub use philox::philox;
pub use profile::{KernelProfile, LaunchProfile, Profile, TimeSource};
pub use recording::{RecordOptions, Recording, guard, on_replay};
pub use shape::MAX_RANK;
pub use tensor::Tensor;
pub use thalweg_shaders::{GRID, Shader};
/// The version of wgpu that [`Device::from_wgpu`] takes devices of.
pub use wgpu;

/// Returns the kernels of this crate that are written by hand, folder by folder.
pub fn kernels() -> impl Iterator<Item = &'static Kernel> {
    [ops::KERNELS, matmul::KERNELS, optim::KERNELS].into_iter().flatten().copied()
}
