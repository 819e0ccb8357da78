//! NAdam in one launch.

use super::adam::Params;
use thalweg_tensor::Result;
use thalweg_tensor::optim::Elements;
use thalweg_tensor::optim::{Decay, Head, StepArguments, UPDATE_VARIANTS, Update, access};
use thalweg_tensor::optim::{Extra, Timing};
use thalweg_tensor::{Call, Kernel};

/// One step of NAdam (Dozat 2016):
///
/// ```text
/// g       = clip_factor grad                      (-g where maximize; g + weight_decay param where not decoupled)
/// param   = (1 - lr weight_decay) param           (where decoupled)
/// moment1 = beta1 moment1 + (1 - beta1) g
/// moment2 = beta2 moment2 + (1 - beta2) g²
/// muₜ     = beta1 (1 - ½ 0.96^(t momentum_decay)),    Πₜ = mu₁ mu₂ … muₜ
/// d       = √moment2 / √(1 - beta2ᵗ) + eps
/// param   = param - lr ((1 - muₜ) / (1 - Πₜ) g + muₜ₊₁ / (1 - Πₜ muₜ₊₁) moment1) / d
/// ```
///
/// as `torch.optim.NAdam` computes it. State: both moments. The clock keeps 0.96^(t momentum_decay) and 1 - Πₜ, each a
/// recursion without cancellation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NAdamUpdate {
    /// Decay rates of the first and the second moment.
    pub betas: (f64, f64),
    /// Added to the root of the second moment.
    pub eps: f64,
    /// How fast mu rises to beta1.
    pub momentum_decay: f64,
    /// Weight decay.
    pub weight_decay: f64,
    /// Whether weights decay by themselves rather than through the gradient.
    pub decoupled: bool,
    /// Whether to climb rather than to descend.
    pub maximize: bool,
}

impl NAdamUpdate {
    /// 1 - 0.96^momentum_decay.
    fn rate(&self) -> f64 {
        -(self.momentum_decay * 0.96f64.ln()).exp_m1()
    }
}

impl Update for NAdamUpdate {
    fn state_count(&self) -> usize {
        2
    }

    fn step(&self, step: StepArguments<'_>) -> Result<()> {
        let head = Head::new(
            Timing::of_betas(self.betas).with_extra(Extra::MomentumDecay, self.rate()),
            self.weight_decay,
            self.maximize,
        )
        .momentum(self.betas.0);
        step.run(&NADAM, head.decay(Decay::decoupled(self.decoupled)), |head| Params::new(head, self.betas, self.eps))
    }
}

/// The formula of [`NAdamUpdate`], element by element.
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
