//! The operations, one file each: purpose, parameters, twin, kernel, methods, tests.

pub(crate) mod advance;
mod argmax;
mod attention;
mod batch;
mod copy;
mod create;
mod cross_entropy;
mod cumsum;
mod dropout;
mod fill;
mod gather_rows;
mod join;
mod mse;
mod normalize;
mod norms;
mod one_hot;
mod pad;
mod positions;
pub(crate) mod random;
mod rearrange;
mod record_value;
mod reduce;
mod remap;
mod short_rows;
mod softmax;
mod statistics;

pub use attention::Attention;
pub use batch::next_batch;
pub use copy::copy_by_kernel;
pub use create::Indexing;
pub use dropout::DropoutState;
pub use pad::PadMode;
pub use positions::Rotary;
pub use record_value::ValueLog;
pub(crate) use remap::Rule;

use crate::kernel::Kernel;

/// The kernels of the operations.
pub(crate) static KERNELS: &[&Kernel] = &[
    &advance::ADVANCE,
    &argmax::ARGMAX,
    &attention::ATTENTION,
    &attention::KEY_GRAD,
    &attention::QUERY_GRAD,
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
    &gather_rows::GATHER_ROWS,
    &gather_rows::SCATTER_ADD_ROWS,
    &mse::MSE,
    &mse::MSE_MEAN,
    &one_hot::ONE_HOT,
    &random::RANDOM,
    &record_value::RECORD_VALUE,
    &reduce::REDUCE_COLUMNS,
    &reduce::REDUCE_ROWS,
    &remap::REMAP,
    &remap::REMAP_HALVES,
    &softmax::SOFTMAX,
];
