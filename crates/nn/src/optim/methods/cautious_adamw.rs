//! Cautious AdamW.

use thalweg_tensor::optim::segments::{CHUNK_ACCESS, CHUNK_VARIANTS, ChunkElements, finish_segments};
use thalweg_tensor::optim::{Decay, Elements, Head, Parts, StepArguments, Timing, UPDATE_VARIANTS, access};
use thalweg_tensor::{Access, Call, Kernel};

use super::adam::{ChunkedParams, Params, two_moments};
use super::{Capabilities, Method, StateArena};
use crate::Result;
use crate::setting::{method_of_settings, settings};

settings! {
    /// Cautious AdamW: [`AdamW`](super::AdamW) that moves a parameter only if the moment has the sign of the gradient:
    ///
    /// ```text
    /// moment1 = beta1 moment1 + (1 - beta1) grad
    /// moment2 = beta2 moment2 + (1 - beta2) grad²
    /// mask    = 1 if moment1 grad > 0, else 0
    /// share   = max(mean of mask, 1e-3)               (of each tensor)
    /// param   = (1 - lr weight_decay) param
    /// param   = param - lr / (1 - beta1ᵗ) mask / share moment1 / (√moment2 / √(1 - beta2ᵗ) + eps)
    /// ```
    ///
    /// All parameters decay, even those that do not move. The authors' program has the same mask and share, but its
    /// weights decay after the move. Usual rate 1e-3. PyTorch and optax do not have this method. Source: Liang et al.:
    /// Cautious optimizers: improving training with one line of code (2024).
    ///
    /// A step is three launches for any number of tensors, besides those of clipping: moments with partial counts, shares,
    /// parameters. It moves 40 bytes per parameter; the state takes 8.
    "cautious-adamw" CautiousAdamW {
        /// Decay rates of the first and the second moment.
        betas: (f64, f64) = (0.9, 0.999), fraction;
        /// Added to the root of the second moment, after bias correction.
        eps: f64 = 1e-8, positive;
        /// Weight decay, times the learning rate.
        weight_decay: f64 = 0.01, not_negative;
        /// Whether to ascend instead of descending.
        maximize: bool = false;
    }
}

/// The lower bound of the share that the mask is divided by, as in the authors' program.
const LEAST_SHARE: f32 = 1e-3;

impl Method for CautiousAdamW {
    method_of_settings!();

    fn state(&self, _: &[Vec<usize>]) -> Vec<StateArena> {
        two_moments()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::new().momentum(true).tensor_sums(true)
    }

    fn launches(&self, _: &[Vec<usize>]) -> usize {
        3
    }

    fn bytes_per_parameter(&self) -> u64 {
        20 + 20
    }

    fn step(&self, mut step: StepArguments<'_>) -> Result<()> {
        step.check(&CAUTIOUS_ADAMW, &[true; 2])?;
        let head = Head::new(Timing::of_betas(self.betas), self.weight_decay, self.maximize)
            .momentum(self.betas.0)
            .decay(Decay::Decoupled);
        let state = step.state;
        step.run_chunks(&CAUTIOUS_MOMENTS, head, state, |head, chunks| ChunkedParams {
            common: Params::new(head, self.betas, self.eps),
            chunks: chunks.into(),
        })?;
        let segments = step.clock.laid_out()?;
        let params = ScaleParams { count: segments.count() as u32, least: LEAST_SHARE };
        segments.finish(&CAUTIOUS_SCALE, params, step.clock.table(), &[])?;
        Ok(step.run_after(&CAUTIOUS_ADAMW, head, |head| Params::new(head, self.betas, self.eps))?)
    }
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct ScaleParams {
    count: u32,
    least: f32,
}

/// Returns whether a moment and its gradient do not have the same sign. Twin of `shaders/shared/cautious.wgsl`.
#[inline(always)]
fn opposes(m: f32, grad: f32) -> bool {
    (m >= 0.0 && grad <= 0.0) || (m <= 0.0 && grad >= 0.0)
}

/// Computes the moments of [`CautiousAdamW`], and the sums of the mask.
fn moments_twin(call: Call<'_>) {
    let ChunkedParams { common: Params { head, beta2, .. }, chunks: range } = call.params();
    let one_minus_beta2 = head.one_minus_beta2();
    let (parts, [m, v, chunks, partials]) = Parts::of(call);
    let elements = ChunkElements { parts, chunks: chunks.read(), partials: partials.write() };
    elements.each(
        range.into(),
        [m.write::<f32>(), v.write::<f32>()],
        #[inline(always)]
        |now| (now.momentum, now.one_minus_momentum),
        #[inline(always)]
        move |(beta1, one_minus_beta1), _, grad, [m, v]| {
            *m = beta1 * *m + one_minus_beta1 * grad;
            *v = beta2 * *v + one_minus_beta2 * (grad * grad);
            [if opposes(*m, grad) { 0.0 } else { 1.0 }, 0.0]
        },
    );
}

/// Computes the inverse shares of [`CautiousAdamW`].
fn scale_twin(call: Call<'_>) {
    let ScaleParams { least, .. } = call.params();
    let [segments, partials, table] = call.bindings();
    finish_segments(segments.read(), partials.read(), table.write(), |_, segment, [sum, _], rows| {
        let share = sum / segment.elements().max(1) as f32;
        rows.iter_mut().for_each(|row| row.0[3] = 1.0 / share.max(least));
    });
}

/// Takes the step of [`CautiousAdamW`].
fn twin(call: Call<'_>) {
    let Params { eps, .. } = call.params();
    Elements::of(call).each(
        #[inline(always)]
        |now| (now.learning_rate * now.own_factor / now.bias_correction1, 1.0 / now.bias_correction2.sqrt()),
        #[inline(always)]
        move |(step_size, inverse_root), param, grad, [m, v]| {
            let direction = *m / (v.sqrt() * inverse_root + eps);
            *param -= if opposes(*m, grad) { 0.0 } else { step_size * direction };
        },
    );
}

pub(crate) static CAUTIOUS_MOMENTS: Kernel = Kernel {
    shader: &thalweg_shaders::CAUTIOUS_MOMENTS,
    uniform: size_of::<ChunkedParams>(),
    access: CHUNK_ACCESS,
    variants: CHUNK_VARIANTS,
    twin: moments_twin,
};

pub(crate) static CAUTIOUS_SCALE: Kernel = Kernel {
    shader: &thalweg_shaders::CAUTIOUS_SCALE,
    uniform: size_of::<ScaleParams>(),
    access: &[Access::Read, Access::Read, Access::Write],
    variants: &[&[]],
    twin: scale_twin,
};

pub(crate) static CAUTIOUS_ADAMW: Kernel = Kernel {
    shader: &thalweg_shaders::CAUTIOUS_ADAMW,
    uniform: size_of::<Params>(),
    access: access(2),
    variants: UPDATE_VARIANTS,
    twin,
};
