//! Schedule-free AdamW.

use thalweg_tensor::optim::{Decay, Elements, Extra, Head, StepArguments, Timing, UPDATE_VARIANTS, access};
use thalweg_tensor::{Call, Kernel};

use super::{Capabilities, EvaluationPoint, Method, StateArena};
use crate::Result;
use crate::setting::{check, method_of_settings, settings};

settings! {
    /// Schedule-free AdamW, as `optax.contrib.schedule_free_adamw`:
    ///
    /// ```text
    /// v = beta2 v + (1 - beta2) grad²
    /// d = grad / (√v / √(1 - beta2ᵗ) + eps) + weight_decay y
    /// c = lr² / Σ lr²                                 (lr: the largest so far)
    /// y = (1 - c) y + c z - lr (1 - beta1 (1 - c)) d
    /// z = z - lr d                                    (at first: y)
    /// ```
    ///
    /// The parameters are y, where gradients are taken. The result is x = (y - (1 - beta1) z) / beta1;
    /// [`Optimizer::eval`](crate::Optimizer::eval) replaces the parameters by it. The learning rate stays constant
    /// after a warm-up; usual 2.5e-3. The weights lr² are those of the next step, as in optax. PyTorch does not have
    /// this method. Source: Defazio et al.: The road less scheduled (NeurIPS 2024).
    ///
    /// A step is one launch, three with clipping by the global norm. It moves 28 bytes per parameter; the state takes 8. In
    /// software it reaches 0.9 to 1 of a copy's bandwidth: [why](crate::Optimizer#bandwidth-in-software).
    "schedule-free-adamw" ScheduleFreeAdamW {
        /// The share of the average x in y, greater than 0, and the decay rate of the second moment.
        betas: (f64, f64) = (0.9, 0.999), fraction;
        /// Added to the root of the second moment, after bias correction.
        eps: f64 = 1e-8, positive;
        /// Weight decay, at y.
        weight_decay: f64 = 0.0, not_negative;
        /// Whether to ascend instead of descending.
        maximize: bool = false;
    }
    check |settings| check("betas.0", settings.betas.0, settings.betas.0 > 0.0, "greater than 0 and less than 1")
}

impl Method for ScheduleFreeAdamW {
    method_of_settings!();

    fn state(&self, _: &[Vec<usize>]) -> Vec<StateArena> {
        ["z", "exp_avg_sq"].map(StateArena::like_parameters).into()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::new().evaluation(EvaluationPoint::Blend { state: "z", weight: 1.0 - 1.0 / self.betas.0 })
    }

    fn step(&self, step: StepArguments<'_>) -> Result<()> {
        // The clock keeps the largest learning rate and the sum of weights.
        let timing = Timing::of_betas(self.betas).with_extra(Extra::ScheduleFree, 0.0);
        let head = Head::new(timing, self.weight_decay, self.maximize).momentum(self.betas.0).decay(Decay::ByRule);
        Ok(step.run(&SCHEDULE_FREE_ADAMW, head, |head| Params {
            head,
            beta2: self.betas.1 as f32,
            eps: self.eps as f32,
        })?)
    }
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    head: Head,
    beta2: f32,
    eps: f32,
}

/// Computes the formula of [`ScheduleFreeAdamW`], element-wise.
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
