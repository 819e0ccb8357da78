//! Averaged stochastic gradient descent.

use thalweg_tensor::optim::{Elements, Head, StepArguments, Timing, UPDATE_VARIANTS, access};
use thalweg_tensor::{Call, Kernel};

use super::{Capabilities, EvaluationPoint, Method, StateArena};
use crate::Result;
use crate::setting::{method_of_settings, settings};

settings! {
    /// Averaged stochastic gradient descent, as `torch.optim.ASGD`:
    ///
    /// ```text
    /// g     = grad + weight_decay param
    /// eta   = lr / (1 + lambd lr (t - 1))^alpha,  mu = 1 / max(1, t - 1 - t0)
    /// param = param - eta (g + lambd param)
    /// ax    = ax + mu (param - ax)
    /// ```
    ///
    /// The averages `ax` are the result. [`Optimizer::eval`](crate::Optimizer::eval) replaces the parameters by them.
    /// Before step `t0` they equal the parameters. Usual rate 1e-2. Optax does not have this method. Source: Polyak,
    /// Juditsky: Acceleration of stochastic approximation by averaging (SIAM J. Control Optim. 1992).
    ///
    /// A step is one launch, three with clipping by the global norm. It moves 20 bytes per parameter; the state takes 4. In
    /// software it reaches 0.8 of a copy's bandwidth ([why](crate::Optimizer#bandwidth-in-software)), because its
    /// factors need a power.
    "asgd" Asgd {
        /// Decay of the parameters, and of the learning rate.
        lambd: f64 = 1e-4, not_negative;
        /// The exponent by which the learning rate falls.
        alpha: f64 = 0.75, not_negative;
        /// The step after which parameters are averaged.
        t0: f64 = 1e6, not_negative;
        /// Weight decay through the gradient (L2).
        weight_decay: f64 = 0.0, not_negative;
        /// Whether to ascend instead of descending.
        maximize: bool = false;
    }
}

impl Method for Asgd {
    method_of_settings!();

    fn state(&self, _: &[Vec<usize>]) -> Vec<StateArena> {
        vec![StateArena::like_parameters("ax")]
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::new().evaluation(EvaluationPoint::Blend { state: "ax", weight: 1.0 })
    }

    fn step(&self, step: StepArguments<'_>) -> Result<()> {
        let head = Head::new(Timing::without_betas(), self.weight_decay, self.maximize);
        Ok(step.run(&ASGD, head, |head| Params {
            head,
            lambd: self.lambd as f32,
            alpha: self.alpha as f32,
            t0: self.t0 as f32,
        })?)
    }
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    head: Head,
    lambd: f32,
    alpha: f32,
    t0: f32,
}

/// Computes the formula of [`Asgd`], element-wise.
fn twin(call: Call<'_>) {
    let Params { lambd, alpha, t0, .. } = call.params();
    Elements::of(call).each(
        #[inline(always)]
        |now| {
            let (lr, before) = (now.learning_rate, (now.step - 1) as f32);
            (lr * (-alpha * (lambd * lr * before).ln_1p()).exp(), 1.0 / (before - t0).max(1.0))
        },
        #[inline(always)]
        move |(eta, mu), param, grad, [average]| {
            *param -= eta * (grad + lambd * *param);
            *average = if mu == 1.0 { *param } else { *average + (*param - *average) * mu };
        },
    );
}

pub(crate) static ASGD: Kernel = Kernel {
    shader: &thalweg_shaders::ASGD,
    uniform: size_of::<Params>(),
    access: access(1),
    variants: UPDATE_VARIANTS,
    twin,
};
