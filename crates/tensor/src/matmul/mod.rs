//! Matrix products on GPUs: kernels generated for a tile, a layout and an epilogue, and the choice among them.
//!
//! An operation asks for a plan. On the CPU, and for small products in hardware, it is the kernel of the operation's own
//! shader; else one that is generated, once for each form, and kept for the life of the process.
//! Both have the same parameters, the same bindings and the same twin.

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

pub use choices::{PRODUCT_KERNELS_VERSION, ProductChoice};
pub use device::DeviceProducts;
pub use plan::{MatmulPrecision, product_kernels};
#[cfg(feature = "tune")]
pub use tune::{ProductShape, ProductTuning, TunedProduct};

use crate::kernel::Kernel;

/// The kernels of matrix products that are written by hand.
pub(crate) static KERNELS: &[&Kernel] =
    &[&linear::LINEAR, &linear::LINEAR_INPUT_GRAD, &linear::LINEAR_WEIGHT_GRAD, &operation::MATMUL];
