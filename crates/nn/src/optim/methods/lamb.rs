//! LAMB.

use thalweg_tensor::optim::segments::{CHUNK_ACCESS, CHUNK_VARIANTS, ChunkElements, TRUST_RATIO, TrustRatio};
use thalweg_tensor::optim::{Decay, Elements, Head, Now, Parts, StepArguments, Timing, UPDATE_VARIANTS, access};
use thalweg_tensor::{Call, Kernel};

use super::adam::{ChunkedParams, Params, two_moments};
use super::{Capabilities, Method, StateArena};
use crate::Result;
use crate::setting::{method_of_settings, settings};

settings! {
    /// LAMB, as `optax.lamb`: the direction of [`AdamW`](super::AdamW), scaled for each tensor to the norm of its parameters:
    ///
    /// ```text
    /// moment1   = beta1 moment1 + (1 - beta1) grad
    /// moment2   = beta2 moment2 + (1 - beta2) grad²
    /// direction = moment1 / (1 - beta1ᵗ) / (√moment2 / √(1 - beta2ᵗ) + eps) + weight_decay param
    /// trust     = ‖param‖ / ‖direction‖               (of each tensor; 1 where a norm is 0)
    /// param     = param - lr trust direction
    /// ```
    ///
    /// The learning rate is about the share of a tensor that a step changes; usual 1e-3. PyTorch has no LAMB. Other libraries
    /// leave out bias correction, limit ‖param‖ to 10, or decouple weight decay. Source: You et al.: Large batch optimization for
    /// deep learning: training BERT in 76 minutes (ICLR 2020).
    ///
    /// A step is three launches for any number of tensors, besides those of clipping: moments with partial norms, trust ratios,
    /// parameters. It moves 40 bytes per parameter; the state takes 8. In software it reaches 0.5 to 0.8 of a copy's bandwidth:
    /// the moments alone take as long as AdamW, and the last launch reads parameters and moments again.
    "lamb" Lamb {
        /// Decay rates of the first and the second moment.
        betas: (f64, f64) = (0.9, 0.999), fraction;
        /// Added to the root of the second moment, after bias correction.
        eps: f64 = 1e-6, positive;
        /// Weight decay, in the direction.
        weight_decay: f64 = 0.0, not_negative;
        /// Whether to ascend instead of descending.
        maximize: bool = false;
    }
}

impl Method for Lamb {
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
        24 + 16
    }

    fn step(&self, mut step: StepArguments<'_>) -> Result<()> {
        step.check(&LAMB, &[true; 2])?;
        let head = Head::new(Timing::of_betas(self.betas), self.weight_decay, self.maximize);
        let head = head.momentum(self.betas.0).decay(Decay::ByRule);
        let state = step.state;
        step.run_chunks(&LAMB_MOMENTS, head, state, |head, chunks| ChunkedParams {
            common: Params::new(head, self.betas, self.eps),
            chunks: chunks.into(),
        })?;
        let segments = step.clock.laid_out()?;
        let params = TrustRatio { count: segments.count() as u32, coefficient: 1.0, eps: 0.0 };
        segments.finish(&TRUST_RATIO, params, step.clock.table(), &[])?;
        Ok(step.run_after(&LAMB, head, |head| Params::new(head, self.betas, self.eps))?)
    }
}

/// The numbers that all elements of a tensor share. Twin of `shaders/shared/lamb.wgsl`.
#[derive(Clone, Copy)]
struct Factors {
    inverse_correction: f32,
    inverse_root: f32,
    step_size: f32,
    weight_decay: f32,
    eps: f32,
}

impl Factors {
    fn new(now: &Now, eps: f32) -> Self {
        Self {
            inverse_correction: 1.0 / now.bias_correction1,
            inverse_root: 1.0 / now.bias_correction2.sqrt(),
            step_size: now.learning_rate * now.own_factor,
            weight_decay: now.weight_decay,
            eps,
        }
    }

    #[inline(always)]
    fn direction(self, param: f32, m: f32, v: f32) -> f32 {
        (m * self.inverse_correction) / (v.sqrt() * self.inverse_root + self.eps) + self.weight_decay * param
    }
}

/// Computes the moments of [`Lamb`], and the sums of squares of parameters and direction.
fn moments_twin(call: Call<'_>) {
    let ChunkedParams { common: Params { head, beta2, eps }, chunks: range } = call.params();
    let one_minus_beta2 = head.one_minus_beta2();
    let (parts, [m, v, chunks, partials]) = Parts::of(call);
    let elements = ChunkElements { parts, chunks: chunks.read(), partials: partials.write() };
    elements.each(
        range.into(),
        [m.write::<f32>(), v.write::<f32>()],
        #[inline(always)]
        |now| (now.momentum, now.one_minus_momentum, Factors::new(now, eps)),
        #[inline(always)]
        move |(beta1, one_minus_beta1, factors), param, grad, [m, v]| {
            *m = beta1 * *m + one_minus_beta1 * grad;
            *v = beta2 * *v + one_minus_beta2 * (grad * grad);
            [param, factors.direction(param, *m, *v)]
        },
    );
}

/// Takes the step of [`Lamb`].
fn twin(call: Call<'_>) {
    let Params { eps, .. } = call.params();
    Elements::of(call).each(
        #[inline(always)]
        |now| Factors::new(now, eps),
        #[inline(always)]
        move |factors, param, _, [m, v]| *param -= factors.step_size * factors.direction(*param, *m, *v),
    );
}

pub(crate) static LAMB_MOMENTS: Kernel = Kernel {
    shader: &thalweg_shaders::LAMB_MOMENTS,
    uniform: size_of::<ChunkedParams>(),
    access: CHUNK_ACCESS,
    variants: CHUNK_VARIANTS,
    twin: moments_twin,
};

pub(crate) static LAMB: Kernel = Kernel {
    shader: &thalweg_shaders::LAMB,
    uniform: size_of::<Params>(),
    access: access(2),
    variants: UPDATE_VARIANTS,
    twin,
};
