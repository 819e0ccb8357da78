//! Fused updates: one launch takes a whole arena of parameters one step further.
//!
//! An element-wise method is a file here and one in `shaders/optim`: the settings with the formula, the twin, the kernel.

pub(crate) mod adagrad;
pub(crate) mod adam;
pub(crate) mod amsgrad;
pub(crate) mod clock;
pub(crate) mod momentum;
pub(crate) mod rmsprop;
pub(crate) mod sgd;
mod update;

pub use adagrad::AdagradUpdate;
pub use adam::AdamUpdate;
pub use amsgrad::AmsgradUpdate;
pub use clock::{Clock, ClockState};
pub use momentum::MomentumUpdate;
pub use rmsprop::RmsPropUpdate;
pub use sgd::SgdUpdate;
pub use update::Update;
