//! NAdam.

use thalweg_tensor::optim::{Decay, Elements, Extra, Head, StepArguments, Timing, UPDATE_VARIANTS, access};
use thalweg_tensor::{Call, Kernel};

use super::adam::{Params, two_moments};
use super::{Capabilities, Method, StateArena};
use crate::Result;
use crate::setting::{method_of_settings, settings};

settings! {
    /// NAdam, as `torch.optim.NAdam`: [`Adam`](super::Adam) with Nesterov's momentum:
    ///
    /// ```text
    /// g       = grad + weight_decay param             (decoupled: param = (1 - lr weight_decay) param)
    /// moment1 = beta1 moment1 + (1 - beta1) g
    /// moment2 = beta2 moment2 + (1 - beta2) g²
    /// muₜ     = beta1 (1 - ½ 0.96^(t momentum_decay)),  Πₜ = mu₁ mu₂ … muₜ
    /// d       = √moment2 / √(1 - beta2ᵗ) + eps
    /// param   = param - lr ((1 - muₜ) / (1 - Πₜ) g + muₜ₊₁ / (1 - Πₜ muₜ₊₁) moment1) / d
    /// ```
    ///
    /// The clock keeps 0.96^(t momentum_decay) and 1 - Πₜ by recursions without cancellation. Usual rate 2e-3. Optax has no
    /// schedule of mu, which is another method. The name `nadamw` in the program is this method with a decoupled weight decay
    /// of 0.01. Source: Dozat: Incorporating Nesterov momentum into Adam (ICLR workshop 2016).
    ///
    /// A step is one launch, three with clipping by the global norm. It moves 28 bytes per parameter; the state takes 8. In
    /// software it reaches 0.9 to 1 of a copy's bandwidth: [why](crate::Optimizer#bandwidth-in-software).
    "nadam" NAdam {
        /// Decay rates of the first and the second moment.
        betas: (f64, f64) = (0.9, 0.999), fraction;
        /// Added to the root of the second moment, after bias correction.
        eps: f64 = 1e-8, positive;
        /// The rate at which mu rises to beta1.
        momentum_decay: f64 = 4e-3, not_negative;
        /// Weight decay.
        weight_decay: f64 = 0.0, not_negative;
        /// Whether weight decay is decoupled from the gradient.
        decoupled: bool = false;
        /// Whether to ascend instead of descending.
        maximize: bool = false;
    }
}

impl Method for NAdam {
    method_of_settings!();

    fn state(&self, _: &[Vec<usize>]) -> Vec<StateArena> {
        two_moments()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::new().momentum(true)
    }

    fn step(&self, step: StepArguments<'_>) -> Result<()> {
        // 1 - 0.96^momentum_decay.
        let rate = -(self.momentum_decay * 0.96f64.ln()).exp_m1();
        let timing = Timing::of_betas(self.betas).with_extra(Extra::MomentumDecay, rate);
        let head = Head::new(timing, self.weight_decay, self.maximize)
            .momentum(self.betas.0)
            .decay(Decay::decoupled(self.decoupled));
        Ok(step.run(&NADAM, head, |head| Params::new(head, self.betas, self.eps))?)
    }
}

/// Computes the formula of [`NAdam`], element-wise.
fn twin(call: Call<'_>) {
    let Params { head, beta2, eps } = call.params();
    let (one_minus_beta2, rate) = (head.one_minus_beta2(), head.extra_rate());
    Elements::of(call).each(
        #[inline(always)]
        |now| {
            let [decay, one_minus_product] = now.extra;
            let next_decay = decay - rate * decay;
            let one_minus_mu = now.one_minus_momentum + now.momentum * (0.5 * decay);
            let mu_next = now.momentum * (1.0 - 0.5 * next_decay);
            let one_minus_mu_next = now.one_minus_momentum + now.momentum * (0.5 * next_decay);
            let of_grad = now.learning_rate * one_minus_mu / one_minus_product;
            let of_moment =
                now.learning_rate * mu_next / (one_minus_product + (1.0 - one_minus_product) * one_minus_mu_next);
            (now.momentum, now.one_minus_momentum, of_grad, of_moment, 1.0 / now.bias_correction2.sqrt())
        },
        #[inline(always)]
        move |(beta1, one_minus_beta1, of_grad, of_moment, inverse_root), param, grad, [m, v]| {
            *m = beta1 * *m + one_minus_beta1 * grad;
            *v = beta2 * *v + one_minus_beta2 * (grad * grad);
            *param -= (of_grad * grad + of_moment * *m) / (v.sqrt() * inverse_root + eps);
        },
    );
}

pub(crate) static NADAM: Kernel = Kernel {
    shader: &thalweg_shaders::NADAM,
    uniform: size_of::<Params>(),
    access: access(2),
    variants: UPDATE_VARIANTS,
    twin,
};
