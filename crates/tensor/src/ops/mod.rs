//! The operations, a file each: what it is for, its parameters, its twin, its kernel, its methods, its tests.

pub(crate) mod advance;
mod argmax;
mod batch;
mod copy;
mod cross_entropy;
mod dropout;
mod fill;
mod gather_rows;
mod mse;
mod normalize;
mod norms;
pub(crate) mod random;
mod record_value;
mod reduce;
mod short_rows;
mod softmax;
mod statistics;

pub use batch::next_batch;
pub use copy::copy_by_kernel;
pub use dropout::DropoutState;
pub use record_value::ValueLog;

use crate::kernel::Kernel;

/// The kernels of the operations.
pub(crate) static KERNELS: &[&Kernel] = &[
    &advance::ADVANCE,
    &argmax::ARGMAX,
    &batch::BATCH,
    &copy::COPY,
    &copy::COPY_HALVES,
    &copy::COPY_ROOF,
    &cross_entropy::CROSS_ENTROPY,
    &cross_entropy::CROSS_ENTROPY_MEAN,
    &dropout::DROPOUT,
    &fill::FILL,
    &fill::FILL_HALVES,
    &gather_rows::GATHER_ROWS,
    &gather_rows::SCATTER_ADD_ROWS,
    &mse::MSE,
    &mse::MSE_MEAN,
    &random::RANDOM,
    &record_value::RECORD_VALUE,
    &reduce::REDUCE_COLUMNS,
    &reduce::REDUCE_ROWS,
    &softmax::SOFTMAX,
];
