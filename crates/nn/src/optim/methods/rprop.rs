//! Rprop.

use thalweg_tensor::optim::{Elements, Head, StepArguments, Timing, UPDATE_VARIANTS, access, sign};
use thalweg_tensor::{Call, Kernel};

use super::{Capabilities, Method, StateArena};
use crate::Result;
use crate::setting::{check, method_of_settings, settings};

settings! {
    /// Rprop, as `torch.optim.Rprop`: it uses only the signs of gradients, and every parameter has its own step size.
    /// It grows while the sign stays and shrinks when the sign changes:
    ///
    /// ```text
    /// s     = sign(grad prev)
    /// size  = clamp(size (etas.1 where s > 0, etas.0 where s < 0), step_sizes)     (at first: first_step)
    /// g     = grad, but 0 where s < 0
    /// param = param - size sign(g),  prev = g
    /// ```
    ///
    /// Use it with gradients of all rows, not of batches. The learning rate is the first step size; usual 1e-2.
    /// Schedules do not change it. Optax computes the same. Source: Riedmiller, Braun: A direct adaptive method for
    /// faster backpropagation learning (ICNN 1993).
    ///
    /// A step is one launch, three with clipping by the global norm. It moves 28 bytes per parameter; the state takes 8. In
    /// software it reaches 0.9 to 1 of a copy's bandwidth: [why](crate::Optimizer#bandwidth-in-software).
    "rprop" Rprop {
        /// The first step size; `None` for the learning rate of the first step.
        first_step: Option<f64> = None, not_negative;
        /// The factors of a step size if the sign changes, and if it stays.
        etas: (f64, f64) = (0.5, 1.2), positive;
        /// The smallest and the largest step size.
        step_sizes: (f64, f64) = (1e-6, 50.0), positive;
        /// Whether to ascend instead of descending.
        maximize: bool = false;
    }
    check |settings| {
        let ((down, up), (least, most)) = (settings.etas, settings.step_sizes);
        check("etas.0", down, down < 1.0, "greater than 0 and less than 1")
            .and_then(|()| check("etas.1", up, up > 1.0, "finite and greater than 1"))
            .and_then(|()| check("step_sizes.1", most, most >= least, "finite and at least step_sizes.0"))
    }
}

impl Method for Rprop {
    method_of_settings!();

    fn state(&self, _: &[Vec<usize>]) -> Vec<StateArena> {
        let size = StateArena::like_parameters("step_size");
        let size = self.first_step.map_or_else(|| size.clone().filled_with_rate(), |first| size.clone().filled(first));
        vec![StateArena::like_parameters("prev"), size]
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::new().weight_decay(false).own_step_size(true)
    }

    fn step(&self, step: StepArguments<'_>) -> Result<()> {
        let head = Head::new(Timing::without_betas(), 0.0, self.maximize);
        Ok(step.run(&RPROP, head, |head| Params {
            head,
            shrink: self.etas.0 as f32,
            grow: self.etas.1 as f32,
            least: self.step_sizes.0 as f32,
            most: self.step_sizes.1 as f32,
        })?)
    }
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    head: Head,
    shrink: f32,
    grow: f32,
    least: f32,
    most: f32,
}

/// Computes the formula of [`Rprop`], element-wise.
fn twin(call: Call<'_>) {
    let Params { shrink, grow, least, most, .. } = call.params();
    Elements::of(call).each(
        #[inline(always)]
        |_| (),
        #[inline(always)]
        move |(), param, grad, [prev, size]| {
            let agreement = grad * *prev;
            let growth = if agreement > 0.0 { grow } else { 1.0 };
            let grown = *size * (if agreement < 0.0 { shrink } else { growth });
            let grown = if grown < least { least } else { grown };
            *size = if grown > most { most } else { grown };
            *prev = if agreement < 0.0 { 0.0 } else { grad };
            *param -= *size * sign(*prev);
        },
    );
}

pub(crate) static RPROP: Kernel = Kernel {
    shader: &thalweg_shaders::RPROP,
    uniform: size_of::<Params>(),
    access: access(2),
    variants: UPDATE_VARIANTS,
    twin,
};
