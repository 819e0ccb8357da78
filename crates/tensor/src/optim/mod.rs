//! The common part of optimizers: the clock, clipping, and the interface of a method that updates a whole arena.
//!
//! A method has a struct of settings and does a step in a few launches, for any number of tensors:
//!
//! - An element-wise method has one kernel, which appends `shaders/shared/update.wgsl`, `elements.wgsl`, `clock.wgsl` and
//!   `self_clock.wgsl`. [`StepArguments::run`] launches it; its twin calls [`Elements::each`].
//! - A method that needs norms of tensors has two launches before that: see [`segments`].
//! - A method that treats parameters as matrices has a kernel for each stage of its step: see [`matrices`].
//!
//! In a kernel and its twin, [`Now`] is the time: rate, step, bias corrections, clip factor, and the settings that
//! schedules and groups of parameters override. [`Head`] is the first part of the parameters of every update.

pub(crate) mod adaptive_clip;
pub(crate) mod average;
mod clip;
pub(crate) mod clock;
mod elements;
pub(crate) mod hessian;
pub(crate) mod lookahead;
mod loss_scale;
pub mod matrices;
pub(crate) mod norm;
pub(crate) mod pages;
mod pairs;
mod sample;
pub mod segments;
pub(crate) mod sharpness;
pub(crate) mod statistics;
pub(crate) mod swap_in;
mod table;
pub(crate) mod tensor_clip;
pub(crate) mod time;
mod update;

pub use crate::threads::vectorized;
pub use adaptive_clip::AdaptiveClip;
pub use average::{Averaging, RunningAverage};
pub use clip::{Clip, NonFinite};
pub use clock::{Clock, ClockState, PendingClock};
pub use elements::{Block, Elements, Parts, Rows, Span, Time, sign};
pub use hessian::Curvature;
pub use loss_scale::LossScale;
#[doc(hidden)]
pub use pairs::in_pairs;
pub use sharpness::SharpnessAscent;
pub use statistics::UpdateNorms;
pub use table::{ROW_ELEMENTS, Row, ScheduleTable, SegmentSettings};
pub use thalweg_shaders::ELEMENT_WISE_UPDATE;
pub use time::{ClockWords, Extra, Now, Timing};
pub use update::{Decay, Head, MOST_STATE, Pages, StepArguments, UPDATE_VARIANTS, access};

/// Scalar functions of the kernels, and the order in which a workgroup adds.
pub mod math {
    pub use crate::math::{LANES, maximum, minimum, tree, tree_sum};
}

use crate::kernel::Kernel;

/// The kernels of the clock, of clipping and of other work on arenas. Those of methods are in the methods' crate.
pub(crate) static KERNELS: &[&Kernel] = &[
    &adaptive_clip::ADAPTIVE_CLIP,
    &average::AVERAGE,
    &clock::CLOCK,
    &hessian::HESSIAN,
    &lookahead::LOOKAHEAD,
    &norm::GRAD_NORM,
    &pages::SCALE,
    &sample::SAMPLE_CLASSES,
    &sample::SAMPLE_NORMAL,
    &segments::PARAMETER_NORMS,
    &segments::TRUST_RATIO,
    &sharpness::SHARPNESS_ASCENT,
    &sharpness::SHARPNESS_NORM,
    &sharpness::SHARPNESS_SCALE,
    &statistics::STATISTICS,
    &statistics::UPDATE_NORMS,
    &swap_in::SWAP_IN,
    &tensor_clip::SCALE_ROWS,
    &tensor_clip::TENSOR_CLIP,
    &tensor_clip::TENSOR_NORMS,
];
