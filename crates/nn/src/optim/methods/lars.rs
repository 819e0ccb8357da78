//! LARS.

use thalweg_tensor::optim::segments::{ChunkParams, PARAMETER_NORMS, TRUST_RATIO, TrustRatio};
use thalweg_tensor::optim::{Elements, Head, StepArguments, Timing, UPDATE_VARIANTS, access};
use thalweg_tensor::{Call, Kernel};

use super::{Capabilities, Method, StateArena};
use crate::Result;
use crate::setting::{method_of_settings, settings};

settings! {
    /// LARS, as `optax.lars`: momentum, with the gradient of each tensor scaled to the norm of its parameters:
    ///
    /// ```text
    /// g      = grad + weight_decay param
    /// trust  = trust_coefficient ‖param‖ / (‖g‖ + eps)    (of each tensor; 1 where a norm is 0)
    /// u      = lr trust g
    /// moment = momentum moment + u
    /// param  = param - moment                             (Nesterov: param - (u + momentum moment))
    /// ```
    ///
    /// The learning rate is part of the moment, as in the paper; usual 1. PyTorch has no LARS. Other libraries take the
    /// norm of the gradient before weight decay, or do not scale tensors of one dimension. Source: You, Gitman,
    /// Ginsburg: Large batch training of convolutional networks (2017).
    ///
    /// A step is three launches for any number of tensors, besides those of clipping: partial norms, trust ratios, parameters.
    /// It moves 28 bytes per parameter; the state takes 4. In software it reaches 0.4 to 0.8 of a copy's bandwidth: the norms
    /// read 8 of these bytes, and take seven tenths of the time of the rest.
    "lars" Lars {
        /// The share of the moment that a step keeps.
        momentum: f64 = 0.9, fraction;
        /// Weight decay through the gradient (L2).
        weight_decay: f64 = 0.0, not_negative;
        /// The fraction of a tensor's norm by which a step changes it, at a learning rate of 1.
        trust_coefficient: f64 = 1e-3, positive;
        /// Added to the norm of the gradient.
        eps: f64 = 0.0, not_negative;
        /// Whether to look ahead by Nesterov's rule.
        nesterov: bool = false;
        /// Whether to ascend instead of descending.
        maximize: bool = false;
    }
}

impl Method for Lars {
    method_of_settings!();

    fn state(&self, _: &[Vec<usize>]) -> Vec<StateArena> {
        vec![StateArena::like_parameters("momentum_buffer")]
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::new().momentum(true).tensor_sums(true)
    }

    fn launches(&self, _: &[Vec<usize>]) -> usize {
        3
    }

    fn bytes_per_parameter(&self) -> u64 {
        8 + 20
    }

    fn step(&self, mut step: StepArguments<'_>) -> Result<()> {
        step.check(&LARS, &[true])?;
        let head = Head::new(Timing::without_betas(), self.weight_decay, self.maximize).momentum(self.momentum);
        step.run_chunks(&PARAMETER_NORMS, head, &[], ChunkParams::new)?;
        let segments = step.clock.laid_out()?;
        let params = TrustRatio {
            count: segments.count() as u32,
            coefficient: self.trust_coefficient as f32,
            eps: self.eps as f32,
        };
        segments.finish(&TRUST_RATIO, params, step.clock.table(), &[])?;
        Ok(step.run_after(&LARS, head, |head| Params { head, nesterov: self.nesterov.into() })?)
    }
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    head: Head,
    nesterov: u32,
}

/// Takes the step of [`Lars`].
fn twin(call: Call<'_>) {
    let Params { nesterov, .. } = call.params();
    Elements::of(call).each(
        #[inline(always)]
        |now| (now.momentum, now.learning_rate * now.own_factor),
        #[inline(always)]
        move |(momentum, step_size), param, grad, [moment]| {
            let scaled = step_size * grad;
            *moment = momentum * *moment + scaled;
            *param -= if nesterov != 0 { scaled + momentum * *moment } else { *moment };
        },
    );
}

pub(crate) static LARS: Kernel = Kernel {
    shader: &thalweg_shaders::LARS,
    uniform: size_of::<Params>(),
    access: access(1),
    variants: UPDATE_VARIANTS,
    twin,
};
