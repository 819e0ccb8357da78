//! Adan in one launch.

use thalweg_tensor::Result;
use thalweg_tensor::optim::Elements;
use thalweg_tensor::optim::{Decay, Head, StepArguments, UPDATE_VARIANTS, Update, access};
use thalweg_tensor::optim::{Extra, Timing};
use thalweg_tensor::{Call, Kernel};

/// One step of Adan (Xie et al. 2024):
///
/// ```text
/// g       = clip_factor grad                      (-g where maximize)
/// d       = g - before                            (0 at the first step),    before = g
/// param   = (1 - lr weight_decay) param
/// moment1 = beta1 moment1 + (1 - beta1) g
/// change  = beta2 change + (1 - beta2) d
/// moment2 = beta3 moment2 + (1 - beta3) (g + beta2 d)²
/// param   = param - lr (moment1 / (1 - beta1ᵗ) + beta2 change / (1 - beta2ᵗ)) / (√moment2 / √(1 - beta3ᵗ) + eps)
/// ```
///
/// as the authors' code computes it. State: the moment of the gradients, that of their differences, that of the squares, and
/// the gradients before. The clock keeps 1 - beta3ᵗ.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdanUpdate {
    /// Decay rates of the moments of gradients, of their differences and of squares.
    pub betas: (f64, f64, f64),
    /// Added to the root.
    pub eps: f64,
    /// Weight decay, decoupled.
    pub weight_decay: f64,
    /// Whether to climb rather than to descend.
    pub maximize: bool,
}

impl Update for AdanUpdate {
    fn state_count(&self) -> usize {
        4
    }

    fn step(&self, step: StepArguments<'_>) -> Result<()> {
        let head = Head::new(
            Timing::of_betas((self.betas.0, self.betas.1)).with_extra(Extra::ThirdMoment, 1.0 - self.betas.2),
            self.weight_decay,
            self.maximize,
        )
        .momentum(self.betas.0);
        step.run(&ADAN, head.decay(Decay::Decoupled), |head| Params {
            head,
            beta2: self.betas.1 as f32,
            beta3: self.betas.2 as f32,
            eps: self.eps as f32,
        })
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

/// The formula of [`AdanUpdate`], element by element.
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
