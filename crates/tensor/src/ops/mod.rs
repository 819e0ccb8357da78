//! The operations, one file each: purpose, parameters, twin, kernel, methods, tests.

pub(crate) mod advance;
mod argmax;
mod batch;
mod copy;
mod cross_entropy;
mod cumsum;
mod dropout;
mod fill;
mod gather;
mod gather_rows;
mod mask;
mod mse;
pub(crate) mod random;
mod record_value;
mod reduce;
mod scan;
mod scatter_add;
mod short_rows;
mod softmax;
mod sort;

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
    &cumsum::CUMSUM_COLUMNS,
    &cumsum::CUMSUM_ROWS,
    &dropout::DROPOUT,
    &fill::FILL,
    &fill::FILL_HALVES,
    &gather::GATHER,
    &gather::SCATTER,
    &gather::SCATTER_WINNERS,
    &gather_rows::GATHER_ROWS,
    &mask::UNRAVEL,
    &mse::MSE,
    &mse::MSE_MEAN,
    &random::RANDOM,
    &record_value::RECORD_VALUE,
    &reduce::REDUCE_COLUMNS,
    &reduce::REDUCE_ROWS,
    &scan::SCAN,
    &scan::SCAN_EXTREMES,
    &scatter_add::SCATTER_ADD,
    &scatter_add::SCATTER_KEYS,
    &scatter_add::SEGMENT_SUMS,
    &softmax::SOFTMAX,
    &sort::SORTED_PLACE,
    &sort::SORT_BLOCKS,
    &sort::SORT_MERGE,
];
