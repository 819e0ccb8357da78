//! RAdam in one launch.

use super::adam::Params;
use thalweg_tensor::Result;
use thalweg_tensor::optim::Elements;
use thalweg_tensor::optim::{Decay, Head, StepArguments, UPDATE_VARIANTS, Update, access};
use thalweg_tensor::optim::{Extra, Timing};
use thalweg_tensor::{Call, Kernel};

/// One step of RAdam (Liu et al. 2020):
///
/// ```text
/// g       = clip_factor grad                      (-g where maximize; g + weight_decay param where not decoupled)
/// param   = (1 - lr weight_decay) param           (where decoupled)
/// moment1 = beta1 moment1 + (1 - beta1) g
/// moment2 = beta2 moment2 + (1 - beta2) g²
/// rho     = rho∞ - 2 t beta2ᵗ / (1 - beta2ᵗ),    rho∞ = 2 / (1 - beta2) - 1
/// r       = √((rho - 4) (rho - 2) rho∞ / ((rho∞ - 4) (rho∞ - 2) rho))
/// param   = param - lr / (1 - beta1ᵗ) moment1 (r √(1 - beta2ᵗ) / (√moment2 + eps) where rho > 5, else 1)
/// ```
///
/// as `torch.optim.RAdam` computes it. State: both moments. The clock keeps Σ beta2ⁱ - beta2ᵗ over i < t, a sum of positive
/// terms; divided by 1 - beta2ᵗ and doubled it is rho + 1, without the cancellation that the formula has in the first steps.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RAdamUpdate {
    /// Decay rates of the first and the second moment.
    pub betas: (f64, f64),
    /// Added to the root of the second moment.
    pub eps: f64,
    /// Weight decay.
    pub weight_decay: f64,
    /// Whether weights decay by themselves rather than through the gradient.
    pub decoupled: bool,
    /// Whether to climb rather than to descend.
    pub maximize: bool,
}

impl Update for RAdamUpdate {
    fn state_count(&self) -> usize {
        2
    }

    fn step(&self, step: StepArguments<'_>) -> Result<()> {
        let head = Head::new(
            Timing::of_betas(self.betas).with_extra(Extra::Rectification, 0.0),
            self.weight_decay,
            self.maximize,
        )
        .momentum(self.betas.0);
        step.run(&RADAM, head.decay(Decay::decoupled(self.decoupled)), |head| Params::new(head, self.betas, self.eps))
    }
}

/// The formula of [`RAdamUpdate`], element by element.
fn twin(call: Call<'_>) {
    let Params { head, beta2, eps } = call.params();
    let one_minus_beta2 = head.one_minus_beta2();
    Elements::of(call).each(
        #[inline(always)]
        |now| {
            let longest = 2.0 / one_minus_beta2 - 1.0;
            let length = 2.0 * now.extra[1] / now.bias_correction2 - 1.0;
            let ratio = (length - 4.0) / (longest - 4.0) * ((length - 2.0) / (longest - 2.0)) * (longest / length);
            let rectified = (length > 5.0).then_some((ratio * now.bias_correction2).sqrt());
            (now.momentum, now.one_minus_momentum, now.learning_rate / now.bias_correction1, rectified)
        },
        #[inline(always)]
        move |(beta1, one_minus_beta1, step_size, rectified), param, grad, [m, v]| {
            *m = beta1 * *m + one_minus_beta1 * grad;
            *v = beta2 * *v + one_minus_beta2 * (grad * grad);
            let adaptive = rectified.map_or(1.0, |rectified| rectified / (v.sqrt() + eps));
            *param -= step_size * *m * adaptive;
        },
    );
}

pub(crate) static RADAM: Kernel = Kernel {
    shader: &thalweg_shaders::RADAM,
    uniform: size_of::<Params>(),
    access: access(2),
    variants: UPDATE_VARIANTS,
    twin,
};
