//! Sophia.

use thalweg_tensor::optim::{Decay, Elements, Head, StepArguments, Timing, UPDATE_VARIANTS, access};
use thalweg_tensor::{Call, Kernel};

use super::{Capabilities, HessianAverage, Method, StateArena};
use crate::Result;
use crate::setting::{method_of_settings, settings};

settings! {
    /// Sophia, as `optax.contrib.sophia`: the moment divided by the Hessian's diagonal, clipped:
    ///
    /// ```text
    /// moment  = beta1 moment + (1 - beta1) grad
    /// u       = clamp(moment / (1 - beta1ᵗ) / max(gamma hessian, eps), ±clip_threshold)
    /// param   = param - lr (u + weight_decay param)
    /// hessian = beta2 hessian + (1 - beta2) (an estimate of the Hessian's diagonal)      every update_interval steps
    /// ```
    ///
    /// [`Trainer`](crate::Trainer) estimates the diagonal after the steps 1, 1 + update_interval, …
    /// (Gauss-Newton-Bartlett, [`Optimizer::estimate_hessian`](crate::Optimizer::estimate_hessian)): a second forward
    /// and backward pass over the batch, with targets that are drawn from the model. Your own loop calls that method,
    /// or passes a diagonal to [`Optimizer::update_hessian`](crate::Optimizer::update_hessian).
    ///
    /// An estimate has an effect from the next step on, as in optax. So the first step has a diagonal of 0 and moves
    /// every parameter by lr clip_threshold. The authors' program does not correct the bias of the moment, and
    /// multiplies gamma by the batch size. Usual rate 1e-3. PyTorch does not have this method. Source: Liu, Li, Hall,
    /// Liang, Ma: Sophia: a scalable stochastic second-order optimizer for language model pre-training (ICLR 2024).
    ///
    /// A step is one launch, three with clipping by the global norm. It moves 24 bytes per parameter; the state takes 8. In
    /// software it reaches 0.9 to 1 of a copy's bandwidth ([why](crate::Optimizer#bandwidth-in-software)). Each estimate adds one
    /// launch, of 12 bytes per parameter.
    "sophia" Sophia {
        /// Decay rates of the moment and of the Hessian's diagonal.
        betas: (f64, f64) = (0.965, 0.99), fraction;
        /// The lower bound of the divisor of the moment.
        eps: f64 = 1e-8, positive;
        /// The factor of the Hessian's diagonal: the larger, the fewer parameters are clipped.
        gamma: f64 = 0.01, positive;
        /// The largest step of a parameter, in learning rates; the paper's rho.
        clip_threshold: f64 = 1.0, positive;
        /// Weight decay, times the learning rate.
        weight_decay: f64 = 1e-4, not_negative;
        /// The number of steps between estimates of the Hessian's diagonal.
        update_interval: u64 = 10, from_one;
        /// The seed of the targets of estimates.
        seed: u64 = 0;
        /// Whether to ascend instead of descending.
        maximize: bool = false;
    }
}

impl Method for Sophia {
    method_of_settings!();

    fn state(&self, _: &[Vec<usize>]) -> Vec<StateArena> {
        ["exp_avg", "hessian"].map(StateArena::like_parameters).into()
    }

    fn capabilities(&self) -> Capabilities {
        let hessian =
            HessianAverage { state: "hessian", beta2: self.betas.1, interval: self.update_interval, seed: self.seed };
        Capabilities::new().momentum(true).hessian(hessian)
    }

    fn bytes_per_parameter(&self) -> u64 {
        // The Hessian is only read.
        24
    }

    fn step(&self, step: StepArguments<'_>) -> Result<()> {
        let head = Head::new(Timing::of_betas((self.betas.0, 0.0)), self.weight_decay, self.maximize)
            .momentum(self.betas.0)
            .decay(Decay::Decoupled);
        let (gamma, eps, clip_threshold) = (self.gamma as f32, self.eps as f32, self.clip_threshold as f32);
        Ok(step.run(&SOPHIA, head, |head| Params { head, gamma, eps, clip_threshold })?)
    }
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    head: Head,
    gamma: f32,
    eps: f32,
    clip_threshold: f32,
}

/// Computes the formula of [`Sophia`], element-wise.
fn twin(call: Call<'_>) {
    let Params { head: _, gamma, eps, clip_threshold } = call.params();
    Elements::of(call).each(
        #[inline(always)]
        |now| (now.momentum, now.one_minus_momentum, now.learning_rate, 1.0 / now.bias_correction1),
        #[inline(always)]
        move |(beta1, one_minus_beta1, lr, inverse_correction), param, grad, [moment, hessian]| {
            *moment = beta1 * *moment + one_minus_beta1 * grad;
            let curvature = gamma * *hessian;
            let u = *moment * inverse_correction / if curvature > eps { curvature } else { eps };
            let u = if u < -clip_threshold { -clip_threshold } else { u };
            *param -= lr * if u > clip_threshold { clip_threshold } else { u };
        },
    );
}

pub(crate) static SOPHIA: Kernel = Kernel {
    shader: &thalweg_shaders::SOPHIA,
    uniform: size_of::<Params>(),
    access: access(2),
    variants: UPDATE_VARIANTS,
    twin,
};
