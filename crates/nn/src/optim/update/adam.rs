//! Adam and AdamW in one launch.

use thalweg_tensor::Result;
use thalweg_tensor::optim::Elements;
use thalweg_tensor::optim::Timing;
use thalweg_tensor::optim::{Decay, Head, StepArguments, UPDATE_VARIANTS, Update, access};
use thalweg_tensor::{Call, Kernel};

/// One step of Adam (Kingma, Ba 2015) or, where the decay is decoupled, AdamW (Loshchilov, Hutter 2019):
///
/// ```text
/// g       = clip_factor grad                      (-g where maximize; g + weight_decay param where not decoupled)
/// param   = (1 - lr weight_decay) param           (where decoupled)
/// moment1 = beta1 moment1 + (1 - beta1) g
/// moment2 = beta2 moment2 + (1 - beta2) g²
/// param   = param - lr / (1 - beta1ᵗ) moment1 / (√moment2 / √(1 - beta2ᵗ) + eps)
/// ```
///
/// as `torch.optim.Adam` and `AdamW` compute it: epsilon outside of the root, after the bias correction. State: both
/// moments.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamUpdate {
    /// Decay rates of the first and the second moment.
    pub betas: (f64, f64),
    /// Added to the root of the second moment.
    pub eps: f64,
    /// Weight decay.
    pub weight_decay: f64,
    /// Whether weights decay by themselves (AdamW) rather than through the gradient.
    pub decoupled: bool,
    /// Whether to climb rather than to descend.
    pub maximize: bool,
}

impl Update for AdamUpdate {
    fn state_count(&self) -> usize {
        2
    }

    fn step(&self, step: StepArguments<'_>) -> Result<()> {
        let head = Head::new(Timing::of_betas(self.betas), self.weight_decay, self.maximize).momentum(self.betas.0);
        step.run(&ADAM, head.decay(Decay::decoupled(self.decoupled)), |head| Params::new(head, self.betas, self.eps))
    }
}

/// Parameters of Adam and of its variants.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
pub(super) struct Params {
    pub(super) head: Head,
    pub(super) beta2: f32,
    pub(super) eps: f32,
}

impl Params {
    pub(super) fn new(head: Head, (_, beta2): (f64, f64), eps: f64) -> Self {
        Self { head, beta2: beta2 as f32, eps: eps as f32 }
    }
}

/// The formula of [`AdamUpdate`], element by element.
fn twin(call: Call<'_>) {
    let Params { head, beta2, eps } = call.params();
    let one_minus_beta2 = head.one_minus_beta2();
    Elements::of(call).each(
        #[inline(always)]
        |now| (now.momentum, now.one_minus_momentum, now.moment_factors()),
        #[inline(always)]
        move |(beta1, one_minus_beta1, (step_size, inverse_root)), param, grad, [m, v]| {
            *m = beta1 * *m + one_minus_beta1 * grad;
            *v = beta2 * *v + one_minus_beta2 * (grad * grad);
            *param -= step_size * (*m / (v.sqrt() * inverse_root + eps));
        },
    );
}

pub(crate) static ADAM: Kernel = Kernel {
    shader: &thalweg_shaders::ADAM,
    uniform: size_of::<Params>(),
    access: access(2),
    variants: UPDATE_VARIANTS,
    twin,
};
