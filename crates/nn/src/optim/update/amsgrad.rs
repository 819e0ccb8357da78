//! AMSGrad in one launch.

use super::adam::Params;
use thalweg_tensor::Result;
use thalweg_tensor::optim::Elements;
use thalweg_tensor::optim::Timing;
use thalweg_tensor::optim::{Decay, Head, StepArguments, UPDATE_VARIANTS, Update, access};
use thalweg_tensor::{Call, Kernel};

/// One step of AMSGrad (Reddi, Kale, Kumar 2018), which is Adam with the largest second moment so far:
///
/// ```text
/// g       = clip_factor grad                      (-g where maximize; g + weight_decay param where not decoupled)
/// param   = (1 - lr weight_decay) param           (where decoupled)
/// moment1 = beta1 moment1 + (1 - beta1) g
/// moment2 = beta2 moment2 + (1 - beta2) g²
/// largest = max(largest, moment2)
/// param   = param - lr / (1 - beta1ᵗ) moment1 / (√largest / √(1 - beta2ᵗ) + eps)
/// ```
///
/// as `torch.optim.Adam` and `AdamW` compute it with `amsgrad`: the largest is that of the second moment before its bias
/// is corrected, where optax takes it behind. State: both moments and the largest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AmsgradUpdate {
    /// Decay rates of the first and the second moment.
    pub betas: (f64, f64),
    /// Added to the root of the largest second moment.
    pub eps: f64,
    /// Weight decay.
    pub weight_decay: f64,
    /// Whether weights decay by themselves rather than through the gradient.
    pub decoupled: bool,
    /// Whether to climb rather than to descend.
    pub maximize: bool,
}

impl Update for AmsgradUpdate {
    fn state_count(&self) -> usize {
        3
    }

    fn step(&self, step: StepArguments<'_>) -> Result<()> {
        let head = Head::new(Timing::of_betas(self.betas), self.weight_decay, self.maximize).momentum(self.betas.0);
        step.run(&AMSGRAD, head.decay(Decay::decoupled(self.decoupled)), |head| Params::new(head, self.betas, self.eps))
    }
}

/// The formula of [`AmsgradUpdate`], element by element.
fn twin(call: Call<'_>) {
    let Params { head, beta2, eps } = call.params();
    let one_minus_beta2 = head.one_minus_beta2();
    Elements::of(call).each(
        #[inline(always)]
        |now| (now.momentum, now.one_minus_momentum, now.moment_factors()),
        #[inline(always)]
        move |(beta1, one_minus_beta1, (step_size, inverse_root)), param, grad, [m, v, largest]| {
            *m = beta1 * *m + one_minus_beta1 * grad;
            *v = beta2 * *v + one_minus_beta2 * (grad * grad);
            // A NaN in the second moment is taken, as it would be by Adam.
            *largest = if *largest >= *v { *largest } else { *v };
            *param -= step_size * (*m / (largest.sqrt() * inverse_root + eps));
        },
    );
}

pub(crate) static AMSGRAD: Kernel = Kernel {
    shader: &thalweg_shaders::AMSGRAD,
    uniform: size_of::<Params>(),
    access: access(3),
    variants: UPDATE_VARIANTS,
    twin,
};
