//! Windows over the last axes: maxima, averages and interpolations.
//!
//! Each is a kernel that one lane per result runs, with a table of the windows along both axes, and so is its gradient.
//! Axes are independent of each other, so a table has as many entries as the axes have places.

mod maxima;
mod patches;
mod pool;
mod resize;
mod settings;
mod sums;
#[cfg(test)]
mod tests;

pub use maxima::MaxWindows;
pub use patches::{Patches, SHUFFLE, UNSHUFFLE, shuffled, unshuffled};
pub use pool::{adaptive_averages, adaptive_maxima, norm_pooling};
pub use resize::Resize;
pub use settings::{AveragePooling, MaxPooling};
pub use sums::WindowSums;

use crate::Kernel;

/// The kernels of windows.
pub(crate) static KERNELS: &[&Kernel] =
    &[&maxima::WINDOW_MAX, &maxima::WINDOW_PICK, &maxima::WINDOW_RETURN, &sums::WINDOW_SUM];

/// The most elements that one lane goes through: lavapipe ends the loops of a lane without an error after 65,535 turns.
const MOST_TURNS: usize = 1 << 15;

/// The extents of both axes, the first one 1 if there is only one.
type Plane = [usize; 2];

/// Returns the last axes of a shape as two.
fn plane(extents: &[usize]) -> Plane {
    match *extents {
        [length] => [1, length],
        [height, width] => [height, width],
        _ => unreachable!("windows have one or two axes"),
    }
}
