//! Launches over all pages of an arena other than updates, and the simplest of them: copies, and multiplication by a
//! number.

use crate::arena::UPDATE_BLOCK;
use crate::kernel::{Access, Call, Kernel, Launch};
use crate::threads::for_each_chunk;
use crate::{Arena, Result, Tensor};

/// The override constants of kernels that process pages and have no other constants.
pub(super) const PAGE_VARIANTS: &[&[(&str, f64)]] = &[&[("SEQUENTIAL", 0.0)], &[("SEQUENTIAL", 1.0)]];

/// The override constants of kernels that also read from the table which tensors are frozen.
pub(super) const PAGE_AND_TABLE_VARIANTS: &[&[(&str, f64)]] = &[
    &[("SEQUENTIAL", 0.0), ("SEGMENTED", 0.0)],
    &[("SEQUENTIAL", 0.0), ("SEGMENTED", 1.0)],
    &[("SEQUENTIAL", 1.0), ("SEGMENTED", 0.0)],
    &[("SEQUENTIAL", 1.0), ("SEGMENTED", 1.0)],
];

/// Returns the number of vectors of a page.
pub(super) fn vectors(page: &Tensor) -> u32 {
    (page.len() / 4) as u32
}

/// Sets the order in which the launch processes a page. See `shaders/shared/pages.wgsl`.
pub(super) fn over_page(launch: Launch, page: &Tensor) -> Launch {
    let sequential = page.device().is_software();
    launch.constant("SEQUENTIAL", sequential).workgroups(page.len() / UPDATE_BLOCK)
}

impl Arena {
    /// Copies all pages of an arena of the same layout to this one: one copy per page, without launches.
    ///
    /// # Errors
    /// If the layouts differ, or work on the device has failed.
    pub fn copy_from(&self, other: &Self) -> Result<()> {
        self.same_layout("copy", &[other])?;
        self.pages().iter().zip(other.pages()).try_for_each(|(page, other)| other.copy_into(page))
    }

    /// Multiplies all elements by a number: one launch per page.
    ///
    /// # Errors
    /// If work on the device has failed.
    pub fn scale(&self, factor: f32) -> Result<()> {
        for page in self.pages() {
            let launch = Launch::new(&SCALE, ScaleParams { vectors: vectors(page), factor }).bind(page);
            over_page(launch, page).run(page.device())?;
        }
        Ok(())
    }
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct ScaleParams {
    vectors: u32,
    factor: f32,
}

/// x = factor x.
fn scale_twin(call: Call<'_>) {
    let ScaleParams { factor, .. } = call.params();
    let [values] = call.bindings();
    for_each_chunk(
        values.write::<f32>(),
        #[inline(always)]
        |_, values| values.iter_mut().for_each(|value| *value *= factor),
    );
}

pub(crate) static SCALE: Kernel = Kernel {
    shader: &thalweg_shaders::SCALE,
    uniform: size_of::<ScaleParams>(),
    access: &[Access::Write],
    variants: PAGE_VARIANTS,
    twin: scale_twin,
};
