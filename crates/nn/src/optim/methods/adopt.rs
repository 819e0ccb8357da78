//! ADOPT.

use thalweg_tensor::optim::{Decay, Elements, Head, StepArguments, Timing, UPDATE_VARIANTS, access};
use thalweg_tensor::{Call, Kernel};

use super::adam::{Params, two_moments};
use super::{Capabilities, Method, StateArena};
use crate::Result;
use crate::setting::{method_of_settings, settings};

settings! {
    /// ADOPT, as the authors' program. It divides a gradient by the root of the second moment of earlier gradients, and
    /// then averages it:
    ///
    /// ```text
    /// d       = grad / max(√moment2, eps), clipped to ±(t - 1)^¼
    /// param   = (1 - lr weight_decay) param
    /// moment1 = beta1 moment1 + (1 - beta1) d
    /// param   = param - lr moment1
    /// moment2 = beta2 moment2 + (1 - beta2) grad²
    /// ```
    ///
    /// The first step sets moment2 to grad² and does not change the parameters. Neither moment has a bias correction.
    /// Usual rate 1e-3. `optax.contrib.adopt` is the same without weight decay, but its weights decay at the first step
    /// too. PyTorch does not have this method. Source: Taniguchi et al.: ADOPT: modified Adam can converge with any β₂
    /// with the optimal rate (NeurIPS 2024), algorithm 2.
    ///
    /// A step is one launch, three with clipping by the global norm. It moves 28 bytes per parameter; the state takes 8.
    "adopt" Adopt {
        /// Decay rates of the first and the second moment.
        betas: (f64, f64) = (0.9, 0.9999), fraction;
        /// The least divisor of a gradient.
        eps: f64 = 1e-6, positive;
        /// Weight decay, times the learning rate.
        weight_decay: f64 = 0.0, not_negative;
        /// Whether to ascend instead of descending.
        maximize: bool = false;
    }
}

impl Method for Adopt {
    method_of_settings!();

    fn state(&self, _: &[Vec<usize>]) -> Vec<StateArena> {
        two_moments()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::new().momentum(true)
    }

    fn step(&self, step: StepArguments<'_>) -> Result<()> {
        // The first step has no decay.
        let head = Head::new(Timing::of_betas(self.betas), self.weight_decay, self.maximize)
            .momentum(self.betas.0)
            .decay(Decay::ByRule);
        Ok(step.run(&ADOPT, head, |head| Params::new(head, self.betas, self.eps))?)
    }
}

/// Computes the formula of [`Adopt`], element-wise.
fn twin(call: Call<'_>) {
    let Params { head, beta2, eps } = call.params();
    let one_minus_beta2 = head.one_minus_beta2();
    Elements::of(call).each(
        #[inline(always)]
        |now| {
            let first = now.step <= 1;
            let kept = if first { 1.0 } else { 1.0 - now.learning_rate * now.weight_decay };
            let limit = (now.step.saturating_sub(1) as f32).sqrt().sqrt();
            let of_squares = if first { (0.0, 1.0) } else { (beta2, one_minus_beta2) };
            ((now.momentum, now.one_minus_momentum), now.learning_rate, kept, limit, of_squares)
        },
        #[inline(always)]
        move |((beta1, one_minus_beta1), lr, kept, limit, (of_old, of_square)), param, grad, [m, v]| {
            let root = v.sqrt();
            let scaled = grad / if root < eps { eps } else { root };
            let scaled = if scaled > limit { limit } else { scaled };
            let scaled = if scaled < -limit { -limit } else { scaled };
            *m = beta1 * *m + one_minus_beta1 * scaled;
            *v = of_old * *v + of_square * (grad * grad);
            *param = *param * kept - lr * *m;
        },
    );
}

pub(crate) static ADOPT: Kernel = Kernel {
    shader: &thalweg_shaders::ADOPT,
    uniform: size_of::<Params>(),
    access: access(2),
    variants: UPDATE_VARIANTS,
    twin,
};
