//! Adamax in one launch.

use super::adam::Params;
use thalweg_tensor::Result;
use thalweg_tensor::optim::Elements;
use thalweg_tensor::optim::Timing;
use thalweg_tensor::optim::{Head, StepArguments, UPDATE_VARIANTS, Update, access};
use thalweg_tensor::{Call, Kernel};

/// One step of Adamax (Kingma, Ba 2015):
///
/// ```text
/// g       = clip_factor grad                      (-g where maximize), + weight_decay param
/// moment1 = beta1 moment1 + (1 - beta1) g
/// largest = max(beta2 largest, |g| + eps)
/// param   = param - lr / (1 - beta1ᵗ) moment1 / largest
/// ```
///
/// as `torch.optim.Adamax` computes it. State: the first moment and the largest gradient.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamaxUpdate {
    /// Decay rates of the first moment and of the largest gradient.
    pub betas: (f64, f64),
    /// Added to the magnitude of the gradient.
    pub eps: f64,
    /// Weight decay, through the gradient.
    pub weight_decay: f64,
    /// Whether to climb rather than to descend.
    pub maximize: bool,
}

impl Update for AdamaxUpdate {
    fn state_count(&self) -> usize {
        2
    }

    fn step(&self, step: StepArguments<'_>) -> Result<()> {
        let head = Head::new(Timing::of_betas(self.betas), self.weight_decay, self.maximize).momentum(self.betas.0);
        step.run(&ADAMAX, head, |head| Params::new(head, self.betas, self.eps))
    }
}

/// The formula of [`AdamaxUpdate`], element by element.
fn twin(call: Call<'_>) {
    let Params { beta2, eps, .. } = call.params();
    Elements::of(call).each(
        #[inline(always)]
        |now| (now.momentum, now.one_minus_momentum, now.learning_rate / now.bias_correction1),
        #[inline(always)]
        move |(beta1, one_minus_beta1, step_size), param, grad, [m, largest]| {
            *m = beta1 * *m + one_minus_beta1 * grad;
            let (faded, here) = (beta2 * *largest, grad.abs() + eps);
            // A gradient that is NaN is taken, as it would be by Adam.
            *largest = if faded >= here { faded } else { here };
            *param -= step_size * (*m / *largest);
        },
    );
}

pub(crate) static ADAMAX: Kernel = Kernel {
    shader: &thalweg_shaders::ADAMAX,
    uniform: size_of::<Params>(),
    access: access(2),
    variants: UPDATE_VARIANTS,
    twin,
};
