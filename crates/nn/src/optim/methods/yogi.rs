//! Yogi.

use thalweg_tensor::optim::{Elements, Head, StepArguments, Timing, UPDATE_VARIANTS, access, sign};
use thalweg_tensor::{Call, Kernel};

use super::adam::two_moments;
use super::{Capabilities, Method, StateArena};
use crate::Result;
use crate::setting::{method_of_settings, settings};

settings! {
    /// Yogi, as `optax.yogi`: [`Adam`](super::Adam) whose second moment changes by at most the square of the gradient:
    ///
    /// ```text
    /// g       = grad + weight_decay param
    /// moment1 = beta1 moment1 + (1 - beta1) g         (at first: initial_accumulator_value, as moment2)
    /// moment2 = moment2 - (1 - beta2) sign(moment2 - g²) g²
    /// param   = param - lr / (1 - beta1ᵗ) moment1 / (√moment2 / √(1 - beta2ᵗ) + eps)
    /// ```
    ///
    /// Both moments begin with `initial_accumulator_value`, as in optax. Usual rate 1e-2. PyTorch does not have this method.
    /// Source: Zaheer et al.: Adaptive methods for nonconvex optimization (NeurIPS 2018).
    ///
    /// A step is one launch, three with clipping by the global norm. It moves 28 bytes per parameter; the state takes 8. In
    /// software it reaches 0.9 to 1 of a copy's bandwidth: [why](crate::Optimizer#bandwidth-in-software).
    "yogi" Yogi {
        /// Decay rates of the first and the second moment.
        betas: (f64, f64) = (0.9, 0.999), fraction;
        /// Added to the root of the second moment, after bias correction.
        eps: f64 = 1e-3, positive;
        /// The first value of both moments.
        initial_accumulator_value: f64 = 1e-6, not_negative;
        /// Weight decay through the gradient (L2).
        weight_decay: f64 = 0.0, not_negative;
        /// Whether to ascend instead of descending.
        maximize: bool = false;
    }
}

impl Method for Yogi {
    method_of_settings!();

    fn state(&self, _: &[Vec<usize>]) -> Vec<StateArena> {
        two_moments().into_iter().map(|arena| arena.filled(self.initial_accumulator_value)).collect()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::new().momentum(true)
    }

    fn step(&self, step: StepArguments<'_>) -> Result<()> {
        let head = Head::new(Timing::of_betas(self.betas), self.weight_decay, self.maximize).momentum(self.betas.0);
        Ok(step.run(&YOGI, head, |head| Params { head, eps: self.eps as f32 })?)
    }
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    head: Head,
    eps: f32,
}

/// Computes the formula of [`Yogi`], element-wise.
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
