//! RAdam.

use thalweg_tensor::optim::{Decay, Elements, Extra, Head, StepArguments, Timing, UPDATE_VARIANTS, access};
use thalweg_tensor::{Call, Kernel};

use super::adam::{Params, two_moments};
use super::{Capabilities, Method, StateArena};
use crate::Result;
use crate::setting::{method_of_settings, settings};

settings! {
    /// RAdam, as `torch.optim.RAdam`: momentum only in the first steps, and then [`Adam`](super::Adam) with a rectified
    /// learning rate:
    ///
    /// ```text
    /// g       = grad + weight_decay param             (decoupled: param = (1 - lr weight_decay) param)
    /// moment1 = beta1 moment1 + (1 - beta1) g
    /// moment2 = beta2 moment2 + (1 - beta2) g²
    /// rho     = rho∞ - 2 t beta2ᵗ / (1 - beta2ᵗ),  rho∞ = 2 / (1 - beta2) - 1
    /// r       = √((rho - 4) (rho - 2) rho∞ / ((rho∞ - 4) (rho∞ - 2) rho))
    /// param   = param - lr / (1 - beta1ᵗ) moment1 (r √(1 - beta2ᵗ) / (√moment2 + eps) where rho > 5, else 1)
    /// ```
    ///
    /// The clock keeps Σ beta2ⁱ - beta2ᵗ over i < t, a sum of positive terms. Divided by 1 - beta2ᵗ and doubled it is rho + 1,
    /// without the cancellation of the formula in the first steps. Epsilon is added before bias correction; optax adds it after.
    /// Usual rate 1e-3. Source: Liu et al.: On the variance of the adaptive learning rate and beyond (ICLR 2020).
    ///
    /// A step is one launch, three with clipping by the global norm. It moves 28 bytes per parameter; the state takes 8. In
    /// software it reaches 0.9 to 1 of a copy's bandwidth: [why](crate::Optimizer#bandwidth-in-software).
    "radam" RAdam {
        /// Decay rates of the first and the second moment.
        betas: (f64, f64) = (0.9, 0.999), fraction;
        /// Added to the root of the second moment, before bias correction.
        eps: f64 = 1e-8, positive;
        /// Weight decay.
        weight_decay: f64 = 0.0, not_negative;
        /// Whether weight decay is decoupled from the gradient.
        decoupled: bool = false;
        /// Whether to ascend instead of descending.
        maximize: bool = false;
    }
}

impl Method for RAdam {
    method_of_settings!();

    fn state(&self, _: &[Vec<usize>]) -> Vec<StateArena> {
        two_moments()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::new().momentum(true)
    }

    fn step(&self, step: StepArguments<'_>) -> Result<()> {
        let timing = Timing::of_betas(self.betas).with_extra(Extra::Rectification, 0.0);
        let head = Head::new(timing, self.weight_decay, self.maximize)
            .momentum(self.betas.0)
            .decay(Decay::decoupled(self.decoupled));
        Ok(step.run(&RADAM, head, |head| Params::new(head, self.betas, self.eps))?)
    }
}

/// Computes the formula of [`RAdam`], element-wise.
fn twin(call: Call<'_>) {
    let Params { head, beta2, eps } = call.params();
    let one_minus_beta2 = head.one_minus_beta2();
    Elements::of(call).each(
        #[inline(always)]
        |now| {
            let longest = 2.0 / one_minus_beta2 - 1.0;
            let length = 2.0 * now.extra[1] / now.bias_correction2 - 1.0;
            let ratio = (length - 4.0) / (longest - 4.0) * ((length - 2.0) / (longest - 2.0)) * (longest / length);
            let rectified = (length > 5.0).then_some((ratio * now.bias_correction2).sqrt());
            (now.momentum, now.one_minus_momentum, now.learning_rate / now.bias_correction1, rectified)
        },
        #[inline(always)]
        move |(beta1, one_minus_beta1, step_size, rectified), param, grad, [m, v]| {
            *m = beta1 * *m + one_minus_beta1 * grad;
            *v = beta2 * *v + one_minus_beta2 * (grad * grad);
            let adaptive = rectified.map_or(1.0, |rectified| rectified / (v.sqrt() + eps));
            *param -= step_size * *m * adaptive;
        },
    );
}

pub(crate) static RADAM: Kernel = Kernel {
    shader: &thalweg_shaders::RADAM,
    uniform: size_of::<Params>(),
    access: access(2),
    variants: UPDATE_VARIANTS,
    twin,
};
