//! Lion.

use thalweg_tensor::optim::{Decay, Elements, Head, StepArguments, Timing, UPDATE_VARIANTS, access, sign};
use thalweg_tensor::{Call, Kernel};

use super::{Capabilities, Method, StateArena};
use crate::Result;
use crate::setting::{method_of_settings, settings};

settings! {
    /// Lion, as `optax.lion`: every parameter moves by the learning rate, in the direction of a sign:
    ///
    /// ```text
    /// u      = sign(beta1 moment + (1 - beta1) grad)
    /// moment = beta2 moment + (1 - beta2) grad
    /// param  = param - lr (u + weight_decay param)
    /// ```
    ///
    /// With equal betas and no decay it is Signum, the sign of the moment (Bernstein et al.: signSGD: compressed optimisation for
    /// non-convex problems, ICML 2018; `optax.signum`); the program has it under that name. A momentum schedule
    /// replaces beta1 only.
    ///
    /// Rates are three to ten times smaller than Adam's, and the weight decay is larger by as much; usual rate 1e-4.
    /// PyTorch does not have this method. Source: Chen et al.: Symbolic discovery of optimization algorithms (NeurIPS
    /// 2023).
    ///
    /// A step is one launch, three with clipping by the global norm. It moves 20 bytes per parameter; the state takes 4. In
    /// software it reaches 0.9 to 1 of a copy's bandwidth: [why](crate::Optimizer#bandwidth-in-software).
    "lion" Lion {
        /// The share of the moment in the direction, and the decay rate of the moment.
        betas: (f64, f64) = (0.9, 0.99), fraction;
        /// Weight decay, times the learning rate.
        weight_decay: f64 = 1e-3, not_negative;
        /// Whether to ascend instead of descending.
        maximize: bool = false;
    }
}

impl Method for Lion {
    method_of_settings!();

    fn state(&self, _: &[Vec<usize>]) -> Vec<StateArena> {
        vec![StateArena::like_parameters("exp_avg")]
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::new().momentum(true)
    }

    fn step(&self, step: StepArguments<'_>) -> Result<()> {
        let head = Head::new(Timing::of_betas(self.betas), self.weight_decay, self.maximize)
            .momentum(self.betas.0)
            .decay(Decay::ByRule);
        Ok(step.run(&LION, head, |head| Params { head, beta2: self.betas.1 as f32 })?)
    }
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    head: Head,
    beta2: f32,
}

/// Computes the formula of [`Lion`], element-wise.
fn twin(call: Call<'_>) {
    let Params { head, beta2 } = call.params();
    let one_minus_beta2 = head.one_minus_beta2();
    Elements::of(call).each(
        #[inline(always)]
        |now| (now.momentum, now.one_minus_momentum, now.learning_rate, now.weight_decay),
        #[inline(always)]
        move |(beta1, one_minus_beta1, lr, weight_decay), param, grad, [moment]| {
            let direction = sign(beta1 * *moment + one_minus_beta1 * grad);
            *moment = beta2 * *moment + one_minus_beta2 * grad;
            *param -= lr * (direction + weight_decay * *param);
        },
    );
}

pub(crate) static LION: Kernel = Kernel {
    shader: &thalweg_shaders::LION,
    uniform: size_of::<Params>(),
    access: access(1),
    variants: UPDATE_VARIANTS,
    twin,
};
