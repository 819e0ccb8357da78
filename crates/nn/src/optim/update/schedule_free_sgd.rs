//! Schedule-free stochastic gradient descent in one launch.

use thalweg_tensor::Result;
use thalweg_tensor::optim::Elements;
use thalweg_tensor::optim::{Extra, Timing};
use thalweg_tensor::optim::{Head, StepArguments, UPDATE_VARIANTS, Update, access};
use thalweg_tensor::{Call, Kernel};

/// One step of schedule-free stochastic gradient descent (Defazio et al. 2024):
///
/// ```text
/// g = clip_factor grad                            (-g where maximize), + weight_decay y
/// c = lr² / Σ lr²                                 (lr: the largest so far)
/// y = (1 - c) y + c z - lr (1 - beta1 (1 - c)) g
/// z = z - lr g                                    (at first: y)
/// ```
///
/// as `optax.contrib` computes it, with weights lr², where lr is the largest so
/// far, that of the step which follows included. State: z. The clock keeps the largest
/// learning rate and the sum of weights.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScheduleFreeSgdUpdate {
    /// How much of the average x is in y.
    pub beta1: f64,
    /// Weight decay at y, through the gradient.
    pub weight_decay: f64,
    /// Whether to climb rather than to descend.
    pub maximize: bool,
}

impl Update for ScheduleFreeSgdUpdate {
    fn state_count(&self) -> usize {
        1
    }

    fn step(&self, step: StepArguments<'_>) -> Result<()> {
        let timing = Timing::of_betas((self.beta1, 0.0)).with_extra(Extra::ScheduleFree, 0.0);
        let head = Head::new(timing, self.weight_decay, self.maximize).momentum(self.beta1);
        step.run(&SCHEDULE_FREE_SGD, head, |head| head)
    }
}

/// The formula of [`ScheduleFreeSgdUpdate`], element by element.
fn twin(call: Call<'_>) {
    Elements::of(call).each(
        #[inline(always)]
        |now| {
            let share = now.newest_share();
            (now.step == 1, share, now.learning_rate, now.learning_rate * now.direct_share())
        },
        #[inline(always)]
        move |(is_first, share, lr, of_grad), y, grad, [z]| {
            let before = if is_first { *y } else { *z };
            *z = before - lr * grad;
            *y = *y + share * (before - *y) - of_grad * grad;
        },
    );
}

pub(crate) static SCHEDULE_FREE_SGD: Kernel = Kernel {
    shader: &thalweg_shaders::SCHEDULE_FREE_SGD,
    uniform: size_of::<Head>(),
    access: access(1),
    variants: UPDATE_VARIANTS,
    twin,
};
