//! The operations, a file each: what it is for, its parameters, its twin, its kernel, its methods, its tests.

mod argmax;
mod batch;
pub(crate) mod binary;
mod copy;
mod cross_entropy;
mod dropout;
mod fill;
mod gather_rows;
mod linear;
mod matmul;
mod mse;
mod product;
mod random;
mod record_value;
mod reduce;
mod sample;
mod softmax;
pub(crate) mod unary;

pub(crate) use binary::relu_grad;
pub(crate) use linear::{LINEAR, LINEAR_INPUT_GRAD, LINEAR_WEIGHT_GRAD};
pub(crate) use matmul::MATMUL;
pub(crate) use product::Product;
pub(crate) use unary::relu;

pub use batch::next_batch;
pub use binary::BinaryOp;
pub use copy::copy_by_kernel;
pub use dropout::DropoutState;
pub use record_value::ValueLog;
pub use unary::UnaryOp;

use crate::kernel::Kernel;
use crate::optim;

/// All kernels: tests and benches go through this list.
pub static KERNELS: &[&Kernel] = &[
    &argmax::ARGMAX,
    &batch::BATCH,
    &binary::BINARY,
    &binary::BINARY_BROADCAST,
    &copy::COPY,
    &copy::COPY_ROOF,
    &cross_entropy::CROSS_ENTROPY,
    &cross_entropy::CROSS_ENTROPY_MEAN,
    &dropout::DROPOUT,
    &fill::FILL,
    &gather_rows::GATHER_ROWS,
    &gather_rows::SCATTER_ADD_ROWS,
    &linear::LINEAR,
    &linear::LINEAR_INPUT_GRAD,
    &linear::LINEAR_WEIGHT_GRAD,
    &matmul::MATMUL,
    &mse::MSE,
    &mse::MSE_MEAN,
    &random::RANDOM,
    &record_value::RECORD_VALUE,
    &reduce::REDUCE_COLUMNS,
    &reduce::REDUCE_ROWS,
    &sample::SAMPLE_CLASSES,
    &sample::SAMPLE_NORMAL,
    &softmax::SOFTMAX,
    &unary::UNARY,
    &optim::adabelief::ADABELIEF,
    &optim::adadelta::ADADELTA,
    &optim::adafactor::ADAFACTOR_APPLY,
    &optim::adafactor::ADAFACTOR_FACTORS,
    &optim::adafactor::ADAFACTOR_SQUARES,
    &optim::adafactor::ADAFACTOR_SUMS,
    &optim::adagrad::ADAGRAD,
    &optim::adam::ADAM,
    &optim::adamax::ADAMAX,
    &optim::adamw8bit::ADAMW8BIT,
    &optim::adan::ADAN,
    &optim::amsgrad::AMSGRAD,
    &optim::asgd::ASGD,
    &optim::clock::CLOCK,
    &optim::norm::GRAD_NORM,
    &optim::adaptive_clip::ADAPTIVE_CLIP,
    &optim::lamb::LAMB,
    &optim::lamb::LAMB_MOMENTS,
    &optim::lars::LARS,
    &optim::novograd::NOVOGRAD,
    &optim::novograd::NOVOGRAD_MOMENT,
    &optim::segments::PARAMETER_NORMS,
    &optim::segments::TRUST_RATIO,
    &optim::statistics::STATISTICS,
    &optim::statistics::UPDATE_NORMS,
    &optim::tensor_clip::SCALE_ROWS,
    &optim::tensor_clip::TENSOR_CLIP,
    &optim::tensor_clip::TENSOR_NORMS,
    &optim::hessian::HESSIAN,
    &optim::lion::LION,
    &optim::momentum::MOMENTUM,
    &optim::muon::MUON_APPLY,
    &optim::muon::MUON_MOMENTUM,
    &optim::muon::MUON_NORMALIZE,
    &optim::muon::MUON_POLYNOMIAL,
    &optim::nadam::NADAM,
    &optim::prodigy::PRODIGY,
    &optim::prodigy::PRODIGY_ESTIMATE,
    &optim::prodigy::PRODIGY_SUMS,
    &optim::radam::RADAM,
    &optim::rmsprop::RMSPROP,
    &optim::rprop::RPROP,
    &optim::schedule_free_adamw::SCHEDULE_FREE_ADAMW,
    &optim::schedule_free_sgd::SCHEDULE_FREE_SGD,
    &optim::sgd::SGD,
    &optim::sm3::SM3_COMMIT,
    &optim::sm3::SM3_STEP,
    &optim::soap::SOAP_APPLY,
    &optim::soap::SOAP_AVERAGE,
    &optim::soap::SOAP_BASIS,
    &optim::soap::SOAP_MOMENTS,
    &optim::soap::SOAP_NORMALIZE,
    &optim::sophia::SOPHIA,
    &optim::yogi::YOGI,
    &optim::average::AVERAGE,
    &optim::lookahead::LOOKAHEAD,
    &optim::pages::SCALE,
    &optim::sharpness::SHARPNESS_ASCENT,
    &optim::sharpness::SHARPNESS_NORM,
    &optim::sharpness::SHARPNESS_SCALE,
    &optim::swap_in::SWAP_IN,
];
