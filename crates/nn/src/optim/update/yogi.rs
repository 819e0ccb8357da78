//! Yogi in one launch.

use thalweg_tensor::Result;
use thalweg_tensor::optim::Timing;
use thalweg_tensor::optim::{Elements, sign};
use thalweg_tensor::optim::{Head, StepArguments, UPDATE_VARIANTS, Update, access};
use thalweg_tensor::{Call, Kernel};

/// One step of Yogi (Zaheer et al. 2018):
///
/// ```text
/// g       = clip_factor grad                      (-g where maximize), + weight_decay param
/// moment1 = beta1 moment1 + (1 - beta1) g         (at first: initial_accumulator_value, as moment2)
/// moment2 = moment2 - (1 - beta2) sign(moment2 - g²) g²
/// param   = param - lr / (1 - beta1ᵗ) moment1 / (√moment2 / √(1 - beta2ᵗ) + eps)
/// ```
///
/// as `optax.yogi` computes it. State: both moments.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct YogiUpdate {
    /// Decay rates of the first and the second moment.
    pub betas: (f64, f64),
    /// Added to the root of the second moment.
    pub eps: f64,
    /// Where both moments begin.
    pub initial_accumulator_value: f64,
    /// Weight decay, through the gradient.
    pub weight_decay: f64,
    /// Whether to climb rather than to descend.
    pub maximize: bool,
}

impl Update for YogiUpdate {
    fn state_count(&self) -> usize {
        2
    }

    fn initial_state(&self, _number: usize) -> f32 {
        self.initial_accumulator_value as f32
    }

    fn step(&self, step: StepArguments<'_>) -> Result<()> {
        let head = Head::new(Timing::of_betas(self.betas), self.weight_decay, self.maximize).momentum(self.betas.0);
        step.run(&YOGI, head, |head| Params { head, eps: self.eps as f32 })
    }
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    head: Head,
    eps: f32,
}

/// The formula of [`YogiUpdate`], element by element.
fn twin(call: Call<'_>) {
    let Params { head, eps } = call.params();
    let one_minus_beta2 = head.one_minus_beta2();
    Elements::of(call).each(
        #[inline(always)]
        |now| (now.momentum, now.one_minus_momentum, now.moment_factors()),
        #[inline(always)]
        move |(beta1, one_minus_beta1, (step_size, inverse_root)), param, grad, [m, v]| {
            *m = beta1 * *m + one_minus_beta1 * grad;
            let square = grad * grad;
            *v -= one_minus_beta2 * (sign(*v - square) * square);
            *param -= step_size * (*m / (v.sqrt() * inverse_root + eps));
        },
    );
}

pub(crate) static YOGI: Kernel = Kernel {
    shader: &thalweg_shaders::YOGI,
    uniform: size_of::<Params>(),
    access: access(2),
    variants: UPDATE_VARIANTS,
    twin,
};
