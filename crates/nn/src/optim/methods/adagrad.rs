//! AdaGrad.

use thalweg_tensor::optim::{Elements, Head, StepArguments, Timing, UPDATE_VARIANTS, access};
use thalweg_tensor::{Call, Kernel};

use super::{Method, StateArena};
use crate::Result;
use crate::setting::{method_of_settings, settings};

settings! {
    /// AdaGrad, as `torch.optim.Adagrad`:
    ///
    /// ```text
    /// g     = grad + weight_decay param
    /// sum   = sum + g²                                (at first: initial_accumulator_value)
    /// param = param - lr / (1 + (t - 1) lr_decay) g / (√sum + eps)
    /// ```
    ///
    /// Usual rate 1e-2. Optax has its epsilon inside the root and begins with a sum of 0.1. Source: Duchi, Hazan, Singer: Adaptive
    /// subgradient methods for online learning and stochastic optimization (JMLR 2011).
    ///
    /// A step is one launch, three with clipping by the global norm. It moves 20 bytes per parameter; the state takes 4. In
    /// software it reaches 0.9 to 1 of a copy's bandwidth: [why](crate::Optimizer#bandwidth-in-software).
    "adagrad" Adagrad {
        /// The rate at which the learning rate falls with the steps.
        lr_decay: f64 = 0.0, not_negative;
        /// The first value of the sum.
        initial_accumulator_value: f64 = 0.0, not_negative;
        /// Added to the root of the sum.
        eps: f64 = 1e-10, positive;
        /// Weight decay through the gradient (L2).
        weight_decay: f64 = 0.0, not_negative;
        /// Whether to ascend instead of descending.
        maximize: bool = false;
    }
}

impl Method for Adagrad {
    method_of_settings!();

    fn state(&self, _: &[Vec<usize>]) -> Vec<StateArena> {
        vec![StateArena::like_parameters("sum").filled(self.initial_accumulator_value)]
    }

    fn step(&self, step: StepArguments<'_>) -> Result<()> {
        let head = Head::new(Timing::without_betas(), self.weight_decay, self.maximize);
        Ok(step.run(&ADAGRAD, head, |head| Params { head, lr_decay: self.lr_decay as f32, eps: self.eps as f32 })?)
    }
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    head: Head,
    lr_decay: f32,
    eps: f32,
}

/// Computes the formula of [`Adagrad`], element-wise.
fn twin(call: Call<'_>) {
    let Params { lr_decay, eps, .. } = call.params();
    Elements::of(call).each(
        #[inline(always)]
        |now| {
            // The number of steps is a u32; as f32 it is exact up to 16 million and rounded to 24 bits above.
            now.learning_rate / (1.0 + (now.step - 1) as f32 * lr_decay)
        },
        #[inline(always)]
        move |step_size, param, grad, [sum]| {
            *sum += grad * grad;
            *param -= step_size * (grad / (sum.sqrt() + eps));
        },
    );
}

pub(crate) static ADAGRAD: Kernel = Kernel {
    shader: &thalweg_shaders::ADAGRAD,
    uniform: size_of::<Params>(),
    access: access(1),
    variants: UPDATE_VARIANTS,
    twin,
};
