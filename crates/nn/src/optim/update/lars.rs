//! LARS in three launches.

use thalweg_tensor::Result;
use thalweg_tensor::optim::Elements;
use thalweg_tensor::optim::Timing;
use thalweg_tensor::optim::segments::{ChunkParams, PARAMETER_NORMS, TRUST_RATIO, TrustRatio};
use thalweg_tensor::optim::{Head, StepArguments, UPDATE_VARIANTS, Update, access};
use thalweg_tensor::{Call, Kernel};

/// One step of LARS (You, Gitman, Ginsburg: Large batch training of convolutional networks, 2017):
///
/// ```text
/// g      = clip_factor grad                       (-g where maximize), + weight_decay param
/// trust  = coefficient ‖param‖ / (‖g‖ + eps)      (of each tensor; 1 where a norm is 0)
/// u      = lr trust g
/// moment = momentum moment + u
/// param  = param - moment                         (Nesterov: param - (u + momentum moment))
/// ```
///
/// as `optax.lars` computes it: the learning rate goes into the moment. State: the moment. Three launches besides clipping:
/// sums over chunks, trust ratios, the step; 28 bytes moved per parameter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LarsUpdate {
    /// What the moment keeps from step to step.
    pub momentum: f64,
    /// Weight decay, through the gradient.
    pub weight_decay: f64,
    /// How much of a tensor's norm a step may change.
    pub trust_coefficient: f64,
    /// Added to the norm of the gradient.
    pub eps: f64,
    /// Whether to look ahead.
    pub nesterov: bool,
    /// Whether to climb rather than to descend.
    pub maximize: bool,
}

impl Update for LarsUpdate {
    fn state_count(&self) -> usize {
        1
    }

    fn sums_tensors(&self) -> bool {
        true
    }

    fn bytes_per_parameter(&self) -> u64 {
        8 + 20
    }

    fn step(&self, mut step: StepArguments<'_>) -> Result<()> {
        step.check(&LARS, &[true])?;
        let head = Head::new(Timing::without_betas(), self.weight_decay, self.maximize).momentum(self.momentum);
        step.run_chunks(&PARAMETER_NORMS, head, &[], ChunkParams::new)?;
        let segments = step.clock.laid_out()?;
        let params = TrustRatio {
            count: segments.count() as u32,
            coefficient: self.trust_coefficient as f32,
            eps: self.eps as f32,
        };
        segments.finish(&TRUST_RATIO, params, step.clock.table(), &[])?;
        step.run_after(&LARS, head, |head| Params { head, nesterov: self.nesterov.into() })
    }
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    head: Head,
    nesterov: u32,
}

/// The step of [`LarsUpdate`].
fn twin(call: Call<'_>) {
    let Params { nesterov, .. } = call.params();
    Elements::of(call).each(
        #[inline(always)]
        |now| (now.momentum, now.learning_rate * now.own_factor),
        #[inline(always)]
        move |(momentum, step_size), param, grad, [moment]| {
            let scaled = step_size * grad;
            *moment = momentum * *moment + scaled;
            *param -= if nesterov != 0 { scaled + momentum * *moment } else { *moment };
        },
    );
}

pub(crate) static LARS: Kernel = Kernel {
    shader: &thalweg_shaders::LARS,
    uniform: size_of::<Params>(),
    access: access(1),
    variants: UPDATE_VARIANTS,
    twin,
};
