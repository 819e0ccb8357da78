//! AdaBelief.

use thalweg_tensor::optim::{Decay, Elements, Head, StepArguments, Timing, UPDATE_VARIANTS, access};
use thalweg_tensor::{Call, Kernel};

use super::{Capabilities, Method, StateArena};
use crate::Result;
use crate::setting::{method_of_settings, settings};

settings! {
    /// AdaBelief, as `optax.adabelief`: [`Adam`](super::Adam) with the deviation of the gradient from its mean in place of its
    /// square:
    ///
    /// ```text
    /// param   = (1 - lr weight_decay) param
    /// moment1 = beta1 moment1 + (1 - beta1) grad
    /// belief  = beta2 belief + (1 - beta2) (grad - moment1)² + eps_root
    /// param   = param - lr / (1 - beta1ᵗ) moment1 / (√belief / √(1 - beta2ᵗ) + eps)
    /// ```
    ///
    /// `eps_root` stays in the average, as in optax and in the authors' program. Usual rate 1e-3. PyTorch does not have this
    /// method. Source: Zhuang et al.: AdaBelief optimizer: adapting stepsizes by the belief in observed gradients (NeurIPS
    /// 2020).
    ///
    /// A step is one launch, three with clipping by the global norm. It moves 28 bytes per parameter; the state takes 8. In
    /// software it reaches 0.9 to 1 of a copy's bandwidth: [why](crate::Optimizer#bandwidth-in-software).
    "adabelief" AdaBelief {
        /// Decay rates of the first and the second moment.
        betas: (f64, f64) = (0.9, 0.999), fraction;
        /// Added to the root, after bias correction.
        eps: f64 = 1e-16, positive;
        /// Added to the average at every step.
        eps_root: f64 = 1e-16, not_negative;
        /// Weight decay, times the learning rate.
        weight_decay: f64 = 0.0, not_negative;
        /// Whether to ascend instead of descending.
        maximize: bool = false;
    }
}

impl Method for AdaBelief {
    method_of_settings!();

    fn state(&self, _: &[Vec<usize>]) -> Vec<StateArena> {
        ["exp_avg", "exp_avg_var"].map(StateArena::like_parameters).into()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::new().momentum(true)
    }

    fn step(&self, step: StepArguments<'_>) -> Result<()> {
        let head = Head::new(Timing::of_betas(self.betas), self.weight_decay, self.maximize)
            .momentum(self.betas.0)
            .decay(Decay::Decoupled);
        Ok(step.run(&ADABELIEF, head, |head| Params {
            head,
            beta2: self.betas.1 as f32,
            eps: self.eps as f32,
            eps_root: self.eps_root as f32,
        })?)
    }
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    head: Head,
    beta2: f32,
    eps: f32,
    eps_root: f32,
}

/// Computes the formula of [`AdaBelief`], element-wise.
fn twin(call: Call<'_>) {
    let Params { head, beta2, eps, eps_root } = call.params();
    let one_minus_beta2 = head.one_minus_beta2();
    Elements::of(call).each(
        #[inline(always)]
        |now| (now.momentum, now.one_minus_momentum, now.moment_factors()),
        #[inline(always)]
        move |(beta1, one_minus_beta1, (step_size, inverse_root)), param, grad, [m, belief]| {
            *m = beta1 * *m + one_minus_beta1 * grad;
            let surprise = grad - *m;
            *belief = beta2 * *belief + one_minus_beta2 * (surprise * surprise) + eps_root;
            *param -= step_size * (*m / (belief.sqrt() * inverse_root + eps));
        },
    );
}

pub(crate) static ADABELIEF: Kernel = Kernel {
    shader: &thalweg_shaders::ADABELIEF,
    uniform: size_of::<Params>(),
    access: access(2),
    variants: UPDATE_VARIANTS,
    twin,
};
