//! Adam and AdamW in one launch.

use super::clock::{Clock, ClockWords, Timing, current_time};
use super::update::{self, UPDATE_VARIANTS};
use crate::Result;
use crate::arena::Arena;
use crate::kernel::{Access, Call, Kernel};
use crate::parallel::for_each_chunks;

/// One step of Adam (Kingma, Ba 2015) or, where the decay is decoupled, AdamW (Loshchilov, Hutter 2019):
///
/// ```text
/// g       = clip_factor grad                      (-g where maximize; g + weight_decay param where not decoupled)
/// param   = (1 - lr weight_decay) param           (where decoupled)
/// moment1 = beta1 moment1 + (1 - beta1) g
/// moment2 = beta2 moment2 + (1 - beta2) g²
/// param   = param - lr / (1 - beta1ᵗ) moment1 / (√moment2 / √(1 - beta2ᵗ) + eps)
/// ```
///
/// as `torch.optim.Adam` and `AdamW` compute it: epsilon outside of the root, after the bias correction.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamUpdate {
    /// Decay rates of the first and the second moment.
    pub betas: (f64, f64),
    /// Added to the root of the second moment.
    pub eps: f64,
    /// Weight decay.
    pub weight_decay: f64,
    /// Whether weights decay by themselves (AdamW) rather than through the gradient.
    pub decoupled: bool,
    /// Whether to climb rather than to descend.
    pub maximize: bool,
}

impl AdamUpdate {
    /// Takes all parameters one step further: one launch a page, and two before it where `max_norm` clips.
    ///
    /// # Errors
    /// Where the arenas have different layouts, or `max_norm` is not greater than 0.
    pub fn step(
        &self,
        values: &Arena,
        grads: &Arena,
        moment1: &Arena,
        moment2: &Arena,
        clock: &mut Clock,
        max_norm: Option<f64>,
    ) -> Result<()> {
        values.same_layout("adam", &[grads, moment1, moment2])?;
        let timing = clock.timing(self.betas.0, self.betas.1);
        let prepared = clock.prepare(grads, max_norm, timing)?;
        update::launch(&ADAM, &[values, grads, moment1, moment2], clock, prepared, |vectors| Params {
            timing,
            beta1: self.betas.0 as f32,
            beta2: self.betas.1 as f32,
            eps: self.eps as f32,
            weight_decay: self.weight_decay as f32,
            decoupled: self.decoupled.into(),
            maximize: self.maximize.into(),
            vectors,
        })
    }
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    timing: Timing,
    beta1: f32,
    beta2: f32,
    eps: f32,
    weight_decay: f32,
    decoupled: u32,
    maximize: u32,
    vectors: u32,
}

/// The formula of [`AdamUpdate`], element by element.
fn twin(call: Call<'_>) {
    let params: Params = call.params();
    let self_clocked = call.constant("SELF_CLOCKED") != 0.0;
    let [values, grads, moment1, moment2, rates, clock] = call.bindings();
    let clock: &mut ClockWords = bytemuck::from_bytes_mut(bytemuck::cast_slice_mut(clock.write::<u32>()));
    let now = current_time(clock, rates.read(), params.timing, self_clocked);
    if now.clip_factor >= 0.0 {
        let step_size = now.learning_rate / now.bias_correction1;
        let inverse_root = 1.0 / now.bias_correction2.sqrt();
        let sign = if params.maximize != 0 { -1.0 } else { 1.0 };
        let kept = if params.decoupled != 0 { 1.0 - now.learning_rate * params.weight_decay } else { 1.0 };
        let coupled_decay = if params.decoupled != 0 { 0.0 } else { params.weight_decay };
        let (one_minus_beta1, one_minus_beta2) = (params.timing.one_minus_beta1, params.timing.one_minus_beta2);
        let (beta1, beta2, eps, clip_factor) = (params.beta1, params.beta2, params.eps, now.clip_factor);
        let grads = grads.read::<f32>();
        for_each_chunks(
            [values.write(), moment1.write(), moment2.write()],
            #[inline(always)]
            |start, [values, moment1, moment2]| {
                let moments = moment1.iter_mut().zip(moment2);
                for ((value, grad), (m, v)) in values.iter_mut().zip(&grads[start..]).zip(moments) {
                    let grad = sign * (grad * clip_factor) + coupled_decay * *value;
                    *m = beta1 * *m + one_minus_beta1 * grad;
                    *v = beta2 * *v + one_minus_beta2 * (grad * grad);
                    *value = *value * kept - step_size * (*m / (v.sqrt() * inverse_root + eps));
                }
            },
        );
    }
    *clock = now;
}

pub(crate) static ADAM: Kernel = Kernel {
    shader: &thalweg_shaders::ADAM,
    uniform: size_of::<Params>(),
    access: &[Access::Write, Access::Read, Access::Write, Access::Write, Access::Read, Access::Write],
    variants: UPDATE_VARIANTS,
    twin,
};
