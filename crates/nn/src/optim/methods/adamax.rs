//! Adamax.

use thalweg_tensor::optim::{Elements, Head, StepArguments, Timing, UPDATE_VARIANTS, access};
use thalweg_tensor::{Call, Kernel};

use super::adam::Params;
use super::{Capabilities, Method, StateArena};
use crate::Result;
use crate::setting::{method_of_settings, settings};

settings! {
    /// Adamax, as `torch.optim.Adamax`: [`Adam`](super::Adam) with the largest recent gradient:
    ///
    /// ```text
    /// g       = grad + weight_decay param
    /// moment1 = beta1 moment1 + (1 - beta1) g
    /// largest = max(beta2 largest, |g| + eps)
    /// param   = param - lr / (1 - beta1ᵗ) moment1 / largest
    /// ```
    ///
    /// Usual rate 2e-3. Optax adds epsilon at the same place. Source: Kingma, Ba: Adam: a method for stochastic optimization
    /// (ICLR 2015), section 7.1.
    ///
    /// A step is one launch, three with clipping by the global norm. It moves 28 bytes per parameter; the state takes 8. In
    /// software it reaches 0.9 to 1 of a copy's bandwidth: [why](crate::Optimizer#bandwidth-in-software).
    "adamax" Adamax {
        /// Decay rates of the first moment and of the largest gradient.
        betas: (f64, f64) = (0.9, 0.999), fraction;
        /// Added to the magnitude of the gradient.
        eps: f64 = 1e-8, positive;
        /// Weight decay through the gradient (L2).
        weight_decay: f64 = 0.0, not_negative;
        /// Whether to ascend instead of descending.
        maximize: bool = false;
    }
}

impl Method for Adamax {
    method_of_settings!();

    fn state(&self, _: &[Vec<usize>]) -> Vec<StateArena> {
        ["exp_avg", "exp_inf"].map(StateArena::like_parameters).into()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::new().momentum(true)
    }

    fn step(&self, step: StepArguments<'_>) -> Result<()> {
        let head = Head::new(Timing::of_betas(self.betas), self.weight_decay, self.maximize).momentum(self.betas.0);
        Ok(step.run(&ADAMAX, head, |head| Params::new(head, self.betas, self.eps))?)
    }
}

/// Computes the formula of [`Adamax`], element-wise.
fn twin(call: Call<'_>) {
    let Params { beta2, eps, .. } = call.params();
    Elements::of(call).each(
        #[inline(always)]
        |now| (now.momentum, now.one_minus_momentum, now.learning_rate / now.bias_correction1),
        #[inline(always)]
        move |(beta1, one_minus_beta1, step_size), param, grad, [m, largest]| {
            *m = beta1 * *m + one_minus_beta1 * grad;
            let (faded, here) = (beta2 * *largest, grad.abs() + eps);
            // A NaN in the gradient is taken, as in Adam.
            *largest = if faded >= here { faded } else { here };
            *param -= step_size * (*m / *largest);
        },
    );
}

pub(crate) static ADAMAX: Kernel = Kernel {
    shader: &thalweg_shaders::ADAMAX,
    uniform: size_of::<Params>(),
    access: access(2),
    variants: UPDATE_VARIANTS,
    twin,
};
