//! The ascent step of sharpness-aware minimization.

use super::pages::{over_page, vectors};
use crate::arena::UPDATE_BLOCK;
use crate::kernel::{Access, Call, Kernel, Launch};
use crate::math::{self, LANES};
use crate::threads::{for_each_chunk_of, for_each_chunks};
use crate::{Arena, DType, Error, Result, Tensor};

/// The most workgroups that sum a page.
const MOST_PARTIALS: usize = 256;

/// The number of blocks of a page per workgroup for which another workgroup is worth its start.
const BLOCKS_OF_GROUP: usize = 8;

/// The ascent step of sharpness-aware minimization, SAM (Foret et al. 2021) and ASAM (Kwon et al. 2021):
///
/// ```text
/// param = param + rho grad / (‖grad‖ + 1e-12)                       SAM
/// param = param + rho t² grad / (‖t grad‖ + 1e-12),  t = |param| + eta    ASAM
/// ```
///
/// The norm is over all parameters, on the device. There are three launches, two of them once per page. They move 16
/// bytes per parameter, and 8 for the norm. If the norm is not finite nothing changes.
#[derive(Debug)]
pub struct SharpnessAscent {
    rho: f32,
    /// The eta of ASAM.
    adaptive: Option<f32>,
    partials: Tensor,
    scale: Tensor,
    kept: Arena,
}

impl SharpnessAscent {
    /// Creates the step for parameters of this layout; `adaptive` is ASAM's eta, or `None` for SAM.
    ///
    /// # Errors
    /// If rho is not finite and greater than 0, eta not finite and at least 0, the device has no room, or this thread
    /// records.
    pub fn new(values: &Arena, rho: f64, adaptive: Option<f64>) -> Result<Self> {
        crate::check_state("sharpness ascent")?;
        let refuse = |name, value: f64, rule| {
            Err(Error::Argument { op: "sharpness ascent", name, value: value.to_string(), rule })
        };
        if !(rho as f32 > 0.0 && (rho as f32).is_finite()) {
            return refuse("rho", rho, "finite and greater than 0");
        }
        if let Some(eta) = adaptive.filter(|&eta| !(eta >= 0.0 && (eta as f32).is_finite())) {
            return refuse("eta", eta, "finite and at least 0");
        }
        let partials = values.pages().iter().map(|page| partial_count(page.len())).sum();
        Ok(Self {
            rho: rho as f32,
            adaptive: adaptive.map(|eta| eta as f32),
            partials: Tensor::zeros(values.device(), DType::F32, &[partials])?,
            scale: Tensor::zeros(values.device(), DType::F32, &[1])?,
            kept: values.zeros_like()?,
        })
    }

    /// Returns the parameters before the last ascent step.
    #[must_use]
    pub fn kept(&self) -> &Arena {
        &self.kept
    }

    /// Moves the parameters along the gradients, and stores the old ones.
    ///
    /// # Errors
    /// If the layouts differ, or work on the device has failed.
    pub fn step(&self, values: &Arena, grads: &Arena) -> Result<()> {
        values.same_layout("sharpness ascent", &[grads, &self.kept])?;
        let eta = self.adaptive.unwrap_or(0.0);
        let mut partials = 0;
        for (page, grads) in values.pages().iter().zip(grads.pages()) {
            let workgroups = partial_count(page.len());
            let params =
                NormParams { vectors: vectors(page), workgroups: workgroups as u32, offset: partials as u32, eta };
            let uses = if self.adaptive.is_some() { page.len() } else { 0 };
            Launch::new(&SHARPNESS_NORM, params)
                .constant("ADAPTIVE", self.adaptive.is_some())
                .bind(page)
                .bind(grads)
                .bind(&self.partials)
                .uses(0, uses)
                .workgroups(workgroups)
                .run(page.device())?;
            partials += workgroups;
        }
        Launch::new(&SHARPNESS_SCALE, ScaleParams { partials: partials as u32, rho: self.rho })
            .bind(&self.partials)
            .bind(&self.scale)
            .run(values.device())?;
        for (number, page) in values.pages().iter().enumerate() {
            let launch = Launch::new(&SHARPNESS_ASCENT, AscentParams { vectors: vectors(page), eta })
                .constant("ADAPTIVE", self.adaptive.is_some())
                .bind(page)
                .bind(&grads.pages()[number])
                .bind(&self.scale)
                .bind(&self.kept.pages()[number]);
            over_page(launch, page).run(page.device())?;
        }
        Ok(())
    }
}

fn partial_count(elements: usize) -> usize {
    (elements / UPDATE_BLOCK).div_ceil(BLOCKS_OF_GROUP).clamp(1, MOST_PARTIALS)
}

const ADAPTIVE: &[&[(&str, f64)]] = &[&[("ADAPTIVE", 0.0)], &[("ADAPTIVE", 1.0)]];

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct NormParams {
    vectors: u32,
    workgroups: u32,
    offset: u32,
    eta: f32,
}

/// partials[offset + group] = the sum of squares of the blocks that the group strides over, in a workgroup's order.
fn norm_twin(call: Call<'_>) {
    const BLOCK: usize = 16 * LANES;
    let params: NormParams = call.params();
    let is_adaptive = call.constant("ADAPTIVE") != 0.0;
    let [values, grads, partials] = call.bindings();
    let (values, grads) = (values.read::<f32>(), grads.read::<f32>());
    let workgroups = params.workgroups as usize;
    let partials = &mut partials.write::<f32>()[params.offset as usize..][..workgroups];
    for_each_chunk_of(
        workgroups.div_ceil(8),
        partials,
        #[inline(always)]
        |first, partials| {
            for (group, partial) in (first..).zip(partials) {
                let mut sums = [[0f32; 4 * LANES]; 4];
                let blocks = grads.chunks_exact(BLOCK).zip(values.chunks_exact(BLOCK));
                for (grads, values) in blocks.skip(group).step_by(workgroups) {
                    for (sum, (grad, value)) in sums.as_flattened_mut().iter_mut().zip(grads.iter().zip(values)) {
                        let grad = if is_adaptive { (value.abs() + params.eta) * grad } else { *grad };
                        *sum += grad * grad;
                    }
                }
                let lanes = std::array::from_fn(|lane| {
                    let [x, y, z, w] = [0, 1, 2, 3].map(|i| {
                        let [a, b, c, d] = sums.each_ref().map(|sums| sums[4 * lane + i]);
                        (a + b) + (c + d)
                    });
                    (x + y) + (z + w)
                });
                *partial = math::tree(lanes, |x, y| x + y);
            }
        },
    );
}

pub(crate) static SHARPNESS_NORM: Kernel = Kernel {
    shader: &thalweg_shaders::SHARPNESS_NORM,
    uniform: size_of::<NormParams>(),
    access: &[Access::Read, Access::Read, Access::Write],
    variants: ADAPTIVE,
    twin: norm_twin,
};

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct ScaleParams {
    partials: u32,
    rho: f32,
}

/// scale = rho / (√Σ partials + 1e-12).
fn scale_twin(call: Call<'_>) {
    let params: ScaleParams = call.params();
    let [partials, scale] = call.bindings();
    let sum = math::tree_sum(&partials.read::<f32>()[..params.partials as usize], |x| x);
    scale.write::<f32>()[0] = if sum.is_finite() { params.rho / (sum.sqrt() + 1e-12) } else { 0.0 };
}

pub(crate) static SHARPNESS_SCALE: Kernel = Kernel {
    shader: &thalweg_shaders::SHARPNESS_SCALE,
    uniform: size_of::<ScaleParams>(),
    access: &[Access::Read, Access::Write],
    variants: &[&[]],
    twin: scale_twin,
};

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct AscentParams {
    vectors: u32,
    eta: f32,
}

/// The formula of [`SharpnessAscent`], element by element.
fn ascent_twin(call: Call<'_>) {
    let AscentParams { eta, .. } = call.params();
    let is_adaptive = call.constant("ADAPTIVE") != 0.0;
    let [values, grads, scale, kept] = call.bindings();
    let (grads, factor) = (grads.read::<f32>(), scale.read::<f32>()[0]);
    for_each_chunks(
        [values.write::<f32>(), kept.write::<f32>()],
        #[inline(always)]
        |start, [values, kept]| {
            kept.copy_from_slice(values);
            if factor == 0.0 {
                return;
            }
            for (value, grad) in values.iter_mut().zip(&grads[start..]) {
                let t = value.abs() + eta;
                let direction = if is_adaptive { grad * (t * t) } else { *grad };
                *value += factor * direction;
            }
        },
    );
}

pub(crate) static SHARPNESS_ASCENT: Kernel = Kernel {
    shader: &thalweg_shaders::SHARPNESS_ASCENT,
    uniform: size_of::<AscentParams>(),
    access: &[Access::Write, Access::Read, Access::Read, Access::Write],
    variants: &[
        &[("SEQUENTIAL", 0.0), ("ADAPTIVE", 0.0)],
        &[("SEQUENTIAL", 0.0), ("ADAPTIVE", 1.0)],
        &[("SEQUENTIAL", 1.0), ("ADAPTIVE", 0.0)],
        &[("SEQUENTIAL", 1.0), ("ADAPTIVE", 1.0)],
    ],
    twin: ascent_twin,
};
