//! Schedule-free AdamW in one launch.

use thalweg_tensor::Result;
use thalweg_tensor::optim::Elements;
use thalweg_tensor::optim::{Decay, Head, StepArguments, UPDATE_VARIANTS, Update, access};
use thalweg_tensor::optim::{Extra, Timing};
use thalweg_tensor::{Call, Kernel};

/// One step of schedule-free AdamW (Defazio et al. 2024):
///
/// ```text
/// g = clip_factor grad                            (-g where maximize)
/// v = beta2 v + (1 - beta2) g²
/// d = g / (√v / √(1 - beta2ᵗ) + eps) + weight_decay y
/// c = lr² / Σ lr²                                 (lr: the largest so far)
/// y = (1 - c) y + c z - lr (1 - beta1 (1 - c)) d
/// z = z - lr d                                    (at first: y)
/// ```
///
/// as `optax.contrib` computes it, with weights lr², where lr is the largest so
/// far, that of the step which follows included. State: z and the second moment v. The clock keeps the largest
/// learning rate and the sum of weights.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScheduleFreeAdamWUpdate {
    /// How much of the average x is in y, and the decay rate of the second moment.
    pub betas: (f64, f64),
    /// Added to the root of the second moment.
    pub eps: f64,
    /// Weight decay at y.
    pub weight_decay: f64,
    /// Whether to climb rather than to descend.
    pub maximize: bool,
}

impl Update for ScheduleFreeAdamWUpdate {
    fn state_count(&self) -> usize {
        2
    }

    fn step(&self, step: StepArguments<'_>) -> Result<()> {
        let head = Head::new(
            Timing::of_betas(self.betas).with_extra(Extra::ScheduleFree, 0.0),
            self.weight_decay,
            self.maximize,
        )
        .decay(Decay::ByRule)
        .momentum(self.betas.0);
        step.run(&SCHEDULE_FREE_ADAMW, head, |head| Params { head, beta2: self.betas.1 as f32, eps: self.eps as f32 })
    }
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    head: Head,
    beta2: f32,
    eps: f32,
}

/// The formula of [`ScheduleFreeAdamWUpdate`], element by element.
fn twin(call: Call<'_>) {
    let Params { head, beta2, eps } = call.params();
    let one_minus_beta2 = head.one_minus_beta2();
    Elements::of(call).each(
        #[inline(always)]
        |now| {
            let (share, lr) = (now.newest_share(), now.learning_rate);
            let of_direction = lr * now.direct_share();
            ((now.step == 1, share), (lr, of_direction), 1.0 / now.bias_correction2.sqrt(), now.weight_decay)
        },
        #[inline(always)]
        move |((is_first, share), (lr, of_direction), inverse_root, weight_decay), y, grad, [z, v]| {
            *v = beta2 * *v + one_minus_beta2 * (grad * grad);
            let direction = grad / (v.sqrt() * inverse_root + eps) + weight_decay * *y;
            let before = if is_first { *y } else { *z };
            *z = before - lr * direction;
            *y = *y + share * (before - *y) - of_direction * direction;
        },
    );
}

pub(crate) static SCHEDULE_FREE_ADAMW: Kernel = Kernel {
    shader: &thalweg_shaders::SCHEDULE_FREE_ADAMW,
    uniform: size_of::<Params>(),
    access: access(2),
    variants: UPDATE_VARIANTS,
    twin,
};
