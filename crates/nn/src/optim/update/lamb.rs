//! LAMB in three launches.

use thalweg_tensor::Result;
use thalweg_tensor::optim::segments::{CHUNK_VARIANTS, ChunkElements, TRUST_RATIO, TrustRatio};
use thalweg_tensor::optim::{Decay, Head, StepArguments, UPDATE_VARIANTS, Update, access};
use thalweg_tensor::optim::{Elements, Parts};
use thalweg_tensor::optim::{Now, Timing};
use thalweg_tensor::{Access, Call, Kernel};

/// One step of LAMB (You et al.: Large batch optimization for deep learning: training BERT in 76 minutes, ICLR 2020):
///
/// ```text
/// g         = clip_factor grad                     (-g where maximize)
/// moment1   = beta1 moment1 + (1 - beta1) g
/// moment2   = beta2 moment2 + (1 - beta2) g²
/// direction = moment1 / (1 - beta1ᵗ) / (√moment2 / √(1 - beta2ᵗ) + eps) + weight_decay param
/// trust     = ‖param‖ / ‖direction‖                (of each tensor; 1 where a norm is 0)
/// param     = param - lr trust direction
/// ```
///
/// as `optax.lamb` computes it. State: both moments. Three launches besides clipping: moments and sums over chunks, trust
/// ratios, the step; 40 bytes moved per parameter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LambUpdate {
    /// Decay rates of the first and the second moment.
    pub betas: (f64, f64),
    /// Added to the root of the second moment.
    pub eps: f64,
    /// Weight decay, within the direction.
    pub weight_decay: f64,
    /// Whether to climb rather than to descend.
    pub maximize: bool,
}

impl Update for LambUpdate {
    fn state_count(&self) -> usize {
        2
    }

    fn sums_tensors(&self) -> bool {
        true
    }

    fn bytes_per_parameter(&self) -> u64 {
        24 + 16
    }

    fn step(&self, mut step: StepArguments<'_>) -> Result<()> {
        step.check(&LAMB, &[true; 2])?;
        let head = Head::new(Timing::of_betas(self.betas), self.weight_decay, self.maximize);
        let head = head.momentum(self.betas.0).decay(Decay::ByRule);
        let (beta2, eps) = (self.betas.1 as f32, self.eps as f32);
        let state = step.state;
        step.run_chunks(&LAMB_MOMENTS, head, state, |head, chunks| MomentParams {
            common: Params { head, beta2, eps },
            chunks: chunks.into(),
        })?;
        let segments = step.clock.laid_out()?;
        let params = TrustRatio { count: segments.count() as u32, coefficient: 1.0, eps: 0.0 };
        segments.finish(&TRUST_RATIO, params, step.clock.table(), &[])?;
        step.run_after(&LAMB, head, |head| Params { head, beta2, eps })
    }
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    head: Head,
    beta2: f32,
    eps: f32,
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct MomentParams {
    common: Params,
    chunks: [u32; 2],
}

/// What is the same for all elements of a tensor. Twin of `shaders/shared/lamb.wgsl`.
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

/// The moments of [`LambUpdate`], and the sums of squares of parameters and direction.
fn moments_twin(call: Call<'_>) {
    let MomentParams { common: Params { head, beta2, eps }, chunks: range } = call.params();
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

/// The step of [`LambUpdate`].
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
    uniform: size_of::<MomentParams>(),
    access: &[
        Access::Write,
        Access::Read,
        Access::Read,
        Access::Write,
        Access::Write,
        Access::Write,
        Access::Read,
        Access::Write,
    ],
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
