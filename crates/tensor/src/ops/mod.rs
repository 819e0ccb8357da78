//! The operations, one file each: purpose, parameters, twin, kernel, methods, tests.

pub(crate) mod advance;
mod argmax;
mod attention;
mod batch;
mod class_weights;
mod copy;
mod create;
mod cross_entropy;
mod cumsum;
mod draws;
mod dropout;
mod fill;
mod gather;
mod gather_rows;
mod join;
mod mask;
mod mse;
mod normalize;
mod normalize_channels;
mod norms;
mod one_hot;
mod pad;
mod positions;
pub(crate) mod random;
mod rearrange;
mod record_value;
mod recurrent;
mod reduce;
mod remap;
mod scan;
mod scatter_add;
mod short_rows;
mod softmax;
mod sort;
mod statistics;

pub use attention::Attention;
pub use batch::next_batch;
pub use copy::copy_by_kernel;
pub use create::Indexing;
pub use dropout::DropoutState;
pub use pad::PadMode;
pub use positions::Rotary;
pub use record_value::ValueLog;
pub use recurrent::{Cell, Recurrent, RecurrentGrads};
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
    &class_weights::CLASS_WEIGHTS,
    &copy::COPY,
    &copy::COPY_HALVES,
    &copy::COPY_ROOF,
    &cross_entropy::CROSS_ENTROPY,
    &cross_entropy::CROSS_ENTROPY_MEAN,
    &cumsum::CUMSUM_COLUMNS,
    &cumsum::CUMSUM_ROWS,
    &draws::MULTINOMIAL,
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
    &one_hot::ONE_HOT,
    &random::RANDOM,
    &record_value::RECORD_VALUE,
    &recurrent::RECURRENT_STEP,
    &recurrent::RECURRENT_STEP_GRAD,
    &reduce::REDUCE_COLUMNS,
    &reduce::REDUCE_ROWS,
    &remap::REMAP,
    &remap::REMAP_HALVES,
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
