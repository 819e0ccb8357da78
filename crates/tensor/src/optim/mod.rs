//! Fused updates: one launch takes a whole arena of parameters one step further.
//!
//! An element-wise method is a file here and one in `shaders/optim`: the settings with the formula, the twin, the kernel.

pub(crate) mod adabelief;
pub(crate) mod adadelta;
pub(crate) mod adagrad;
pub(crate) mod adam;
pub(crate) mod adamax;
pub(crate) mod adamw8bit;
pub(crate) mod adan;
pub(crate) mod amsgrad;
pub(crate) mod asgd;
mod clip;
pub(crate) mod clock;
pub(crate) mod hessian;
pub(crate) mod lion;
pub(crate) mod momentum;
pub(crate) mod nadam;
pub(crate) mod prodigy;
pub(crate) mod radam;
pub(crate) mod rmsprop;
pub(crate) mod rprop;
pub(crate) mod schedule_free_adamw;
pub(crate) mod schedule_free_sgd;
pub(crate) mod sgd;
pub(crate) mod sophia;
mod update;
pub(crate) mod yogi;

pub use adabelief::AdaBeliefUpdate;
pub use adadelta::AdadeltaUpdate;
pub use adagrad::AdagradUpdate;
pub use adam::AdamUpdate;
pub use adamax::AdamaxUpdate;
pub use adamw8bit::AdamW8bitUpdate;
pub use adan::AdanUpdate;
pub use amsgrad::AmsgradUpdate;
pub use asgd::AsgdUpdate;
pub use clip::Clip;
pub use clock::{Clock, ClockState, ScheduleTable, SegmentSettings};
pub use hessian::Curvature;
pub use lion::LionUpdate;
pub use momentum::MomentumUpdate;
pub use nadam::NAdamUpdate;
pub use prodigy::ProdigyUpdate;
pub use radam::RAdamUpdate;
pub use rmsprop::RmsPropUpdate;
pub use rprop::RpropUpdate;
pub use schedule_free_adamw::ScheduleFreeAdamWUpdate;
pub use schedule_free_sgd::ScheduleFreeSgdUpdate;
pub use sgd::SgdUpdate;
pub use sophia::SophiaUpdate;
pub use update::{StepArguments, Update};
pub use yogi::YogiUpdate;
