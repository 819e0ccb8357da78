//! The size of an update relative to the parameters: two norms, stored in the clock.

use bytemuck::{Pod, Zeroable};

use super::clock::Clock;
use super::norm::partial_count;
use super::time::ClockWords;
use crate::arena::Arena;
use crate::kernel::{Access, Call, Kernel, Launch};
use crate::math::{self, LANES};
use crate::{DType, Result, Tensor};

/// The 2-norms of an update and of the parameters before it, for their ratio ‖Δw‖ / ‖w‖: about 1e-3 is healthy.
///
/// It stores the old parameters in a separate arena (4 bytes per parameter): a copy before the update, and after it
/// one launch per page and one more. They move 16 bytes per parameter in all.
#[derive(Debug)]
pub struct UpdateNorms {
    previous: Arena,
    partials: Tensor,
}

impl UpdateNorms {
    /// Creates the statistics for arenas of this layout.
    ///
    /// # Errors
    /// If the device has no room.
    pub fn new(values: &Arena) -> Result<Self> {
        let count: usize = values.pages().iter().map(|page| partial_count(page.len())).sum();
        let partials = Tensor::zeros(values.device(), DType::F32, &[2 * count])?;
        Ok(Self { previous: values.zeros_like()?, partials })
    }

    /// Stores the parameters, before an update.
    ///
    /// # Errors
    /// If the arena has another layout, or work on the device has failed.
    pub fn begin(&self, values: &Arena) -> Result<()> {
        self.previous.same_layout("update_norms", &[values])?;
        values.pages().iter().zip(self.previous.pages()).try_for_each(|(page, previous)| page.copy_into(previous))
    }

    /// Measures the distance that the parameters have moved, after the update; [`Clock::read`] returns it.
    ///
    /// # Errors
    /// See [`begin`](Self::begin).
    pub fn end(&self, values: &Arena, clock: &Clock) -> Result<()> {
        self.previous.same_layout("update_norms", &[values])?;
        let mut count = 0;
        for (page, previous) in values.pages().iter().zip(self.previous.pages()) {
            let workgroups = partial_count(page.len());
            let params =
                NormParams { vectors: (page.len() / 4) as u32, workgroups: workgroups as u32, offset: count as u32 };
            Launch::new(&UPDATE_NORMS, params)
                .bind(page)
                .bind(previous)
                .bind(&self.partials)
                .workgroups(workgroups)
                .run(page.device())?;
            count += workgroups;
        }
        Launch::new(&STATISTICS, count as u32).bind(&self.partials).bind(clock.state()).run(values.device())
    }
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct NormParams {
    vectors: u32,
    workgroups: u32,
    offset: u32,
}

fn norms_twin(call: Call<'_>) {
    let params: NormParams = call.params();
    let [values, previous, partials] = call.bindings();
    let (values, previous) = (values.read::<f32>(), previous.read::<f32>());
    let workgroups = params.workgroups as usize;
    let partials: &mut [[f32; 2]] = partials.write::<f32>().as_chunks_mut().0;
    let partials = &mut partials[params.offset as usize..][..workgroups];
    crate::threads::for_each_chunk_of(
        workgroups.div_ceil(8),
        partials,
        #[inline(always)]
        |first, partials| {
            for (group, partial) in (first..).zip(partials) {
                let mut sums = [[0f32; 4 * LANES]; 2];
                let blocks = values.chunks_exact(4 * LANES).zip(previous.chunks_exact(4 * LANES));
                for (values, previous) in blocks.skip(group).step_by(workgroups) {
                    for i in 0..4 * LANES {
                        let update = values[i] - previous[i];
                        sums[0][i] += update * update;
                        sums[1][i] += previous[i] * previous[i];
                    }
                }
                *partial = sums.map(|sums| {
                    let lanes = std::array::from_fn(|lane| {
                        let [x, y, z, w] = [0, 1, 2, 3].map(|i| sums[4 * lane + i]);
                        (x + y) + (z + w)
                    });
                    math::tree(lanes, |x, y| x + y)
                });
            }
        },
    );
}

pub(crate) static UPDATE_NORMS: Kernel = Kernel {
    shader: &thalweg_shaders::UPDATE_NORMS,
    uniform: size_of::<NormParams>(),
    access: &[Access::Read, Access::Read, Access::Write],
    variants: &[&[]],
    twin: norms_twin,
};

fn statistics_twin(call: Call<'_>) {
    let count: u32 = call.params();
    let [partials, clock] = call.bindings();
    let partials: &[[f32; 2]] = partials.read::<f32>().as_chunks().0;
    let mut lanes = [[0f32; LANES]; 2];
    for turn in partials[..count as usize].chunks(LANES) {
        for (lane, sums) in turn.iter().enumerate() {
            lanes[0][lane] += sums[0];
            lanes[1][lane] += sums[1];
        }
    }
    let clock: &mut ClockWords = bytemuck::from_bytes_mut(bytemuck::cast_slice_mut(clock.write::<u32>()));
    [clock.update_norm, clock.weight_norm] = lanes.map(|lanes| math::tree(lanes, |x, y| x + y).sqrt());
}

pub(crate) static STATISTICS: Kernel = Kernel {
    shader: &thalweg_shaders::STATISTICS,
    uniform: size_of::<u32>(),
    access: &[Access::Read, Access::Write],
    variants: &[&[]],
    twin: statistics_twin,
};
