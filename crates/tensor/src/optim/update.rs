//! What all updates share: how they go through the pages of an arena, and how workgroups share out a page. Twin of
//! `shaders/shared/update.wgsl`.

use bytemuck::Pod;

use super::clock::{Clock, Prepared};
use crate::arena::{Arena, UPDATE_BLOCK};
use crate::kernel::{Kernel, Launch};
use crate::{Result, Tensor};

/// Launches an update on every page of its arenas, the parameters' first. A kernel binds them in this order, then the
/// learning rates and the clock; `params` gets the number of vectors of a page.
pub(super) fn launch<P: Pod>(
    kernel: &'static Kernel,
    arenas: &[&Arena],
    clock: &Clock,
    prepared: Prepared,
    params: impl Fn(u32) -> P,
) -> Result<()> {
    for (number, page) in arenas[0].pages().iter().enumerate() {
        let (sequential, workgroups) = grid(page);
        let mut launch = Launch::new(kernel, params((page.len() / 4) as u32))
            .constant("SEQUENTIAL", sequential)
            .constant("SELF_CLOCKED", prepared.self_clocked());
        for arena in arenas {
            launch = launch.bind(&arena.pages()[number]);
        }
        launch.bind(clock.learning_rates()).bind(clock.state()).workgroups(workgroups).run(page.device())?;
    }
    Ok(())
}

/// Parameters of a workgroup in hardware, where more and smaller ones keep more of it busy.
const HARDWARE_BLOCK: usize = 512;

/// Elements from which on the order of memory counts in software: below, a page lies in a cache, and more workgroups
/// are shared out more evenly over the threads.
const LEAST_SEQUENTIAL: usize = 64 << 10;

const _: () = assert!(UPDATE_BLOCK.is_multiple_of(HARDWARE_BLOCK), "pages have no tail");

/// Whether lanes take vectors in a row, and the number of workgroups.
fn grid(page: &Tensor) -> (bool, usize) {
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
