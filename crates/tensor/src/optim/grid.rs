//! How the workgroups of an update share out a page. Twin of `shaders/shared/update.wgsl`.

use crate::Tensor;
use crate::arena::UPDATE_BLOCK;

/// Parameters of a workgroup in hardware, where more and smaller ones keep more of it busy.
const HARDWARE_BLOCK: usize = 512;

const _: () = assert!(UPDATE_BLOCK.is_multiple_of(HARDWARE_BLOCK), "pages have no tail");

/// Whether lanes take vectors in a row, and the number of workgroups.
pub(super) fn grid(page: &Tensor) -> (bool, usize) {
    let blocks = page.len() / UPDATE_BLOCK;
    let sequential = page.device().is_software() && blocks <= page.device().max_workgroups_per_dimension();
    (sequential, if sequential { blocks } else { page.len() / HARDWARE_BLOCK })
}

/// The sets of override constants of all updates.
pub(super) const UPDATE_VARIANTS: &[&[(&str, f64)]] = &[
    &[("SELF_CLOCKED", 0.0), ("SEQUENTIAL", 0.0)],
    &[("SELF_CLOCKED", 1.0), ("SEQUENTIAL", 0.0)],
    &[("SELF_CLOCKED", 0.0), ("SEQUENTIAL", 1.0)],
    &[("SELF_CLOCKED", 1.0), ("SEQUENTIAL", 1.0)],
];
