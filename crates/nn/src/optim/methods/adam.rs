//! Adam and AdamW.

use thalweg_tensor::optim::{Decay, Elements, Head, StepArguments, Timing, UPDATE_VARIANTS, access};
use thalweg_tensor::{Call, Kernel};

use super::{Capabilities, Method, StateArena};
use crate::Result;
use crate::setting::{method_of_settings, settings};

settings! {
    /// Adam, as `torch.optim.Adam`:
    ///
    /// ```text
    /// g       = grad + weight_decay param
    /// moment1 = beta1 moment1 + (1 - beta1) g
    /// moment2 = beta2 moment2 + (1 - beta2) g²
    /// param   = param - lr / (1 - beta1ᵗ) moment1 / (√moment2 / √(1 - beta2ᵗ) + eps)
    /// ```
    ///
    /// Usual rate 1e-3. Optax adds epsilon at the same place. Source: Kingma, Ba: Adam: a method for stochastic optimization
    /// (ICLR 2015).
    ///
    /// A step is one launch, three with clipping by the global norm. It moves 28 bytes per parameter; the state takes 8. In
    /// software it reaches 0.9 to 1 of a copy's bandwidth: [why](crate::Optimizer#bandwidth-in-software).
    "adam" Adam {
        /// Decay rates of the first and the second moment.
        betas: (f64, f64) = (0.9, 0.999), fraction;
        /// Added to the root of the second moment, after bias correction.
        eps: f64 = 1e-8, positive;
        /// Weight decay through the gradient (L2).
        weight_decay: f64 = 0.0, not_negative;
        /// Whether to ascend instead of descending.
        maximize: bool = false;
    }
}

settings! {
    /// AdamW, as `torch.optim.AdamW`: [`Adam`] with decoupled weight decay:
    ///
    /// ```text
    /// param   = (1 - lr weight_decay) param
    /// moment1 = beta1 moment1 + (1 - beta1) grad
    /// moment2 = beta2 moment2 + (1 - beta2) grad²
    /// param   = param - lr / (1 - beta1ᵗ) moment1 / (√moment2 / √(1 - beta2ᵗ) + eps)
    /// ```
    ///
    /// All parameters decay, biases too. Usual rate 1e-3. Optax adds weight_decay param to the update before it multiplies by
    /// lr, which is the same. Source: Loshchilov, Hutter: Decoupled weight decay regularization (ICLR 2019).
    ///
    /// A step is one launch, three with clipping by the global norm. It moves 28 bytes per parameter; the state takes 8. In
    /// software it reaches 0.9 to 1 of a copy's bandwidth: [why](crate::Optimizer#bandwidth-in-software).
    "adamw" AdamW {
        /// Decay rates of the first and the second moment.
        betas: (f64, f64) = (0.9, 0.999), fraction;
        /// Added to the root of the second moment, after bias correction.
        eps: f64 = 1e-8, positive;
        /// Weight decay, times the learning rate.
        weight_decay: f64 = 0.01, not_negative;
        /// Whether to ascend instead of descending.
        maximize: bool = false;
    }
}

macro_rules! adam_method {
    ($method:ident, $decay:ident) => {
        impl Method for $method {
            method_of_settings!();

            fn state(&self, _: &[Vec<usize>]) -> Vec<StateArena> {
                two_moments()
            }

            fn capabilities(&self) -> Capabilities {
                Capabilities::new().momentum(true)
            }

            fn step(&self, step: StepArguments<'_>) -> Result<()> {
                let head = Head::new(Timing::of_betas(self.betas), self.weight_decay, self.maximize)
                    .momentum(self.betas.0)
                    .decay(Decay::$decay);
                Ok(step.run(&ADAM, head, |head| Params::new(head, self.betas, self.eps))?)
            }
        }
    };
}

adam_method!(Adam, Coupled);
adam_method!(AdamW, Decoupled);

/// The state of Adam and of its variants.
pub(super) fn two_moments() -> Vec<StateArena> {
    ["exp_avg", "exp_avg_sq"].map(StateArena::like_parameters).into()
}

/// Parameters of Adam and of its variants.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
pub(super) struct Params {
    pub(super) head: Head,
    pub(super) beta2: f32,
    pub(super) eps: f32,
}

impl Params {
    pub(super) fn new(head: Head, (_, beta2): (f64, f64), eps: f64) -> Self {
        Self { head, beta2: beta2 as f32, eps: eps as f32 }
    }
}

/// Parameters of the same methods, for launches over chunks of tensors.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
pub(super) struct ChunkedParams {
    pub(super) common: Params,
    pub(super) chunks: [u32; 2],
}

/// Computes the formula of [`Adam`], element-wise.
fn twin(call: Call<'_>) {
    let Params { head, beta2, eps } = call.params();
    let one_minus_beta2 = head.one_minus_beta2();
    Elements::of(call).each(
        #[inline(always)]
        |now| (now.momentum, now.one_minus_momentum, now.moment_factors()),
        #[inline(always)]
        move |(beta1, one_minus_beta1, (step_size, inverse_root)), param, grad, [m, v]| {
            *m = beta1 * *m + one_minus_beta1 * grad;
            *v = beta2 * *v + one_minus_beta2 * (grad * grad);
            *param -= step_size * (*m / (v.sqrt() * inverse_root + eps));
        },
    );
}

pub(crate) static ADAM: Kernel = Kernel {
    shader: &thalweg_shaders::ADAM,
    uniform: size_of::<Params>(),
    access: access(2),
    variants: UPDATE_VARIANTS,
    twin,
};
