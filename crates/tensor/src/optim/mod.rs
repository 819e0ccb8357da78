//! Fused updates: one launch takes a whole arena of parameters one step further.
//!
//! An element-wise method is a file here and one in `shaders/optim`: the settings with the formula, the twin, the kernel.
//! Methods that need norms of tensors have two launches before that: see `segments.rs`.
//! One that sees parameters as matrices has a kernel for each stage of its step, over the table of `matrices`.

pub(crate) mod adabelief;
pub(crate) mod adadelta;
pub(crate) mod adafactor;
pub(crate) mod adagrad;
pub(crate) mod adam;
pub(crate) mod adamax;
pub(crate) mod adamw8bit;
pub(crate) mod adan;
pub(crate) mod adaptive_clip;
pub(crate) mod amsgrad;
pub(crate) mod asgd;
pub(crate) mod average;
mod clip;
pub(crate) mod clock;
mod clock_state;
mod clock_words;
mod elements;
pub(crate) mod hessian;
pub(crate) mod lamb;
pub(crate) mod lars;
pub(crate) mod lion;
pub(crate) mod lookahead;
mod loss_scale;
pub(super) mod matrices;
pub(crate) mod momentum;
pub(crate) mod muon;
pub(crate) mod nadam;
pub(crate) mod norm;
pub(crate) mod novograd;
pub(crate) mod pages;
pub(crate) mod prodigy;
pub(crate) mod radam;
pub(crate) mod rmsprop;
pub(crate) mod rprop;
mod sample;
pub(crate) mod schedule_free_adamw;
pub(crate) mod schedule_free_sgd;
pub(crate) mod segments;
pub(crate) mod sgd;
pub(crate) mod sharpness;
pub(crate) mod sm3;
pub(crate) mod soap;
pub(crate) mod sophia;
pub(crate) mod statistics;
pub(crate) mod swap_in;
mod table;
pub(crate) mod tensor_clip;
pub(crate) mod time;
mod update;
pub(crate) mod yogi;

pub use adabelief::AdaBeliefUpdate;
pub use adadelta::AdadeltaUpdate;
pub use adafactor::AdafactorUpdate;
pub use adagrad::AdagradUpdate;
pub use adam::AdamUpdate;
pub use adamax::AdamaxUpdate;
pub use adamw8bit::AdamW8bitUpdate;
pub use adan::AdanUpdate;
pub use adaptive_clip::AdaptiveClip;
pub use amsgrad::AmsgradUpdate;
pub use asgd::AsgdUpdate;
pub use average::{Averaging, RunningAverage};
pub use clip::{Clip, NonFinite};
pub use clock::Clock;
pub use clock_state::{ClockState, PendingClock};
pub use hessian::Curvature;
pub use lamb::LambUpdate;
pub use lars::LarsUpdate;
pub use lion::LionUpdate;
pub use loss_scale::LossScale;
pub use momentum::MomentumUpdate;
pub use muon::{MuonScale, MuonUpdate};
pub use nadam::NAdamUpdate;
pub use novograd::NovoGradUpdate;
pub use prodigy::ProdigyUpdate;
pub use radam::RAdamUpdate;
pub use rmsprop::RmsPropUpdate;
pub use rprop::RpropUpdate;
pub use schedule_free_adamw::ScheduleFreeAdamWUpdate;
pub use schedule_free_sgd::ScheduleFreeSgdUpdate;
pub use sgd::SgdUpdate;
pub use sharpness::SharpnessAscent;
pub use sm3::Sm3Update;
pub use soap::SoapUpdate;
pub use sophia::SophiaUpdate;
pub use statistics::UpdateNorms;
pub use table::{ScheduleTable, SegmentSettings};
pub use update::{StepArguments, Update};
pub use yogi::YogiUpdate;

use crate::kernel::Kernel;

/// The kernels of updates, of clipping and of other work on arenas.
pub(crate) static KERNELS: &[&Kernel] = &[
    &adabelief::ADABELIEF,
    &adadelta::ADADELTA,
    &adafactor::ADAFACTOR_APPLY,
    &adafactor::ADAFACTOR_FACTORS,
    &adafactor::ADAFACTOR_SQUARES,
    &adafactor::ADAFACTOR_SUMS,
    &adagrad::ADAGRAD,
    &adam::ADAM,
    &adamax::ADAMAX,
    &adamw8bit::ADAMW8BIT,
    &adan::ADAN,
    &amsgrad::AMSGRAD,
    &asgd::ASGD,
    &clock::CLOCK,
    &norm::GRAD_NORM,
    &adaptive_clip::ADAPTIVE_CLIP,
    &lamb::LAMB,
    &lamb::LAMB_MOMENTS,
    &lars::LARS,
    &novograd::NOVOGRAD,
    &novograd::NOVOGRAD_MOMENT,
    &segments::PARAMETER_NORMS,
    &segments::TRUST_RATIO,
    &statistics::STATISTICS,
    &statistics::UPDATE_NORMS,
    &tensor_clip::SCALE_ROWS,
    &tensor_clip::TENSOR_CLIP,
    &tensor_clip::TENSOR_NORMS,
    &hessian::HESSIAN,
    &lion::LION,
    &momentum::MOMENTUM,
    &muon::MUON_APPLY,
    &muon::MUON_MOMENTUM,
    &muon::MUON_NORMALIZE,
    &muon::MUON_POLYNOMIAL,
    &nadam::NADAM,
    &prodigy::PRODIGY,
    &prodigy::PRODIGY_ESTIMATE,
    &prodigy::PRODIGY_SUMS,
    &radam::RADAM,
    &rmsprop::RMSPROP,
    &rprop::RPROP,
    &schedule_free_adamw::SCHEDULE_FREE_ADAMW,
    &schedule_free_sgd::SCHEDULE_FREE_SGD,
    &sgd::SGD,
    &sm3::SM3_COMMIT,
    &sm3::SM3_STEP,
    &soap::SOAP_APPLY,
    &soap::SOAP_AVERAGE,
    &soap::SOAP_BASIS,
    &soap::SOAP_MOMENTS,
    &soap::SOAP_NORMALIZE,
    &sophia::SOPHIA,
    &yogi::YOGI,
    &average::AVERAGE,
    &lookahead::LOOKAHEAD,
    &pages::SCALE,
    &sharpness::SHARPNESS_ASCENT,
    &sharpness::SHARPNESS_NORM,
    &sharpness::SHARPNESS_SCALE,
    &swap_in::SWAP_IN,
    &sample::SAMPLE_CLASSES,
    &sample::SAMPLE_NORMAL,
];
