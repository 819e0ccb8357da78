//! The launch that advances a clock.

use crate::kernel::{Access, Call, Kernel};
use crate::math;
use crate::optim::norm::Norm;
use crate::optim::table::Row;
use crate::optim::time::{ClockWords, Timing};

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
pub(super) struct ClockParams {
    pub(super) timing: Timing,
    pub(super) partials: u32,
    pub(super) max_norm: f32,
    /// 1 / p.
    pub(super) root: f32,
    pub(super) ignore: u32,
    pub(super) growth_factor: f32,
    pub(super) backoff_factor: f32,
    pub(super) growth_interval: u32,
}

/// The smallest loss scale.
const LEAST_LOSS_SCALE: f32 = 1.0;

/// norm = (Σ partials)^(1/p); clip_factor = min(1, max_norm / (norm + 1e-6)); then the clock advances, unless the
/// norm is not finite and this is not ignored. Gradients of a scaled loss are divided by the scale, which is then
/// adjusted.
fn clock_twin(call: Call<'_>) {
    let params: ClockParams = call.params();
    let norm = Norm::of(call.constant("NORM"), params.root.recip());
    let [by_tensor, scaled] = ["BY_TENSOR", "SCALED"].map(|name| call.constant(name) != 0.0);
    let [partials, table, clock] = call.bindings();
    let (partials, table) = (partials.read::<f32>(), bytemuck::cast_slice::<f32, Row>(table.read()));
    let clock: &mut ClockWords = bytemuck::from_bytes_mut(bytemuck::cast_slice_mut(clock.write::<u32>()));
    let count = params.partials as usize;
    let (sum, is_tensor_clipped) = if by_tensor {
        let tensors: &[[f32; 2]] = &partials.as_chunks().0[..count];
        let mut lanes = [0.0; math::LANES];
        for turn in tensors.chunks(math::LANES) {
            lanes.iter_mut().zip(turn).for_each(|(lane, [square, _])| *lane += square);
        }
        (math::tree(lanes, |x, y| x + y), tensors.iter().any(|[_, factor]| *factor < 1.0))
    } else if norm == Norm::Largest {
        (partials[..count].iter().fold(0.0, |largest, &x| math::maximum(largest, x)), false)
    } else {
        (math::tree_sum(&partials[..count], |x| x), false)
    };
    let scale = if scaled { clock.loss_scale } else { 1.0 };
    let norm = match norm {
        Norm::Euclidean => sum.sqrt(),
        Norm::Absolute | Norm::Largest => sum,
        Norm::OfPower(_) => sum.powf(params.root),
    } / scale;
    clock.take_row(clock.row(table, clock.step + clock.skipped));
    clock.gradient_norm = norm;
    let is_good = sum.is_finite() && norm.is_finite();
    if !is_good && params.ignore == 0 {
        clock.clip_factor = -1.0;
        clock.skipped += 1;
        if clock.first_skipped == 0 && !scaled {
            clock.first_skipped = clock.step + clock.skipped;
        }
        if scaled {
            clock.loss_scale = (scale * params.backoff_factor).max(LEAST_LOSS_SCALE);
            clock.growth_tracker = 0;
        }
        return;
    }
    let mut factor = if params.max_norm > 0.0 { (params.max_norm / (norm + 1e-6)).min(1.0) } else { 1.0 };
    if params.max_norm > 0.0 && norm.is_nan() {
        factor = norm;
    }
    if factor < 1.0 || is_tensor_clipped {
        clock.clipped += 1;
    }
    clock.clip_factor = factor / scale;
    if scaled {
        clock.growth_tracker += 1;
        if clock.growth_tracker == params.growth_interval {
            let larger = scale * params.growth_factor;
            if larger.is_finite() {
                clock.loss_scale = larger;
            }
            clock.growth_tracker = 0;
        }
    }
    if is_good {
        clock.gradient_norm_sum += norm;
    }
    clock.step += 1;
    let next_rate = clock.row(table, clock.step + clock.skipped).0[0];
    clock.go_on(next_rate, params.timing);
}

pub(in crate::optim) static CLOCK: Kernel = Kernel {
    shader: &thalweg_shaders::CLOCK,
    uniform: size_of::<ClockParams>(),
    access: &[Access::Read, Access::Read, Access::Write],
    variants: &[
        &[("NORM", 0.0), ("BY_TENSOR", 0.0), ("SCALED", 0.0)],
        &[("NORM", 1.0), ("BY_TENSOR", 0.0), ("SCALED", 0.0)],
        &[("NORM", 2.0), ("BY_TENSOR", 0.0), ("SCALED", 0.0)],
        &[("NORM", 3.0), ("BY_TENSOR", 0.0), ("SCALED", 0.0)],
        &[("NORM", 0.0), ("BY_TENSOR", 1.0), ("SCALED", 0.0)],
        &[("NORM", 0.0), ("BY_TENSOR", 0.0), ("SCALED", 1.0)],
        &[("NORM", 1.0), ("BY_TENSOR", 0.0), ("SCALED", 1.0)],
        &[("NORM", 2.0), ("BY_TENSOR", 0.0), ("SCALED", 1.0)],
        &[("NORM", 3.0), ("BY_TENSOR", 0.0), ("SCALED", 1.0)],
    ],
    twin: clock_twin,
};
