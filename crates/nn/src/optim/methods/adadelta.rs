//! AdaDelta.

use thalweg_tensor::optim::{Elements, Head, StepArguments, Timing, UPDATE_VARIANTS, access};
use thalweg_tensor::{Call, Kernel};

use super::{Method, StateArena};
use crate::Result;
use crate::setting::{method_of_settings, settings};

settings! {
    /// AdaDelta, as `torch.optim.Adadelta`:
    ///
    /// ```text
    /// g      = grad + weight_decay param
    /// square = rho square + (1 - rho) g²
    /// d      = √(delta + eps) / √(square + eps) g
    /// delta  = rho delta + (1 - rho) d²
    /// param  = param - lr d
    /// ```
    ///
    /// Usual rate 1. Optax computes the same. Source: Zeiler: ADADELTA, an adaptive learning rate method (2012).
    ///
    /// A step is one launch, three with clipping by the global norm. It moves 28 bytes per parameter; the state takes 8. In
    /// software it reaches 0.9 to 1 of a copy's bandwidth: [why](crate::Optimizer#bandwidth-in-software).
    "adadelta" Adadelta {
        /// Decay rate of both averages.
        rho: f64 = 0.9, fraction;
        /// Added inside both roots.
        eps: f64 = 1e-6, positive;
        /// Weight decay through the gradient (L2).
        weight_decay: f64 = 0.0, not_negative;
        /// Whether to ascend instead of descending.
        maximize: bool = false;
    }
}

impl Method for Adadelta {
    method_of_settings!();

    fn state(&self, _: &[Vec<usize>]) -> Vec<StateArena> {
        ["square_avg", "acc_delta"].map(StateArena::like_parameters).into()
    }

    fn step(&self, step: StepArguments<'_>) -> Result<()> {
        let head = Head::new(Timing::without_betas(), self.weight_decay, self.maximize);
        Ok(step.run(&ADADELTA, head, |head| Params {
            head,
            rho: self.rho as f32,
            one_minus_rho: (1.0 - self.rho) as f32,
            eps: self.eps as f32,
        })?)
    }
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    head: Head,
    rho: f32,
    one_minus_rho: f32,
    eps: f32,
}

/// Computes the formula of [`Adadelta`], element-wise.
fn twin(call: Call<'_>) {
    let Params { rho, one_minus_rho, eps, .. } = call.params();
    Elements::of(call).each(
        #[inline(always)]
        |now| now.learning_rate,
        #[inline(always)]
        move |lr, param, grad, [square, delta]| {
            *square = rho * *square + one_minus_rho * (grad * grad);
            let change = (*delta + eps).sqrt() / (*square + eps).sqrt() * grad;
            *delta = rho * *delta + one_minus_rho * (change * change);
            *param -= lr * change;
        },
    );
}

pub(crate) static ADADELTA: Kernel = Kernel {
    shader: &thalweg_shaders::ADADELTA,
    uniform: size_of::<Params>(),
    access: access(2),
    variants: UPDATE_VARIANTS,
    twin,
};
