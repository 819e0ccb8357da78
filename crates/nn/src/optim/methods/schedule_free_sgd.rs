//! Schedule-free stochastic gradient descent.

use thalweg_tensor::optim::{Elements, Extra, Head, StepArguments, Timing, UPDATE_VARIANTS, access};
use thalweg_tensor::{Call, Kernel};

use super::{Capabilities, EvaluationPoint, Method, StateArena};
use crate::Result;
use crate::setting::{method_of_settings, settings};

settings! {
    /// Schedule-free stochastic gradient descent, as `optax.contrib.schedule_free_sgd`:
    ///
    /// ```text
    /// g = grad + weight_decay y
    /// c = lr² / Σ lr²                                 (lr: the largest so far)
    /// y = (1 - c) y + c z - lr (1 - beta1 (1 - c)) g
    /// z = z - lr g                                    (at first: y)
    /// ```
    ///
    /// The parameters are y, where gradients are taken. The result is x = (y - (1 - beta1) z) / beta1;
    /// [`Optimizer::eval`](crate::Optimizer::eval) replaces the parameters by it. The learning rate stays constant
    /// after a warm-up; usual 1. The weights lr² are those of the next step, as in optax. PyTorch does not have this
    /// method. Source: Defazio et al.: The road less scheduled (NeurIPS 2024).
    ///
    /// A step is one launch, three with clipping by the global norm. It moves 20 bytes per parameter; the state takes 4. In
    /// software it reaches 0.9 to 1 of a copy's bandwidth: [why](crate::Optimizer#bandwidth-in-software).
    "schedule-free-sgd" ScheduleFreeSgd {
        /// The share of the average x in y.
        beta1: f64 = 0.9, inner_fraction;
        /// Weight decay at y, through the gradient (L2).
        weight_decay: f64 = 0.0, not_negative;
        /// Whether to ascend instead of descending.
        maximize: bool = false;
    }
}

impl Method for ScheduleFreeSgd {
    method_of_settings!();

    fn state(&self, _: &[Vec<usize>]) -> Vec<StateArena> {
        vec![StateArena::like_parameters("z")]
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::new().evaluation(EvaluationPoint::Blend { state: "z", weight: 1.0 - 1.0 / self.beta1 })
    }

    fn step(&self, step: StepArguments<'_>) -> Result<()> {
        // The clock keeps the largest learning rate and the sum of weights.
        let timing = Timing::of_betas((self.beta1, 0.0)).with_extra(Extra::ScheduleFree, 0.0);
        let head = Head::new(timing, self.weight_decay, self.maximize).momentum(self.beta1);
        Ok(step.run(&SCHEDULE_FREE_SGD, head, |head| head)?)
    }
}

/// Computes the formula of [`ScheduleFreeSgd`], element-wise.
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
