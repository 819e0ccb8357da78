//! Tensors and devices of thalweg.
//!
//! A [`Tensor`] is an array of numbers on a [`Device`], a CPU or a GPU. Every operation consists of one or a few
//! kernel launches. A kernel is a WGSL shader with a CPU twin that computes the same. A device runs launches; on a
//! GPU they are collected and submitted in batches.
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
//! # Recordings and profiles
//!
//! [`Device::record`] captures the launches of a closure, and [`Recording::replay`] replays them without the host's
//! work for each of them. Neighbouring element-wise operations are fused into one generated kernel.
//! [`Device::profile`] returns the duration of each launch.
//!
//! ```
//! use thalweg_tensor::{Device, Tensor};
//! # fn main() -> thalweg_tensor::Result<()> {
//! let device = Device::best();
//! let x = Tensor::full(&device, 1.0f32, &[1000])?;
//! let (recording, ()) = device.record(|| x.affine(2.0, 0.0)?.square()?.copy_into(&x))?;
//! assert_eq!(recording.launches(), 1);
//! for kernel in recording.generated() {
//!     println!("{}", kernel.shader.text);
//! }
//! let (profile, ()) = device.profile(|| recording.replay(2))?;
//! assert_eq!(profile.launches().len(), 2);
//! assert_eq!(profile.launches()[0].cost.bytes_written, 4000);
//! assert_eq!(x.to_vec::<f32>()?, [16384.0; 1000]);
//! # Ok(())
//! # }
//! ```
//!
//! The host's own work (`compile`, `record`, `replay`, `encode`, `submit`, `wait`, `read_back`) appears as spans of the
//! `tracing` crate at the debug level.
//!
//! Devices, kernels and recordings are from `thalweg-runtime`, which this crate re-exports.

mod arena;
mod axis;
mod convolution;
pub mod functions;
mod linalg;
mod matmul;
mod ops;
pub mod optim;
mod print;
mod shape;
mod tensor;
mod views;
mod windows;

pub use arena::{Arena, Layout, Packing};
pub use axis::{Axes, Axis};
#[doc(hidden)]
pub use convolution::Strides;
pub use convolution::{Convolution, ConvolutionTranspose};
#[doc(hidden)]
pub use linalg::{rotate_pairs, rounds};
pub use matmul::{DeviceProducts, MatmulPrecision, product_kernels};
#[doc(hidden)]
pub use matmul::{Summand, einsum};
#[doc(hidden)]
pub use ops::RecurrentGrads;
pub use ops::{
    Attention, Cell, DropoutState, Indexing, PadMode, Recurrent, Rotary, ValueLog, copy_by_kernel, next_batch,
};
pub use optim::{
    AdaptiveClip, Clip, Clock, ClockState, Curvature, LossScale, NonFinite, PendingClock, ScheduleTable,
    SegmentSettings, StepArguments, UpdateNorms,
};
pub use optim::{Averaging, RunningAverage, SharpnessAscent};
pub use shape::MAX_RANK;
pub use tensor::Tensor;
pub use thalweg_runtime::elementwise::{Function, MOST_ARGUMENTS, MOST_NUMBERS, Twin};
pub use thalweg_runtime::kernel::{Access, Call, Cost, Kernel, Launch, Slice};
pub use thalweg_runtime::memory::{Held, MemoryReport, ToView, View, hold_as};
pub use thalweg_runtime::philox::philox;
pub use thalweg_runtime::profile::{KernelProfile, LaunchProfile, LaunchSum, LayerProfile, Profile, TimeSource};
#[cfg(feature = "wgpu")]
pub use thalweg_runtime::wgpu;
pub use thalweg_runtime::{
    Counters, DType, Device, DeviceFeatures, DeviceInfo, DeviceKind, Element, Error, FAULTS, Float, GRID, InFlight,
    Origin, Pass, PendingRead, RecordOptions, Recording, Result, Scope, Shader, bf16, f16, guard, is_recording, kernel,
    note_fault, on_replay, profile, scope, time, twin,
};
pub(crate) use thalweg_runtime::{check_state, elementwise, math, memory, philox, threads};
pub use windows::{AveragePooling, MaxPooling, Resize};
#[doc(hidden)]
pub use windows::{
    MaxWindows, Patches, SHUFFLE, UNSHUFFLE, WindowSums, adaptive_averages, adaptive_maxima, norm_pooling, shuffled,
    unshuffled,
};

/// Chooses the kernels of matrix products by measurement.
pub mod tune {
    pub use crate::matmul::{DeviceProducts, PRODUCT_KERNELS_VERSION, ProductChoice};
    #[cfg(feature = "tune")]
    pub use crate::matmul::{ProductShape, ProductTuning, TunedProduct};
}

/// Returns the hand-written kernels of this crate, folder by folder.
pub fn kernels() -> impl Iterator<Item = &'static Kernel> {
    [ops::KERNELS, matmul::KERNELS, windows::KERNELS, linalg::KERNELS, optim::KERNELS].into_iter().flatten().copied()
}
