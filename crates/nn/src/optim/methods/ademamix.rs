//! AdEMAMix.

use thalweg_tensor::optim::{Decay, Elements, Head, StepArguments, Timing, UPDATE_VARIANTS, access};
use thalweg_tensor::{Call, Kernel};

use super::{Capabilities, Method, StateArena};
use crate::Result;
use crate::setting::{method_of_settings, settings};

settings! {
    /// AdEMAMix, as `optax.contrib.ademamix`: [`AdamW`](super::AdamW) with a second, slow moment of the gradient:
    ///
    /// ```text
    /// param   = (1 - lr weight_decay) param
    /// fast    = beta1 fast + (1 - beta1) grad
    /// slow    = beta3 slow + (1 - beta3) grad
    /// moment2 = beta2 moment2 + (1 - beta2) grad²
    /// param   = param - lr (fast / (1 - beta1ᵗ) + alpha slow) / (√moment2 / √(1 - beta2ᵗ) + eps)
    /// ```
    ///
    /// The slow moment has no bias correction, so its share grows over the first 1 / (1 - beta3) steps. The paper raises alpha and
    /// beta3 over many steps as well; here they are constant, as by optax's defaults. A momentum schedule replaces beta1. Usual
    /// rate 1e-3. PyTorch does not have this method. Source: Pagliardini, Ablin, Grangier: The AdEMAMix optimizer: better,
    /// faster, older (ICLR 2025).
    ///
    /// A step is one launch, three with clipping by the global norm. It moves 36 bytes per parameter; the state takes 12.
    "ademamix" AdEmaMix {
        /// Decay rates of the fast moment, of the second moment and of the slow moment.
        betas: (f64, f64, f64) = (0.9, 0.999, 0.9999), fraction;
        /// Factor of the slow moment.
        alpha: f64 = 5.0, not_negative;
        /// Added to the root of the second moment, after bias correction.
        eps: f64 = 1e-8, positive;
        /// Weight decay, times the learning rate.
        weight_decay: f64 = 0.0, not_negative;
        /// Whether to ascend instead of descending.
        maximize: bool = false;
    }
}

impl Method for AdEmaMix {
    method_of_settings!();

    fn state(&self, _: &[Vec<usize>]) -> Vec<StateArena> {
        ["exp_avg", "exp_avg_slow", "exp_avg_sq"].map(StateArena::like_parameters).into()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::new().momentum(true)
    }

    fn step(&self, step: StepArguments<'_>) -> Result<()> {
        let (beta1, beta2, beta3) = self.betas;
        let head = Head::new(Timing::of_betas((beta1, beta2)), self.weight_decay, self.maximize)
            .momentum(beta1)
            .decay(Decay::Decoupled);
        Ok(step.run(&ADEMAMIX, head, |head| Params {
            head,
            beta2: beta2 as f32,
            beta3: beta3 as f32,
            one_minus_beta3: (1.0 - beta3) as f32,
            alpha: self.alpha as f32,
            eps: self.eps as f32,
        })?)
    }
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    head: Head,
    beta2: f32,
    beta3: f32,
    one_minus_beta3: f32,
    alpha: f32,
    eps: f32,
}

/// Computes the formula of [`AdEmaMix`], element-wise.
fn twin(call: Call<'_>) {
    let Params { head, beta2, beta3, one_minus_beta3, alpha, eps } = call.params();
    let one_minus_beta2 = head.one_minus_beta2();
    Elements::of(call).each(
        #[inline(always)]
        |now| {
            let of_fast = now.learning_rate / now.bias_correction1;
            let of_slow = now.learning_rate * alpha;
            let decay = (now.momentum, now.one_minus_momentum);
            (decay, of_fast, of_slow, 1.0 / now.bias_correction2.sqrt())
        },
        #[inline(always)]
        move |((beta1, one_minus_beta1), of_fast, of_slow, inverse_root), param, grad, [fast, slow, v]| {
            *fast = beta1 * *fast + one_minus_beta1 * grad;
            *slow = beta3 * *slow + one_minus_beta3 * grad;
            *v = beta2 * *v + one_minus_beta2 * (grad * grad);
            *param -= (of_fast * *fast + of_slow * *slow) / (v.sqrt() * inverse_root + eps);
        },
    );
}

pub(crate) static ADEMAMIX: Kernel = Kernel {
    shader: &thalweg_shaders::ADEMAMIX,
    uniform: size_of::<Params>(),
    access: access(3),
    variants: UPDATE_VARIANTS,
    twin,
};
