//! Adan.

use thalweg_tensor::optim::{Decay, Elements, Extra, Head, StepArguments, Timing, UPDATE_VARIANTS, access};
use thalweg_tensor::{Call, Kernel};

use super::{Capabilities, Method, StateArena};
use crate::Result;
use crate::setting::{method_of_settings, settings};

settings! {
    /// Adan, as the authors' program:
    ///
    /// ```text
    /// d       = grad - previous_grad                  (0 at the first step)
    /// param   = (1 - lr weight_decay) param
    /// moment1 = beta1 moment1 + (1 - beta1) grad
    /// change  = beta2 change + (1 - beta2) d
    /// moment2 = beta3 moment2 + (1 - beta3) (grad + beta2 d)²
    /// param   = param - lr (moment1 / (1 - beta1ᵗ) + beta2 change / (1 - beta2ᵗ)) / (√moment2 / √(1 - beta3ᵗ) + eps)
    /// ```
    ///
    /// The betas are decay rates: 1 minus those of the paper. Usual rate 1e-3. Optax multiplies differences by 1 -
    /// beta2, which is another method; PyTorch has none. Source: Xie et al.: Adan: adaptive Nesterov momentum algorithm
    /// for faster optimizing deep models (TPAMI 2024).
    ///
    /// A step is one launch, three with clipping by the global norm. It moves 44 bytes per parameter; the state takes 16. In
    /// software it reaches 0.9 to 1 of a copy's bandwidth: [why](crate::Optimizer#bandwidth-in-software).
    "adan" Adan {
        /// Decay rates of the moments of gradients, of their differences and of squares.
        betas: (f64, f64, f64) = (0.98, 0.92, 0.99), fraction;
        /// Added to the root, after bias correction.
        eps: f64 = 1e-8, positive;
        /// Weight decay, times the learning rate.
        weight_decay: f64 = 0.0, not_negative;
        /// Whether to ascend instead of descending.
        maximize: bool = false;
    }
}

impl Method for Adan {
    method_of_settings!();

    fn state(&self, _: &[Vec<usize>]) -> Vec<StateArena> {
        ["exp_avg", "exp_avg_diff", "exp_avg_sq", "previous_grad"].map(StateArena::like_parameters).into()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::new().momentum(true)
    }

    fn step(&self, step: StepArguments<'_>) -> Result<()> {
        let (beta1, beta2, beta3) = self.betas;
        // The clock keeps 1 - beta3ᵗ.
        let timing = Timing::of_betas((beta1, beta2)).with_extra(Extra::ThirdMoment, 1.0 - beta3);
        let head = Head::new(timing, self.weight_decay, self.maximize).momentum(beta1).decay(Decay::Decoupled);
        Ok(step.run(&ADAN, head, |head| Params {
            head,
            beta2: beta2 as f32,
            beta3: beta3 as f32,
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
    eps: f32,
}

/// Computes the formula of [`Adan`], element-wise.
fn twin(call: Call<'_>) {
    let Params { head, beta2, beta3, eps } = call.params();
    let (one_minus_beta2, one_minus_beta3) = (head.one_minus_beta2(), head.extra_rate());
    Elements::of(call).each(
        #[inline(always)]
        |now| {
            let of_gradient = now.learning_rate / now.bias_correction1;
            let of_change = now.learning_rate * beta2 / now.bias_correction2;
            let decay = (now.momentum, now.one_minus_momentum);
            (now.step == 1, decay, of_gradient, of_change, 1.0 / now.extra[0].sqrt())
        },
        #[inline(always)]
        move |(is_first, (beta1, one_minus_beta1), of_gradient, of_change, inverse_root),
              param,
              grad,
              [m, change, n, before]| {
            let difference = if is_first { 0.0 } else { grad - *before };
            let ahead = grad + beta2 * difference;
            *before = grad;
            *m = beta1 * *m + one_minus_beta1 * grad;
            *change = beta2 * *change + one_minus_beta2 * difference;
            *n = beta3 * *n + one_minus_beta3 * (ahead * ahead);
            *param -= (of_gradient * *m + of_change * *change) / (n.sqrt() * inverse_root + eps);
        },
    );
}

pub(crate) static ADAN: Kernel = Kernel {
    shader: &thalweg_shaders::ADAN,
    uniform: size_of::<Params>(),
    access: access(4),
    variants: UPDATE_VARIANTS,
    twin,
};
