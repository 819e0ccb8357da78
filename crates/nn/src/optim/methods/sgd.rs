//! Stochastic gradient descent, plain and with momentum.

use thalweg_tensor::optim::{Elements, Head, StepArguments, Timing, UPDATE_VARIANTS, access};
use thalweg_tensor::{Call, Kernel};

use super::{Capabilities, Method, StateArena};
use crate::Result;
use crate::setting::{check, method_of_settings, settings};

settings! {
    /// Stochastic gradient descent, plain or with momentum, as `torch.optim.SGD`:
    ///
    /// ```text
    /// g      = grad + weight_decay param
    /// moment = momentum moment + (1 - dampening) g    (at the first step: g)
    /// param  = param - lr moment                      (Nesterov: param - lr (g + momentum moment))
    /// ```
    ///
    /// Usual rate 1e-2. Optax has no dampening. Sources: Robbins, Monro (1951); Polyak (1964); Nesterov (1983); Sutskever et al.
    /// (ICML 2013).
    ///
    /// A step is one launch, three with clipping by the global norm. It moves 12 bytes per parameter and has no state; with
    /// momentum it moves 20 and the state takes 4. In software it reaches 0.8 of a copy's bandwidth, 0.9 to 1 with momentum:
    /// [why](crate::Optimizer#bandwidth-in-software).
    "sgd" Sgd {
        /// The share of the moment that a step keeps; 0 needs no state.
        momentum: f64 = 0.0, fraction;
        /// The share of the gradient that does not enter the moment.
        dampening: f64 = 0.0, share;
        /// Weight decay through the gradient (L2).
        weight_decay: f64 = 0.0, not_negative;
        /// Whether to look ahead by Nesterov's rule; needs momentum and no dampening.
        nesterov: bool = false;
        /// Whether to ascend instead of descending.
        maximize: bool = false;
    }
    check |settings| check(
        "nesterov",
        settings.nesterov,
        !settings.nesterov || (settings.momentum > 0.0 && settings.dampening == 0.0),
        "false unless momentum is greater than 0 and dampening is 0",
    )
}

impl Method for Sgd {
    method_of_settings!();

    fn state(&self, _: &[Vec<usize>]) -> Vec<StateArena> {
        if self.momentum == 0.0 { Vec::new() } else { vec![StateArena::like_parameters("momentum_buffer")] }
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::new().momentum(self.momentum != 0.0)
    }

    fn step(&self, step: StepArguments<'_>) -> Result<()> {
        let head = Head::new(Timing::without_betas(), self.weight_decay, self.maximize);
        if self.momentum == 0.0 {
            return Ok(step.run(&SGD, head, |head| head)?);
        }
        Ok(step.run(&MOMENTUM, head.momentum(self.momentum), |head| MomentumParams {
            head,
            undamped: (1.0 - self.dampening) as f32,
            nesterov: self.nesterov.into(),
        })?)
    }
}

/// Computes the formula of [`Sgd`], element-wise.
fn twin(call: Call<'_>) {
    Elements::of(call).each(
        #[inline(always)]
        |now| now.learning_rate,
        #[inline(always)]
        move |lr, param, grad, []| *param -= lr * grad,
    );
}

pub(crate) static SGD: Kernel = Kernel {
    shader: &thalweg_shaders::SGD,
    uniform: size_of::<Head>(),
    access: access(0),
    variants: UPDATE_VARIANTS,
    twin,
};

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct MomentumParams {
    head: Head,
    /// 1 - dampening, which would lose digits in f32.
    undamped: f32,
    nesterov: u32,
}

/// Computes the formula of [`Sgd`], element-wise.
fn momentum_twin(call: Call<'_>) {
    let MomentumParams { undamped, nesterov, .. } = call.params();
    let nesterov = nesterov != 0;
    Elements::of(call).each(
        #[inline(always)]
        |now| (now.momentum, now.learning_rate, if now.step == 1 { 1.0 } else { undamped }),
        #[inline(always)]
        move |(momentum, lr, undamped), param, grad, [moment]| {
            *moment = momentum * *moment + undamped * grad;
            let direction = if nesterov { grad + momentum * *moment } else { *moment };
            *param -= lr * direction;
        },
    );
}

pub(crate) static MOMENTUM: Kernel = Kernel {
    shader: &thalweg_shaders::MOMENTUM,
    uniform: size_of::<MomentumParams>(),
    access: access(1),
    variants: UPDATE_VARIANTS,
    twin: momentum_twin,
};
