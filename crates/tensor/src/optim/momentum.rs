//! Stochastic gradient descent with momentum in one launch.

use super::clock::{Clock, ClockWords, Timing, current_time};
use super::update::{self, UPDATE_VARIANTS};
use crate::Result;
use crate::arena::Arena;
use crate::kernel::{Access, Call, Kernel};
use crate::parallel::for_each_chunks;

/// One step of stochastic gradient descent with momentum (Polyak 1964), or Nesterov's (1983; Sutskever et al. 2013):
///
/// ```text
/// g      = clip_factor grad                       (-g where maximize), + weight_decay param
/// moment = momentum moment + (1 - dampening) g    (at the first step: g)
/// param  = param - lr moment                      (Nesterov: param - lr (g + momentum moment))
/// ```
///
/// as `torch.optim.SGD` computes it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MomentumUpdate {
    /// What is kept of the moment from step to step.
    pub momentum: f64,
    /// What the gradient is lessened by on its way into the moment.
    pub dampening: f64,
    /// Weight decay, through the gradient.
    pub weight_decay: f64,
    /// Whether to look ahead by Nesterov's rule.
    pub nesterov: bool,
    /// Whether to climb rather than to descend.
    pub maximize: bool,
}

impl MomentumUpdate {
    /// Takes all parameters one step further: one launch a page, and two before it where `max_norm` clips.
    ///
    /// # Errors
    /// Where the arenas have different layouts, or `max_norm` is not greater than 0.
    pub fn step(
        &self,
        values: &Arena,
        grads: &Arena,
        moment1: &Arena,
        clock: &mut Clock,
        max_norm: Option<f64>,
    ) -> Result<()> {
        values.same_layout("momentum", &[grads, moment1])?;
        let timing = clock.timing(0.0, 0.0);
        let prepared = clock.prepare(grads, max_norm, timing)?;
        update::launch(&MOMENTUM, &[values, grads, moment1], clock, prepared, |vectors| Params {
            timing,
            momentum: self.momentum as f32,
            dampening: self.dampening as f32,
            weight_decay: self.weight_decay as f32,
            nesterov: self.nesterov.into(),
            maximize: self.maximize.into(),
            vectors,
        })
    }
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    timing: Timing,
    momentum: f32,
    dampening: f32,
    weight_decay: f32,
    nesterov: u32,
    maximize: u32,
    vectors: u32,
}

/// The formula of [`MomentumUpdate`], element by element.
fn twin(call: Call<'_>) {
    let params: Params = call.params();
    let self_clocked = call.constant("SELF_CLOCKED") != 0.0;
    let [values, grads, moment1, rates, clock] = call.bindings();
    let clock: &mut ClockWords = bytemuck::from_bytes_mut(bytemuck::cast_slice_mut(clock.write::<u32>()));
    let now = current_time(clock, rates.read(), params.timing, self_clocked);
    if now.clip_factor >= 0.0 {
        let sign = if params.maximize != 0 { -1.0 } else { 1.0 };
        // Whoever advances the clock, `now` counts this step.
        let undamped = if now.step == 1 { 1.0 } else { 1.0 - params.dampening };
        let (momentum, decay, nesterov) = (params.momentum, params.weight_decay, params.nesterov != 0);
        let grads = grads.read::<f32>();
        for_each_chunks(
            [values.write(), moment1.write()],
            #[inline(always)]
            |start, [values, moment1]| {
                for ((value, grad), moment) in values.iter_mut().zip(&grads[start..]).zip(moment1) {
                    let grad = sign * (grad * now.clip_factor) + decay * *value;
                    *moment = momentum * *moment + undamped * grad;
                    let direction = if nesterov { grad + momentum * *moment } else { *moment };
                    *value -= now.learning_rate * direction;
                }
            },
        );
    }
    *clock = now;
}

pub(crate) static MOMENTUM: Kernel = Kernel {
    shader: &thalweg_shaders::MOMENTUM,
    uniform: size_of::<Params>(),
    access: &[Access::Write, Access::Read, Access::Write, Access::Read, Access::Write],
    variants: UPDATE_VARIANTS,
    twin,
};
