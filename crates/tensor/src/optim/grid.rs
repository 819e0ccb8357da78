//! How the workgroups of an update share out a page. Twin of `shaders/shared/update.wgsl`.

use crate::Tensor;
use crate::arena::UPDATE_BLOCK;

/// Parameters of a workgroup in hardware, where more and smaller ones keep more of it busy.
const HARDWARE_BLOCK: usize = 512;

/// Elements from which on the order of memory counts in software: below, a page lies in a cache, and more workgroups
/// are shared out more evenly over the threads.
const LEAST_SEQUENTIAL: usize = 64 << 10;

const _: () = assert!(UPDATE_BLOCK.is_multiple_of(HARDWARE_BLOCK), "pages have no tail");

/// Whether lanes take vectors in a row, and the number of workgroups.
pub(super) fn grid(page: &Tensor) -> (bool, usize) {
    let blocks = page.len() / UPDATE_BLOCK;
    let folded = blocks > page.device().max_workgroups_per_dimension();
    let sequential = page.device().is_software() && page.len() >= LEAST_SEQUENTIAL && !folded;
    (sequential, if sequential { blocks } else { page.len() / HARDWARE_BLOCK })
}

/// The sets of override constants of all updates.
pub(super) const UPDATE_VARIANTS: &[&[(&str, f64)]] = &[
    &[("SELF_CLOCKED", 0.0), ("SEQUENTIAL", 0.0)],
    &[("SELF_CLOCKED", 1.0), ("SEQUENTIAL", 0.0)],
    &[("SELF_CLOCKED", 0.0), ("SEQUENTIAL", 1.0)],
    &[("SELF_CLOCKED", 1.0), ("SEQUENTIAL", 1.0)],
];
