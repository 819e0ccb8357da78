//! Stochastic gradient descent without momentum in one launch.

use super::clock::{Clock, ClockWords, Timing, current_time};
use super::update::{self, UPDATE_VARIANTS};
use crate::Result;
use crate::arena::Arena;
use crate::kernel::{Access, Call, Kernel};
use crate::parallel::for_each_chunk;

/// One step of stochastic gradient descent (Robbins, Monro 1951):
///
/// ```text
/// g     = clip_factor grad                        (-g where maximize), + weight_decay param
/// param = param - lr g
/// ```
///
/// as `torch.optim.SGD` computes it without momentum.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SgdUpdate {
    /// Weight decay, through the gradient.
    pub weight_decay: f64,
    /// Whether to climb rather than to descend.
    pub maximize: bool,
}

impl SgdUpdate {
    /// Takes all parameters one step further: one launch a page, and two before it where `max_norm` clips.
    ///
    /// # Errors
    /// Where the arenas have different layouts, or `max_norm` is not greater than 0.
    pub fn step(&self, values: &Arena, grads: &Arena, clock: &mut Clock, max_norm: Option<f64>) -> Result<()> {
        values.same_layout("sgd", &[grads])?;
        let timing = clock.timing(0.0, 0.0);
        let prepared = clock.prepare(grads, max_norm, timing)?;
        update::launch(&SGD, &[values, grads], clock, prepared, |vectors| Params {
            timing,
            weight_decay: self.weight_decay as f32,
            maximize: self.maximize.into(),
            vectors,
        })
    }
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    timing: Timing,
    weight_decay: f32,
    maximize: u32,
    vectors: u32,
}

/// The formula of [`SgdUpdate`], element by element.
fn twin(call: Call<'_>) {
    let params: Params = call.params();
    let self_clocked = call.constant("SELF_CLOCKED") != 0.0;
    let [values, grads, rates, clock] = call.bindings();
    let clock: &mut ClockWords = bytemuck::from_bytes_mut(bytemuck::cast_slice_mut(clock.write::<u32>()));
    let now = current_time(clock, rates.read(), params.timing, self_clocked);
    if now.clip_factor >= 0.0 {
        let grads = grads.read::<f32>();
        let sign = if params.maximize != 0 { -1.0 } else { 1.0 };
        for_each_chunk(
            values.write::<f32>(),
            #[inline(always)]
            |start, values| {
                for (value, grad) in values.iter_mut().zip(&grads[start..]) {
                    let grad = sign * (grad * now.clip_factor);
                    *value -= now.learning_rate * (grad + params.weight_decay * *value);
                }
            },
        );
    }
    *clock = now;
}

pub(crate) static SGD: Kernel = Kernel {
    shader: &thalweg_shaders::SGD,
    uniform: size_of::<Params>(),
    access: &[Access::Write, Access::Read, Access::Read, Access::Write],
    variants: UPDATE_VARIANTS,
    twin,
};
