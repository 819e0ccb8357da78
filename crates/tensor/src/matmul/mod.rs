//! Matrix products on GPUs: kernels generated for a tile, a layout and an epilogue, and the choice of a kernel.
//!
//! An operation creates a plan. On the CPU, and for small products on hardware, it uses the hand-written kernel of
//! the operation. Otherwise it uses a generated kernel, which is created once per form and lives as long as the
//! process. Both have the same parameters, bindings and twin.

mod batch;
mod candidates;
mod choices;
mod cpu;
mod device;
mod generated;
mod linear;
mod operation;
mod plan;
mod product;
#[cfg(test)]
mod tests;
#[cfg(feature = "tune")]
mod tune;

pub(crate) use batch::{Batch, Gather};
pub use choices::{PRODUCT_KERNELS_VERSION, ProductChoice};
pub use device::DeviceProducts;
pub use plan::{MatmulPrecision, product_kernels};
#[cfg(feature = "tune")]
pub use tune::{ProductShape, ProductTuning, TunedProduct};

use crate::kernel::Kernel;

/// The hand-written kernels of matrix products.
pub(crate) static KERNELS: &[&Kernel] = &[
    &batch::BATCHED_MATMUL,
    &batch::GATHER_MATMUL,
    &linear::LINEAR,
    &linear::LINEAR_INPUT_GRAD,
    &linear::LINEAR_WEIGHT_GRAD,
    &operation::MATMUL,
];
