//! Fused updates: one launch takes a whole arena of parameters one step further.

pub(crate) mod adam;
pub(crate) mod clock;
pub(crate) mod momentum;
pub(crate) mod sgd;
mod update;

pub use adam::AdamUpdate;
pub use clock::{Clock, ClockState};
pub use momentum::MomentumUpdate;
pub use sgd::SgdUpdate;
