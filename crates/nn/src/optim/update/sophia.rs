//! Sophia in one launch.

use thalweg_tensor::Result;
use thalweg_tensor::optim::Elements;
use thalweg_tensor::optim::Timing;
use thalweg_tensor::optim::{Decay, Head, StepArguments, UPDATE_VARIANTS, Update, access};
use thalweg_tensor::{Call, Kernel};

/// One step of Sophia (Liu, Li, Hall, Liang, Ma 2023):
///
/// ```text
/// g      = clip_factor grad                       (-g where maximize)
/// moment = beta1 moment + (1 - beta1) g
/// u      = clamp(moment / (1 - beta1ᵗ) / max(gamma hessian, eps), ±clip_threshold)
/// param  = (1 - lr weight_decay) param - lr u
/// ```
///
/// as `optax.contrib.sophia` computes it. State: the moment, and the average of the Hessian's diagonal, which
/// [`Clock::average_hessian`](thalweg_tensor::Clock::average_hessian) takes further every few steps.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SophiaUpdate {
    /// The decay rate of the moment.
    pub beta1: f64,
    /// The least that the moment is divided by.
    pub eps: f64,
    /// What the Hessian's diagonal is multiplied by.
    pub gamma: f64,
    /// The most of the learning rate that a parameter moves by.
    pub clip_threshold: f64,
    /// Weight decay, decoupled.
    pub weight_decay: f64,
    /// Whether to climb rather than to descend.
    pub maximize: bool,
}

impl Update for SophiaUpdate {
    fn state_count(&self) -> usize {
        2
    }

    fn bytes_per_parameter(&self) -> u64 {
        // The Hessian is read alone.
        24
    }

    fn step(&self, step: StepArguments<'_>) -> Result<()> {
        let head = Head::new(Timing::of_betas((self.beta1, 0.0)), self.weight_decay, self.maximize)
            .momentum(self.beta1)
            .decay(Decay::Decoupled);
        let (gamma, eps, clip_threshold) = (self.gamma as f32, self.eps as f32, self.clip_threshold as f32);
        step.run(&SOPHIA, head, |head| Params { head, gamma, eps, clip_threshold })
    }
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    head: Head,
    gamma: f32,
    eps: f32,
    clip_threshold: f32,
}

/// The formula of [`SophiaUpdate`], element by element.
fn twin(call: Call<'_>) {
    let Params { head: _, gamma, eps, clip_threshold } = call.params();
    Elements::of(call).each(
        #[inline(always)]
        |now| (now.momentum, now.one_minus_momentum, now.learning_rate, 1.0 / now.bias_correction1),
        #[inline(always)]
        move |(beta1, one_minus_beta1, lr, inverse_correction), param, grad, [moment, hessian]| {
            *moment = beta1 * *moment + one_minus_beta1 * grad;
            let curvature = gamma * *hessian;
            let u = *moment * inverse_correction / if curvature > eps { curvature } else { eps };
            let u = if u < -clip_threshold { -clip_threshold } else { u };
            *param -= lr * if u > clip_threshold { clip_threshold } else { u };
        },
    );
}

pub(crate) static SOPHIA: Kernel = Kernel {
    shader: &thalweg_shaders::SOPHIA,
    uniform: size_of::<Params>(),
    access: access(2),
    variants: UPDATE_VARIANTS,
    twin,
};
