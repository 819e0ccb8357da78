//! AMSGrad.

use thalweg_tensor::optim::{Decay, Elements, Head, StepArguments, Timing, UPDATE_VARIANTS, access};
use thalweg_tensor::{Call, Kernel};

use super::adam::Params;
use super::{Capabilities, Method, StateArena};
use crate::Result;
use crate::setting::{method_of_settings, settings};

settings! {
    /// AMSGrad, as `torch.optim.Adam` and `AdamW` with `amsgrad`: [`Adam`](super::Adam) or [`AdamW`](super::AdamW) with the largest
    /// second moment so far:
    ///
    /// ```text
    /// g       = grad + weight_decay param             (decoupled: param = (1 - lr weight_decay) param)
    /// moment1 = beta1 moment1 + (1 - beta1) g
    /// moment2 = beta2 moment2 + (1 - beta2) g²
    /// largest = max(largest, moment2)
    /// param   = param - lr / (1 - beta1ᵗ) moment1 / (√largest / √(1 - beta2ᵗ) + eps)
    /// ```
    ///
    /// Usual rate 1e-3. Optax takes the largest of the corrected second moments, which is another method. Source: Reddi, Kale,
    /// Kumar: On the convergence of Adam and beyond (ICLR 2018).
    ///
    /// A step is one launch, three with clipping by the global norm. It moves 36 bytes per parameter; the state takes 12. In
    /// software it reaches 0.9 to 1 of a copy's bandwidth: [why](crate::Optimizer#bandwidth-in-software).
    "amsgrad" Amsgrad {
        /// Decay rates of the first and the second moment.
        betas: (f64, f64) = (0.9, 0.999), fraction;
        /// Added to the root of the largest second moment, after bias correction.
        eps: f64 = 1e-8, positive;
        /// Weight decay.
        weight_decay: f64 = 0.0, not_negative;
        /// Whether weight decay is decoupled from the gradient.
        decoupled: bool = false;
        /// Whether to ascend instead of descending.
        maximize: bool = false;
    }
}

impl Method for Amsgrad {
    method_of_settings!();

    fn state(&self, _: &[Vec<usize>]) -> Vec<StateArena> {
        ["exp_avg", "exp_avg_sq", "max_exp_avg_sq"].map(StateArena::like_parameters).into()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::new().momentum(true)
    }

    fn step(&self, step: StepArguments<'_>) -> Result<()> {
        let head = Head::new(Timing::of_betas(self.betas), self.weight_decay, self.maximize)
            .momentum(self.betas.0)
            .decay(Decay::decoupled(self.decoupled));
        Ok(step.run(&AMSGRAD, head, |head| Params::new(head, self.betas, self.eps))?)
    }
}

/// Computes the formula of [`Amsgrad`], element-wise.
fn twin(call: Call<'_>) {
    let Params { head, beta2, eps } = call.params();
    let one_minus_beta2 = head.one_minus_beta2();
    Elements::of(call).each(
        #[inline(always)]
        |now| (now.momentum, now.one_minus_momentum, now.moment_factors()),
        #[inline(always)]
        move |(beta1, one_minus_beta1, (step_size, inverse_root)), param, grad, [m, v, largest]| {
            *m = beta1 * *m + one_minus_beta1 * grad;
            *v = beta2 * *v + one_minus_beta2 * (grad * grad);
            // A NaN in the second moment is taken, as in Adam.
            *largest = if *largest >= *v { *largest } else { *v };
            *param -= step_size * (*m / (largest.sqrt() * inverse_root + eps));
        },
    );
}

pub(crate) static AMSGRAD: Kernel = Kernel {
    shader: &thalweg_shaders::AMSGRAD,
    uniform: size_of::<Params>(),
    access: access(3),
    variants: UPDATE_VARIANTS,
    twin,
};
