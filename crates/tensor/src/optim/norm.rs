//! The first stage of the global norm of gradients.

use crate::arena::{Arena, UPDATE_BLOCK};
use crate::kernel::{Access, Call, Kernel, Launch};
use crate::math::{self, LANES};
use crate::{Result, Tensor};

/// The most workgroups of the first stage of a norm, on each page.
pub(super) const MOST_PARTIALS: usize = 256;

/// The number of vectors of four per lane for which another workgroup is worth its start and its tree.
const VECTORS_PER_LANE: usize = 32;

/// The number of vectors of four per lane in a block.
const VECTORS_OF_BLOCK: usize = 4;

/// The number of elements of a block, which a workgroup processes in one turn.
const NORM_BLOCK: usize = 4 * LANES * VECTORS_OF_BLOCK;

const _: () = assert!(UPDATE_BLOCK.is_multiple_of(NORM_BLOCK), "pages have no tail");

/// Returns the number of workgroups for a page of this many elements.
pub(super) fn partial_count(elements: usize) -> usize {
    (elements / 4).div_ceil(LANES * VECTORS_PER_LANE).clamp(1, MOST_PARTIALS)
}

/// A p-norm. Twin of the constants in `shaders/optim/grad_norm.wgsl`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Norm {
    Euclidean,
    Absolute,
    Largest,
    OfPower(f32),
}

impl Norm {
    pub(super) fn of_power(p: f64) -> Self {
        match p as f32 {
            2.0 => Self::Euclidean,
            1.0 => Self::Absolute,
            f32::INFINITY => Self::Largest,
            p => Self::OfPower(p),
        }
    }

    /// Returns the value of the kernels' override constant.
    pub(super) fn constant(self) -> u32 {
        match self {
            Self::Euclidean => 0,
            Self::Absolute => 1,
            Self::Largest => 2,
            Self::OfPower(_) => 3,
        }
    }

    /// Returns the norm from the constant and the parameter of a kernel.
    pub(super) fn of(constant: f64, power: f32) -> Self {
        match constant as u32 {
            0 => Self::Euclidean,
            1 => Self::Absolute,
            2 => Self::Largest,
            _ => Self::OfPower(power),
        }
    }

    pub(super) fn power(self) -> f32 {
        match self {
            Self::Euclidean => 2.0,
            Self::Absolute => 1.0,
            Self::Largest => f32::INFINITY,
            Self::OfPower(power) => power,
        }
    }
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct NormParams {
    vectors: u32,
    workgroups: u32,
    offset: u32,
    power: f32,
}

/// Launches the first stage on every page, and returns the number of partial sums.
pub(super) fn launch_norm(grads: &Arena, partials: &Tensor, norm: Norm) -> Result<usize> {
    let mut count = 0;
    for page in grads.pages() {
        let workgroups = partial_count(page.len());
        let params = NormParams {
            vectors: (page.len() / 4) as u32,
            workgroups: workgroups as u32,
            offset: count as u32,
            power: norm.power(),
        };
        Launch::new(&GRAD_NORM, params)
            .constant("NORM", norm.constant())
            .bind(page)
            .bind(partials)
            .workgroups(workgroups)
            .run(grads.device())?;
        count += workgroups;
    }
    Ok(count)
}

/// partials[offset + group] = the sum of powers of the blocks that the group strides over, in a workgroup's order.
fn twin(call: Call<'_>) {
    let params: NormParams = call.params();
    let norm = Norm::of(call.constant("NORM"), params.power);
    let [grads, partials] = call.bindings();
    let (grads, partials) = (grads.read::<f32>(), partials.write::<f32>());
    let workgroups = params.workgroups as usize;
    let partials = &mut partials[params.offset as usize..][..workgroups];
    // A separate loop for each norm, so that it is vectorized.
    match norm {
        Norm::Euclidean => sum_blocks(grads, partials, |x| x * x, |x, y| x + y),
        Norm::Absolute => sum_blocks(grads, partials, f32::abs, |x, y| x + y),
        Norm::Largest => sum_blocks(grads, partials, f32::abs, math::maximum),
        Norm::OfPower(power) => sum_blocks(grads, partials, move |x: f32| x.abs().powf(power), |x, y| x + y),
    }
}

#[inline(always)]
fn sum_blocks(
    grads: &[f32],
    partials: &mut [f32],
    term: impl Fn(f32) -> f32 + Copy + Sync,
    join: impl Fn(f32, f32) -> f32 + Copy + Sync,
) {
    let workgroups = partials.len();
    crate::threads::for_each_chunk_of(
        workgroups.div_ceil(8),
        partials,
        #[inline(always)]
        |first, partials| {
            for (group, partial) in (first..).zip(partials) {
                let mut sums = [[0f32; 4 * LANES]; VECTORS_OF_BLOCK];
                for block in grads.chunks_exact(NORM_BLOCK).skip(group).step_by(workgroups) {
                    for (sum, grad) in sums.as_flattened_mut().iter_mut().zip(block) {
                        *sum = join(*sum, term(*grad));
                    }
                }
                let lanes = std::array::from_fn(|lane| {
                    let [x, y, z, w] = [0, 1, 2, 3].map(|i| {
                        let [a, b, c, d] = sums.each_ref().map(|sums| sums[4 * lane + i]);
                        join(join(a, b), join(c, d))
                    });
                    join(join(x, y), join(z, w))
                });
                *partial = math::tree(lanes, join);
            }
        },
    );
}

pub(crate) static GRAD_NORM: Kernel = Kernel {
    shader: &thalweg_shaders::GRAD_NORM,
    uniform: size_of::<NormParams>(),
    access: &[Access::Read, Access::Write],
    variants: &[&[("NORM", 0.0)], &[("NORM", 1.0)], &[("NORM", 2.0)], &[("NORM", 3.0)]],
    twin,
};
